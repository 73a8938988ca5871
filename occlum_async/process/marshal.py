"""From declarations to what runs: argument decoders for the kernel, and the copying table for the shim."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..abi import shared
from ..abi.errors import SyscallError
from ..abi.marshal import Argument, Kind
from ..abi.signals import Restart
from ..abi.user import UserBuffer, VectorBuffer
from .guestmemory import GuestBuffer, GuestPointer, User

Entry = tuple[int, ...]
Decoder = Callable[[User, Entry], Any]

FIRST_ARGUMENT = 3  # number, used, user_data come before
IOVEC = struct.Struct("<QQ")
IOV_MAX = 1024
_MAX_TRANSFER = 0x7FFFF000


class Declaration(Protocol):
    """What ``syscalls.table`` says of one system call."""

    @property
    def number(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def handler(self) -> Callable[..., Any]: ...
    @property
    def arguments(self) -> tuple[Argument, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def restart(self) -> Restart: ...
    @property
    def blocking(self) -> bool: ...


class Call:
    """One system call, ready to be made: its handler and the decoders of its arguments.

    ``make(thread, guest, entry)`` calls the handler with the arguments of a guest's entry. It is compiled at
    the first call, as one expression: a call of a decoder for each number would cost as much as the handler.
    """

    __slots__ = ("_arguments", "_declaration", "_mixed", "blocking", "count", "handler", "make", "name", "restart")

    def __init__(self, declaration: Declaration) -> None:
        self.name = declaration.name
        self.handler = declaration.handler
        self.blocking = declaration.blocking
        self.restart = declaration.restart
        self.count = 0  # how often it was made
        self._arguments = [_expression(declaration, position) for position in range(len(declaration.arguments))]
        self._declaration = declaration
        self._mixed: dict[tuple[type, ...], Callable[[Any, User, tuple[Any, ...]], Any]] = {}
        self.make: Callable[[Any, User, Entry], Any] = self._make_first

    def _make_first(self, thread: Any, guest: User, entry: Entry) -> Any:
        self.make = self._compile((int,) * len(self._arguments))
        return self.make(thread, guest, entry)

    def make_mixed(self, thread: Any, guest: User, arguments: tuple[Any, ...]) -> Any:
        """Call the handler with numbers, which are decoded as registers are, and objects, which it gets as they are.

        A number that counts in all its 64 bits must not be negative.
        """
        kinds = tuple(map(type, arguments))
        make = self._mixed.get(kinds)
        if make is None:
            make = self._mixed[kinds] = self._compile(kinds)
        return make(thread, guest, (*_NO_HEAD, *arguments))

    def _compile(self, kinds: tuple[type, ...]) -> Callable[[Any, User, tuple[Any, ...]], Any]:
        """The call as one expression; arguments of which a kind is not ``int`` are what the handler gets."""
        names = _NAMES | {"handler": self.handler}
        words = ["thread"]
        for position, (text, kind) in enumerate(zip(self._arguments, kinds, strict=True)):
            if kind is not int:
                words.append(f"entry[{FIRST_ARGUMENT + position}]")
            elif text:
                words.append(text)
            else:
                words.append(f"decode_{position}(guest, entry)")
                names[f"decode_{position}"] = _decoder(self._declaration, position)
        made: Callable[[Any, User, tuple[Any, ...]], Any]
        made = eval(f"lambda thread, guest, entry: handler({', '.join(words)})", names)
        return made


_NO_HEAD = (0,) * FIRST_ARGUMENT  # number, flags and user_data of an entry, which no decoder looks at
_NAMES: dict[str, Any] = {"GuestBuffer": GuestBuffer, "GuestPointer": GuestPointer}


def _expression(declaration: Declaration, position: int) -> str:
    """How an argument follows from the entry alone, as Python; nothing for what has travelled in the window."""
    argument, register = declaration.arguments[position], f"entry[{FIRST_ARGUMENT + position}]"
    if argument.vector:
        return ""
    if argument.kind is Kind.VALUE:
        if argument.bits == 32:
            low = f"{register} & 0xFFFFFFFF"
            return f"(({low}) ^ 0x80000000) - 0x80000000" if argument.signed else low
        return f"({register} ^ 1 << 63) - (1 << 63)" if argument.signed else register
    if argument.kind is Kind.OUTPUT and argument.length:
        length = FIRST_ARGUMENT + declaration.names.index(argument.length)
        return f"GuestBuffer(guest, {register}, entry[{length}] * {argument.size})"
    return f"GuestPointer(guest, {register})" if argument.kind in (Kind.POINTER, Kind.OUTPUT) else ""


def compile_calls(declarations: Mapping[int, Declaration]) -> dict[int, Call]:
    """A ``Call`` for every declaration, by number."""
    return {number: Call(declaration) for number, declaration in declarations.items()}


def shim_table(declarations: Mapping[int, Declaration]) -> bytes:
    """The page's table: for each call and argument the kind, the argument that holds its length, its unit."""
    table = bytearray(shared.TABLE_CALLS * 24)
    for number, declaration in declarations.items():
        for position, argument in enumerate(declaration.arguments):
            length = declaration.names.index(argument.length) if argument.length else 15
            if argument.vector:
                length = position + 1
            word = argument.kind | length << 4 | argument.size << 8
            struct.pack_into("<I", table, number * 24 + position * 4, word)
    return bytes(table)


