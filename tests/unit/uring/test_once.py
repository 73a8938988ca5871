"""Sync and async calls are one layer: every operation of a ring and of AIO is a declared system call's own handler."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from socket import SOL_SOCKET

import pytest

from occlum_async.abi.marshal import Kind
from occlum_async.abi.uring import SQE, Op
from occlum_async.io.uring.registered import FixedBuffer
from occlum_async.io.uring.request import Request
from occlum_async.libos.boot import declare_syscalls
from occlum_async.process.asynchronous import RemoteUser
from occlum_async.syscalls import aio
from occlum_async.syscalls import uring as package
from occlum_async.syscalls.table import TABLE
from occlum_async.syscalls.uring import operations, queue

from .conftest import Bench

declare_syscalls()
CALLS = operations.CALLS | {Op.FSYNC: operations._FSYNC}
MODULES = [*sorted(Path(inspect.getfile(package)).parent.glob("*.py")), Path(inspect.getfile(aio))]

# What is no system call: rings, requests and time.
OF_THE_RING = {
    Op.NOP, Op.POLL_ADD, Op.POLL_REMOVE, Op.TIMEOUT, Op.TIMEOUT_REMOVE, Op.LINK_TIMEOUT, Op.ASYNC_CANCEL,
    Op.FILES_UPDATE, Op.PROVIDE_BUFFERS, Op.REMOVE_BUFFERS, Op.MSG_RING, Op.MADVISE, Op.URING_CMD,
    Op.FIXED_FD_INSTALL,
}  # fmt: skip


def test_every_operation_is_one_or_the_other() -> None:
    assert set(queue.OPERATIONS) == OF_THE_RING
    assert set(CALLS) == set(Op) - OF_THE_RING


@pytest.mark.parametrize(
    "number",
    sorted({call.number for call in [*CALLS.values(), *operations.COMMANDS.values()]} | set(aio.CALLS.values())),
)
def test_the_call_is_declared(number: int) -> None:
    assert number in TABLE


class Zeros:
    """A memory in which everything is 0: empty paths, empty structs."""

    def read(self, address: int, size: int) -> bytes:
        return bytes(size)

    read_some = read

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None: ...


EVERY = [(op, 0, CALLS[op]) for op in sorted(CALLS)] + [
    (Op.URING_CMD, SOL_SOCKET, command) for command in operations.COMMANDS.values()
]


@pytest.mark.parametrize(
    ("op", "address", "call"), EVERY, ids=lambda value: str(value) if isinstance(value, int) else ""
)
async def test_the_arguments_are_those_of_the_call(
    op: int, address: int, call: operations.SystemCall, bench: Bench
) -> None:
    bench.ring.buffers = [FixedBuffer(0, 1)]
    request = Request(bench.ring, bench.submitter, None, SQE.pack(op, 0, 0, 0, 0, address, *[0] * 7), 0)
    arguments = call.arguments(request, RemoteUser(Zeros()))
    declared = TABLE[call.number].arguments
    assert len(arguments) == len(declared)
    for value, argument in zip(arguments, declared, strict=True):
        if argument.kind is Kind.VALUE:
            assert isinstance(value, int)
        elif argument.kind is Kind.STRING:
            assert isinstance(value, bytes)


# What moves a file's bytes, or changes what a name means, belongs to the handlers alone.
FORBIDDEN = {
    "pread", "pwrite", "sync", "truncate", "append", "send", "receive", "accept", "connect", "listen",
    "open_location", "make_directory", "make_link", "make_symlink", "remove_file", "remove_directory", "rename_file",
}  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_nothing_is_done_a_second_time(path: Path) -> None:
    calls = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & FORBIDDEN
