"""io_uring_setup(2), io_uring_enter(2) and io_uring_register(2)."""

from __future__ import annotations

import errno
import struct
from typing import Annotated

from ...abi import uring as abi
from ...abi.errors import Interrupted, SyscallError
from ...abi.marshal import Fd, Pointer, Size, StructInOut, UInt
from ...abi.uring import Op, Register
from ...abi.user import UserPointer
from ...io.uring.memory import RingMemory
from ...io.uring.request import Request, Work
from ...io.uring.ring import Uring
from ...io.uring.submission import Prepare, breathe, submit
from ...process.asynchronous import RemoteUser, answer
from ...process.guest import GuestThread, guest_of
from ...process.thread import Thread
from ..epoll import signal_mask
from ..events import timespec
from ..table import Restart, syscall
from .operations import CALLS, SystemCall, system_call
from .perform import Performance
from .queue import OPERATIONS, Wanted, cancel
from .register import HANDLERS, submitter_of

TIMESPEC = struct.Struct("<qq")
BILLION = 10**9
_ENTER_KNOWN = (
    abi.ENTER_GETEVENTS | abi.ENTER_SQ_WAKEUP | abi.ENTER_SQ_WAIT | abi.ENTER_EXT_ARG | abi.ENTER_REGISTERED_RING
)
_PLAIN_TRANSFERS = (Op.READ, Op.READV, Op.READ_FIXED, Op.WRITE, Op.WRITEV, Op.WRITE_FIXED)


# -- setup ---------------------------------------------------------------------


@syscall(425)
def io_uring_setup(thread: Thread, entries: UInt, params: Annotated[UserPointer, StructInOut(abi.PARAMS.size)]) -> int:
    guest_of(thread, errno.ENOSYS)
    raw = params.read(abi.PARAMS.size)
    _, cq_entries, flags, cpu, idle, _, wq_fd, _, _ = abi.PARAMS.unpack(raw)
    if any(raw[28:40]) or flags & ~abi.SETUP_KNOWN:
        raise SyscallError(errno.EINVAL)
    sq_entries, cq_entries = _sizes(entries, cq_entries, flags)
    _check_setup(thread, flags, wq_fd)
    memory = RingMemory(
        sq_entries, cq_entries, bool(flags & abi.SETUP_SQE128), bool(flags & abi.SETUP_CQE32),
        not flags & abi.SETUP_NO_SQARRAY,
    )  # fmt: skip
    ring = Uring(thread.scheduler, memory, flags, thread.credentials.uid, thread.kernel.ipc.uring_accounts)
    try:
        params.write(abi.PARAMS.pack(sq_entries, cq_entries, flags, cpu, idle, abi.FEATURES, wq_fd, *memory.offsets()))
        return thread.files.install(ring, cloexec=True)
    except SyscallError:
        ring.close()
        raise


def _sizes(entries: int, cq_entries: int, flags: int) -> tuple[int, int]:
    """The sizes of both rings, powers of two; EINVAL for what is out of range and not to be clamped."""
    clamp = flags & abi.SETUP_CLAMP
    if not entries or (entries > abi.MAX_ENTRIES and not clamp):
        raise SyscallError(errno.EINVAL)
    sq = 1 << (min(entries, abi.MAX_ENTRIES) - 1).bit_length()
    if not flags & abi.SETUP_CQSIZE:
        return sq, 2 * sq
    if not cq_entries or (cq_entries > 2 * abi.MAX_ENTRIES and not clamp):
        raise SyscallError(errno.EINVAL)
    cq = 1 << (min(cq_entries, 2 * abi.MAX_ENTRIES) - 1).bit_length()
    if cq < sq:
        raise SyscallError(errno.EINVAL)
    return sq, cq


