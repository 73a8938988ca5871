"""Registered files and groups of buffers."""

from __future__ import annotations

import errno

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.uring import BUFFER, FILE_INDEX_ALLOC
from occlum_async.fs.fdtable import FdTable
from occlum_async.io.eventfd import EventFd
from occlum_async.io.uring.account import Account, Accounts
from occlum_async.io.uring.registered import BufferGroup, BufferRing, FileTable
from occlum_async.process.asynchronous import FIXED, RequestFiles
from occlum_async.sched.strand import Scheduler


def fails(number: int, call: object, *arguments: object) -> None:
    with pytest.raises(SyscallError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.errno == number


async def test_slots_hold_files_open(scheduler: Scheduler) -> None:
    gone: list[int] = []
    table = FileTable(gone.append)
    fails(errno.ENXIO, table.install, EventFd(scheduler, 0, False), 0)
    table.resize(2)
    first, second = EventFd(scheduler, 0, False), EventFd(scheduler, 0, False)
    assert table.install(first, 1) == 1
    table.tags[1] = 77
    assert table.install(second, FILE_INDEX_ALLOC) == 0
    fails(errno.ENFILE, table.install, first, FILE_INDEX_ALLOC)
    fails(errno.EINVAL, table.install, first, 2)
    assert table.get(1) is first and first.users == 1
    table.remove(1)
    assert first.users == 0 and gone == [77]
    fails(errno.EBADF, table.remove, 1)
    table.clear()
    assert second.users == 0 and not table.slots


async def test_a_request_sees_both_kinds_of_files(scheduler: Scheduler) -> None:
    table, fixed = FdTable(), FileTable(lambda tag: None)
    fixed.resize(1)
    plain, registered, opened = (EventFd(scheduler, 0, False) for _ in range(3))
    fd = table.install(plain)
    fixed.install(registered, 0)
    view = RequestFiles(table, fixed)
    assert view.get(fd) is plain and view.get(FIXED) is registered
    fails(errno.EBADF, view.get, FIXED + 1)
    view.held[fd] = plain
    table.close(fd)
    assert view.get(fd) is plain
    assert view.install(opened) == 0 and table.get(0) is opened
    into_slot = RequestFiles(table, fixed, 0)
    assert into_slot.install(opened) == 0 and fixed.get(0) is opened
    fails(errno.EINVAL, into_slot.install, opened, True)
    into_slot.close(FIXED)
    fails(errno.EBADF, view.get, FIXED)


def test_buffers_are_chosen_once_and_given_back() -> None:
    accounts = Accounts()
    group = BufferGroup(Account(accounts, 0, 1))
    fails(errno.ENOBUFS, group.take, 0)
    group.provide(0x1000, 16, 3, 5)
    one = group.take(8)
    assert (one.address, one.size, one.id) == (0x1000, 8, 5)
    assert group.give_back(one)
    again = group.take(0)
    assert (again.id, again.size) == (5, 16)
    assert group.remove(9) == 2
    assert accounts.items[0] == 0
    fails(errno.ENOMEM, group.provide, 0, 1, (1 << 17) + 1, 0)


class Memory:
    def __init__(self, size: int) -> None:
        self.data = bytearray(size)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.data[address : address + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self.data[address : address + len(data)] = data


def test_a_ring_of_buffers_is_read_from_the_guest() -> None:
    memory = Memory(4096)
    ring = BufferRing(memory, 0, 4)
    fails(errno.ENOBUFS, ring.take, 0)
    for number in range(4):
        BUFFER.pack_into(memory.data, number * 16, 0x1000 * number, 64, number, 0)
    memory.data[14:16] = (4).to_bytes(2, "little")
    first, second = ring.take(0), ring.take(10)
    assert (first.id, second.id, second.size) == (0, 1, 10)
    assert not ring.give_back(first)  # not the latest
    assert ring.give_back(second)
    assert [ring.take(0).id for _ in range(3)] == [1, 2, 3]
    fails(errno.ENOBUFS, ring.take, 0)
