"""The operations of io_uring that are about rings, requests and time, and so are no system calls."""

from __future__ import annotations

import errno
import struct
import time
from bisect import insort
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from ...abi import shared
from ...abi.errors import SyscallError
from ...abi.uring import (
    ASYNC_CANCEL_ALL,
    ASYNC_CANCEL_ANY,
    ASYNC_CANCEL_FD,
    ASYNC_CANCEL_FD_FIXED,
    ASYNC_CANCEL_OP,
    ASYNC_CANCEL_USERDATA,
    CQE_F_MORE,
    FIXED_FD_NO_CLOEXEC,
    LINK_TIMEOUT_UPDATE,
    MSG_DATA,
    MSG_RING_CQE_SKIP,
    MSG_SEND_FD,
    POLL_ADD_LEVEL,
    POLL_ADD_MULTI,
    POLL_UPDATE_EVENTS,
    POLL_UPDATE_USER_DATA,
    TIMEOUT_ABS,
    TIMEOUT_BOOTTIME,
    TIMEOUT_ETIME_SUCCESS,
    TIMEOUT_MULTISHOT,
    TIMEOUT_REALTIME,
    TIMEOUT_UPDATE,
    Op,
)
from ...io.file import POLLERR, POLLHUP, File
from ...io.uring.registered import BufferGroup
from ...io.uring.request import Request
from ...io.uring.ring import COUNTED, Uring
from ...process.asynchronous import FIXED, RemoteUser
from ...process.guest import GuestThread
from ...process.thread import Thread
from ...sched.strand import TIMED_OUT
from .register import GROUPS_MAX, update_files

TIMESPEC = struct.Struct("<qq")
BILLION = 10**9
BUFFERS_MAX = 1 << 16  # that one PROVIDE_BUFFERS hands in
_CANCEL_KNOWN = (
    ASYNC_CANCEL_ALL | ASYNC_CANCEL_FD | ASYNC_CANCEL_ANY | ASYNC_CANCEL_FD_FIXED | ASYNC_CANCEL_USERDATA
    | ASYNC_CANCEL_OP
)  # fmt: skip
_CLOCKS = TIMEOUT_BOOTTIME | TIMEOUT_REALTIME
_SYS_MADVISE = 28

# An operation: looks at its entry at once (``SyscallError``), and gives the work to do.
Prepared = Callable[[], "int | Awaitable[int] | None"]
Operation = Callable[[Thread, RemoteUser, Request], Prepared]

OPERATIONS: dict[int, Operation] = {}


def _operation(op: Op) -> Callable[[Operation], Operation]:
    def register(prepare: Operation) -> Operation:
        OPERATIONS[op] = prepare
        return prepare

    return register


def file_of(thread: Thread, ring: Uring, number: int) -> File:
    """The file behind a descriptor or, from ``FIXED`` up, a registered one; EBADF."""
    return ring.files.get(number - FIXED) if number >= FIXED else thread.files.get(number)


def _descriptor(request: Request) -> int:
    return FIXED + request.fd if request.fixed and request.fd >= 0 else int(request.fd)


