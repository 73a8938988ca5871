"""System V IPC: semaphores, message queues, shared memory, and their permissions."""

from __future__ import annotations

import asyncio
import errno
import os
import struct

import pytest

from occlum_async.abi.errors import Interrupted
from occlum_async.abi.user import PythonBuffer, PythonPointer
from occlum_async.fs.credentials import Credentials
from occlum_async.io.msgqueue import MSG_COPY, MSG_EXCEPT, MSG_NOERROR, MSGMNB
from occlum_async.io.semaphore import SEM_UNDO, SEMVMX
from occlum_async.io.shm import SHM_DEST, SegmentTable
from occlum_async.io.sysv import (
    IPC_CREAT,
    IPC_EXCL,
    IPC_INFO,
    IPC_NOWAIT,
    IPC_PRIVATE,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    PERM,
    Who,
)
from occlum_async.syscalls import ipc

NULL = PythonPointer()
ROOT = Who(0, 0)


def pointer(data: bytes | int) -> PythonPointer:
    return PythonPointer(bytearray(data))


def value(number: int) -> PythonPointer:
    """A union argument that is an int."""
    return PythonPointer(address=number & 0xFFFFFFFF)


async def semop(thread, identifier, *operations, timeout=None):
    data = b"".join(struct.pack("<Hhh", *operation) for operation in operations)
    if timeout is None:
        return await ipc.semop(thread, identifier, PythonBuffer(data), len(operations))
    limit = pointer(struct.pack("<qq", 0, timeout))
    return await ipc.semtimedop(thread, identifier, PythonBuffer(data), len(operations), limit)


def values(thread, identifier, count):
    target = pointer(2 * count)
    ipc.semctl(thread, identifier, 0, ipc.GETALL, target)
    return list(struct.unpack(f"<{count}H", target.data))


# -- keys, ids, permissions ------------------------------------------------------


async def test_keys(thread, fails):
    await fails(errno.ENOENT, ipc.semget, thread, 5, 1, 0)
    first = ipc.semget(thread, 5, 3, IPC_CREAT | 0o600)
    assert ipc.semget(thread, 5, 0, 0) == first
    assert ipc.semget(thread, IPC_PRIVATE, 1, 0o600) != first
    await fails(errno.EEXIST, ipc.semget, thread, 5, 1, IPC_CREAT | IPC_EXCL)
    await fails(errno.EINVAL, ipc.semget, thread, 5, 4, 0)
    await fails(errno.EINVAL, ipc.semget, thread, 6, 0, IPC_CREAT)
    ipc.semctl(thread, first, 0, IPC_RMID, NULL)
    await fails(errno.EINVAL, ipc.semctl, thread, first, 0, ipc.GETVAL, NULL)
    second = ipc.semget(thread, 5, 1, IPC_CREAT)
    assert second != first
    await fails(errno.EIDRM, ipc.semctl, thread, first, 0, ipc.GETVAL, NULL)


async def test_permissions(thread, fails):
    identifier = ipc.msgget(thread, 5, IPC_CREAT | 0o640)
    thread.credentials = Credentials.of(1000, 1000)
    await fails(errno.EACCES, ipc.msgget, thread, 5, 0o400)
    await fails(errno.EACCES, ipc.msgctl, thread, identifier, IPC_STAT, pointer(120))
    await fails(errno.EPERM, ipc.msgctl, thread, identifier, IPC_RMID, NULL)
    thread.credentials = Credentials.of(1000, 1000, (0,))
    assert ipc.msgget(thread, 5, 0o400) == identifier
    await fails(errno.EACCES, ipc.msgsnd(thread, identifier, pointer(b"\1" + bytes(8)), 1, 0))