def _check_setup(thread: Thread, flags: int, wq_fd: int) -> None:
    """EINVAL for flags that don't go together, as io_uring_setup(2) says."""
    cooperative = abi.SETUP_COOP_TASKRUN | abi.SETUP_TASKRUN_FLAG | abi.SETUP_DEFER_TASKRUN
    if flags & abi.SETUP_SQPOLL and flags & cooperative:
        raise SyscallError(errno.EINVAL)
    if flags & abi.SETUP_SQ_AFF and not flags & abi.SETUP_SQPOLL:
        raise SyscallError(errno.EINVAL)
    if flags & abi.SETUP_DEFER_TASKRUN and not flags & abi.SETUP_SINGLE_ISSUER:
        raise SyscallError(errno.EINVAL)
    if flags & abi.SETUP_TASKRUN_FLAG and not flags & (abi.SETUP_COOP_TASKRUN | abi.SETUP_DEFER_TASKRUN):
        raise SyscallError(errno.EINVAL)
    if flags & abi.SETUP_ATTACH_WQ and not isinstance(_file(thread, wq_fd, errno.ENXIO), Uring):
        raise SyscallError(errno.EINVAL)


def _file(thread: Thread, fd: int, missing: int) -> object:
    try:
        return thread.files.get(fd)
    except SyscallError:
        raise SyscallError(missing) from None


# -- enter ---------------------------------------------------------------------


@syscall(426, restart=Restart.NEVER)
async def io_uring_enter(
    thread: Thread, fd: Fd, to_submit: UInt, min_complete: UInt, flags: UInt, argument: Pointer, size: Size
) -> int:
    if flags & ~_ENTER_KNOWN:
        raise SyscallError(errno.EINVAL)
    ring = submitter_of(thread).ring(fd) if flags & abi.ENTER_REGISTERED_RING else _ring(thread, fd)
    if not ring.enabled:
        raise SyscallError(errno.EBADFD)
    ring.acquire()  # another thread may close it meanwhile
    try:
        submitted = await _submit(thread, ring, to_submit, flags)
        if flags & abi.ENTER_GETEVENTS:
            try:
                await _wait(thread, ring, min_complete, flags, argument, size)
            except (SyscallError, Interrupted):
                if not submitted:
                    raise
        return submitted
    finally:
        ring.release()


def _ring(thread: Thread, fd: int) -> Uring:
    file = thread.files.get(fd)
    if not isinstance(file, Uring):
        raise SyscallError(errno.EOPNOTSUPP)
    return file


async def _submit(thread: Thread, ring: Uring, count: int, flags: int) -> int:
    """Take what was submitted. With a polling ring everything that is there is taken, and ``count`` is the answer."""
    polling = ring.setup & abi.SETUP_SQPOLL
    wanted = ring.memory.sq_entries if polling else count
    taken = 0
    if wanted:
        taken = await submit(ring, submitter_of(thread), thread, wanted, _prepare(thread))
    if await submitter_of(thread).run_errands() or ring.stirred:
        ring.stirred = False
        await breathe(ring.scheduler)  # what was cancelled completes before the caller looks
    return count if polling else taken


async def _wait(thread: Thread, ring: Uring, count: int, flags: int, argument: UserPointer, size: int) -> None:
    """Wait for completions. ETIME at the caller's time-out."""
    deadline = None
    mask = None
    if flags & abi.ENTER_EXT_ARG:
        if size != abi.ENTER_ARGUMENT.size:
            raise SyscallError(errno.EINVAL)
        mask_address, mask_size, time_address = argument.unpack(abi.ENTER_ARGUMENT)
        mask = signal_mask(argument.at(mask_address), mask_size) if mask_address else None
        if time_address:
            span = timespec(*argument.at(time_address).unpack(TIMESPEC))
            deadline = thread.kernel.loop.time() + span / BILLION
    elif argument:
        mask = signal_mask(argument, size)
    with thread.signals.temporary_mask(mask):
        if not await ring.wait(count, deadline, submitter_of(thread)):
            raise SyscallError(errno.ETIME)


def _prepare(thread: Thread) -> Prepare:
    """What makes the requests of ``thread`` ready."""
    guest = thread.guest
    assert isinstance(guest, GuestThread), "only guests have rings"
    user = RemoteUser(guest.host)

    def prepare(request: Request) -> Work:
        call = system_call(request)
        _check(request, call)
        if call is not None:
            return Performance(thread, user, request, call).start
        work = OPERATIONS[request.op](thread, user, request)
        return lambda request: answer(thread, Op(request.op).name, work)

    return prepare


