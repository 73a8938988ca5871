"""The state that signals live in: dispositions, queues, masks, alternate stacks, and what a delivery says.

``sending`` puts signals in, ``delivery`` takes them out.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import msgspec

from ..abi import signals as abi
from ..abi.errors import Interrupted, SyscallError
from .limits import UserAccount
from .siginfo import SigInfo

if TYPE_CHECKING:
    from .thread import Thread


class SigAction(msgspec.Struct, frozen=True):
    """The disposition of one signal; ``handler`` is an address, SIG_DFL or SIG_IGN."""

    handler: int = abi.SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


DEFAULT_ACTION = SigAction()


class Dispositions:
    """What a process does on each signal. ``users`` counts the processes that share it (CLONE_SIGHAND)."""

    __slots__ = ("_actions", "users")

    def __init__(self, actions: list[SigAction] | None = None) -> None:
        self._actions = actions or [DEFAULT_ACTION] * (abi.SIGRTMAX + 1)
        self.users = 1

    def __getitem__(self, signo: int) -> SigAction:
        return self._actions[signo]

    def __setitem__(self, signo: int, action: SigAction) -> None:
        self._actions[signo] = action

    def copy(self, handlers: bool = True) -> Dispositions:
        """For a child; ``handlers=False`` (exec) keeps only what is ignored."""
        if handlers:
            return Dispositions(list(self._actions))
        ignored = SigAction(abi.SIG_IGN)
        return Dispositions([ignored if old.handler == abi.SIG_IGN else DEFAULT_ACTION for old in self._actions])

    def ignores(self, signo: int) -> bool:
        """Whether ``signo`` has no effect at all: ignored, or not handled and harmless by default."""
        handler = self._actions[signo].handler
        if handler == abi.SIG_DFL:
            return abi.default_action(signo) in (abi.Default.IGNORE, abi.Default.CONTINUE)
        return handler == abi.SIG_IGN

    def of_mask(self, what: int) -> int:
        """The set of signals whose handler is ``what`` (SIG_IGN), or is caught (any other number)."""
        result = 0
        for signo, action in enumerate(self._actions):
            if signo and (action.handler == abi.SIG_IGN if what == abi.SIG_IGN else action.handler > abi.SIG_IGN):
                result |= abi.bit(signo)
        return result


class PendingSignals:
    """Signals that were sent and not yet taken: standard ones once each, real-time ones in order."""

    __slots__ = ("_queues", "mask")

    def __init__(self) -> None:
        self.mask = 0
        self._queues: dict[int, deque[tuple[SigInfo, UserAccount]]] = {}

    def add(self, info: SigInfo, account: UserAccount, limit: int) -> None:
        """Queue ``info`` at the cost of ``account``. EAGAIN: a real-time signal above ``limit`` (RLIMIT_SIGPENDING).

        A standard signal is never lost for want of room, only what is known of its origin may be.
        """
        realtime = info.signo >= abi.SIGRTMIN
        if not realtime and info.source is None and self.mask & abi.bit(info.signo):
            return
        if account.signals < limit or (not realtime and info.code >= 0) or info.source is not None:
            self._queues.setdefault(info.signo, deque()).append((info, account))
            account.signals += 1
        elif realtime and info.code != abi.SI_USER:
            raise SyscallError(errno.EAGAIN)
        self.mask |= abi.bit(info.signo)

    def take(self, wanted: int) -> SigInfo | None:
        """The next signal of ``wanted``: faults first, then the lowest number, each in order of arrival."""
        mask = self.mask & wanted
        if not mask:
            return None
        mask = mask & abi.SYNCHRONOUS or mask
        signo = (mask & -mask).bit_length()
        queue = self._queues.get(signo)
        if queue is None:
            self.mask &= ~abi.bit(signo)
            return SigInfo.user(signo, 0, 0)
        info, account = queue.popleft()
        account.signals -= 1
        if not queue:
            del self._queues[signo]
            self.mask &= ~abi.bit(signo)
        if info.source is not None:
            info.source.dequeued(info)
        return info

    def discard(self, mask: int) -> None:
        """Forget every pending signal of ``mask``."""
        for signo in abi.members(self.mask & mask):
            for info, account in self._queues.pop(signo, ()):
                account.signals -= 1
                if info.source is not None:
                    info.source.dequeued(info)
        self.mask &= ~mask


class AltStack(msgspec.Struct, frozen=True):
    """sigaltstack(2)'s stack."""

    address: int = 0
    size: int = 0
    flags: int = abi.SS_DISABLE

    @property
    def enabled(self) -> bool:
        """Whether there is one."""
        return self.size != 0

    def contains(self, stack_pointer: int) -> bool:
        """Whether a thread with this stack pointer is running on it; never with SS_AUTODISARM."""
        if self.flags & abi.SS_AUTODISARM:
            return False
        return self.enabled and 0 < stack_pointer - self.address <= self.size


NO_ALTSTACK = AltStack()
SAME_MASK = nullcontext()


class SignalState:
    """A thread's own part: its mask, its pending signals, its alternate stack."""

    __slots__ = ("_thread", "altstack", "blocked", "pending", "saved_mask")

    def __init__(self, thread: Thread, blocked: int = 0) -> None:
        self._thread = thread
        self.blocked = blocked
        self.pending = PendingSignals()
        self.altstack = NO_ALTSTACK
        # The mask to come back after delivery, while a temporary one is in force.
        self.saved_mask: int | None = None

    def temporary_mask(self, mask: int | None) -> AbstractContextManager[None]:
        """Block exactly ``mask`` meanwhile (sigsuspend, ppoll, epoll_pwait); None: change nothing.

        When the body is interrupted, the old mask returns only after the signals that the temporary one
        lets through have been delivered, so that their handlers run.
        """
        return SAME_MASK if mask is None else self._masked(mask)

    @contextmanager
    def _masked(self, mask: int) -> Iterator[None]:
        before = self.blocked
        self._thread.set_blocked(mask)
        try:
            yield
        except Interrupted:
            self.saved_mask = before
            raise
        except BaseException:
            self._thread.set_blocked(before)
            raise
        self._thread.set_blocked(before)

    def restore_saved_mask(self) -> None:
        """Nothing was delivered: the old mask returns."""
        if self.saved_mask is not None:
            mask, self.saved_mask = self.saved_mask, None
            self._thread.set_blocked(mask)


class Handler(msgspec.Struct, frozen=True):
    """Run the guest's handler. ``restore_mask`` and ``altstack`` go into the frame, for sigreturn.

    ``use_altstack``: the handler wants the alternate stack and there is one; it is not switched to when
    ``altstack.contains`` the present stack pointer.
    """

    signo: int
    info: SigInfo
    action: SigAction
    restore_mask: int
    altstack: AltStack = NO_ALTSTACK
    use_altstack: bool = False


class Terminate(msgspec.Struct, frozen=True):
    """The thread must end now: its owner calls ``thread.exit()``. The process' status is set already."""

    signo: int
    core: bool = False


class Stop(msgspec.Struct, frozen=True):
    """The thread is stopped: its owner awaits ``thread.wait_until_continued()``."""

    signo: int


Delivery = Handler | Terminate | Stop


def restart_result(policy: abi.Restart, delivery: Delivery | None) -> bool:
    """Whether an interrupted system call is executed again (True) or fails with EINTR, once ``delivery`` is known.

    ``delivery`` is what came of the interruption: a ``Handler``, or None when no handler ran.
    """
    if policy is abi.Restart.NEVER:
        return False
    if isinstance(delivery, Handler):
        return policy is abi.Restart.SYS and bool(delivery.action.flags & abi.SA_RESTART)
    return True
