"""The life of a guest thread: one coroutine that takes submissions, makes the calls, answers, delivers signals."""

from __future__ import annotations

import errno
import logging
import struct
from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import TYPE_CHECKING

from ..abi import shared
from ..abi import signals as abi
from ..abi.errors import Interrupted, SyscallError
from ..abi.numbers import name_of
from ..abi.signals import Restart
from .failure import failed
from .guest import FRAMES, GuestGone, GuestThread
from .marshal import FIRST_ARGUMENT, Call, Entry
from .siginfo import SigInfo
from .signals import Handler, Stop, restart_result

if TYPE_CHECKING:
    from .thread import Thread

log = logging.getLogger(__name__)

_FAULTS = (abi.SIGILL, abi.SIGTRAP, abi.SIGBUS, abi.SIGFPE, abi.SIGSEGV)
RT_SIGRETURN = 15
_ROBUST_HEAD = struct.Struct("<QqQ")


class ThreadExit(BaseException):
    """Raised by exit(2) and exit_group(2): this thread's life is over."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Departed(BaseException):
    """Raised by execve(2) of a Python program: the thread lives on, but no longer as a guest."""


class NewProgram(BaseException):
    """Raised by execve(2) when the thread runs a new program: the old one's call is not answered."""


async def live(thread: Thread, calls: dict[int, Call], prepare: Callable[[], Awaitable[int]] | None = None) -> None:
    """Serve ``thread`` until it ends.

    ``prepare`` brings a new thread to its first entry (its hello) and returns the result to answer it with.
    """
    try:
        if prepare is not None:
            result = await prepare()
            _answer(thread, result, await _collect(thread), None)
        await _serve(thread, calls)
    except ThreadExit as end:
        _end(thread, end.status)
    except GuestGone:
        _gone(thread)
    except SyscallError as error:
        log.warning("%r does not follow its orders (%s): it is killed", thread, errno.errorcode[error.errno])
        thread.process.exit(abi.killed(abi.SIGKILL))
        _end(thread, abi.killed(abi.SIGKILL))
    except Departed:
        pass
    except BaseException:
        log.exception("oops: the life of %r ended", thread)
        thread.kernel.stats.oopses += 1
        thread.process.exit(abi.killed(abi.SIGKILL))
        _end(thread, abi.killed(abi.SIGKILL))


async def _serve(thread: Thread, calls: dict[int, Call]) -> None:
    """Take entries, make the calls, answer. All in one frame: what a call costs, every call pays."""
    strand, guest = thread.strand, thread.guest
    assert strand is not None and type(guest) is GuestThread, "a thread without a host thread can't be served"
    while True:
        if not guest.arrived and not guest.follows():
            await guest.arrival()
        entry = guest.take()
        call = calls.get(entry[0])
        while True:
            cut: Restart | None = None
            if call is None:
                result, cut = _internal(thread, guest, entry)
            else:
                call.count += 1
                try:
                    result = call.make(thread, guest, entry)
                    if call.blocking:
                        result = await result
                except (Exception, NewProgram) as error:
                    result, cut = _failure(thread, call, error)
            guest = thread.guest  # execve(2) has given it another
            assert type(guest) is GuestThread
            if cut is None and not strand.interrupted and thread.signals.saved_mask is None:
                guest.complete(result or 0)
                break
            since = monotonic_ns()
            handlers = await _collect(thread)
            # Whoever was interrupted for nothing goes on waiting; a kicked host call is repeated by the shim.
            if handlers or cut is None or cut is Restart.NEVER or call is None:
                if call is None and cut is not None and not handlers:
                    result = monotonic_ns() - since  # for which the host call must not wait once more
                _answer(thread, result or 0, handlers, cut)
                break


def _failure(thread: Thread, call: Call, error: Exception | NewProgram) -> tuple[int, Restart | None]:
    """The result of a call that ended with ``error``, and its restart policy if a signal cut it short."""
    if isinstance(error, Interrupted):
        return -errno.EINTR, call.restart
    if isinstance(error, NewProgram):
        return 0, None
    return failed(thread, call.name, error), None


