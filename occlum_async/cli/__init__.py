"""The command line: ``python -m occlum_async``. One module per subcommand; nothing but options and printing.

A subcommand's module has ``Options``, a dataclass as ``parsing`` reads it, whose docstring is the help text, and
``command(options)``, which returns the exit status. Only the module that is asked for is imported: ``run`` starts
in a fraction of a second.

Exit statuses are those of ``docker run``: the program's own, 128+n when signal n ended it, 125 when we
failed, 126 when the program can't be executed, 127 when there is none, and 124 after ``--timeout``.
"""

from __future__ import annotations

import importlib
import logging
import sys

from .. import __version__
from ..errors import ConfigError, LibOSError, ProgramNotExecutable, ProgramNotFound
from .parsing import HelpWanted, explain, parse, usage

NAME = "occlum-async"
ABOUT = "Run unmodified Linux programs in a library OS whose kernel is an asyncio program."
EXIT_TIMEOUT, EXIT_FAILED, EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 124, 125, 126, 127
COMMANDS = {
    "run": "Run a program in a fresh LibOS.",
    "disk": "Make disks, look at them, and move files in and out.",
    "check": "Tell whether this host can run the LibOS.",
    "stats": "Run a program, and print the kernel's counters at its end.",
    "syscalls": "List the system calls that are declared.",
}

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status. Says every error in one line on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _dispatch(words)
    except LibOSError as error:
        _complain(str(error))
        if isinstance(error, ProgramNotFound):
            return EXIT_NOT_FOUND
        return EXIT_NOT_EXECUTABLE if isinstance(error, ProgramNotExecutable) else EXIT_FAILED
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:
        # Who reads our output has gone: there is nobody left to tell.
        sys.stderr.close()
        return 128 + 13
    except Exception as error:  # a defect of ours: one line for the user, the traceback for --log-level debug
        log.debug("internal error", exc_info=True)
        _complain(f"internal error: {type(error).__name__}: {error}; --log-level debug shows where")
        return EXIT_FAILED


def _dispatch(words: list[str], package: str = __name__, title: str = NAME, commands: dict[str, str] = COMMANDS) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview(title, commands, ABOUT if title == NAME else COMMANDS[title.split()[-1]]))
        return 0 if words else EXIT_FAILED
    name, rest = words[0], words[1:]
    if name == "--version" and title == NAME:
        print(f"{NAME} {__version__}")
        return 0
    if name not in commands:
        kind = "option" if name.startswith("-") else "command"
        raise ConfigError(f"there is no {kind} {name!r}", f"see {title} --help")
    module = importlib.import_module("." + name.replace("-", "_"), package)
    if hasattr(module, "COMMANDS"):
        return _dispatch(rest, module.__name__, f"{title} {name}", module.COMMANDS)
    try:
        options = parse(module.Options, rest)
    except HelpWanted:
        print(f"Usage: {title} {name} {usage(module.Options)}\n\n{explain(module.Options)}")
        return 0
    except ConfigError as error:
        raise ConfigError(error.message, error.hint or f"see {title} {name} --help") from None
    return int(module.command(options))


def _overview(title: str, commands: dict[str, str], about: str) -> str:
    listed = "\n".join(f"  {name:10}  {text}" for name, text in commands.items())
    version = f"; {NAME} --version prints the version" if title == NAME else ""
    return (
        f"Usage: {title} COMMAND ...\n\n"
        f"{about}\n\n"
        f"Commands:\n{listed}\n\n{title} COMMAND --help explains each{version}."
    )


def _complain(message: str) -> None:
    print(f"{NAME}: {message}", file=sys.stderr)