async def test_changing_owner_and_mode(thread):
    identifier = ipc.semget(thread, 5, 1, IPC_CREAT | 0o600)
    ipc.semctl(thread, identifier, 0, IPC_SET, pointer(PERM.pack(0, 7, 8, 0, 0, 0o444, 0, 0, 0, 0)))
    status = pointer(104)
    ipc.semctl(thread, identifier, 0, IPC_STAT, status)
    key, uid, gid, creator, creator_group, mode, *_ = PERM.unpack_from(status.data)
    assert (key, uid, gid, creator, creator_group, mode) == (5, 7, 8, 0, 0, 0o444)


async def test_listing_as_ipcs_does(thread):
    identifiers = [ipc.shmget(thread, IPC_PRIVATE, 1, 0o600) for _ in range(3)]
    highest = ipc.shmctl(thread, 0, ipc.SHM_INFO, pointer(48))
    assert highest == 2
    assert [ipc.shmctl(thread, slot, ipc.SHM_STAT, pointer(112)) for slot in range(highest + 1)] == identifiers
    assert ipc.msgctl(thread, 0, IPC_INFO, pointer(32)) == 0
    assert ipc.semctl(thread, 0, 0, IPC_INFO, pointer(40)) == 0


# -- semaphores --------------------------------------------------------------------


@pytest.fixture
def semaphores(thread):
    return ipc.semget(thread, IPC_PRIVATE, 3, 0o600)


async def test_operations_happen_together_or_not_at_all(thread, semaphores, fails):
    await semop(thread, semaphores, (0, 2, 0), (1, 1, 0))
    assert values(thread, semaphores, 3) == [2, 1, 0]
    await fails(errno.EAGAIN, semop(thread, semaphores, (0, -1, 0), (1, -2, IPC_NOWAIT)))
    assert values(thread, semaphores, 3) == [2, 1, 0]
    await fails(errno.EAGAIN, semop(thread, semaphores, (0, 0, IPC_NOWAIT)))
    await semop(thread, semaphores, (2, 0, 0), (2, 1, 0))
    await fails(errno.EFBIG, semop(thread, semaphores, (3, 1, 0)))
    await fails(errno.ERANGE, semop(thread, semaphores, (0, SEMVMX, 0)))
    await fails(errno.E2BIG, semop(thread, semaphores, *[(0, 1, 0)] * 501))


async def test_waits_for_its_turn(thread, semaphores, blocked):
    both = await blocked(semop(thread, semaphores, (0, -2, 0)))
    one = await blocked(semop(thread, semaphores, (0, -1, 0)))
    zero = await blocked(semop(thread, semaphores, (1, 1, 0), (1, 0, 0), (2, 0, 0)))
    assert ipc.semctl(thread, semaphores, 0, ipc.GETNCNT, NULL) == 2
    assert ipc.semctl(thread, semaphores, 1, ipc.GETZCNT, NULL) == 1
    zero.cancel()
    await semop(thread, semaphores, (0, 1, 0))
    await one
    assert not both.done()
    ipc.semctl(thread, semaphores, 0, ipc.SETVAL, value(2))
    await both
    assert values(thread, semaphores, 3) == [0, 0, 0]
    assert ipc.semctl(thread, semaphores, 0, ipc.GETPID, NULL) == thread.process.pid


async def test_wait_ends_by_time_signal_and_removal(thread, semaphores, blocked, fails):
    await fails(errno.EAGAIN, semop(thread, semaphores, (0, -1, 0), timeout=1_000_000))
    task = await blocked(semop(thread, semaphores, (0, -1, 0)))
    thread.scheduler._task_strands[task].interrupt()
    with pytest.raises(Interrupted):
        await task
    task = await blocked(semop(thread, semaphores, (0, -1, 0)))
    ipc.semctl(thread, semaphores, 0, IPC_RMID, NULL)
    await fails(errno.EIDRM, lambda: result_of(task))


async def result_of(task):
    return await task


async def test_undo_at_exit(thread, semaphores, blocked):
    ipc.semctl(thread, semaphores, 0, ipc.SETVAL, value(3))
    await semop(thread, semaphores, (0, -2, SEM_UNDO), (1, 5, SEM_UNDO))
    await semop(thread, semaphores, (1, -4, 0))
    task = await blocked(semop(thread, semaphores, (0, -3, 0)))
    thread.process.exit_waiters.wake()
    await task
    assert values(thread, semaphores, 3) == [0, 0, 0]  # 1 + 2 - 3; 1 - 5 stops at 0


