"""Queues, masks, deliveries, and who is woken."""

from __future__ import annotations

import asyncio
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occlum_async.abi import signals as abi
from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.process import cloning, sending
from occlum_async.process.kernel import Kernel
from occlum_async.process.limits import RLIMIT_SIGPENDING, UserAccount
from occlum_async.process.siginfo import SigInfo
from occlum_async.process.signals import AltStack, Handler, PendingSignals, SigAction, Stop, Terminate, restart_result
from occlum_async.process.thread import Thread

from .conftest import call, play, spawn

RT = abi.SIGRTMIN + 2


def handle(thread: Thread, signo: int, flags: int = 0, mask: int = 0) -> None:
    thread.process.dispositions[signo] = SigAction(0x1000, flags, 0, mask)


def send(thread: Thread, signo: int, value: int = 0) -> bool:
    return sending.send_to_process(thread.process, SigInfo.user(signo, 1, 0, abi.SI_QUEUE, value))


# -- queues ------------------------------------------------------------------


def test_standard_signals_coalesce_and_realtime_ones_queue_in_order() -> None:
    pending, account = PendingSignals(), UserAccount()
    for value in range(3):
        pending.add(SigInfo.user(abi.SIGUSR1, 0, 0, abi.SI_QUEUE, value), account, 100)
        pending.add(SigInfo.user(RT, 0, 0, abi.SI_QUEUE, value), account, 100)
    assert account.signals == 4
    taken = [pending.take(~0) for _ in range(5)]
    assert [info and (info.signo, info.payload[8]) for info in taken] == [
        (abi.SIGUSR1, 0), (RT, 0), (RT, 1), (RT, 2), None,
    ]  # fmt: skip
    assert account.signals == 0 and pending.mask == 0


def test_faults_come_before_lower_numbers() -> None:
    pending, account = PendingSignals(), UserAccount()
    for signo in (abi.SIGHUP, abi.SIGSEGV):
        pending.add(SigInfo.kernel(signo), account, 100)
    assert [pending.take(~0).signo for _ in range(2)] == [abi.SIGSEGV, abi.SIGHUP]  # type: ignore[union-attr]


def test_above_the_limit_realtime_signals_fail_and_standard_ones_arrive() -> None:
    pending, account = PendingSignals(), UserAccount(signals=1)
    with pytest.raises(SyscallError) as caught:
        pending.add(SigInfo.user(RT, 0, 0, abi.SI_QUEUE), account, 1)
    assert caught.value.errno == errno.EAGAIN
    pending.add(SigInfo.user(abi.SIGUSR1, 7, 0, abi.SI_QUEUE), account, 1)
    info = pending.take(~0)
    assert info is not None and (info.signo, info.code, info.pid) == (abi.SIGUSR1, abi.SI_USER, 0)
    assert account.signals == 1


@given(st.lists(st.tuples(st.integers(1, 64), st.booleans())))
def test_queue_against_a_model(actions: list[tuple[int, bool]]) -> None:
    pending, account = PendingSignals(), UserAccount()
    model: list[int] = []
    for signo, take in actions:
        if take:
            faults = [number for number in model if abi.bit(number) & abi.SYNCHRONOUS]
            expected = min(faults or model, default=None)
            info = pending.take(~0)
            assert (info.signo if info else None) == expected
            if expected is not None:
                model.remove(expected)
        else:
            pending.add(SigInfo.user(signo, 0, 0), account, 1 << 30)
            if signo >= abi.SIGRTMIN or signo not in model:
                model.append(signo)
        assert pending.mask == abi.sigset(*model) and account.signals == len(model)


# -- layouts -----------------------------------------------------------------


