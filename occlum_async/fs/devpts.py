"""devpts: /dev/pts, where the slaves of pseudo-terminals have their names."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from ..abi.stat import S_IFCHR, S_IFDIR, makedev
from .inode import Attributes, DirEntry, FileSystem, Inode
from .mount import anonymous_device

if TYPE_CHECKING:
    from ..io.tty.registry import Terminals
    from ..io.tty.terminal import Terminal

DEVPTS_MAGIC = 0x1CD1
TTY_GROUP = 5
PTMX = makedev(5, 2)
PTMX_INO, FIRST_INO = 2, 3


class DevPts(FileSystem):
    """The one instance of a LibOS: its names are the numbers of ``terminals``."""

    name = "devpts"
    magic = DEVPTS_MAGIC
    cacheable = False
    keeps_dentries = False
    synchronous = True

    def __init__(self, terminals: Terminals) -> None:
        super().__init__(anonymous_device())
        self.terminals = terminals
        terminals.make_node = self._make_node
        self.root: Inode = DevPtsRoot(self)

    def options(self) -> str:
        return f"gid={TTY_GROUP},mode=620,ptmxmode=666"

    def _make_node(self, terminal: Terminal, uid: int, gid: int) -> Node:
        node = Node(self, FIRST_INO + terminal.index, S_IFCHR | 0o620, uid, TTY_GROUP)
        node.rdev = terminal.number
        return node


class Node(Inode):
    """A device node (or the root): its attributes can be changed, as mesg(1) and login(1) do."""

    async def change(self, wanted: Attributes) -> None:
        wanted.enter(self)


class DevPtsRoot(Node):
    """/dev/pts: ``ptmx`` and one number per terminal."""

    fs: DevPts

    def __init__(self, fs: DevPts) -> None:
        super().__init__(fs, 1, S_IFDIR | 0o755)
        self.nlink = 2
        self.ptmx = Node(fs, PTMX_INO, S_IFCHR | 0o666)
        self.ptmx.rdev = PTMX

    async def lookup(self, name: bytes) -> Inode:
        if name == b"ptmx":
            return self.ptmx
        terminal = None
        if name.isdigit() and len(name) < 10 and str(int(name)).encode() == name:
            terminal = self.fs.terminals.by_index.get(int(name))
        if terminal is None:
            raise SyscallError(errno.ENOENT)
        node: Inode = terminal.node
        return node

    async def readdir(self, cookie: int) -> list[DirEntry]:
        entries = [DirEntry(b"ptmx", PTMX_INO, S_IFCHR, PTMX_INO)]
        entries += [
            DirEntry(str(index).encode(), FIRST_INO + index, S_IFCHR, FIRST_INO + index)
            for index in sorted(self.fs.terminals.by_index)
        ]
        return [entry for entry in entries if entry.cookie > cookie]
