"""POSIX message queues."""

from __future__ import annotations

import errno
import os
import struct
import time
from signal import SIGUSR1

import pytest

from occlum_async.abi.user import PythonBuffer, PythonPointer
from occlum_async.fs.credentials import Credentials
from occlum_async.io.file import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from occlum_async.process.limits import RLIMIT_MSGQUEUE
from occlum_async.syscalls import mqueue

NULL = PythonPointer()


def pointer(data: bytes | int) -> PythonPointer:
    return PythonPointer(bytearray(data))


def attributes(messages: int, size: int, flags: int = 0) -> PythonPointer:
    return pointer(mqueue.MQ_ATTR.pack(flags, messages, size, 0))


@pytest.fixture
def queue(thread):
    return mqueue.mq_open(thread, b"q", os.O_RDWR | os.O_CREAT, 0o666, attributes(2, 16))


async def send(thread, fd, data, priority=0, timeout=NULL):
    await mqueue.mq_timedsend(thread, fd, PythonBuffer(data), len(data), priority, timeout)


async def receive(thread, fd, timeout=NULL, size=16):
    target, priority = PythonBuffer(bytearray(size)), pointer(4)
    count = await mqueue.mq_timedreceive(thread, fd, target, size, priority, timeout)
    return bytes(target.data[:count]), int.from_bytes(priority.data, "little")


async def test_highest_priority_first_then_oldest(thread, queue):
    await send(thread, queue, b"low", 1)
    await send(thread, queue, b"high", 9)
    assert await receive(thread, queue) == (b"high", 9)
    await send(thread, queue, b"low too", 1)
    assert [await receive(thread, queue), await receive(thread, queue)] == [(b"low", 1), (b"low too", 1)]


async def test_opening(thread, queue, fails):
    assert thread.files.cloexec(queue)
    assert mqueue.mq_open(thread, b"q", os.O_RDONLY, 0, NULL) != queue
    await fails(errno.EEXIST, mqueue.mq_open, thread, b"q", os.O_CREAT | os.O_EXCL, 0, NULL)
    await fails(errno.ENOENT, mqueue.mq_open, thread, b"other", os.O_RDWR, 0, NULL)
    await fails(errno.EACCES, mqueue.mq_open, thread, b"a/b", os.O_RDWR | os.O_CREAT, 0, NULL)
    await fails(errno.ENAMETOOLONG, mqueue.mq_open, thread, b"a" * 256, os.O_RDWR, 0, NULL)
    await fails(errno.EINVAL, mqueue.mq_open, thread, b"x", os.O_RDWR | os.O_CREAT, 0, attributes(0, 8))
    stat = await thread.files.get(queue).stat()
    assert stat.mode & 0o777 == 0o644  # the umask counts


async def test_limits_of_users(thread, fails):
    thread.process.limits.set(RLIMIT_MSGQUEUE, 819200, 819200, True)
    thread.credentials = Credentials.of(1000, 1000)
    await fails(errno.EINVAL, mqueue.mq_open, thread, b"x", os.O_RDWR | os.O_CREAT, 0, attributes(11, 8))
    opened = []
    with pytest.raises(Exception) as caught:
        for number in range(20):
            opened.append(mqueue.mq_open(thread, b"%d" % number, os.O_RDWR | os.O_CREAT, 0o600, NULL))
    assert caught.value.errno == errno.EMFILE
    mqueue.mq_unlink(thread, b"0")
    thread.files.close(opened[0])
    mqueue.mq_open(thread, b"again", os.O_RDWR | os.O_CREAT, 0o600, NULL)


async def test_permissions(thread, queue, fails):
    thread.credentials = Credentials.of(1000, 1000)
    mqueue.mq_open(thread, b"q", os.O_RDONLY, 0, NULL)
    await fails(errno.EACCES, mqueue.mq_open, thread, b"q", os.O_RDWR, 0, NULL)
    await fails(errno.EPERM, mqueue.mq_unlink, thread, b"q")