def test_siginfo_layouts() -> None:
    child = SigInfo.child(abi.SIGCHLD, abi.CLD_EXITED, 42, 1000, 3, 5, 6)
    packed = child.pack()
    assert len(packed) == 128
    assert struct.unpack_from("<iii4xiIi4xqq", packed) == (17, 0, 1, 42, 1000, 3, 5, 6)
    assert SigInfo.unpack(packed).payload[:24] == child.payload[:24]
    signalfd = child.pack_signalfd()
    assert len(signalfd) == 128
    assert struct.unpack_from("<IiiII", signalfd) == (17, 0, 1, 42, 1000)
    assert struct.unpack_from("<i", signalfd, 40) == (3,)
    assert struct.unpack_from("<QQ", signalfd, 56) == (5, 6)
    fault = SigInfo.fault(abi.SIGSEGV, abi.SEGV_MAPERR, 0xDEAD0000).pack_signalfd()
    assert struct.unpack_from("<Q", fault, 72) == (0xDEAD0000,)
    queued = SigInfo.user(RT, 9, 8, abi.SI_QUEUE, -2).pack_signalfd()
    assert struct.unpack_from("<iQ", queued, 44) == (-2, (1 << 64) - 2)


@given(st.integers(1, 64), st.integers(-8, 0x81), st.binary(min_size=128, max_size=128))
def test_a_guests_siginfo_never_breaks_the_packers(signo: int, code: int, raw: bytes) -> None:
    info = SigInfo.unpack(raw)
    info.signo, info.code = signo, code
    assert len(info.pack()) == len(info.pack_signalfd()) == 128


# -- delivery ----------------------------------------------------------------


async def test_handler_gets_its_mask_and_what_to_restore(thread: Thread) -> None:
    handle(thread, abi.SIGUSR1, abi.SA_RESTART, abi.sigset(abi.SIGTERM))
    thread.set_blocked(abi.sigset(abi.SIGHUP))
    send(thread, abi.SIGUSR1)
    assert thread.signal_pending() and thread.strand is not None and thread.strand.interrupted
    delivery = thread.next_delivery()
    assert isinstance(delivery, Handler)
    assert delivery.restore_mask == abi.sigset(abi.SIGHUP)
    assert thread.signals.blocked == abi.sigset(abi.SIGHUP, abi.SIGTERM, abi.SIGUSR1)
    assert thread.next_delivery() is None and not thread.strand.interrupted
    assert restart_result(abi.Restart.SYS, delivery)
    assert not restart_result(abi.Restart.NOHAND, delivery)
    assert restart_result(abi.Restart.NOHAND, None) and not restart_result(abi.Restart.NEVER, None)


async def test_resethand_nodefer_and_autodisarm(thread: Thread) -> None:
    handle(thread, abi.SIGUSR1, abi.SA_RESETHAND | abi.SA_NODEFER | abi.SA_ONSTACK)
    thread.signals.altstack = AltStack(0x5000, 8192, abi.SS_AUTODISARM)
    send(thread, abi.SIGUSR1)
    delivery = thread.next_delivery()
    assert isinstance(delivery, Handler) and delivery.use_altstack and delivery.altstack.address == 0x5000
    assert not thread.signals.altstack.enabled
    assert thread.signals.blocked == 0
    assert thread.process.dispositions[abi.SIGUSR1].handler == abi.SIG_DFL


async def test_ignored_signals_are_not_even_queued(thread: Thread) -> None:
    assert not send(thread, abi.SIGCHLD) and not send(thread, abi.SIGWINCH)
    thread.process.dispositions[abi.SIGTERM] = SigAction(abi.SIG_IGN)
    assert not send(thread, abi.SIGTERM)
    thread.set_blocked(abi.sigset(abi.SIGTERM))
    assert send(thread, abi.SIGTERM), "a blocked signal is kept: its disposition may change"
    thread.set_blocked(0)
    assert thread.next_delivery() is None and thread.pending_mask == 0


async def test_deadly_signals(kernel: Kernel) -> None:
    for signo, blocked in ((abi.SIGTERM, False), (abi.SIGKILL, True), (abi.SIGSEGV, False)):
        thread = spawn(kernel)
        thread.set_blocked(~0 if blocked else 0)
        send(thread, signo)
        delivery = thread.next_delivery()
        assert isinstance(delivery, Terminate) and delivery.signo == signo
        assert thread.process.wait_status == signo


