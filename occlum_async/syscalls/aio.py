"""Linux AIO: io_setup(2) and its relatives. Each operation is an ordinary system call that nobody waits for."""

from __future__ import annotations

import errno
import struct
from collections.abc import Awaitable
from typing import Annotated, Any

from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Address, Long, Pointer, StructInOut, UInt
from ..abi.user import UserBuffer, UserPointer, VectorBuffer
from ..io.aio import EVENT, AioContext, AioRequest
from ..io.eventfd import EventFd
from ..io.file import POLLERR, POLLHUP, File
from ..io.uring.submission import BATCH, breathe
from ..process.asynchronous import RemoteUser, make, outcome
from ..process.guest import guest_of
from ..process.guestmemory import GuestBuffer
from ..process.marshal import IOV_MAX, IOVEC, vector_parts
from ..process.thread import Thread
from .epoll import signal_mask
from .events import timespec
from .table import Restart, syscall

POINTER = struct.Struct("<Q")
# data, key, rw_flags, opcode, priority, fd, buf, nbytes, offset, reserved, flags, resfd
IOCB = struct.Struct("<QIIHhiQQqQII")
TIMESPEC = struct.Struct("<qq")
SIGSET_ARGUMENT = struct.Struct("<QQ")
BILLION = 10**9
PREAD, PWRITE, FSYNC, FDSYNC, POLL, PREADV, PWRITEV = 0, 1, 2, 3, 5, 7, 8
FLAG_RESFD, FLAG_IOPRIO = 1, 2
PROT_READ_WRITE, MAP_SHARED = 3, 1
CONTEXTS_MAX = 1024  # of one process
NOWHERE = (1 << 64) - 1  # an offset of -1
# Which system call each operation is.
CALLS = {PREAD: 327, PREADV: 327, PWRITE: 328, PWRITEV: 328, FSYNC: 74, FDSYNC: 75}


def _context(thread: Thread, address: int) -> AioContext:
    context = thread.process.aio_contexts.get(address)
    if context is None:
        raise SyscallError(errno.EINVAL)
    return context


@syscall(206)
async def io_setup(thread: Thread, count: UInt, target: Annotated[UserPointer, StructInOut(8)]) -> None:
    guest = guest_of(thread, errno.ENOSYS)
    contexts = thread.process.aio_contexts
    if target.unpack(POINTER)[0] or not count:
        raise SyscallError(errno.EINVAL)
    if len(contexts) >= CONTEXTS_MAX:
        raise SyscallError(errno.EAGAIN)
    context = AioContext(thread.scheduler, count, thread.kernel.ipc.aio_events)
    try:
        address = await guest.map_descriptor(0, context.size, PROT_READ_WRITE, MAP_SHARED, context.fd, 0, False)
        target.pack(POINTER, address)
    except BaseException:
        context.close()
        raise
    contexts[address] = context


@syscall(207)
async def io_destroy(thread: Thread, address: Address) -> None:
    context = _context(thread, address)
    del thread.process.aio_contexts[address]
    context.close()
    guest = guest_of(thread, errno.ENOSYS)
    await guest.host.unmap(thread, address, context.size)


# -- submitting ----------------------------------------------------------------


@syscall(209)
async def io_submit(thread: Thread, address: Address, count: Long, requests: Pointer) -> int:
    context = _context(thread, address)
    if count < 0:
        raise SyscallError(errno.EINVAL)
    user = RemoteUser(guest_of(thread, errno.ENOSYS).host)
    submitted = 0
    while submitted < count:
        try:
            (place,) = requests.unpack(POINTER, submitted * POINTER.size)
            _submit(thread, user, context, place)
        except SyscallError:
            if not submitted:
                raise
            break
        submitted += 1
        if submitted % BATCH == 0:
            await breathe(thread.scheduler)
    return submitted


