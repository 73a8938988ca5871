"""Guest memory as handlers see it: buffers and pointers over the window of a slot, or over the guest itself.

Short data travels in the slot's window (the shim has copied it, or will copy it); long data by
``process_vm_readv``/``writev`` straight between the guest's pages and ours.
"""

from __future__ import annotations

import errno
import struct
from typing import Protocol

from ..abi.errors import SyscallError
from ..abi.user import UserBuffer, UserPointer

_PAGE = 4096
_BLOCK = 1 << 18
_WORD = struct.Struct("<Q")
_MAX = 0x7FFFF000  # what one read(2) or write(2) transfers at most


class Memory(Protocol):
    """The memory of a process, wherever it is: ``guest.HostProcess``."""

    def read(self, address: int, size: int) -> bytes: ...
    def read_some(self, address: int, size: int) -> bytes: ...
    def write(self, address: int, data: bytes | bytearray | memoryview) -> None: ...


class User(Protocol):
    """Whose arguments are decoded: a ``guest.GuestThread`` at its system call, or ``remote.RemoteUser`` at any time."""

    @property
    def host(self) -> Memory: ...
    def place(self, position: int) -> tuple[int, int]: ...
    def window(self, offset: int, size: int) -> bytes: ...
    def copy_out(self, address: int, data: bytes | bytearray | memoryview) -> None: ...


class GuestBuffer(UserBuffer):
    """``size`` bytes at ``address``; ``place`` is where the shim has put a copy in the window, or -1."""

    __slots__ = ("address", "guest", "place")

    def __init__(self, guest: User, address: int, size: int, place: int = -1) -> None:
        self.guest = guest
        self.address = address
        self.size = size
        self.place = place

    def read(self, size: int = -1, offset: int = 0) -> bytes:
        size = min(self.size - offset if size < 0 else size, _MAX)
        if self.place >= 0:
            return self.guest.window(self.place + offset, size)
        return self.guest.host.read(self.address + offset, size)

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        self.guest.copy_out(self.address + offset, data)


class GuestPointer(UserPointer):
    """An address of the guest; the first ``known`` bytes behind it stand in the window at ``place``."""

    __slots__ = ("guest", "known", "place")

    def __init__(self, guest: User, address: int, place: int = 0, known: int = 0) -> None:
        self.guest = guest
        self.address = address
        self.place = place
        self.known = known

    def read(self, size: int, offset: int = 0) -> bytes:
        if offset + size <= self.known:
            return self.guest.window(self.place + offset, size)
        return self.guest.host.read(self.address + offset, size)

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        self.guest.copy_out(self.address + offset, data)

    def string(self, limit: int = 4096) -> bytes:
        return read_string(self.guest, self.address, limit)

    def at(self, address: int) -> UserPointer:
        return GuestPointer(self.guest, address)

    def buffer(self, size: int) -> UserBuffer:
        return GuestBuffer(self.guest, self.address, size, self.place if 0 < size <= self.known else -1)


def read_string(guest: User, address: int, limit: int) -> bytes:
    """The NUL-terminated string at ``address``, page by page; ENAMETOOLONG when there is no end below ``limit``."""
    pieces: list[bytes] = []
    total = 0
    step = min(256, _PAGE - address % _PAGE)
    while total < limit:
        piece, end, _ = guest.host.read(address + total, step).partition(b"\0")
        pieces.append(piece)
        if end:
            text = b"".join(pieces)
            if len(text) < limit:
                return text
            break
        total += step
        step = _PAGE - (address + total) % _PAGE
    raise SyscallError(errno.ENAMETOOLONG)


def read_strings(guest: User, array: int, limit: int) -> list[bytes]:
    """The strings of a NULL-terminated array of pointers; E2BIG above ``limit`` bytes. NULL is an empty array."""
    if not array:
        return []
    pointers = _read_pointers(guest, array, limit // 8)
    if not pointers:
        return []
    # Programs mostly keep these strings side by side: one copy then serves them all.
    low, high = min(pointers), max(pointers)
    block = guest.host.read_some(low, high - low + _PAGE) if high - low < _BLOCK else b""
    strings = []
    total = 0
    for pointer in pointers:
        end = block.find(b"\0", pointer - low) if block else -1
        text = block[pointer - low : end] if end >= 0 else read_string(guest, pointer, limit)
        strings.append(text)
        total += len(text) + 9
        if total > limit:
            raise SyscallError(errno.E2BIG)
    return strings


def _read_pointers(guest: User, array: int, limit: int) -> list[int]:
    pointers: list[int] = []
    while len(pointers) < limit:
        size = min(512, _PAGE - array % _PAGE) or 8
        raw = guest.host.read(array, size)
        for (pointer,) in _WORD.iter_unpack(raw[: len(raw) // 8 * 8]):
            if not pointer:
                return pointers
            pointers.append(pointer)
        array += len(raw)
    raise SyscallError(errno.E2BIG)