async def test_unlinked_queue_lives_while_it_is_open(thread, queue, fails):
    mqueue.mq_unlink(thread, b"q")
    await fails(errno.ENOENT, mqueue.mq_unlink, thread, b"q")
    await send(thread, queue, b"x")
    assert await receive(thread, queue) == (b"x", 0)
    thread.files.close(queue)
    assert thread.kernel.ipc.posix_queues.bytes[0] == 0


async def test_blocking_and_time(thread, queue, blocked, fails):
    task = await blocked(receive(thread, queue))
    await send(thread, queue, b"x")
    assert await task == (b"x", 0)
    await send(thread, queue, b"a")
    await send(thread, queue, b"b")
    past = pointer(struct.pack("<qq", int(time.time()) - 1, 0))
    await fails(errno.ETIMEDOUT, send(thread, queue, b"c", 0, past))
    task = await blocked(send(thread, queue, b"c"))
    await receive(thread, queue)
    await task
    await fails(errno.EINVAL, send(thread, queue, b"c", 0, pointer(struct.pack("<qq", 0, -1))))


async def test_sizes(thread, queue, fails):
    await fails(errno.EMSGSIZE, send(thread, queue, b"x" * 17))
    await fails(errno.EMSGSIZE, receive(thread, queue, size=15))
    await fails(errno.EINVAL, send(thread, queue, b"x", 32768))


async def test_attributes_and_nonblocking(thread, queue, fails):
    old = pointer(64)
    mqueue.mq_getsetattr(thread, queue, attributes(0, 0, os.O_NONBLOCK), old)
    assert mqueue.MQ_ATTR.unpack(old.data) == (0, 2, 16, 0)
    await fails(errno.EAGAIN, receive(thread, queue))
    await send(thread, queue, b"x")
    mqueue.mq_getsetattr(thread, queue, NULL, old)
    assert mqueue.MQ_ATTR.unpack(old.data) == (os.O_NONBLOCK, 2, 16, 1)
    await fails(errno.EINVAL, mqueue.mq_getsetattr, thread, queue, attributes(0, 0, os.O_APPEND), NULL)


async def test_poll(thread, queue):
    file = thread.files.get(queue)
    assert file.poll() == POLLOUT | POLLWRNORM
    await send(thread, queue, b"x")
    await send(thread, queue, b"x")
    assert file.poll() == POLLIN | POLLRDNORM


async def test_notification_comes_once(thread, queue, fails):
    thread.set_blocked(1 << (SIGUSR1 - 1))
    event = pointer(mqueue.SIGEVENT.pack(77, SIGUSR1, mqueue.SIGEV_SIGNAL))
    mqueue.mq_notify(thread, queue, event)
    await fails(errno.EBUSY, mqueue.mq_notify, thread, queue, event)
    await send(thread, queue, b"x")
    info = thread.take_pending(1 << (SIGUSR1 - 1))
    assert info.code == mqueue.SI_MESGQ
    assert int.from_bytes(info.payload[8:16], "little") == 77
    await receive(thread, queue)
    await send(thread, queue, b"x")
    assert thread.take_pending(1 << (SIGUSR1 - 1)) is None


async def test_a_waiting_receiver_is_served_before_any_notification(thread, queue, blocked):
    thread.set_blocked(1 << (SIGUSR1 - 1))
    mqueue.mq_notify(thread, queue, pointer(mqueue.SIGEVENT.pack(0, SIGUSR1, mqueue.SIGEV_SIGNAL)))
    task = await blocked(receive(thread, queue))
    await send(thread, queue, b"x")
    await task
    assert not thread.pending_mask


async def test_notification_ends_with_its_process(thread, queue):
    mqueue.mq_notify(thread, queue, pointer(mqueue.SIGEVENT.pack(0, 0, mqueue.SIGEV_NONE)))
    thread.process.exit_waiters.wake()
    mqueue.mq_notify(thread, queue, pointer(mqueue.SIGEVENT.pack(0, 0, mqueue.SIGEV_NONE)))


async def test_reading_shows_the_state(thread, queue):
    await send(thread, queue, b"abc")
    text = await thread.files.get(queue).read(100)
    assert text == b"QSIZE:3          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n"