def _submit(thread: Thread, user: RemoteUser, context: AioContext, place: int) -> None:
    """Begin the request whose iocb stands at ``place``."""
    data, _, rw_flags, opcode, _, fd, buf, size, offset, reserved, flags, resfd = IOCB.unpack(
        user.host.read(place, IOCB.size)
    )
    if reserved or size >> 63:
        raise SyscallError(errno.EINVAL)
    if context.full:
        raise SyscallError(errno.EAGAIN)
    file = thread.files.get(fd)
    eventfd = _eventfd(thread, resfd) if flags & FLAG_RESFD else None
    user.host.write(place + 8, bytes(4))  # the key
    if opcode == POLL:
        if size or offset or rw_flags or buf >> 16:
            raise SyscallError(errno.EINVAL)
        work = outcome(thread, "poll", _poll(file, buf | POLLERR | POLLHUP))
    else:
        arguments = _arguments(user, file, opcode, fd, buf, size, offset, rw_flags)
        call = thread.kernel.calls[CALLS[opcode]]
        work = outcome(thread, call.name, make(call, thread, user, arguments))
    if eventfd is not None:
        eventfd.acquire()
    context.begin(AioRequest(place, data, eventfd, opcode == POLL), _hold(file, work), thread)


def _arguments(
    user: RemoteUser, file: File, opcode: int, fd: int, buf: int, size: int, offset: int, rw_flags: int
) -> tuple[Any, ...]:
    """What the system call of the operation gets."""
    if opcode not in CALLS or offset < 0:
        raise SyscallError(errno.EINVAL)
    if (opcode in (PREAD, PREADV) and not file.readable) or (opcode in (PWRITE, PWRITEV) and not file.writable):
        raise SyscallError(errno.EBADF)
    if opcode in (FSYNC, FDSYNC):
        if buf or size or offset or rw_flags:
            raise SyscallError(errno.EINVAL)
        return (fd,)
    return fd, _buffer(user, opcode, buf, size), 1, offset if file.seekable else NOWHERE, 0, rw_flags


def _buffer(user: RemoteUser, opcode: int, address: int, size: int) -> UserBuffer:
    if opcode in (PREAD, PWRITE):
        return GuestBuffer(user, address, size)
    if size > IOV_MAX:
        raise SyscallError(errno.EINVAL)
    return VectorBuffer(vector_parts(user, user.host.read(address, size * IOVEC.size) if size else b""))


def _eventfd(thread: Thread, fd: int) -> EventFd:
    file = thread.files.get(fd)
    if not isinstance(file, EventFd):
        raise SyscallError(errno.EINVAL)
    return file


async def _hold(file: File, work: Awaitable[int]) -> int:
    """Keep ``file`` open until ``work`` is done."""
    file.acquire()
    try:
        return await work
    finally:
        file.release()


async def _poll(file: File, events: int) -> int:
    """Wait for ``events``; 0 when it is cancelled."""
    try:
        while not (found := file.poll() & events):
            await file.waiters.wait(file.scheduler, events)
    except Interrupted:
        return 0
    return found


@syscall(210)
def io_cancel(thread: Thread, address: Address, request: Pointer, result: Pointer) -> None:
    context = _context(thread, address)
    if any(request.read(4, 8)):
        raise SyscallError(errno.EINVAL)
    context.cancel(request.address)


# -- waiting -------------------------------------------------------------------


@syscall(208, restart=Restart.NEVER)
async def io_getevents(
    thread: Thread, address: Address, minimum: Long, count: Long, events: Pointer, timeout: Pointer
) -> int:
    return await _get_events(thread, address, minimum, count, events, timeout, None)


@syscall(333, restart=Restart.NEVER)
async def io_pgetevents(
    thread: Thread, address: Address, minimum: Long, count: Long, events: Pointer, timeout: Pointer, sigmask: Pointer
) -> int:
    mask = None
    if sigmask:
        mask_address, size = sigmask.unpack(SIGSET_ARGUMENT)
        mask = signal_mask(sigmask.at(mask_address), size)
    return await _get_events(thread, address, minimum, count, events, timeout, mask)


async def _get_events(
    thread: Thread, address: int, minimum: int, count: int, events: UserPointer, timeout: UserPointer,
    mask: int | None,
) -> int:  # fmt: skip
    deadline = None
    if timeout:
        deadline = thread.kernel.loop.time() + timespec(*timeout.unpack(TIMESPEC)) / BILLION
    context = _context(thread, address)
    if not 0 <= minimum <= count:
        raise SyscallError(errno.EINVAL)
    try:
        with thread.signals.temporary_mask(mask):
            await context.wait(minimum, deadline)
    except Interrupted:
        if not context.available():
            raise
    data = context.take(count)
    events.write(data)
    return len(data) // EVENT.size
