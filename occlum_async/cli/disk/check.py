"""``disk check``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ...abi.errors import SyscallError
from ...fs.ext2 import Ext2
from ...fs.inode import Inode
from ...fs.mlsdisk import MlsDisk
from .copying import disk_bytes
from .opened import boundary, counter_option, key_option, mounted, run, shown
from .progress import progress

EXIT_DAMAGED = 1
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """Verify the disk FILE: every block of a sealed disk, then every folder and file. Nothing is changed.

    The exit status is 1 when anything is damaged; each damaged region and file is named. A plain image is better
    checked by e2fsck(8).
    """

    file: str
    key_file: str | None = key_option()
    counter: str | None = counter_option()


def command(options: Options) -> int:
    """Check."""
    return run(options.file, _check(options))


async def _check(options: Options) -> int:
    async with boundary() as host, mounted(host, options.file, options.key_file, options.counter, True) as fs:
        faults = await _check_blocks(fs)
        with progress("reading files", await disk_bytes(fs.root)) as advance:
            reader = _Reader(advance)
            await reader.read(fs.root, b"")
    for line in (*faults, *reader.faults):
        print(line)
    total = len(faults) + len(reader.faults)
    print(f"{reader.files} files, {reader.bytes} bytes: {f'{total} faults' if total else 'no fault found'}")
    return EXIT_DAMAGED if total else 0


async def _check_blocks(fs: Ext2) -> list[str]:
    if not isinstance(fs.block_device, MlsDisk):
        return []
    report = await fs.block_device.check()
    print(f"{report.blocks} blocks, {report.nodes} nodes" + f", {report.leaked} lost" * bool(report.leaked))
    return report.faults


class _Reader:
    """Reads all that can be reached from a directory, and notes what can't be read."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance
        self.files = self.bytes = 0
        self.faults: list[str] = []

    async def read(self, inode: Inode, path: bytes) -> None:
        """Read a file, or a directory with all that is in it."""
        self.files += 1
        try:
            if inode.is_dir:
                await self._read_directory(inode, path)
            elif inode.is_regular:
                await self._read_file(inode)
            elif inode.is_symlink:
                await inode.readlink()
        except SyscallError as error:
            self._note(path, error)

    def _note(self, path: bytes, error: SyscallError) -> None:
        self.faults.append(f"{shown(path) or '/'}: {os.strerror(error.errno)}")

    async def _read_directory(self, inode: Inode, path: bytes) -> None:
        async for entry in inode.all_entries():
            below = path + b"/" + entry.name
            try:
                child = await inode.lookup(entry.name)
            except SyscallError as error:
                self._note(below, error)
            else:
                await self.read(child, below)

    async def _read_file(self, inode: Inode) -> None:
        offset = 0
        while data := await inode.read(CHUNK, offset):
            offset += len(data)
            self.bytes += len(data)
            self.advance(len(data))