def _check(request: Request, call: SystemCall | None) -> None:
    """What Linux checks of every entry before it looks at the operation, which may be a system ``call``."""
    ring, flags = request.ring, request.flags
    if call is None and request.op not in OPERATIONS:
        raise SyscallError(errno.EINVAL)
    if flags & ~abi.IOSQE_KNOWN:
        raise SyscallError(errno.EINVAL)
    if flags & abi.IOSQE_BUFFER_SELECT and (call is None or not call.selects):
        raise SyscallError(errno.EOPNOTSUPP)
    if call is not None and call.unused and any(getattr(request, name) for name in call.unused):
        raise SyscallError(errno.EINVAL)
    if request.op == Op.FSYNC and request.op_flags & ~abi.FSYNC_DATASYNC:
        raise SyscallError(errno.EINVAL)
    limits = ring.restrictions
    if limits is not None:
        forbidden = flags & ~(limits.flags_allowed | limits.flags_required)
        missing = limits.flags_required & ~flags
        if request.op not in limits.ops or forbidden or missing:
            raise SyscallError(errno.EACCES)
    if request.ioprio and request.op != Op.NOP and (call is None or not call.prioritized):
        raise SyscallError(errno.EINVAL)
    if ring.setup & abi.SETUP_IOPOLL and request.op != Op.NOP:
        # No file here can be polled for the end of its transfers.
        raise SyscallError(errno.EOPNOTSUPP if request.op in _PLAIN_TRANSFERS else errno.EINVAL)
    if request.personality and request.personality not in ring.personalities:
        raise SyscallError(errno.EINVAL)


# -- register ------------------------------------------------------------------


@syscall(427)
async def io_uring_register(thread: Thread, fd: Fd, opcode: UInt, argument: Pointer, count: UInt) -> int:
    guest = thread.guest
    registered, opcode = opcode & abi.REGISTER_USE_REGISTERED_RING, opcode & ~abi.REGISTER_USE_REGISTERED_RING
    if opcode not in HANDLERS and opcode not in (Register.PROBE, Register.SYNC_CANCEL):
        raise SyscallError(errno.EINVAL)
    ring = submitter_of(thread).ring(fd) if registered else _ring(thread, fd)
    limits = ring.restrictions
    if limits is not None and ring.enabled and opcode not in limits.registers:
        raise SyscallError(errno.EACCES)
    if opcode == Register.PROBE:
        return _probe(argument, count)
    if opcode == Register.SYNC_CANCEL:
        return await _cancel_now(thread, ring, argument, count)
    assert isinstance(guest, GuestThread), "only guests have rings"
    return HANDLERS[opcode](thread, RemoteUser(guest.host), ring, argument.address, count) or 0


def _probe(argument: UserPointer, count: int) -> int:
    """Which operations there are."""
    if count > 256:
        raise SyscallError(errno.EINVAL)
    last = max(Op)
    shown = min(count, last + 1)
    if any(argument.read(abi.PROBE_HEADER.size + count * abi.PROBE_ENTRY.size)):
        raise SyscallError(errno.EINVAL)
    entries = (
        abi.PROBE_ENTRY.pack(op, abi.PROBE_SUPPORTED if op in OPERATIONS or op in CALLS or op == Op.FSYNC else 0)
        for op in range(shown)
    )
    argument.write(abi.PROBE_HEADER.pack(last, shown) + b"".join(entries))
    return 0


async def _cancel_now(thread: Thread, ring: Uring, argument: UserPointer, count: int) -> int:
    """IORING_REGISTER_SYNC_CANCEL: cancel, and return when it is done."""
    if not argument or count != 1:
        raise SyscallError(errno.EINVAL)
    user_data, fd, flags, *_ = argument.unpack(abi.SYNC_CANCEL)
    found = cancel(thread, ring, None, Wanted(user_data, fd, flags))
    ring.stirred = False
    await breathe(ring.scheduler)
    return found
