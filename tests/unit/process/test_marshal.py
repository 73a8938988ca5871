"""How arguments become values: what the shim has copied is used, what it says of that is not believed."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest

from occlum_async.abi import shared
from occlum_async.abi.errors import SyscallError
from occlum_async.abi.user import UserBuffer
from occlum_async.libos.boot import declare_syscalls
from occlum_async.process.marshal import Call
from occlum_async.syscalls.table import TABLE

declare_syscalls()

READV, WRITEV = 19, 20
ARRAY, DATA = 0x1000, 0x2000
NOTHING = (0, shared.PLACE_NONE)


class User:
    """A guest whose memory holds an array of two parts at ``ARRAY``, and "abcdef" at ``DATA``."""

    def __init__(self, array: tuple[int, int], data: tuple[int, int]) -> None:
        self.memory = bytearray(2 * DATA)
        self.memory[ARRAY : ARRAY + 32] = struct.pack("<QQQQ", DATA, 2, DATA + 2, 4)
        self.memory[DATA : DATA + 6] = b"abcdef"
        self.copied = bytes(self.memory[ARRAY : ARRAY + 32]) + b"abcdef"
        self.places = {1: array, 2: data}
        self.reads = 0

    @property
    def host(self) -> User:
        return self

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        return bytes(self.memory[address : address + size])

    def place(self, position: int) -> tuple[int, int]:
        return self.places[position]

    def window(self, offset: int, size: int) -> bytes:
        if offset + size > shared.WINDOW_SIZE:
            raise SyscallError(errno.EFAULT)
        return self.copied[offset : offset + size]


async def decoded(number: int, user: User, count: int = 2) -> UserBuffer:
    """What the handler of a call with a vector would get."""
    seen: list[UserBuffer] = []
    call = Call(TABLE[number])

    async def handler(thread: object, fd: int, vector: UserBuffer, count: int) -> None:
        seen.append(vector)

    call.handler = handler
    entry: tuple[Any, ...] = (number, 0, 0, 1, ARRAY, count, 0, 0, 0)
    await call.make(None, user, entry)  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize(
    ("number", "array", "data", "reads"),
    [
        (WRITEV, (0, 32), (32, 6), 0),
        (WRITEV, (0, 32), NOTHING, 2),  # too long to be copied
        (WRITEV, NOTHING, NOTHING, 3),
        (WRITEV, (0, shared.PLACE_FAULT), NOTHING, 3),
        (WRITEV, (0, 32), (32, 5), 2),  # a lie: not what the parts add up to
        (WRITEV, (0, 16), (32, 6), 3),  # a lie: half an array
        (READV, (0, 32), (32, 6), 2),  # nothing is to be written: no copy is looked for
        (READV, NOTHING, NOTHING, 3),
    ],
)
async def test_vectors(number: int, array: tuple[int, int], data: tuple[int, int], reads: int) -> None:
    user = User(array, data)
    vector = await decoded(number, user)
    assert vector.size == 6 and vector.read() == b"abcdef"
    assert user.reads == reads
    assert vector.read(2, 1) == b"bc"


async def test_a_copy_outside_of_the_window() -> None:
    vector = await decoded(WRITEV, User((0, 32), (shared.WINDOW_SIZE - 1, 6)))
    with pytest.raises(SyscallError) as caught:
        vector.read()
    assert caught.value.errno == errno.EFAULT
    with pytest.raises(SyscallError):
        await decoded(WRITEV, User((shared.WINDOW_SIZE, 32), NOTHING))


async def test_too_many_parts() -> None:
    with pytest.raises(SyscallError) as caught:
        await decoded(WRITEV, User((0, 32), (32, 6)), 1025)
    assert caught.value.errno == errno.EINVAL