async def test_init_is_not_hurt(kernel: Kernel, thread: Thread) -> None:
    sending.kill(thread, 1, SigInfo.user(abi.SIGKILL, 2, 0), abi.SIGKILL)
    assert not kernel.init.exiting


async def test_a_blocked_or_ignored_fault_kills(thread: Thread) -> None:
    handle(thread, abi.SIGSEGV)
    thread.set_blocked(abi.sigset(abi.SIGSEGV))
    thread.force_signal(SigInfo.fault(abi.SIGSEGV, abi.SEGV_MAPERR, 0))
    assert thread.next_delivery() == Terminate(abi.SIGSEGV, True)


async def test_process_signals_go_to_a_thread_that_takes_them(thread: Thread) -> None:
    other = cloning.clone(thread, 0x10F00, 0)
    handle(thread, abi.SIGUSR1)
    thread.set_blocked(abi.sigset(abi.SIGUSR1))
    send(thread, abi.SIGUSR1)
    assert not thread.signal_pending() and other.signal_pending()
    assert isinstance(other.next_delivery(), Handler)
    # The reverse: whoever blocks what it was woken for passes it on.
    other.set_blocked(0)
    send(thread, abi.SIGUSR1)
    thread.set_blocked(0)
    other.set_blocked(~0)
    assert thread.signal_pending() and not other.signal_pending()


# -- stopping ----------------------------------------------------------------


async def test_stop_and_continue_cancel_one_another(thread: Thread) -> None:
    process = thread.process
    send(thread, abi.SIGSTOP)
    assert isinstance(thread.next_delivery(), Stop) and process.stopped
    send(thread, abi.SIGTERM)
    assert not process.exiting, "only SIGKILL reaches a stopped process"
    waiter = asyncio.ensure_future(thread.wait_until_continued())
    await asyncio.sleep(0)
    send(thread, abi.SIGCONT)
    await waiter
    assert not process.stopped
    assert thread.next_delivery() == Terminate(abi.SIGTERM)


async def test_stop_is_dropped_by_cont_before_it_is_taken(thread: Thread) -> None:
    send(thread, abi.SIGSTOP)
    send(thread, abi.SIGCONT)
    assert thread.next_delivery() is None


async def test_orphaned_groups_only_stop_for_sigstop(thread: Thread) -> None:
    send(thread, abi.SIGTSTP)
    assert thread.process.group.is_orphaned()
    assert thread.next_delivery() is None
    child = cloning.clone(thread, 0, abi.SIGCHLD)
    await call(thread, "setpgid", child.process.pid, 0)
    send(child, abi.SIGTSTP)
    assert child.next_delivery() == Stop(abi.SIGTSTP)


# -- system calls ------------------------------------------------------------


async def test_sigaction_validates_and_discards_pending(thread: Thread) -> None:
    act = abi.SIGACTION.pack(0x1000, abi.SA_RESTART | 0x400, 0x2000, ~0 & (1 << 64) - 1)
    old = bytearray(32)
    await call(thread, "rt_sigaction", abi.SIGUSR1, act, old, 8)
    assert old == bytes(32)
    await call(thread, "rt_sigaction", abi.SIGUSR1, None, old, 8)
    handler, flags, restorer, mask = abi.SIGACTION.unpack(old)
    assert (handler, flags, restorer) == (0x1000, abi.SA_RESTART, 0x2000)
    assert not mask & abi.UNBLOCKABLE
    for signo, action, size in ((0, None, 8), (65, None, 8), (abi.SIGKILL, act, 8), (abi.SIGUSR1, act, 4)):
        with pytest.raises(OSError) as caught:
            await call(thread, "rt_sigaction", signo, action, None, size)
        assert caught.value.errno == errno.EINVAL
    thread.set_blocked(abi.sigset(abi.SIGUSR1))
    send(thread, abi.SIGUSR1)
    await call(thread, "rt_sigaction", abi.SIGUSR1, abi.SIGACTION.pack(abi.SIG_IGN, 0, 0, 0), None, 8)
    assert thread.pending_mask == 0


