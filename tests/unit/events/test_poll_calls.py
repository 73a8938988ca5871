"""The system calls that make descriptors and wait for them: pipe2, eventfd2, timerfd, epoll, poll, select."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import time
from signal import SIGUSR1

import pytest

from occlum_async.abi.errors import Interrupted
from occlum_async.abi.user import PythonBuffer, PythonPointer
from occlum_async.io.epoll import EPOLL_CTL_ADD, EVENT
from occlum_async.io.file import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT
from occlum_async.process.sending import send_to_process
from occlum_async.process.siginfo import SigInfo
from occlum_async.process.signals import SigAction
from occlum_async.syscalls import epoll, events, poll

NULL = PythonPointer()
MASK_USR1 = 1 << (SIGUSR1 - 1)


def pointer(data: bytes | int) -> PythonPointer:
    return PythonPointer(bytearray(data))


def make_pipe(thread, flags=0):
    fds = pointer(8)
    events.pipe2(thread, fds, flags)
    return struct.unpack("<ii", fds.data)


def pollfds(*entries):
    return PythonBuffer(bytearray(b"".join(struct.pack("<ihh", fd, wanted, -1) for fd, wanted in entries)))


def results(buffer):
    return [found for _, _, found in struct.iter_unpack("<ihh", buffer.data)]


async def test_pipe2(thread, fails):
    first, second = make_pipe(thread, os.O_CLOEXEC | os.O_NONBLOCK)
    assert (first, second) == (0, 1)
    assert thread.files.cloexec(first) and thread.files.cloexec(second)
    assert thread.files.get(first).nonblocking
    await fails(errno.EINVAL, events.pipe2, thread, pointer(8), os.O_APPEND)


async def test_pipe_without_descriptors_leaks_none(thread, fails):
    thread.files.limit = 1
    await fails(errno.EMFILE, events.pipe, thread, pointer(8))
    assert len(thread.files) == 0
    thread.files.limit = 10
    await fails(errno.EFAULT, events.pipe, thread, pointer(4))
    assert len(thread.files) == 0
    assert thread.kernel.ipc.pipe_pages[0] == 0


async def test_timerfd_calls(thread, fails):
    fd = events.timerfd_create(thread, time.CLOCK_MONOTONIC, os.O_NONBLOCK)
    new, old = struct.pack("<qqqq", 1, 5, 100, 0), pointer(32)
    events.timerfd_settime(thread, fd, 0, pointer(new), old)
    assert old.data == bytes(32)
    events.timerfd_gettime(thread, fd, old)
    interval, nanos, value, _ = struct.unpack("<qqqq", old.data)
    assert (interval, nanos, value) == (1, 5, 99)
    bad = struct.pack("<qqqq", 0, 10**9, 1, 0)
    await fails(errno.EINVAL, events.timerfd_settime, thread, fd, 0, pointer(bad), NULL)
    await fails(errno.EINVAL, events.timerfd_create, thread, time.CLOCK_PROCESS_CPUTIME_ID, 0)
    await fails(errno.EINVAL, events.timerfd_gettime, thread, make_pipe(thread)[0], old)
    thread.files.close(fd)


async def test_signalfd_calls(thread, fails):
    thread.set_blocked(MASK_USR1)
    mask = pointer(MASK_USR1.to_bytes(8, "little"))
    fd = events.signalfd4(thread, -1, mask, 8, os.O_CLOEXEC)
    assert events.signalfd4(thread, fd, mask, 8, 0) == fd
    send_to_process(thread.process, SigInfo.user(SIGUSR1, 1, 0))
    assert len(await thread.files.get(fd).read(128)) == 128
    await fails(errno.EINVAL, events.signalfd4, thread, -1, mask, 4, 0)
    await fails(errno.EBADF, events.signalfd4, thread, 50, mask, 8, 0)


async def test_eventfd_calls(thread, fails):
    fd = events.eventfd2(thread, 5, 1)
    assert await thread.files.get(fd).read(8) == (1).to_bytes(8, "little")
    await fails(errno.EINVAL, events.eventfd2, thread, 0, 2)


async def test_poll_reports_what_is_there(thread):
    reader, writer = make_pipe(thread)
    fds = pollfds((reader, POLLIN), (writer, POLLOUT), (-1, POLLIN), (77, POLLIN))
    assert await poll.poll(thread, fds, 4, -1) == 2
    assert results(fds) == [0, POLLOUT, 0, POLLNVAL]
    thread.files.close(writer)
    fds = pollfds((reader, 0))
    assert await poll.poll(thread, fds, 1, -1) == 1
    assert results(fds) == [POLLHUP]


async def test_poll_error_of_a_writer(thread):
    reader, writer = make_pipe(thread)
    thread.files.close(reader)
    fds = pollfds((writer, 0))
    assert await poll.poll(thread, fds, 1, -1) == 1
    assert results(fds) == [POLLERR]


async def test_poll_waits(thread, blocked):
    pipes = [make_pipe(thread) for _ in range(3)]
    fds = pollfds(*((reader, POLLIN) for reader, _ in pipes))
    task = await blocked(poll.poll(thread, fds, 3, -1))
    await thread.files.get(pipes[1][1]).write(b"x")
    assert await task == 1
    assert results(fds) == [0, POLLIN, 0]
    assert not any(thread.files.get(reader).waiters for reader, _ in pipes)


async def test_poll_times_out(thread):
    before = time.monotonic_ns()
    assert await poll.poll(thread, pollfds(), 0, 3) == 0
    assert time.monotonic_ns() - before >= 3_000_000


async def test_poll_limit(thread, fails):
    await fails(errno.EINVAL, poll.poll(thread, pollfds(), thread.files.limit + 1, 0))


async def test_interrupted_poll_keeps_its_deadline(thread, blocked):
    task = await blocked(poll.poll(thread, pollfds(), 0, 100_000))
    thread.scheduler._task_strands[task].interrupt()
    with pytest.raises(Interrupted):
        await task
    left = thread.restart_deadline - time.monotonic_ns()
    assert 99 * 10**9 < left <= 100 * 10**9
    thread.restart_deadline = time.monotonic_ns() + 1_000_000
    assert await poll.poll(thread, pollfds(), 0, 100_000) == 0  # the restarted call waits for the rest only
    assert thread.restart_deadline is None


async def test_ppoll_lets_signals_through(thread, blocked):
    thread.process.dispositions[SIGUSR1] = SigAction(handler=4096)
    thread.set_blocked(MASK_USR1)
    timeout = pointer(struct.pack("<qq", 100, 0))
    task = asyncio.ensure_future(poll.ppoll(thread, pollfds(), 0, timeout, pointer(8), 8))
    await asyncio.sleep(0)
    thread.strand = thread.scheduler._task_strands[task]
    send_to_process(thread.process, SigInfo.user(SIGUSR1, 1, 0))
    with pytest.raises(Interrupted):
        await task
    assert thread.signals.saved_mask == MASK_USR1
    assert struct.unpack("<qq", timeout.data)[0] == 99


async def test_select(thread, fails):
    reader, writer = make_pipe(thread)
    sets = [pointer(8) for _ in range(3)]
    for found in sets:
        found.data[0] = 1 << reader | 1 << writer
    assert await poll.select(thread, 2, *sets, NULL) == 1
    assert [found.data[0] for found in sets] == [0, 1 << writer, 0]
    thread.files.close(writer)
    sets[0].data[0] = 1 << reader
    assert await poll.select(thread, 1, sets[0], NULL, NULL, NULL) == 1
    sets[0].data[0] = 1 << writer
    await fails(errno.EBADF, poll.select(thread, 2, sets[0], NULL, NULL, NULL))
    await fails(errno.EINVAL, poll.select(thread, -1, NULL, NULL, NULL, NULL))


async def test_select_tells_the_time_left(thread, blocked):
    reader, writer = make_pipe(thread)
    reads, timeout = pointer(8), pointer(struct.pack("<qq", 100, 0))
    reads.data[0] = 1 << reader
    task = await blocked(poll.select(thread, 1, reads, NULL, NULL, timeout))
    await thread.files.get(writer).write(b"x")
    assert await task == 1
    seconds, micros = struct.unpack("<qq", timeout.data)
    assert seconds == 99 and micros < 10**6


async def test_pselect6_mask_argument(thread, fails):
    class Memory(PythonPointer):
        def at(self, address):
            assert address == 64
            return pointer(8)

    argument = Memory(bytearray(struct.pack("<QQ", 64, 8)))
    zero = pointer(16)
    assert await poll.pselect6(thread, 0, NULL, NULL, NULL, zero, argument) == 0
    argument = Memory(bytearray(struct.pack("<QQ", 64, 4)))
    await fails(errno.EINVAL, poll.pselect6(thread, 0, NULL, NULL, NULL, zero, argument))


async def test_epoll_calls(thread, fails):
    reader, writer = make_pipe(thread)
    epfd = epoll.epoll_create1(thread, os.O_CLOEXEC)
    event = pointer(EVENT.pack(POLLOUT, 99))
    epoll.epoll_ctl(thread, epfd, EPOLL_CTL_ADD, writer, event)
    buffer = PythonBuffer(bytearray(24))
    assert await epoll.epoll_wait(thread, epfd, buffer, 2, -1) == 1
    assert EVENT.unpack_from(buffer.data) == (POLLOUT, 99)
    assert await epoll.epoll_pwait2(thread, epfd, buffer, 2, pointer(16), pointer(8), 8) == 1
    assert thread.signals.blocked == 0
    await fails(errno.EINVAL, epoll.epoll_wait(thread, epfd, buffer, 0, 0))
    await fails(errno.EINVAL, epoll.epoll_wait(thread, reader, buffer, 1, 0))
    await fails(errno.EINVAL, epoll.epoll_ctl, thread, reader, EPOLL_CTL_ADD, writer, event)
    await fails(errno.EBADF, epoll.epoll_ctl, thread, epfd, EPOLL_CTL_ADD, 50, event)
    await fails(errno.EINVAL, epoll.epoll_create, thread, 0)
    thread.files.close(writer)
    assert await epoll.epoll_wait(thread, epfd, buffer, 2, 0) == 0
