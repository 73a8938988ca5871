"""A host folder that remembers every change of its files and names, and can be taken apart at each of them.

After a crash a write since the file's last fsync may be there, or not, or partly (in sectors of 512 bytes); so may a
change of a size or a name. An fsync of a file makes its name durable too, as the file systems of Linux do.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from occlum_async.io.boundary.ocall import OcallBoundary
from occlum_async.sched.strand import Scheduler
from tests.crash.simulated import SECTOR


@dataclass
class Change:
    """Of a content (``data`` at ``offset``, or ``offset`` is the size), or of the file that ``name`` leads to."""

    file: int | None
    offset: int = 0
    data: bytes | None = None
    name: str | None = None


class RecordingBoundary(OcallBoundary):
    """Plain calls on the files of one folder; ``log`` has the changes, and the number of a file at its fsync.

    ``before`` is who has recorded the same folder until now: its log goes on.
    """

    # Called before each change; may raise the error of a host.
    fault: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, scheduler: Scheduler, before: RecordingBoundary | None = None) -> None:
        super().__init__(scheduler)
        self.log: list[Change | int] = [] if before is None else before.log
        self._open: dict[int, int] = {}  # the number of the file of each descriptor
        self._names: dict[str, int] = {} if before is None else before._names
        self._files = 0 if before is None else before._files

    def call(self, operation: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        changes = (os.pwrite, os.ftruncate, os.unlink, os.fsync, os.fdatasync)
        if function in changes or (function is os.open and arguments[1] & os.O_CREAT):
            self.fault()
        answer = super().call(operation, function, *arguments, **options)
        if function is os.open or operation == "open":
            self._opened(os.fspath(arguments[0]), arguments[1], answer)
        elif function is os.unlink:
            name = os.path.basename(arguments[0])
            self._names.pop(name, None)
            self.log.append(Change(None, name=name))
        elif function is os.pwrite:
            fd, data, offset = arguments
            self.log.append(Change(self._open[fd], offset, bytes(data[:answer])))
        elif function is os.ftruncate:
            self.log.append(Change(self._open[arguments[0]], arguments[1]))
        elif function in (os.fsync, os.fdatasync):
            self.log.append(self._open[arguments[0]])
        return answer

    def _opened(self, path: str | bytes, flags: int, fd: int) -> None:
        name = os.path.basename(os.fsdecode(path))
        if name not in self._names:
            self._names[name] = self._files
            self._files += 1
            self.log.append(Change(self._names[name], name=name))
        elif flags & os.O_TRUNC:
            self.log.append(Change(self._names[name], 0))
        self._open[fd] = self._names[name]


@dataclass
class FolderHistory:
    """The folders that a crash may leave, at each point of a log that began with an empty one."""

    log: list[Change | int]
    position: int = 0
    _files: dict[int, bytearray] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _pending: list[Change] = field(default_factory=list)

    def advance(self, position: int) -> None:
        """Go on to a later point: the first ``position`` entries of the log have happened."""
        for entry in self.log[self.position : position]:
            if isinstance(entry, Change):
                self._pending.append(entry)
            else:
                self._flush(entry)
        self.position = position

    def _flush(self, file: int) -> None:
        """An fsync of ``file``: all of its content, and the last name that leads to it with all before it."""
        linked = {change.name for change in self._pending if change.name and change.file == file}
        last = max((index for index, change in enumerate(self._pending) if change.name in linked), default=-1)
        rest = []
        for index, change in enumerate(self._pending):
            if (change.name is None and change.file == file) or (change.name in linked and index <= last):
                _apply(change, self._files, self._names)
            else:
                rest.append(change)
        self._pending = rest

    @property
    def pending(self) -> int:
        """How many changes are not durable."""
        return len(self._pending)

    def leave(self, folder: Path, chance: random.Random | None, kept: float) -> None:
        """Make a folder that the crash may leave; of what is not durable about a share ``kept`` is there."""
        files = {number: bytearray(content) for number, content in self._files.items()}
        names = dict(self._names)
        lost: set[str] = set()
        for change in self._pending:
            there = chance is None or chance.random() < kept
            if change.name is not None:  # the changes of one name come in order
                if not there or change.name in lost:
                    lost.add(change.name)
                    continue
            elif chance is not None and change.data is not None and chance.random() < 0.1:
                change = _torn(change, files, chance)
            elif not there:
                continue
            _apply(change, files, names)
        folder.mkdir()
        for name, number in names.items():
            (folder / name).write_bytes(files.get(number, b""))


def _torn(change: Change, files: dict[int, bytearray], chance: random.Random) -> Change:
    """The write with some of its sectors as they were before."""
    assert change.file is not None and change.data is not None
    old = bytes(files.get(change.file, b"")[change.offset : change.offset + len(change.data)])
    old = old.ljust(len(change.data), b"\0")
    pieces = [
        (change.data if chance.random() < 0.5 else old)[start : start + SECTOR]
        for start in range(0, len(old), SECTOR)
    ]  # fmt: skip
    return Change(change.file, change.offset, b"".join(pieces))


def _apply(change: Change, files: dict[int, bytearray], names: dict[str, int]) -> None:
    if change.name is not None:
        if change.file is None:
            names.pop(change.name, None)
        else:
            names[change.name] = change.file
        return
    assert change.file is not None
    content = files.setdefault(change.file, bytearray())
    if change.data is None:
        del content[change.offset :]
        content.extend(bytes(max(0, change.offset - len(content))))
    else:
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data