async def test_sigtimedwait(thread: Thread) -> None:
    thread.set_blocked(abi.sigset(RT))
    send(thread, RT, 77)
    info = bytearray(128)
    assert await call(thread, "rt_sigtimedwait", abi.SIGSET.pack(abi.bit(RT)), info, None, 8) == RT
    assert SigInfo.unpack(bytes(info)).payload[8] == 77
    with pytest.raises(BlockingIOError):
        await call(thread, "rt_sigtimedwait", abi.SIGSET.pack(abi.bit(RT)), None, bytes(16), 8)
    waiting = asyncio.ensure_future(call(thread, "rt_sigtimedwait", abi.SIGSET.pack(abi.bit(RT)), None, None, 8))
    await asyncio.sleep(0)
    send(thread, RT)
    assert await waiting == RT


async def test_sigsuspend_restores_the_mask_after_the_handler(thread: Thread) -> None:
    play(thread)
    handle(thread, abi.SIGUSR1)
    thread.set_blocked(abi.sigset(abi.SIGUSR1, abi.SIGUSR2))
    send(thread, abi.SIGUSR1)
    with pytest.raises(Interrupted), thread.signals.temporary_mask(abi.sigset(abi.SIGUSR2)):
        await thread.scheduler.current().park()
    delivery = thread.next_delivery()
    assert isinstance(delivery, Handler)
    assert delivery.restore_mask == abi.sigset(abi.SIGUSR1, abi.SIGUSR2)


async def test_temporary_mask_returns_at_once_when_nothing_happened(thread: Thread) -> None:
    with thread.signals.temporary_mask(abi.sigset(abi.SIGINT)):
        assert thread.signals.blocked == abi.sigset(abi.SIGINT)
    assert thread.signals.blocked == 0 and thread.signals.saved_mask is None


async def test_kill_permissions_and_targets(kernel: Kernel, thread: Thread) -> None:
    user = spawn(kernel, uid=1000)
    with pytest.raises(PermissionError):
        await call(user, "kill", thread.process.pid, abi.SIGTERM)
    await call(thread, "kill", user.process.pid, 0)
    with pytest.raises(ProcessLookupError):
        await call(thread, "kill", 4242, 0)
    with pytest.raises(ProcessLookupError):
        await call(thread, "kill", -4242, abi.SIGTERM)
    with pytest.raises(OSError, match="Invalid argument"):
        await call(thread, "kill", user.process.pid, 65)
    await call(thread, "kill", -1, abi.SIGKILL)
    assert user.process.exiting and not thread.process.exiting


async def test_queued_signals_may_not_pretend(kernel: Kernel, thread: Thread) -> None:
    other = spawn(kernel)
    fake = SigInfo.user(RT, 1, 0, abi.SI_USER).pack()
    with pytest.raises(PermissionError):
        await call(thread, "rt_sigqueueinfo", other.process.pid, RT, fake)
    honest = SigInfo.user(RT, 1, 0, abi.SI_QUEUE, 5).pack()
    other.set_blocked(abi.sigset(RT))
    await call(thread, "rt_sigqueueinfo", other.process.pid, RT, honest)
    assert other.has_pending(abi.bit(RT))
    other.process.limits.set(RLIMIT_SIGPENDING, 1, 1, True)
    with pytest.raises(BlockingIOError):
        await call(thread, "rt_sigqueueinfo", other.process.pid, RT, honest)


async def test_sigaltstack_rules(thread: Thread) -> None:
    await call(thread, "sigaltstack", abi.STACK.pack(0x7000, 0, 8192), None)
    old = bytearray(24)
    await call(thread, "sigaltstack", abi.STACK.pack(0, abi.SS_DISABLE, 0), old)
    assert abi.STACK.unpack(old) == (0x7000, 0, 8192)
    with pytest.raises(OSError) as caught:
        await call(thread, "sigaltstack", abi.STACK.pack(0x7000, 0, 2047), None)
    assert caught.value.errno == errno.ENOMEM
    with pytest.raises(OSError) as caught:
        await call(thread, "sigaltstack", abi.STACK.pack(0x7000, 4, 8192), None)
    assert caught.value.errno == errno.EINVAL