def _decoder(declaration: Declaration, position: int) -> Decoder:
    """How an argument that has travelled in the window follows from an entry."""
    argument, register = declaration.arguments[position], FIRST_ARGUMENT + position
    if argument.vector:
        return _vector(register, position, argument.kind is Kind.VECTOR)
    if argument.kind is Kind.STRING:
        return _string(register, position, argument.optional)
    if not argument.length or argument.kind is Kind.BITS:
        return _struct(register, position)
    return _buffer(register, position, FIRST_ARGUMENT + declaration.names.index(argument.length), argument.size)


def _string(register: int, position: int, optional: bool) -> Decoder:
    def decode(guest: User, entry: Entry) -> bytes | None:
        place, length = guest.place(position)
        if length <= shared.WINDOW_SIZE:
            return guest.window(place, length)
        if optional and not entry[register]:
            return None
        raise SyscallError(errno.ENAMETOOLONG if length == shared.PLACE_LONG else errno.EFAULT)

    return decode


def _struct(register: int, position: int) -> Decoder:
    def decode(guest: User, entry: Entry) -> GuestPointer:
        place, known = guest.place(position)
        return GuestPointer(guest, entry[register], place, known if known <= shared.WINDOW_SIZE else 0)

    return decode


def _buffer(register: int, position: int, length: int, unit: int) -> Decoder:
    def decode(guest: User, entry: Entry) -> GuestBuffer:
        size = entry[length] * unit
        place, copied = guest.place(position)
        return GuestBuffer(guest, entry[register], size, place if size <= copied <= shared.WINDOW_SIZE else -1)

    return decode


def _vector(register: int, position: int, copied_in: bool) -> Decoder:
    def decode(guest: User, entry: Entry) -> UserBuffer:
        count = entry[register + 1]
        if count > IOV_MAX:
            raise SyscallError(errno.EINVAL)
        size = count * IOVEC.size
        place, copied = guest.place(position)
        if size > copied or copied > shared.WINDOW_SIZE:
            raw = guest.host.read(entry[register], size) if count else b""
        else:
            raw = guest.window(place, size)
            place, copied = guest.place(position + 1) if copied_in else (0, shared.PLACE_NONE)
            if copied <= shared.WINDOW_SIZE and copied == sum(length for _, length in IOVEC.iter_unpack(raw)):
                return GuestBuffer(guest, 0, copied, place)
        return VectorBuffer(vector_parts(guest, raw))

    return decode


def vector_parts(guest: User, raw: bytes) -> list[UserBuffer]:
    """The buffers that an iovec array names; EINVAL for a length above SSIZE_MAX; what exceeds a transfer is cut."""
    parts: list[UserBuffer] = []
    room = _MAX_TRANSFER
    for address, size in IOVEC.iter_unpack(raw):
        if size >> 63:
            raise SyscallError(errno.EINVAL)
        size = min(size, room)
        room -= size
        parts.append(GuestBuffer(guest, address, size))
    return parts
