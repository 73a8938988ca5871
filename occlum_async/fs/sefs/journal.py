"""The recovery journal of one file: what the blocks held at the last sync that have been overwritten since.

Invariants: before a block that was there at the last sync is changed, its old content is durable in the journal; what
was synced is never undone, because the journal is empty, durably, before its name is removed. What it holds is sealed,
so a host that changes it is found out when the file is read.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
import zlib

from ...abi.errors import SyscallError
from ...io.boundary import Boundary
from ..block.device import BLOCK
from ..block.image import HostImage

_HEADER = struct.Struct("<8sQII")  # magic, blocks of the file at the last sync, a random number, checksum of both
_RECORD = struct.Struct("<QI")  # number of the block, checksum that goes on from the header's: no older record fits
_MAGIC = b"OASEFSJ2"
RECORD_SIZE = _RECORD.size + BLOCK


class Journal:
    """The file ``path``, which exists between a first change and the sync that makes it durable."""

    def __init__(self, boundary: Boundary, path: str) -> None:
        self._boundary = boundary
        self._path = path
        self._fd = -1
        self._end = 0
        self._check = 0
        self.saved: set[int] = set()

    async def save(self, image: HostImage, durable: int, blocks: list[int]) -> None:
        """Keep the old content of those of ``blocks`` that were there at the last sync, durably."""
        wanted = [block for block in blocks if block < durable and block not in self.saved]
        if not wanted and self._end:
            return
        pieces = []
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._fd = self._boundary.call("open", os.open, self._path, flags, 0o600)
        if not self._end:
            salt = secrets.randbits(32)
            self._check = _checksum(durable, salt)
            pieces.append(_HEADER.pack(_MAGIC, durable, salt, self._check))
        for start, count in _runs(wanted):
            old = memoryview(await image.read(start, count))
            for index in range(count):
                content = old[index * BLOCK : (index + 1) * BLOCK]
                pieces += [_RECORD.pack(start + index, zlib.crc32(content, self._check)), bytes(content)]
        await self._append(b"".join(pieces))
        self.saved.update(wanted)

    async def _append(self, data: bytes) -> None:
        """Write behind what is there, durably. After an error the next one is written in the same place."""
        view, end = memoryview(data), self._end
        while view:
            count = await self._boundary.write(self._fd, view, end)
            if not count:
                raise SyscallError(errno.EIO)
            end += count
            view = view[count:]
        await self._boundary.sync(self._fd, True)
        self._end = end

    async def finish(self) -> None:
        """The file was synced: nothing is to be undone any more. After an error too everything is to be saved anew."""
        self._end = 0
        self.saved.clear()
        if self._fd >= 0:
            await self._empty(self._fd)
            self.leave()
            self._boundary.call("unlink", os.unlink, self._path)

    async def _empty(self, fd: int) -> None:
        self._boundary.truncate(fd, 0)
        await self._boundary.sync(fd, True)

    def leave(self) -> None:
        """Close it without an end to the change: the next opening undoes it."""
        if self._fd >= 0:
            self._boundary.close(self._fd)
            self._fd = -1
        self._end = 0
        self.saved.clear()

    async def undo(self, image: HostImage) -> None:
        """If a change was left half done, put back what was there before it."""
        try:
            fd = self._boundary.call("open", os.open, self._path, os.O_RDWR | os.O_CLOEXEC)
        except SyscallError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        try:
            header = await self._read(fd, _HEADER.size, 0)
            if len(header) == _HEADER.size:
                magic, durable, salt, check = _HEADER.unpack(header)
                if magic == _MAGIC and check == _checksum(durable, salt):
                    await self._put_back(fd, image, check)
                    if durable <= image.blocks:
                        image.resize(durable)
            await image.sync()
            await self._empty(fd)
        finally:
            self._boundary.close(fd)
        self._boundary.call("unlink", os.unlink, self._path)

    async def _put_back(self, fd: int, image: HostImage, before: int) -> None:
        offset = _HEADER.size
        seen: set[int] = set()
        while len(record := await self._read(fd, RECORD_SIZE, offset)) == RECORD_SIZE:
            block, check = _RECORD.unpack_from(record)
            content = record[_RECORD.size :]
            if zlib.crc32(content, before) != check or block >= image.blocks or block in seen:
                return  # torn: nothing was changed after this
            seen.add(block)
            await image.write(block, content)
            offset += RECORD_SIZE

    async def _read(self, fd: int, size: int, offset: int) -> bytes:
        """``size`` bytes; fewer only at the end of the file."""
        data = b""
        while len(data) < size and (more := await self._boundary.read(fd, size - len(data), offset + len(data))):
            data += more
        return data


def _checksum(durable: int, salt: int) -> int:
    return zlib.crc32(struct.pack("<QI", durable, salt))


def _runs(blocks: list[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers: (first, count)."""
    found: list[tuple[int, int]] = []
    for block in sorted(blocks):
        if found and sum(found[-1]) == block:
            found[-1] = found[-1][0], found[-1][1] + 1
        else:
            found.append((block, 1))
    return found
