"""signalfd(2): the signals of whoever reads."""

from __future__ import annotations

import asyncio
import errno
import os
from signal import SIGKILL, SIGUSR1, SIGUSR2

from occlum_async.io.file import POLLIN
from occlum_async.io.signalfd import SignalFd
from occlum_async.process.sending import send_to_process
from occlum_async.process.siginfo import SigInfo


def bit(signo: int) -> int:
    return 1 << (signo - 1)


async def test_reads_pending_signals(thread, fails):
    thread.set_blocked(bit(SIGUSR1) | bit(SIGUSR2))
    file = SignalFd(thread.scheduler, bit(SIGUSR1), lambda: thread, os.O_NONBLOCK)
    await fails(errno.EAGAIN, file.read(128))
    send_to_process(thread.process, SigInfo.user(SIGUSR2, 1, 0))
    assert file.poll() == 0
    send_to_process(thread.process, SigInfo.user(SIGUSR1, 7, 0))
    assert file.poll() == POLLIN
    data = await file.read(1000)
    assert len(data) == 128
    assert int.from_bytes(data[:4], "little") == SIGUSR1
    assert int.from_bytes(data[12:16], "little") == 7
    file.set_mask(bit(SIGUSR2))
    assert file.poll() == POLLIN
    assert len(await file.read(128)) == 128
    await fails(errno.EINVAL, file.read(127))


async def test_wakes_a_blocked_reader(thread):
    thread.set_blocked(bit(SIGUSR1))
    file = SignalFd(thread.scheduler, bit(SIGUSR1), lambda: thread)
    task = asyncio.ensure_future(file.read(128))
    await asyncio.sleep(0)
    assert not task.done()
    send_to_process(thread.process, SigInfo.user(SIGUSR1, 7, 0))
    assert len(await task) == 128


async def test_unblockable_signals_are_left_out(thread):
    assert SignalFd(thread.scheduler, bit(SIGKILL) | bit(SIGUSR1), lambda: thread).mask == bit(SIGUSR1)


async def test_close_stops_listening(thread):
    file = SignalFd(thread.scheduler, bit(SIGUSR1), lambda: thread)
    file.poll()
    assert thread.process.signal_waiters
    file.close()
    assert not thread.process.signal_waiters
