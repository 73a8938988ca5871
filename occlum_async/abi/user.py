"""The user's memory as handlers see it: bounded buffers and typed pointers, never bare addresses.

Handlers are written against these classes alone, so the same handler serves an ELF guest (whose bytes
travel in the window of its channel or by ``process_vm_readv``) and a Python program (whose bytes are
Python's own).
"""

from __future__ import annotations

import errno
import struct
from abc import ABC, abstractmethod
from typing import Any

from .errors import SyscallError


class UserBuffer(ABC):
    """``size`` bytes of the user's memory, possibly in many pieces (an iovec)."""

    __slots__ = ("size",)
    size: int

    def __len__(self) -> int:
        return self.size

    @abstractmethod
    def read(self, size: int = -1, offset: int = 0) -> bytes:
        """Copy ``size`` bytes (all that follow by default) in from ``offset``. EFAULT on a bad address."""

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        """Copy ``data`` out to ``offset``; what does not fit into ``size`` is a bug of the caller."""


class UserPointer(ABC):
    """A pointer argument whose target is only known once other arguments have been looked at.

    Also the base of every copy whose size the declaration cannot give (ioctl(2), fcntl(2), msghdr).
    False when it is NULL. ``address`` is the bare number, for calls whose argument is one (ioctl's int).
    """

    __slots__ = ("address",)
    address: int

    def __bool__(self) -> bool:
        return self.address != 0

    @abstractmethod
    def read(self, size: int, offset: int = 0) -> bytes:
        """Copy in ``size`` bytes from ``offset``. EFAULT on a bad address."""

    @abstractmethod
    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        """Copy ``data`` out to ``offset``. EFAULT on a bad address."""

    @abstractmethod
    def string(self, limit: int = 4096) -> bytes:
        """Copy in a NUL-terminated string shorter than ``limit`` (ENAMETOOLONG otherwise)."""

    @abstractmethod
    def at(self, address: int) -> UserPointer:
        """A pointer of the same address space to ``address`` (for pointers found inside structs)."""

    def unpack(self, layout: struct.Struct, offset: int = 0) -> tuple[Any, ...]:
        """Copy in one struct."""
        return layout.unpack(self.read(layout.size, offset))

    def pack(self, layout: struct.Struct, *values: int | bytes, offset: int = 0) -> None:
        """Copy out one struct."""
        self.write(layout.pack(*values), offset)

    def buffer(self, size: int) -> UserBuffer:
        """The ``size`` bytes at this pointer as a buffer."""
        return Prefix(self, size)


class Prefix(UserBuffer):
    """The first ``size`` bytes behind a pointer, or of a longer buffer."""

    __slots__ = ("source",)

    def __init__(self, source: UserPointer | UserBuffer, size: int) -> None:
        self.source = source
        self.size = size

    def read(self, size: int = -1, offset: int = 0) -> bytes:
        return self.source.read(self.size - offset if size < 0 else size, offset)

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        self.source.write(data, offset)


class VectorBuffer(UserBuffer):
    """Several buffers seen as one: what an iovec array names."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[UserBuffer]) -> None:
        self.parts = parts
        self.size = sum(part.size for part in parts)

    def read(self, size: int = -1, offset: int = 0) -> bytes:
        wanted = self.size - offset if size < 0 else size
        pieces = []
        for part in self.parts:
            if wanted <= 0:
                break
            if offset >= part.size:
                offset -= part.size
                continue
            step = min(wanted, part.size - offset)
            pieces.append(part.read(step, offset))
            wanted -= step
            offset = 0
        return b"".join(pieces)

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        view = memoryview(data).cast("B") if not isinstance(data, memoryview) else data
        for part in self.parts:
            if not view:
                return
            if offset >= part.size:
                offset -= part.size
                continue
            step = min(len(view), part.size - offset)
            part.write(view[:step], offset)
            view = view[step:]
            offset = 0


class PythonBuffer(UserBuffer):
    """A buffer of a Python program: ``data`` is read from, or written into, in place."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        self.size = len(data)

    def read(self, size: int = -1, offset: int = 0) -> bytes:
        end = self.size if size < 0 else offset + size
        return bytes(self.data[offset:end])

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        if not isinstance(self.data, bytearray):
            raise SyscallError(errno.EFAULT)
        self.data[offset : offset + len(data)] = data


class PythonPointer(UserPointer):
    """A pointer of a Python program into one ``bytearray``; ``address`` doubles as ioctl's integer."""

    __slots__ = ("data",)

    def __init__(self, data: bytearray | None = None, address: int | None = None) -> None:
        self.data = bytearray() if data is None else data
        self.address = (0 if data is None else 1) if address is None else address

    def read(self, size: int, offset: int = 0) -> bytes:
        if offset + size > len(self.data):
            raise SyscallError(errno.EFAULT)
        return bytes(self.data[offset : offset + size])

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        if offset + len(data) > len(self.data):
            raise SyscallError(errno.EFAULT)
        self.data[offset : offset + len(data)] = data

    def string(self, limit: int = 4096) -> bytes:
        text, found, _ = bytes(self.data[:limit]).partition(b"\0")
        if not found:
            raise SyscallError(errno.ENAMETOOLONG)
        return text

    def at(self, address: int) -> UserPointer:
        raise SyscallError(errno.EFAULT)
