"""Taking signals out: what a thread does about what is pending, as signal(7) says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..abi import signals as abi
from . import sending
from .siginfo import SigInfo
from .signals import DEFAULT_ACTION, NO_ALTSTACK, Delivery, Handler, SigAction, Stop, Terminate

if TYPE_CHECKING:
    from .thread import Thread


def next_delivery(thread: Thread) -> Delivery | None:
    """The next thing that ``thread`` must do about signals before it goes on; None: nothing more.

    All bookkeeping is done here: the mask during the handler, SA_RESETHAND, the process' death or stop.
    """
    process = thread.process
    while True:
        if process.exiting or thread.dying:
            return Terminate(process.wait_status & 0x7F or abi.SIGKILL)
        if process.stop_signal and not thread.stopped:
            signo = process.stop_signal
            process.thread_stopped(thread)
            return Stop(signo)
        info = _dequeue(thread)
        if info is None:
            thread.signals.restore_saved_mask()
            thread.recalculate()
            if not thread.signal_pending():
                return None
            continue
        action = process.dispositions[info.signo]
        if action.handler == abi.SIG_IGN:
            continue
        if action.handler != abi.SIG_DFL:
            return _run_handler(thread, info, action)
        terminated = _default(thread, info)
        if terminated is not None:
            return terminated


def _dequeue(thread: Thread) -> SigInfo | None:
    """Faults of this very thread first, then what was sent to it, then what was sent to the process."""
    wanted = ~thread.signals.blocked
    own = thread.signals.pending
    return own.take(wanted & abi.SYNCHRONOUS) or own.take(wanted) or thread.process.pending.take(wanted)


def _run_handler(thread: Thread, info: SigInfo, action: SigAction) -> Handler:
    signals, process = thread.signals, thread.process
    if action.flags & abi.SA_RESETHAND:
        process.dispositions[info.signo] = SigAction(
            abi.SIG_DFL, action.flags & ~abi.SA_RESETHAND, action.restorer, action.mask
        )
    restore = signals.blocked if signals.saved_mask is None else signals.saved_mask
    signals.saved_mask = None
    thread.restart_deadline = None
    altstack = signals.altstack
    use_altstack = bool(action.flags & abi.SA_ONSTACK) and altstack.enabled
    if altstack.flags & abi.SS_AUTODISARM:
        signals.altstack = NO_ALTSTACK
    during = signals.blocked | action.mask
    if not action.flags & abi.SA_NODEFER:
        during |= abi.bit(info.signo)
    thread.set_blocked(during)
    return Handler(info.signo, info, action, restore, altstack, use_altstack)


def _default(thread: Thread, info: SigInfo) -> Terminate | None:
    process = thread.process
    default = abi.default_action(info.signo)
    if default in (abi.Default.IGNORE, abi.Default.CONTINUE) or process.is_init:
        return None
    if default is abi.Default.STOP:
        # Nobody could continue an orphaned group, so only SIGSTOP stops it.
        if info.signo == abi.SIGSTOP or not process.group.is_orphaned():
            process.begin_stop(info.signo)
        return None
    process.exit(abi.killed(info.signo))
    return Terminate(info.signo, default is abi.Default.CORE)


def force_signal(thread: Thread, info: SigInfo) -> None:
    """Send ``thread`` a fault of its own; where it is blocked or ignored, it kills as if it were not handled."""
    mask = abi.bit(info.signo)
    dispositions = thread.process.dispositions
    blocked = bool(thread.signals.blocked & mask)
    if blocked or dispositions[info.signo].handler == abi.SIG_IGN:
        dispositions[info.signo] = DEFAULT_ACTION
        if blocked:
            thread.set_blocked(thread.signals.blocked & ~mask)
    sending.send_to_thread(thread, info)
