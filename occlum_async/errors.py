"""Errors that a user of the LibOS sees: what failed, why, and what to do about it.

Errors of system calls inside the LibOS are ``abi.errors.SyscallError`` and never leave it.
"""

from __future__ import annotations


class LibOSError(Exception):
    """The LibOS can't do what its embedder asked for.

    ``message`` says what failed and why, ``hint`` what to do (may be empty). Both are one line.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class HostUnsupported(LibOSError):
    """This host lacks something that the LibOS can't do without; see ``python -m occlum_async check``."""


class ConfigError(LibOSError):
    """An option or a configuration is wrong."""


class ProgramNotFound(LibOSError):
    """There is no such program inside the LibOS (a shell's exit status 127)."""


class ProgramNotExecutable(LibOSError):
    """The program is there, but it can't be executed (a shell's exit status 126)."""


class DiskError(LibOSError):
    """A disk can't be opened or made: it is none, it is damaged, an older state of it was offered, the key is wrong."""


class DiskInUse(DiskError):
    """Another program has the image open, or one that was killed has not quite gone."""
