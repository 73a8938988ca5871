"""POSIX message queues: mq_open(3) and its family."""

from __future__ import annotations

import errno
import os
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Buffer, Fd, In, Int, Out, Path, Size, StructIn, StructOut, UInt
from ..abi.user import UserPointer
from ..fs.credentials import CAP_DAC_OVERRIDE, CAP_SYS_RESOURCE
from ..io.mqueue import DEFAULT_MESSAGES, DEFAULT_SIZE, PRIO_MAX, Queue, QueueFile
from ..io.sysv import Who
from ..process.limits import RLIMIT_MSGQUEUE
from ..process.sending import send_to_process
from ..process.siginfo import SigInfo
from ..process.thread import Thread
from .epoll import TIMESPEC
from .events import install, timespec
from .ipc import namespace
from .table import syscall

MQ_ATTR = struct.Struct("<qqqq32x")  # flags, maxmsg, msgsize, curmsgs
SIGEVENT = struct.Struct("<Qii48x")  # value, signo, notify
PRIORITY = struct.Struct("<I")
SIGEV_SIGNAL, SIGEV_NONE = 0, 1
SI_MESGQ = -3
SIGNAL_MAX = 64


def _who(thread: Thread) -> Who:
    mine = thread.credentials
    return Who(mine.fsuid, mine.fsgid, mine.groups, mine.capable(CAP_DAC_OVERRIDE))


def _file(thread: Thread, fd: int) -> QueueFile:
    file = thread.files.get(fd)
    if not isinstance(file, QueueFile):
        raise SyscallError(errno.EBADF)
    return file


@syscall(240)
def mq_open(
    thread: Thread, name: Path, flags: Int, mode: UInt, attributes: Annotated[UserPointer, StructIn(64)]
) -> int:
    table, caller = namespace(thread).posix_queues, _who(thread)
    if flags & os.O_ACCMODE == os.O_ACCMODE:
        raise SyscallError(errno.EINVAL)
    queue = table.find(name)
    if queue is None:
        if not flags & os.O_CREAT:
            raise SyscallError(errno.ENOENT)
        queue = _create(thread, name, mode, attributes)
    elif flags & os.O_CREAT and flags & os.O_EXCL:
        raise SyscallError(errno.EEXIST)
    elif not queue.permits(caller, {os.O_RDONLY: 4, os.O_WRONLY: 2}.get(flags & os.O_ACCMODE, 6)):
        raise SyscallError(errno.EACCES)
    file = QueueFile(thread.scheduler, flags & (os.O_ACCMODE | os.O_NONBLOCK), queue, table, name)
    return install(thread, file, os.O_CLOEXEC)


def _create(thread: Thread, name: bytes, mode: int, attributes: UserPointer) -> Queue:
    messages, size = DEFAULT_MESSAGES, DEFAULT_SIZE
    if attributes:
        _, messages, size, _ = attributes.unpack(MQ_ATTR)
    queue = Queue(_who(thread), mode & 0o7777 & ~thread.fs.umask, messages, size)
    limit = thread.process.limits.soft(RLIMIT_MSGQUEUE)
    privileged = thread.credentials.capable(CAP_SYS_RESOURCE)
    return namespace(thread).posix_queues.create(name, queue, limit, privileged)


@syscall(241)
def mq_unlink(thread: Thread, name: Path) -> None:
    namespace(thread).posix_queues.unlink(name, _who(thread))


def _deadline(timeout: UserPointer) -> int | None:
    return timespec(*timeout.unpack(TIMESPEC)) if timeout else None


@syscall(242)
async def mq_timedsend(
    thread: Thread,
    fd: Fd,
    message: Annotated[Buffer, In("size")],
    size: Size,
    priority: UInt,
    timeout: Annotated[UserPointer, StructIn(16)],
) -> None:
    if priority >= PRIO_MAX:
        raise SyscallError(errno.EINVAL)
    deadline, file = _deadline(timeout), _file(thread, fd)
    if not file.writable:
        raise SyscallError(errno.EBADF)
    if size > file.queue.max_size:
        raise SyscallError(errno.EMSGSIZE)
    await file.send(message.read(), priority, deadline)


@syscall(243)
async def mq_timedreceive(
    thread: Thread,
    fd: Fd,
    message: Annotated[Buffer, Out("size")],
    size: Size,
    priority: Annotated[UserPointer, StructOut(4)],
    timeout: Annotated[UserPointer, StructIn(16)],
) -> int:
    deadline = _deadline(timeout)
    data, found = await _file(thread, fd).receive(size, deadline)
    message.write(data)
    if priority:
        priority.pack(PRIORITY, found)
    return len(data)


@syscall(244)
def mq_notify(thread: Thread, fd: Fd, event: Annotated[UserPointer, StructIn(64)]) -> None:
    queue, process = _file(thread, fd).queue, thread.process
    if not event:
        if queue.notified is process:
            queue.forget_notification()
        return
    value, signo, kind = event.unpack(SIGEVENT)
    # SIGEV_THREAD would go over a netlink socket, which only the C library's helper thread uses.
    if kind not in (SIGEV_SIGNAL, SIGEV_NONE) or (kind == SIGEV_SIGNAL and not 0 < signo <= SIGNAL_MAX):
        raise SyscallError(errno.EINVAL)
    if queue.notified is not None:
        raise SyscallError(errno.EBUSY)
    namespace(thread).enroll(process, process.pid, process.exit_waiters)
    queue.notified = process
    queue.signal = (kind, signo if kind == SIGEV_SIGNAL else 0, process.pid)
    if kind == SIGEV_SIGNAL:
        queue.notify = lambda: _notify(thread, signo, value)


def _notify(receiver: Thread, signo: int, value: int) -> None:
    """Tell the registered process, in the name of the thread that sends."""
    sender = receiver.kernel.current_thread()
    pid, uid = (sender.process.pid, sender.credentials.uid) if sender is not None else (0, 0)
    send_to_process(receiver.process, SigInfo.user(signo, pid, uid, SI_MESGQ, value))


@syscall(245)
def mq_getsetattr(
    thread: Thread,
    fd: Fd,
    new: Annotated[UserPointer, StructIn(64)],
    old: Annotated[UserPointer, StructOut(64)],
) -> None:
    file = _file(thread, fd)
    flags = new.unpack(MQ_ATTR)[0] if new else 0
    if flags & ~os.O_NONBLOCK:
        raise SyscallError(errno.EINVAL)
    if old:
        queue = file.queue
        old.pack(MQ_ATTR, file.flags & os.O_NONBLOCK, queue.max_messages, queue.max_size, len(queue))
    if new:
        file.flags = file.flags & ~os.O_NONBLOCK | flags
