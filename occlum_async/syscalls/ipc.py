"""System V IPC: semget(2), msgget(2), shmget(2) and what is done with the objects."""

from __future__ import annotations

import errno
import os
import struct
from typing import Annotated, Any, TypeVar

from ..abi.errors import SyscallError
from ..abi.marshal import Address, Buffer, In, Int, Long, Pointer, Size, StructIn, UInt
from ..abi.user import UserPointer
from ..fs.credentials import CAP_IPC_OWNER, CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from ..io.ipc import IpcNamespace
from ..io.msgqueue import MSG_COPY, MSG_EXCEPT, MSGMAX, Message, MessageQueue
from ..io.semaphore import SEM_UNDO, SEMBUF, SEMOPM, Operation, SemaphoreSet
from ..io.shm import PAGE, SHM_EXEC, SHM_LOCKED, SHM_RDONLY, SHM_REMAP, SHM_RND
from ..io.sysv import IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, PERM, IpcObject, IpcTable, Who
from ..process.thread import Thread
from .epoll import TIMESPEC
from .events import BILLION, timespec
from .table import Restart, syscall

GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = 11, 12, 13, 14, 15, 16, 17
SEM_STAT, SEM_INFO, SEM_STAT_ANY = 18, 19, 20
MSG_STAT, MSG_INFO, MSG_STAT_ANY = 11, 12, 13
SHM_LOCK, SHM_UNLOCK, SHM_STAT, SHM_INFO, SHM_STAT_ANY = 11, 12, 13, 14, 15

READ, WRITE, EXECUTE = 0o444, 0o222, 0o111
MESSAGE_TYPE = struct.Struct("<q")
QBYTES = struct.Struct("<Q")
QBYTES_OFFSET = 88  # in struct msqid64_ds

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_FIXED, MAP_FIXED_NOREPLACE = 0x1, 0x10, 0x100000

Object = TypeVar("Object", bound=IpcObject)


def namespace(thread: Thread) -> IpcNamespace:
    """The LibOS's IPC objects."""
    found = thread.kernel.ipc
    assert isinstance(found, IpcNamespace), "the boot makes kernel.ipc"
    return found


def who(thread: Thread) -> Who:
    """The caller, as IPC permissions see him."""
    mine = thread.credentials
    return Who(mine.euid, mine.egid, mine.groups, mine.capable(CAP_IPC_OWNER), mine.capable(CAP_SYS_ADMIN))


