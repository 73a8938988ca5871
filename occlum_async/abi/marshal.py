"""How arguments travel: the types that a system call's declaration is written in.

A declaration is an ordinary typed function::

    @syscall(0)
    async def read(thread: Thread, fd: Fd, buf: Annotated[Buffer, Out("count")], count: Size) -> int: ...

Each annotation is an ``Argument``: how the register becomes a Python value, and what the shim must copy
before it submits (a C string, a buffer whose length stands in another argument, a struct of fixed size).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec

from .user import UserBuffer, UserPointer


class Kind(IntEnum):
    """How one argument travels. The numbers are the shim's, see native/include/occlum_abi.h."""

    VALUE = 0  # by value
    STRING = 1  # a NUL-terminated string, copied in
    INPUT = 2  # a buffer, copied in
    OUTPUT = 3  # a buffer that the kernel may fill
    INOUT = 4  # a struct, copied in, and the kernel may change it
    POINTER = 5  # an address whose use the handler decides: nothing is copied ahead
    VECTOR = 6  # an iovec array, and what it names if that is short, copied in
    BITS = 7  # a set of as many bits as another argument says, copied in


class Argument(msgspec.Struct, frozen=True):
    """One argument's way. ``bits`` and ``signed`` for values; ``size`` of structs, ``length`` names the
    argument that holds a buffer's length in units of ``size`` bytes; ``vector``: an iovec array, whose length is the
    next argument."""

    kind: Kind
    bits: int = 64
    signed: bool = False
    size: int = 0
    length: str = ""
    vector: bool = False
    optional: bool = False


Int = Annotated[int, Argument(Kind.VALUE, 32, True)]  # int
UInt = Annotated[int, Argument(Kind.VALUE, 32)]  # unsigned int, mode_t, flags
Long = Annotated[int, Argument(Kind.VALUE, 64, True)]  # long, off_t
Size = Annotated[int, Argument(Kind.VALUE, 64)]  # size_t, unsigned long
Address = Annotated[int, Argument(Kind.VALUE, 64)]  # an address that is itself the value (mmap)
Fd = Annotated[int, Argument(Kind.VALUE, 32, True)]  # a file descriptor; looked up by the handler
Path = Annotated[bytes, Argument(Kind.STRING)]  # const char *; EFAULT when NULL
OptionalPath = Annotated["bytes | None", Argument(Kind.STRING, optional=True)]  # NULL: None
Pointer = Annotated[UserPointer, Argument(Kind.POINTER)]  # void *, see UserPointer; False when NULL
Vector = Annotated[UserBuffer, Argument(Kind.INPUT, size=16, vector=True)]  # iovec *; the next argument is their number
InVector = Annotated[UserBuffer, Argument(Kind.VECTOR, size=16, vector=True)]  # the same, for what is written


Buffer = UserBuffer  # short for use in Annotated[Buffer, In("count")]


def In(length: str, unit: int = 1) -> Argument:
    """``const void *buf`` of as many units as the argument named ``length`` says."""
    return Argument(Kind.INPUT, size=unit, length=length)


def Out(length: str, unit: int = 1) -> Argument:
    """``void *buf``, which the handler writes."""
    return Argument(Kind.OUTPUT, size=unit, length=length)


def InOut(length: str, unit: int = 1) -> Argument:
    """``void *buf`` of as many units as the argument named ``length`` says, read and written (poll(2))."""
    return Argument(Kind.INOUT, size=unit, length=length)


def Bits(length: str) -> Argument:
    """``fd_set *`` of as many bits as the argument named ``length`` says. The handler gets a ``UserPointer``."""
    return Argument(Kind.BITS, length=length)


def StructIn(size: int) -> Argument:
    """``const struct x *``: the first ``size`` bytes come along. The handler gets a ``UserPointer``."""
    return Argument(Kind.INPUT, size=size)


def StructOut(size: int) -> Argument:
    """``struct x *`` of at most ``size`` bytes, written by the handler through a ``UserPointer``."""
    return Argument(Kind.OUTPUT, size=size)


def StructInOut(size: int) -> Argument:
    """``struct x *`` that is read and written through a ``UserPointer``."""
    return Argument(Kind.INOUT, size=size)