async def test_setting_a_value_forgets_undo(thread, semaphores):
    await semop(thread, semaphores, (0, 1, SEM_UNDO))
    ipc.semctl(thread, semaphores, 0, ipc.SETALL, pointer(struct.pack("<3H", 5, 6, 7)))
    thread.process.exit_waiters.wake()
    assert values(thread, semaphores, 3) == [5, 6, 7]


async def test_value_range(thread, semaphores, fails):
    await fails(errno.ERANGE, ipc.semctl, thread, semaphores, 0, ipc.SETVAL, value(-1))
    await fails(errno.EINVAL, ipc.semctl, thread, semaphores, 3, ipc.GETVAL, NULL)
    await fails(errno.EINVAL, ipc.semctl, thread, semaphores, 0, 99, NULL)


# -- message queues ------------------------------------------------------------------


@pytest.fixture
def queue(thread):
    return ipc.msgget(thread, IPC_PRIVATE, 0o600)


async def send(thread, queue, kind, text, flags=0):
    await ipc.msgsnd(thread, queue, pointer(struct.pack("<q", kind) + text), len(text), flags)


async def receive(thread, queue, kind=0, flags=IPC_NOWAIT, size=100):
    target = pointer(8 + size)
    count = await ipc.msgrcv(thread, queue, target, size, kind, flags)
    return struct.unpack_from("<q", target.data)[0], bytes(target.data[8 : 8 + count])


async def test_selection_by_type(thread, queue, fails):
    for kind in (3, 1, 2, 1):
        await send(thread, queue, kind, str(kind).encode())
    assert await receive(thread, queue, 2) == (2, b"2")
    assert await receive(thread, queue, 3, IPC_NOWAIT | MSG_EXCEPT) == (1, b"1")
    assert await receive(thread, queue, 1, IPC_NOWAIT | MSG_COPY) == (1, b"1")
    assert await receive(thread, queue, -3) == (1, b"1")
    assert await receive(thread, queue) == (3, b"3")
    await fails(errno.ENOMSG, receive(thread, queue))


async def test_too_long_a_message(thread, queue, fails):
    await send(thread, queue, 1, b"hello")
    await fails(errno.E2BIG, receive(thread, queue, size=4))
    assert await receive(thread, queue, flags=IPC_NOWAIT | MSG_NOERROR, size=4) == (1, b"hell")
    await fails(errno.EINVAL, send(thread, queue, 1, bytes(8193)))
    await fails(errno.EINVAL, send(thread, queue, 0, b""))