def _signed(value: int) -> int:
    """The ``int`` in the low half of a union argument."""
    return ((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def _stat(thread: Thread, table: IpcTable[Object], identifier: int, by_slot: bool, anyone: bool) -> tuple[Object, int]:
    """What IPC_STAT and the *_STAT commands find, and what they return. EACCES without read permission."""
    found = table.slot(identifier) if by_slot else table.get(identifier)
    if found is None:
        raise SyscallError(errno.EINVAL)
    if not anyone:
        found.check(who(thread), READ)
    return found, found.id if by_slot else 0


def _set(thread: Thread, found: IpcObject, argument: UserPointer) -> None:
    """IPC_SET's common part."""
    _, uid, gid, _, _, mode, *_ = argument.unpack(PERM)
    found.change(who(thread), uid, gid, mode)


# -- semaphores ----------------------------------------------------------------


@syscall(64)
def semget(thread: Thread, key: Int, size: Int, flags: Int) -> int:
    return namespace(thread).semaphores.open(key, size, flags, who(thread))


@syscall(65, restart=Restart.NEVER)
async def semop(thread: Thread, identifier: Int, operations: Annotated[Buffer, In("count", 6)], count: UInt) -> None:
    await _semop(thread, identifier, operations, count, None)


@syscall(220, restart=Restart.NEVER)
async def semtimedop(
    thread: Thread,
    identifier: Int,
    operations: Annotated[Buffer, In("count", 6)],
    count: UInt,
    timeout: Annotated[UserPointer, StructIn(16)],
) -> None:
    limit = timespec(*timeout.unpack(TIMESPEC)) / BILLION if timeout else None
    await _semop(thread, identifier, operations, count, limit)


async def _semop(thread: Thread, identifier: int, buffer: Buffer, count: int, timeout: float | None) -> None:
    if not count or identifier < 0:
        raise SyscallError(errno.EINVAL)
    if count > SEMOPM:
        raise SyscallError(errno.E2BIG)
    operations = [Operation(*fields) for fields in SEMBUF.iter_unpack(buffer.read(count * SEMBUF.size))]
    found = namespace(thread).semaphores.get(identifier)
    found.check(who(thread), WRITE if any(operation.change for operation in operations) else READ)
    process = thread.process
    if any(operation.flags & SEM_UNDO for operation in operations):
        namespace(thread).enroll(process, process.pid, process.exit_waiters)
    await found.operate(thread.scheduler, operations, process, process.pid, timeout)


@syscall(66)
def semctl(thread: Thread, identifier: Int, number: Int, command: Int, argument: Pointer) -> int:
    table = namespace(thread).semaphores
    command &= ~0x100  # IPC_64: x86-64 knows no other layout
    if command in (IPC_INFO, SEM_INFO):
        argument.write(table.pack_info(command == SEM_INFO))
        return table.highest
    if command in (IPC_STAT, SEM_STAT, SEM_STAT_ANY):
        found, result = _stat(thread, table, identifier, command != IPC_STAT, command == SEM_STAT_ANY)
        argument.write(found.pack())
        return result
    found = table.get(identifier)
    if command == IPC_RMID:
        found.check_owner(who(thread))
        table.remove(found)
        return 0
    if command == IPC_SET:
        _set(thread, found, argument)
        return 0
    return _semaphore_values(thread, found, number, command, argument)


def _semaphore_values(thread: Thread, found: SemaphoreSet, number: int, command: int, argument: UserPointer) -> int:
    """The commands that read or write semaphores of the set."""
    if command not in (GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL):
        raise SyscallError(errno.EINVAL)
    size, pid = len(found.values), thread.process.pid
    found.check(who(thread), WRITE if command in (SETVAL, SETALL) else READ)
    if command == GETALL:
        argument.write(struct.pack(f"<{size}H", *found.values))
        return 0
    if command == SETALL:
        found.set_values(dict(enumerate(struct.unpack(f"<{size}H", argument.read(2 * size)))), pid)
        return 0
    if not 0 <= number < size:
        raise SyscallError(errno.EINVAL)
    if command == SETVAL:
        found.set_values({number: _signed(argument.address)}, pid)
        return 0
    if command == GETVAL:
        return found.values[number]
    if command == GETPID:
        return found.pids[number]
    return found.waiting(number, command == GETZCNT)


# -- message queues --------------------------------------------------------------


@syscall(68)
def msgget(thread: Thread, key: Int, flags: Int) -> int:
    return namespace(thread).message_queues.open(key, flags, who(thread))


def _queue(thread: Thread, identifier: int, wanted: int) -> MessageQueue:
    found = namespace(thread).message_queues.get(identifier)
    found.check(who(thread), wanted)
    return found


@syscall(69, restart=Restart.NOHAND)
async def msgsnd(thread: Thread, identifier: Int, message: Pointer, size: Size, flags: Int) -> None:
    (kind,) = message.unpack(MESSAGE_TYPE)
    if size > MSGMAX or kind < 1:
        raise SyscallError(errno.EINVAL)
    text = message.read(size, MESSAGE_TYPE.size)
    queue = _queue(thread, identifier, WRITE)
    await queue.send(thread.scheduler, Message(kind, text), flags, thread.process.pid)


@syscall(70, restart=Restart.NOHAND)
async def msgrcv(thread: Thread, identifier: Int, message: Pointer, size: Size, wanted: Long, flags: Int) -> int:
    if size >> 63 or (flags & MSG_COPY and (flags & MSG_EXCEPT or not flags & IPC_NOWAIT)):
        raise SyscallError(errno.EINVAL)
    queue = _queue(thread, identifier, READ)
    found = await queue.receive(thread.scheduler, size, wanted, flags, thread.process.pid)
    message.write(MESSAGE_TYPE.pack(found.type) + found.text)
    return len(found.text)


@syscall(71)
def msgctl(thread: Thread, identifier: Int, command: Int, argument: Pointer) -> int:
    table = namespace(thread).message_queues
    command &= ~0x100
    if command in (IPC_INFO, MSG_INFO):
        argument.write(table.pack_info(command == MSG_INFO))
        return table.highest
    if command in (IPC_STAT, MSG_STAT, MSG_STAT_ANY):
        found, result = _stat(thread, table, identifier, command != IPC_STAT, command == MSG_STAT_ANY)
        argument.write(found.pack())
        return result
    if command not in (IPC_SET, IPC_RMID):
        raise SyscallError(errno.EINVAL)
    found = table.get(identifier)
    found.check_owner(who(thread))
    if command == IPC_RMID:
        table.remove(found)
    else:
        (limit,) = argument.unpack(QBYTES, QBYTES_OFFSET)
        found.set_limit(limit, thread.credentials.capable(CAP_SYS_RESOURCE))
        _set(thread, found, argument)
    return 0


# -- shared memory ---------------------------------------------------------------


@syscall(29)
def shmget(thread: Thread, key: Int, size: Size, flags: Int) -> int:
    return namespace(thread).segments.open(key, size, flags, who(thread), thread.process.pid)


def _guest_memory(thread: Thread) -> Any:
    """Where mappings are made; a Python program has no address space (EINVAL)."""
    if thread.process.memory is None:
        raise SyscallError(errno.EINVAL)
    return thread.process.memory


@syscall(30)
async def shmat(thread: Thread, identifier: Int, address: Address, flags: Int) -> int:
    segments = namespace(thread).segments
    segment = segments.get(identifier)
    if address and flags & SHM_RND:
        address -= address % PAGE
    if address % PAGE or (flags & SHM_REMAP and not address):
        raise SyscallError(errno.EINVAL)
    writable = not flags & SHM_RDONLY
    executable = bool(flags & SHM_EXEC)
    segment.check(who(thread), READ | (WRITE if writable else 0) | (EXECUTE if executable else 0))
    placing = (MAP_FIXED if flags & SHM_REMAP else MAP_FIXED_NOREPLACE) if address else 0
    protection = PROT_READ | (PROT_WRITE if writable else 0) | (PROT_EXEC if executable else 0)
    memory, process = _guest_memory(thread), thread.process
    fd = segment.mapping(writable)
    segments.hold(segment)
    try:
        where: int = await memory.map_fd(thread, address, segment.length, protection, MAP_SHARED | placing, fd, 0)
        segments.attach(process, where, segment, process.pid)
    except SyscallError as error:
        raise SyscallError(errno.EINVAL if error.errno == errno.EEXIST else error.errno) from error
    finally:
        segments.let_go(segment)
        os.close(fd)
    namespace(thread).enroll(process, process.pid, process.exit_waiters)
    return where


@syscall(67)
async def shmdt(thread: Thread, address: Address) -> None:
    segments, process = namespace(thread).segments, thread.process
    segment = segments.attachments.get(process, {}).get(address)
    if segment is None:
        raise SyscallError(errno.EINVAL)
    length = segment.length
    segments.detach(process, address, process.pid)
    await _guest_memory(thread).unmap(thread, address, length)


@syscall(31)
def shmctl(thread: Thread, identifier: Int, command: Int, argument: Pointer) -> int:
    table = namespace(thread).segments
    command &= ~0x100
    if command in (IPC_INFO, SHM_INFO):
        argument.write(table.pack_usage() if command == SHM_INFO else table.pack_limits())
        return table.highest
    if command in (IPC_STAT, SHM_STAT, SHM_STAT_ANY):
        found, result = _stat(thread, table, identifier, command != IPC_STAT, command == SHM_STAT_ANY)
        argument.write(found.pack())
        return result
    if command not in (IPC_SET, IPC_RMID, SHM_LOCK, SHM_UNLOCK):
        raise SyscallError(errno.EINVAL)
    found = table.get(identifier)
    found.check_owner(who(thread))
    if command == IPC_RMID:
        table.remove(found)
    elif command == IPC_SET:
        _set(thread, found, argument)
    else:
        found.mode = found.mode | SHM_LOCKED if command == SHM_LOCK else found.mode & ~SHM_LOCKED
    return 0
