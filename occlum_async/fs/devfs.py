"""devfs: /dev, a small file system in memory with the nodes that every program expects, and their openers."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ..abi.errors import SyscallError
from ..abi.stat import S_IFCHR, makedev, split_device
from ..io.file import File
from ..io.memdev import FullFile, NullFile, RandomFile, ZeroFile
from ..io.tty.registry import OPEN_ONLY, PTS_MAJOR
from .credentials import Credentials
from .devices import register_device, register_major
from .devpts import PTMX
from .pages import Quota
from .ramfs import RamFs

if TYPE_CHECKING:
    from ..io.tty.registry import Terminals
    from .inode import Inode

MEMORY_DEVICES: dict[int, type[NullFile]] = {
    makedev(1, 3): NullFile,
    makedev(1, 5): ZeroFile,
    makedev(1, 7): FullFile,
    makedev(1, 8): RandomFile,
    makedev(1, 9): RandomFile,
}
TTY, CONSOLE = makedev(5, 0), makedev(5, 1)

NODES = {
    b"null": makedev(1, 3),
    b"zero": makedev(1, 5),
    b"full": makedev(1, 7),
    b"random": makedev(1, 8),
    b"urandom": makedev(1, 9),
    b"tty": TTY,
}
LINKS = {
    b"ptmx": b"pts/ptmx",
    b"fd": b"/proc/self/fd",
    b"stdin": b"/proc/self/fd/0",
    b"stdout": b"/proc/self/fd/1",
    b"stderr": b"/proc/self/fd/2",
    b"core": b"/proc/kcore",
}
# Where other file systems are mounted.
DIRECTORIES = {b"pts": 0o755, b"shm": 0o1777, b"mqueue": 0o1777}


class DevFs(RamFs):
    """/dev. Device nodes that programs make in it work like its own, subject to CAP_MKNOD."""

    name = "devtmpfs"

    @classmethod
    async def create(cls, console: bool = False, quota: Quota | None = None) -> DevFs:
        """A /dev with its nodes; ``console``: with /dev/console. ``quota`` bounds what is written to it."""
        fs = cls(quota=quota)
        nobody = Credentials()
        nodes = {**NODES, b"console": CONSOLE} if console else NODES
        for name, number in nodes.items():
            await fs.root.create(name, S_IFCHR | (0o620 if name == b"console" else 0o666), nobody, number)
        for name, target in LINKS.items():
            await fs.root.symlink(name, target, nobody)
        for name, mode in DIRECTORIES.items():
            await fs.root.mkdir(name, mode, nobody)
        return fs


def _open_memory_device(inode: Inode, flags: int, thread: Any) -> File:
    return MEMORY_DEVICES[inode.rdev](thread.scheduler, flags & ~OPEN_ONLY)


def _terminals(thread: Any) -> Terminals:
    """The caller's terminals; ENXIO for a caller that is no thread."""
    kernel = getattr(thread, "kernel", None)
    if kernel is None:
        raise SyscallError(errno.ENXIO)
    terminals: Terminals = kernel.terminals
    return terminals


def _open_terminal(inode: Inode, flags: int, thread: Any) -> File:
    return _terminals(thread).open_slave(split_device(inode.rdev)[1], flags, thread)


def _open_tty(inode: Inode, flags: int, thread: Any) -> File:
    return _terminals(thread).open_current(flags, thread)


def _open_console(inode: Inode, flags: int, thread: Any) -> File:
    return _terminals(thread).open_console(flags, thread)


def _open_ptmx(inode: Inode, flags: int, thread: Any) -> File:
    credentials = thread.credentials
    return _terminals(thread).open_master(flags, credentials.fsuid, credentials.fsgid)


for _number in MEMORY_DEVICES:
    register_device(_number, _open_memory_device)
register_device(TTY, _open_tty)
register_device(CONSOLE, _open_console)
register_device(PTMX, _open_ptmx)
register_major(PTS_MAJOR, _open_terminal)