@_operation(Op.NOP)
def _nop(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    return lambda: 0


@_operation(Op.URING_CMD)
def _command(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    raise SyscallError(errno.EOPNOTSUPP)


@_operation(Op.MADVISE)
def _madvise(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    if request.buf_index or request.file_index:
        raise SyscallError(errno.EINVAL)
    guest = thread.guest
    assert isinstance(guest, GuestThread), "only guests have rings"
    length = request.off or request.length  # where it has room for all 64 bits, or where it always stood

    async def advise() -> int:
        guest.operation(shared.OP_CALL, _SYS_MADVISE, request.addr, length, request.op_flags)
        return await guest.operate()

    return lambda: request.submitter.delegate(request.ring, advise)


# -- poll ----------------------------------------------------------------------


@_operation(Op.POLL_ADD)
def _poll_add(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    if request.length & ~(POLL_ADD_MULTI | POLL_ADD_LEVEL) or request.addr or request.off:
        raise SyscallError(errno.EINVAL)
    request.events = request.op_flags | POLLERR | POLLHUP

    async def work() -> int:
        file = request.hold(file_of(thread, request.ring, _descriptor(request)))
        while True:
            found = file.poll() & request.events
            if found and not request.length & POLL_ADD_MULTI:
                return found
            # A multishot one completes at each wake-up after which something holds, while there is room.
            if found and not request.ring.post(request.user_data, found, CQE_F_MORE, last=False):
                return found
            await file.waiters.wait(file.scheduler, request.events)

    return work


@_operation(Op.POLL_REMOVE)
def _poll_remove(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    known = POLL_UPDATE_EVENTS | POLL_UPDATE_USER_DATA | POLL_ADD_MULTI
    if request.length & ~known or (request.length == POLL_ADD_MULTI) or request.buf_index or request.file_index:
        raise SyscallError(errno.EINVAL)
    if request.op_flags and not request.length & POLL_UPDATE_EVENTS:
        raise SyscallError(errno.EINVAL)

    def act() -> None:
        ring = request.ring
        target = ring.find(request.addr, Op.POLL_ADD)
        if target is None:
            raise SyscallError(errno.ENOENT)
        if request.length & (POLL_UPDATE_EVENTS | POLL_UPDATE_USER_DATA) == 0:
            ring.cancel(target)
            return
        if request.length & POLL_UPDATE_USER_DATA:
            ring.rename(target, request.off)
        if request.length & POLL_UPDATE_EVENTS:
            target.events = request.op_flags | POLLERR | POLLHUP
            target.length = request.length & POLL_ADD_MULTI
        target.update()

    return act


# -- time ----------------------------------------------------------------------


def _deadline(user: RemoteUser, address: int, flags: int) -> int:
    """When, on the monotonic clock, a time-out with these flags ends."""
    if flags & _CLOCKS == _CLOCKS:
        raise SyscallError(errno.EINVAL)
    seconds, nanoseconds = TIMESPEC.unpack(user.host.read(address, TIMESPEC.size))
    if seconds < 0 or nanoseconds < 0:
        raise SyscallError(errno.EINVAL)
    span: int = seconds * BILLION + nanoseconds
    now = time.monotonic_ns()
    if not flags & TIMEOUT_ABS:
        return now + span
    if flags & TIMEOUT_REALTIME:
        return now + span - time.time_ns()
    return now + span - time.clock_gettime_ns(time.CLOCK_BOOTTIME) if flags & TIMEOUT_BOOTTIME else span


async def _sleep(request: Request) -> bool:
    """Sleep until the request's deadline, which may move meanwhile; False when enough requests completed first."""
    strand = request.strand
    assert strand is not None, "it has begun"
    while True:
        remaining = (request.deadline - time.monotonic_ns()) / BILLION
        answer = await strand.park(min(remaining, 86400.0))
        if answer is COUNTED:
            return False
        if answer is TIMED_OUT and time.monotonic_ns() >= request.deadline:
            return True


@_operation(Op.TIMEOUT)
def _timeout(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    flags = request.op_flags
    known = TIMEOUT_ABS | _CLOCKS | TIMEOUT_ETIME_SUCCESS | TIMEOUT_MULTISHOT
    if flags & ~known or request.length != 1 or (flags & TIMEOUT_MULTISHOT and flags & TIMEOUT_ABS):
        raise SyscallError(errno.EINVAL)
    begun = time.monotonic_ns()
    request.deadline = _deadline(user, request.addr, flags)
    if flags & TIMEOUT_MULTISHOT:
        return lambda: _tick(request, request.deadline - begun)

    async def work() -> int:
        ring = request.ring
        count = request.off & 0xFFFFFFFF
        place = (ring.completions + count, request.sequence, request)
        if count:
            insort(ring.counting, place)
        try:
            if not await _sleep(request):
                return 0
        finally:
            if count:
                with suppress(ValueError):
                    ring.counting.remove(place)
        request.tolerated = bool(flags & TIMEOUT_ETIME_SUCCESS)
        raise SyscallError(errno.ETIME)

    return work


async def _tick(request: Request, period: int) -> int:
    """A completion each ``period`` nanoseconds, as often as the request says (0: until there is no room for more)."""
    left = request.off & 0xFFFFFFFF
    while True:
        await _sleep(request)
        left -= 1
        if not left or not request.ring.post(request.user_data, -errno.ETIME, CQE_F_MORE, last=False, counted=False):
            raise SyscallError(errno.ETIME)
        request.deadline = max(request.deadline + period, time.monotonic_ns() + 1)  # always a turn for others


@_operation(Op.LINK_TIMEOUT)
def _link_timeout(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    flags = request.op_flags
    if flags & ~(TIMEOUT_ABS | _CLOCKS | TIMEOUT_ETIME_SUCCESS) or request.length != 1 or request.off:
        raise SyscallError(errno.EINVAL)
    request.deadline = _deadline(user, request.addr, flags)

    async def work() -> int:
        await _sleep(request)
        target = request.guarded
        if target is None or not target.begun:
            raise SyscallError(errno.ENOENT)
        request.tolerated = bool(flags & TIMEOUT_ETIME_SUCCESS)
        raise SyscallError(errno.ETIME if request.ring.cancel(target) else errno.EALREADY)

    return work


@_operation(Op.TIMEOUT_REMOVE)
def _timeout_remove(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    flags = request.op_flags
    updates = TIMEOUT_UPDATE | LINK_TIMEOUT_UPDATE
    if request.length or request.buf_index or request.file_index:
        raise SyscallError(errno.EINVAL)
    if (flags and not flags & updates) or flags & ~(updates | TIMEOUT_ABS | _CLOCKS):
        raise SyscallError(errno.EINVAL)
    deadline = _deadline(user, request.off, flags) if flags else 0

    def act() -> None:
        op = Op.LINK_TIMEOUT if flags & LINK_TIMEOUT_UPDATE else Op.TIMEOUT
        target = request.ring.find(request.addr, op)
        if target is None:
            raise SyscallError(errno.ENOENT)
        if flags:
            target.deadline = deadline
            target.update()
        elif not request.ring.cancel(target):
            raise SyscallError(errno.EALREADY)

    return act


# -- cancellation --------------------------------------------------------------


class Wanted(NamedTuple):
    """Which requests are to be cancelled: by number, file or operation, as ``flags`` say (ASYNC_CANCEL_*)."""

    user_data: int
    fd: int
    flags: int
    fixed: bool = False  # ``fd`` is the index of a registered file
    op: int = 0


@_operation(Op.ASYNC_CANCEL)
def _async_cancel(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    if request.off or request.file_index:
        raise SyscallError(errno.EINVAL)
    wanted = Wanted(request.addr, request.fd, request.op_flags, request.fixed, request.length)
    _check_wanted(wanted)
    return lambda: cancel(thread, request.ring, request, wanted)


def _check_wanted(wanted: Wanted) -> None:
    """EINVAL for criteria that are unknown or exclude each other."""
    flags = wanted.flags
    if flags & ~_CANCEL_KNOWN or (flags & ASYNC_CANCEL_ANY and flags & (ASYNC_CANCEL_FD | ASYNC_CANCEL_OP)):
        raise SyscallError(errno.EINVAL)


def cancel(thread: Thread, ring: Uring, asking: Request | None, wanted: Wanted) -> int:
    """Cancel the requests that match, the first or all; how many (0 where only one is asked for). ENOENT, EALREADY."""
    _check_wanted(wanted)
    many = bool(wanted.flags & (ASYNC_CANCEL_ALL | ASYNC_CANCEL_ANY))
    count = 0
    late = False
    for candidate in _candidates(thread, ring, wanted):
        if candidate is asking or not candidate.begun:
            continue
        if not ring.cancel(candidate):
            late = True
        else:
            count += 1
        if not many:
            break
    if many:
        return count
    if not count:
        raise SyscallError(errno.EALREADY if late else errno.ENOENT)
    return 0


def _candidates(thread: Thread, ring: Uring, wanted: Wanted) -> list[Request]:
    """The requests that meet all criteria; without any but ALL, those that bear the number."""
    flags = wanted.flags
    if flags & ASYNC_CANCEL_ANY:
        return list(ring.requests.values())
    by_number = flags & ASYNC_CANCEL_USERDATA or not flags & (ASYNC_CANCEL_FD | ASYNC_CANCEL_OP)
    found = list(ring.by_user_data.get(wanted.user_data, ()) if by_number else ring.requests.values())
    if flags & ASYNC_CANCEL_OP:
        found = [request for request in found if request.op == wanted.op]
    if flags & ASYNC_CANCEL_FD:
        fixed = wanted.fixed or flags & ASYNC_CANCEL_FD_FIXED
        file = file_of(thread, ring, FIXED + wanted.fd if fixed else wanted.fd)
        found = [request for request in found if request.file is file]
    return found


# -- what is registered, and other rings ---------------------------------------


@_operation(Op.FILES_UPDATE)
def _files_update(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    if request.fixed or request.op_flags or not request.length or request.file_index:
        raise SyscallError(errno.EINVAL)
    return lambda: update_files(thread, user, request.ring, request.off, request.addr, request.length)


@_operation(Op.FIXED_FD_INSTALL)
def _fixed_fd_install(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    if any((request.off, request.addr, request.length, request.buf_index, request.file_index, request.addr3)):
        raise SyscallError(errno.EINVAL)
    if not request.fixed:
        raise SyscallError(errno.EBADF)
    if request.op_flags & ~FIXED_FD_NO_CLOEXEC:
        raise SyscallError(errno.EINVAL)

    def act() -> int:
        file = request.ring.files.get(request.fd)
        return thread.files.install(file, cloexec=not request.op_flags & FIXED_FD_NO_CLOEXEC)

    return act


@_operation(Op.PROVIDE_BUFFERS)
def _provide_buffers(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    count, first = request.fd, request.off
    if request.file_index:
        raise SyscallError(errno.EINVAL)
    if not 0 < count <= BUFFERS_MAX:
        raise SyscallError(errno.E2BIG)
    if request.op_flags or not request.length or request.addr + count * request.length > 1 << 47:
        raise SyscallError(errno.EINVAL if request.op_flags or not request.length else errno.EFAULT)
    if first + count > BUFFERS_MAX:
        raise SyscallError(errno.E2BIG if first >= BUFFERS_MAX else errno.EINVAL)

    def act() -> None:
        ring = request.ring
        group = ring.groups.get(request.buf_index)
        if group is None:
            if len(ring.groups) >= GROUPS_MAX or not ring.account.room(count):
                raise SyscallError(errno.ENOMEM)
            group = ring.groups[request.buf_index] = BufferGroup(ring.account)
        if not isinstance(group, BufferGroup):
            raise SyscallError(errno.EINVAL)
        group.provide(request.addr, request.length, count, first)

    return act


@_operation(Op.REMOVE_BUFFERS)
def _remove_buffers(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    if request.op_flags or request.addr or request.length or request.off or request.file_index:
        raise SyscallError(errno.EINVAL)
    if not 0 < request.fd <= BUFFERS_MAX:
        raise SyscallError(errno.EINVAL)

    def act() -> int:
        group = request.ring.groups.get(request.buf_index)
        if group is None:
            raise SyscallError(errno.ENOENT)
        if not isinstance(group, BufferGroup):
            raise SyscallError(errno.EINVAL)
        return group.remove(request.fd)

    return act


@_operation(Op.MSG_RING)
def _message(thread: Thread, user: RemoteUser, request: Request) -> Prepared:
    if request.buf_index or request.personality or request.op_flags & ~MSG_RING_CQE_SKIP:
        raise SyscallError(errno.EINVAL)

    def act() -> None:
        target = file_of(thread, request.ring, _descriptor(request))
        if not isinstance(target, Uring):
            raise SyscallError(errno.EBADFD)
        if not target.enabled:
            raise SyscallError(errno.EBADFD)
        if request.addr == MSG_SEND_FD:
            slot = request.file_index & 0xFFFFFFFF
            if target is request.ring:
                raise SyscallError(errno.EINVAL)
            file = request.ring.files.get(request.addr3)
            target.files.install(file, slot if slot == 0xFFFFFFFF else slot - 1)
            if request.op_flags & MSG_RING_CQE_SKIP:
                return
        elif request.addr != MSG_DATA or request.file_index or request.addr3:
            raise SyscallError(errno.EINVAL)
        result = (request.length & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        if not target.post(request.off, result if request.addr == MSG_DATA else 0, last=False):
            raise SyscallError(errno.EOVERFLOW)

    return act