def _internal(thread: Thread, guest: GuestThread, entry: Entry) -> tuple[int, Restart | None]:
    """Entries that no declaration answers: kicks, faults, the end of handlers, unknown calls."""
    number = entry[0]
    first, second, third = entry[FIRST_ARGUMENT : FIRST_ARGUMENT + 3]
    if number == shared.NR_KICK:
        guest.clear_kick()
        if not first:
            return 0, None
        # Waits with a time-out are not restarted under SA_RESTART, see signal(7).
        return -errno.EINTR, Restart.NOHAND if second else Restart.SYS
    if number == shared.NR_FAULT:
        signo = first if first in _FAULTS else abi.SIGSEGV
        thread.force_signal(SigInfo.fault(signo, (second & 0xFFFFFFFF ^ 0x80000000) - 0x80000000, third))
        return 0, None
    if number == RT_SIGRETURN:
        if first:
            thread.set_blocked(second)
        else:
            thread.force_signal(SigInfo.kernel(abi.SIGSEGV))
        return 0, None
    # Every number has a name of its own only within the table: names are kept, and guests choose numbers.
    thread.kernel.stats.count_unsupported(name_of(number) if number < shared.TABLE_CALLS else "no such number")
    return -errno.ENOSYS, None


async def _collect(thread: Thread) -> list[Handler]:
    """Act upon every signal that is pending: sit out stops, end where it ends; the handlers that are to run."""
    handlers = []
    while (delivery := thread.next_delivery()) is not None:
        if isinstance(delivery, Handler):
            handlers.append(delivery)
            if len(handlers) == FRAMES:
                break
        elif isinstance(delivery, Stop):
            await thread.wait_until_continued()
        else:
            raise ThreadExit(thread.process.wait_status)
    return handlers


def _answer(thread: Thread, result: int, handlers: list[Handler], cut: Restart | None) -> None:
    """Complete the present entry, with the frames of the handlers that are to run first."""
    guest = thread.guest
    assert isinstance(guest, GuestThread)
    guest.clear_kick()
    for position, handler in enumerate(handlers):
        again = position == 0 and cut is not None and restart_result(cut, handler)
        _frame(guest, handler, again)
    if len(handlers) == FRAMES:
        guest.call_in()  # for the signals that did not fit
    guest.complete(result, shared.CQ_RETRY if cut is not None and not handlers else 0)


def _frame(guest: GuestThread, handler: Handler, again: bool) -> None:
    """Have the shim build one signal frame; it switches to the alternate stack unless it stands on it."""
    action, altstack = handler.action, handler.altstack
    data = shared.SIGNAL.pack(
        action.handler, action.restorer, handler.restore_mask, handler.signo, shared.SIGNAL_RESTART if again else 0,
        altstack.address if handler.use_altstack else 0, altstack.size if handler.use_altstack else 0,
        altstack.flags, altstack.address, altstack.size,
    ) + handler.info.pack()  # fmt: skip
    guest.operation(shared.OP_SIGNAL, guest.reserve(data))


# -- the end -------------------------------------------------------------------


def _end(thread: Thread, status: int) -> None:
    """The thread ends by itself or by a signal; with the last one, or exit_group, its host process."""
    guest = thread.guest
    assert isinstance(guest, GuestThread)
    whole = thread.process.exiting or len(thread.process.threads) == 1
    if whole and not has_duties(thread, guest):
        guest.host.kill()
    else:
        how = shared.EXIT_GROUP if whole else shared.EXIT_LEADER if guest.leads else shared.EXIT_THREAD
        guest.operation(shared.OP_EXIT, 0, how, thread.clear_child_tid, thread.robust_list[0], thread.tid)
        guest.complete(0)
        guest.detach(free=how == shared.EXIT_THREAD)
    if whole:
        guest.host.kill_soon()
    thread.exit(status)


def has_duties(thread: Thread, guest: GuestThread) -> bool:
    """Whether others may wait for something that this thread must do at its end in memory that they share."""
    if thread.clear_child_tid and guest.channel.users > 1:
        return True
    head = thread.robust_list[0]
    if not head:
        return False
    try:
        following, _, pending = _ROBUST_HEAD.unpack(guest.host.read(head, _ROBUST_HEAD.size))
    except SyscallError:
        return False
    return bool(following != head or pending)


def _gone(thread: Thread) -> None:
    """The host process has ended under the thread: killed by us, or by something on the host."""
    process = thread.process
    if not process.exiting and not thread.dying:
        process.exit(abi.killed(abi.SIGKILL))
    thread.exit(process.wait_status)
