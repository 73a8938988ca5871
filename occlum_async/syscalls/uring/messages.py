"""``struct msghdr`` of a request: read at submission, and maybe redirected to a buffer chosen from a group."""

from __future__ import annotations

import errno

from ...abi.errors import SyscallError
from ...abi.socket import IOVEC, MSGHDR
from ...abi.uring import RECEIVE_HEADER
from ...abi.user import PythonPointer, UserPointer


class Message(UserPointer):
    """The header as it was read once; what the call writes to it goes through to the user's."""

    __slots__ = ("_first", "_header", "_redirected", "_target", "_vector")

    def __init__(self, target: UserPointer) -> None:
        self.address = target.address
        self._target = target
        self._first = target.read(MSGHDR.size)
        self._header = bytearray(self._first)
        self._vector = b""  # the one iovec to use instead of the user's
        self._redirected = False  # nothing is written to the user's header

    def receive_into(self, address: int, size: int) -> None:
        """Have the bytes go to one buffer."""
        name, name_length, _, _, control, control_length, flags = MSGHDR.unpack(self._first)
        self._header[:] = MSGHDR.pack(name, name_length, 0, 1, control, control_length, flags)
        self._vector = IOVEC.pack(address, size)

    def lay_out(self, address: int, size: int) -> None:
        """Have all go to one buffer: a result header, the name, the control messages, the bytes. EFAULT: too small."""
        _, name_length, _, _, _, control_length, flags = MSGHDR.unpack(self._first)
        name = address + RECEIVE_HEADER.size
        control = name + name_length
        head = RECEIVE_HEADER.size + name_length + control_length
        if head > size:
            raise SyscallError(errno.EFAULT)
        self._header[:] = MSGHDR.pack(name if name_length else 0, name_length, 0, 1, control, control_length, flags)
        self._vector = IOVEC.pack(address + head, size - head)
        self._redirected = True

    def write_result(self, address: int, length: int) -> int:
        """Write the result header of a layout whose message has ``length`` bytes; how many bytes of it count."""
        _, name_length, _, _, _, control_length, flags = MSGHDR.unpack(self._header)
        self._target.at(address).write(RECEIVE_HEADER.pack(name_length, control_length, length, flags & 0xFFFFFFFF))
        start: int
        room: int
        start, room = IOVEC.unpack(self._vector)
        return start - address + min(length, room)

    def read(self, size: int, offset: int = 0) -> bytes:
        return bytes(self._header[offset : offset + size])

    def write(self, data: bytes | bytearray | memoryview, offset: int = 0) -> None:
        self._header[offset : offset + len(data)] = data
        if not self._redirected:
            self._target.write(data, offset)

    def string(self, limit: int = 4096) -> bytes:
        raise SyscallError(errno.EFAULT)

    def at(self, address: int) -> UserPointer:
        if self._vector and not address:
            return PythonPointer(bytearray(self._vector))
        return self._target.at(address)
