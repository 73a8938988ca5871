"""The devices of mem(4) that every program expects: null, zero, full, random."""

from __future__ import annotations

import errno
import os
import struct
from typing import Any

from ..abi.errors import SyscallError
from ..abi.user import UserPointer
from .file import File

# One read gives no more than this, whatever was asked for: the kernel's own memory is bounded.
MAX_READ = 16 << 20
# A mapping of /dev/zero may begin at any offset: its memory is a sparse file of this size.
ZERO_SIZE = 1 << 62

RNDGETENTCNT = 0x80045200
ENTROPY = 256  # bits; what a seeded generator reports


class NullFile(File):
    """/dev/null: an empty file that swallows what is written."""

    name = "null"

    @property
    def seekable(self) -> bool:
        return True

    def describe(self) -> str:
        return f"/dev/{self.name}"

    async def read(self, size: int) -> bytes:
        return b""

    async def write(self, data: bytes | memoryview) -> int:
        return len(data)

    async def pread(self, size: int, offset: int) -> bytes:
        return await self.read(size)

    async def pwrite(self, data: bytes | memoryview, offset: int) -> int:
        return await self.write(data)

    async def seek(self, offset: int, whence: int) -> int:
        """The position is 0 for ever."""
        return 0


class ZeroFile(NullFile):
    """/dev/zero: zero bytes without end."""

    name = "zero"

    async def read(self, size: int) -> bytes:
        return bytes(min(size, MAX_READ))

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        """Fresh memory of this mapping's own."""
        fd = os.memfd_create("zero", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, ZERO_SIZE)
            if shared and writable:
                return fd, True
            readonly = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            os.close(fd)
            raise SyscallError(error.errno or errno.ENOMEM) from None
        os.close(fd)
        return readonly, True


class FullFile(ZeroFile):
    """/dev/full: a disk that is always full."""

    name = "full"

    async def write(self, data: bytes | memoryview) -> int:
        raise SyscallError(errno.ENOSPC)

    def mapping(self, shared: bool, writable: bool) -> tuple[int, bool]:
        raise SyscallError(errno.ENODEV)


class RandomFile(NullFile):
    """/dev/random and /dev/urandom: the same generator, which never blocks. What is written stirs nothing."""

    name = "urandom"

    @property
    def pollable(self) -> bool:
        return True

    async def read(self, size: int) -> bytes:
        return os.urandom(min(size, MAX_READ))

    async def ioctl(self, thread: Any, command: int, argument: UserPointer) -> int:
        if command != RNDGETENTCNT:
            raise SyscallError(errno.EINVAL)
        argument.pack(struct.Struct("<i"), ENTROPY)
        return 0