async def test_blocking_both_ways(thread, queue, blocked, fails):
    task = await blocked(receive(thread, queue, 7, 0))
    await send(thread, queue, 6, b"not this")
    await send(thread, queue, 7, b"this")
    assert await task == (7, b"this")
    for _ in range(MSGMNB // 8192 - 1):
        await send(thread, queue, 1, bytes(8192))
    await fails(errno.EAGAIN, send(thread, queue, 1, bytes(8192), IPC_NOWAIT))
    task = await blocked(send(thread, queue, 1, bytes(8192)))
    await receive(thread, queue, 6)
    await task
    task = await blocked(receive(thread, queue, 99, 0))
    ipc.msgctl(thread, queue, IPC_RMID, NULL)
    await fails(errno.EIDRM, lambda: result_of(task))


async def test_queue_status(thread, queue):
    await send(thread, queue, 1, b"hello")
    status = pointer(120)
    ipc.msgctl(thread, queue, IPC_STAT, status)
    count, messages, limit, sender, receiver = struct.unpack_from("<QQQii", status.data, 72)
    assert (count, messages, limit, sender, receiver) == (5, 1, MSGMNB, thread.process.pid, 0)


# -- shared memory -------------------------------------------------------------------


class FakeMemory:
    """A process' address space: notes what is mapped, and maps nothing."""

    def __init__(self):
        self.mapped = {}

    async def map_fd(self, thread, address, length, protection, flags, fd, offset):
        address = address or 0x10000 * (1 + len(self.mapped))
        assert os.fstat(fd).st_size >= length
        self.mapped[address] = (length, protection)
        return address

    async def unmap(self, thread, address, length):
        assert self.mapped.pop(address)[0] == length


@pytest.fixture
def memory(thread):
    thread.process.memory = FakeMemory()
    return thread.process.memory


def attached(thread, identifier):
    status = pointer(112)
    ipc.shmctl(thread, identifier, IPC_STAT, status)
    (mode,) = struct.unpack_from("<I", status.data, 20)
    return struct.unpack_from("<Q", status.data, 88)[0], mode


async def test_attach_and_detach(thread, memory, fails):
    identifier = ipc.shmget(thread, IPC_PRIVATE, 5000, 0o600)
    address = await ipc.shmat(thread, identifier, 0, 0)
    other = await ipc.shmat(thread, identifier, 0x500001, 0o20000 | 0o10000)
    assert memory.mapped == {address: (8192, 3), 0x500000: (8192, 1)}
    assert attached(thread, identifier) == (2, 0o600)
    await ipc.shmdt(thread, other)
    await fails(errno.EINVAL, ipc.shmdt(thread, other))
    await fails(errno.EINVAL, ipc.shmat(thread, identifier, 0x500001, 0))
    assert attached(thread, identifier)[0] == 1


async def test_removed_segment_goes_with_its_last_mapping(thread, memory, fails):
    identifier = ipc.shmget(thread, 5, 5000, IPC_CREAT | 0o600)
    address = await ipc.shmat(thread, identifier, 0, 0)
    ipc.shmctl(thread, identifier, IPC_RMID, NULL)
    assert attached(thread, identifier) == (1, 0o600 | SHM_DEST)
    await fails(errno.ENOENT, ipc.shmget, thread, 5, 5000, 0)
    await ipc.shmdt(thread, address)
    await fails(errno.EINVAL, attached, thread, identifier)
    assert thread.kernel.ipc.segments.used == 0


async def test_fork_exec_and_exit(thread, memory):
    identifier = ipc.shmget(thread, IPC_PRIVATE, 1, 0o600)
    await ipc.shmat(thread, identifier, 0, 0)
    child, process = object(), thread.process
    namespace = thread.kernel.ipc
    namespace.forked(process, child, 99, process.child_waiters)
    assert attached(thread, identifier)[0] == 2
    process.child_waiters.wake()  # the child's end
    assert attached(thread, identifier)[0] == 1
    namespace.executed(process, process.pid)
    assert attached(thread, identifier)[0] == 0
    process.exit_waiters.wake()
    assert not process.exit_waiters


async def test_read_only_mapping_gets_a_read_only_descriptor():
    table = SegmentTable()
    segment = table.get(table.open(IPC_PRIVATE, 10, 0o600, ROOT, 1))
    fd = segment.mapping(writable=False)
    try:
        with pytest.raises(OSError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)
        table.remove(segment)


async def test_shared_memory_is_bounded(fails):
    table = SegmentTable(total=8192)
    segment = table.get(table.open(IPC_PRIVATE, 4097, 0o600, ROOT, 1))
    await fails(errno.ENOSPC, table.open, IPC_PRIVATE, 1, 0o600, ROOT, 1)
    await fails(errno.EINVAL, table.open, IPC_PRIVATE, 0, 0o600, ROOT, 1)
    table.remove(segment)
    assert table.used == 0


async def test_python_programs_have_no_address_space(thread, fails):
    identifier = ipc.shmget(thread, IPC_PRIVATE, 1, 0o600)
    await fails(errno.EINVAL, ipc.shmat(thread, identifier, 0, 0))
    assert attached(thread, identifier)[0] == 0
    await asyncio.sleep(0)
