"""Copying files between file systems: what copy-up, and the tools for disks, are made of."""

from __future__ import annotations

import errno
from collections.abc import Callable

import msgspec

from ..abi.errors import SyscallError
from ..abi.stat import S_IFMT
from .credentials import Credentials
from .inode import Inode

CHUNK = 1 << 20
_NO_ATTRIBUTE = (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.EACCES)


def owner_of(inode: Inode) -> Credentials:
    """Who makes a copy of ``inode`` that belongs to the same owner."""
    return Credentials.of(inode.uid, inode.gid)


async def copy_data(source: Inode, target: Inode, end: int, progress: Callable[[int], None] | None = None) -> None:
    """Copy ``end`` bytes, holes as holes; ``progress`` is told how many bytes went."""
    offset = 0
    while offset < end:
        try:
            offset = await source.seek_data(offset, hole=False)
        except SyscallError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        data = await source.read(min(CHUNK, end - offset), offset) if offset < end else b""
        if not data:
            break
        done = 0
        while done < len(data):
            done += await target.write(data[done:] if done else data, offset + done)
        offset += len(data)
        if progress is not None:
            progress(len(data))
    if target.size < end:
        await target.setattr(size=end)


async def copy_attributes(source: Inode, target: Inode) -> None:
    """Extended attributes, owner, mode (after the owner, which clears set-id bits) and times."""
    for name in await source.listxattr():
        try:
            await target.setxattr(name, await source.getxattr(name), 0)
        except SyscallError as error:
            if error.errno not in _NO_ATTRIBUTE:
                raise
    if (target.uid, target.gid) != (source.uid, source.gid):
        await target.setattr(uid=source.uid, gid=source.gid)
    mode = None if source.is_symlink or target.mode == source.mode else source.mode & ~S_IFMT
    await target.setattr(mode=mode, atime=source.atime, mtime=source.mtime)


class TreeCopy(msgspec.Struct):
    """Copies trees from one file system to another one. Files of several names stay one file.

    ``failed`` is told of what can't be copied, by its path and the error; it may raise. ``progress`` as above.
    """

    progress: Callable[[int], None] | None = None
    failed: Callable[[bytes, SyscallError], None] | None = None
    files: int = 0
    size: int = 0  # bytes of them
    _copies: dict[tuple[int, int], Inode] = msgspec.field(default_factory=dict)

    async def copy(self, source: Inode, directory: Inode, name: bytes, path: bytes) -> None:
        """Copy ``source``, and all that is in it, to ``name`` in ``directory``, where nothing has that name yet."""
        try:
            await source.getattr()
            await self._copy_one(source, directory, name, path)
        except SyscallError as error:
            if self.failed is None:
                raise
            self.failed(path, error)

    async def _copy_one(self, source: Inode, directory: Inode, name: bytes, path: bytes) -> None:
        self.files += 1
        if source.is_dir:
            target = await directory.mkdir(name, source.mode & 0o7777, owner_of(source))
            await self.copy_into(source, target, path)
        else:
            key = (source.fs.device, source.ino)
            if known := self._copies.get(key):
                await directory.link(name, known)
                return
            target = await self._make(source, directory, name)
            if source.nlink > 1:
                self._copies[key] = target
        await copy_attributes(source, target)

    async def copy_into(self, source: Inode, target: Inode, path: bytes) -> None:
        """Copy what is in the directory ``source`` into ``target``, which may have some of the directories."""
        async for entry in source.all_entries():
            child = await source.lookup(entry.name)
            await self.merge(child, target, entry.name, path + b"/" + entry.name)

    async def merge(self, child: Inode, target: Inode, name: bytes, path: bytes) -> None:
        """``copy``, where there may be something of that name: directories are joined, other things replaced."""
        try:
            present = await target.lookup(name)
        except SyscallError as error:
            if error.errno != errno.ENOENT:
                raise
            await self.copy(child, target, name, path)
            return
        if child.is_dir and present.is_dir:
            await self.copy_into(child, present, path)
        elif present.is_dir or child.is_dir:
            self._refuse(path, errno.EISDIR if present.is_dir else errno.ENOTDIR)
        else:
            await target.unlink(name, present)
            await self.copy(child, target, name, path)

    def _refuse(self, path: bytes, code: int) -> None:
        if self.failed is None:
            raise SyscallError(code)
        self.failed(path, SyscallError(code))

    async def _make(self, source: Inode, directory: Inode, name: bytes) -> Inode:
        owner = owner_of(source)
        if source.is_symlink:
            return await directory.symlink(name, await source.readlink(), owner)
        target = await directory.create(name, source.mode, owner, source.rdev)
        if source.is_regular:
            await copy_data(source, target, source.size, self.progress)
            self.size += source.size
        return target
