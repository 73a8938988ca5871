"""Dispositions, masks, and waiting for signals: the rt_sig family, sigaltstack(2), pause(2)."""

from __future__ import annotations

import errno
from typing import Annotated

from ..abi import signals as abi
from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Int, Size, StructIn, StructOut
from ..abi.time import TIMESPEC, from_timespec
from ..abi.user import UserPointer
from ..process.signals import AltStack, SigAction
from ..process.thread import Thread
from .table import Restart, syscall

# Unknown flags are cleared, so that a program can find out which ones there are, see sigaction(2).
_KNOWN_FLAGS = (
    abi.SA_NOCLDSTOP | abi.SA_NOCLDWAIT | abi.SA_SIGINFO | abi.SA_RESTORER | abi.SA_ONSTACK | abi.SA_RESTART
    | abi.SA_NODEFER | abi.SA_RESETHAND
)  # fmt: skip


def _check_size(size: int) -> None:
    if size != abi.SIGSET.size:
        raise SyscallError(errno.EINVAL)


@syscall(13)
def rt_sigaction(
    thread: Thread,
    signo: Int,
    act: Annotated[UserPointer, StructIn(32)],
    oldact: Annotated[UserPointer, StructOut(32)],
    size: Size,
) -> None:
    _check_size(size)
    new = act.unpack(abi.SIGACTION) if act else None
    if not abi.valid_signal(signo) or (new is not None and abi.bit(signo) & abi.UNBLOCKABLE):
        raise SyscallError(errno.EINVAL)
    process = thread.process
    old = process.dispositions[signo]
    if new is not None:
        handler, flags, restorer, mask = new
        process.dispositions[signo] = SigAction(handler, flags & _KNOWN_FLAGS, restorer, mask & ~abi.UNBLOCKABLE)
        if process.dispositions.ignores(signo):
            process.discard_pending(abi.bit(signo))
    if oldact:
        oldact.pack(abi.SIGACTION, old.handler, old.flags, old.restorer, old.mask)


@syscall(14)
def rt_sigprocmask(
    thread: Thread,
    how: Int,
    new: Annotated[UserPointer, StructIn(8)],
    old: Annotated[UserPointer, StructOut(8)],
    size: Size,
) -> None:
    _check_size(size)
    before = thread.signals.blocked
    if new:
        (mask,) = new.unpack(abi.SIGSET)
        if how == abi.SIG_BLOCK:
            thread.set_blocked(before | mask)
        elif how == abi.SIG_UNBLOCK:
            thread.set_blocked(before & ~mask)
        elif how == abi.SIG_SETMASK:
            thread.set_blocked(mask)
        else:
            raise SyscallError(errno.EINVAL)
    if old:
        old.pack(abi.SIGSET, before)


@syscall(127)
def rt_sigpending(thread: Thread, pending: Annotated[UserPointer, StructOut(8)], size: Size) -> None:
    if size > abi.SIGSET.size:
        raise SyscallError(errno.EINVAL)
    waiting = thread.pending_mask & thread.signals.blocked
    pending.write(abi.SIGSET.pack(waiting)[:size])


@syscall(128, restart=Restart.NEVER)
async def rt_sigtimedwait(
    thread: Thread,
    wanted: Annotated[UserPointer, StructIn(8)],
    info: Annotated[UserPointer, StructOut(abi.SIGINFO_SIZE)],
    timeout: Annotated[UserPointer, StructIn(16)],
    size: Size,
) -> int:
    _check_size(size)
    (mask,) = wanted.unpack(abi.SIGSET)
    mask &= ~abi.UNBLOCKABLE
    deadline = None
    if timeout:
        deadline = thread.kernel.clock.monotonic() + from_timespec(*timeout.unpack(TIMESPEC))
    while True:
        found = thread.take_pending(mask)
        if found is not None:
            if info:
                info.write(found.pack())
            return found.signo
        remaining = None if deadline is None else (deadline - thread.kernel.clock.monotonic()) / 1e9
        if remaining is not None and remaining <= 0:
            raise SyscallError(errno.EAGAIN)
        try:
            await thread.process.signal_waiters.wait(thread.scheduler, timeout=remaining)
        except Interrupted:
            # A wanted signal that is not blocked interrupts as well, but it is taken here all the same.
            if not thread.has_pending(mask):
                raise


@syscall(130, restart=Restart.NOHAND)
async def rt_sigsuspend(thread: Thread, mask: Annotated[UserPointer, StructIn(8)], size: Size) -> int:
    _check_size(size)
    (temporary,) = mask.unpack(abi.SIGSET)
    with thread.signals.temporary_mask(temporary):
        await thread.scheduler.current().park()
    raise AssertionError("nobody has this wait's ticket: only a signal ends it")


@syscall(34, restart=Restart.NOHAND)
async def pause(thread: Thread) -> int:
    await thread.scheduler.current().park()
    raise AssertionError("nobody has this wait's ticket: only a signal ends it")


@syscall(131)
def sigaltstack(
    thread: Thread, new: Annotated[UserPointer, StructIn(24)], old: Annotated[UserPointer, StructOut(24)]
) -> None:
    requested = new.unpack(abi.STACK) if new else None
    before = thread.signals.altstack
    stack_pointer = thread.guest.stack_pointer() if thread.guest is not None else 0
    on_stack = before.contains(stack_pointer)
    if requested is not None:
        address, flags, size = requested
        thread.signals.altstack = _altstack(address, flags & 0xFFFFFFFF, size, on_stack)
    if old:
        state = abi.SS_ONSTACK if on_stack else (0 if before.enabled else abi.SS_DISABLE)
        flags = state | (before.flags & abi.SS_AUTODISARM)
        old.pack(abi.STACK, before.address, flags - ((flags & 0x80000000) << 1), before.size)


def _altstack(address: int, flags: int, size: int, on_stack: bool) -> AltStack:
    """The alternate stack that was asked for. EPERM while running on one; EINVAL, ENOMEM."""
    if on_stack:
        raise SyscallError(errno.EPERM)
    mode = flags & ~abi.SS_AUTODISARM
    if mode not in (0, abi.SS_ONSTACK, abi.SS_DISABLE):
        raise SyscallError(errno.EINVAL)
    if mode == abi.SS_DISABLE:
        return AltStack(0, 0, flags)
    if size < abi.MINSIGSTKSZ:
        raise SyscallError(errno.ENOMEM)
    return AltStack(address, size, flags)
