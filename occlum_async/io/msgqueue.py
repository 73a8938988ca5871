"""System V message queues, see msgop(2)."""

from __future__ import annotations

import errno
import struct
import time
from collections import deque
from typing import NamedTuple

from ..abi.errors import SyscallError
from ..sched.strand import Scheduler
from ..sched.waitqueue import WaitQueue
from .file import POLLIN, POLLOUT
from .sysv import IPC_NOWAIT, IpcObject, IpcTable, Who

MSGMAX = 8192  # bytes in a message
MSGMNB = 16384  # bytes in a queue, unless its owner is privileged
MSGMNI = 4096  # queues
HARD_QUEUE = 1 << 20  # what a privileged owner can raise a queue to
MSG_NOERROR, MSG_EXCEPT, MSG_COPY = 0o10000, 0o20000, 0o40000

MSQID_DS = struct.Struct("<qqqQQQiiQQ")  # behind the perm: stime, rtime, ctime, cbytes, qnum, qbytes, lspid, lrpid
MSGINFO = struct.Struct("<7iHxx")


class Message(NamedTuple):
    type: int
    text: bytes


class MessageQueue(IpcObject):
    """One queue."""

    def __init__(self, key: int, who: Who, mode: int) -> None:
        super().__init__(key, who, mode)
        self.messages: deque[Message] = deque()
        self.bytes = 0
        self.limit = MSGMNB
        self.sent = self.received = 0
        self.sender = self.receiver = 0
        self.waiters = WaitQueue()

    async def send(self, scheduler: Scheduler, message: Message, flags: int, pid: int) -> None:
        """msgsnd(2). Waits while the queue is full; EAGAIN, EIDRM."""
        size = len(message.text)
        while self.bytes + size > self.limit or len(self.messages) >= self.limit:
            if flags & IPC_NOWAIT:
                raise SyscallError(errno.EAGAIN)
            await self.waiters.wait(scheduler, POLLOUT)
            self._check_removed()
        self.messages.append(message)
        self.bytes += size
        self.sender = pid
        self.sent = int(time.time())
        self.waiters.wake(POLLIN)

    async def receive(self, scheduler: Scheduler, size: int, wanted: int, flags: int, pid: int) -> Message:
        """msgrcv(2): the text is cut to ``size`` (MSG_NOERROR). ENOMSG, E2BIG, EIDRM."""
        while (index := self._find(wanted, flags)) is None:
            if flags & IPC_NOWAIT:
                raise SyscallError(errno.ENOMSG)
            await self.waiters.wait(scheduler, POLLIN)
            self._check_removed()
        message = self.messages[index]
        if len(message.text) > size and not flags & MSG_NOERROR:
            raise SyscallError(errno.E2BIG)
        if not flags & MSG_COPY:
            del self.messages[index]
            self.bytes -= len(message.text)
            self.receiver = pid
            self.received = int(time.time())
            self.waiters.wake(POLLOUT)
        return Message(message.type, message.text[:size])

    def _find(self, wanted: int, flags: int) -> int | None:
        if flags & MSG_COPY:
            return wanted if 0 <= wanted < len(self.messages) else None
        if wanted < 0:
            found = ((message.type, index) for index, message in enumerate(self.messages) if message.type <= -wanted)
            return min(found, default=(0, None))[1]
        for index, message in enumerate(self.messages):
            if wanted == 0 or (message.type == wanted) != bool(flags & MSG_EXCEPT):
                return index
        return None

    def _check_removed(self) -> None:
        if self.removed:
            raise SyscallError(errno.EIDRM)

    def set_limit(self, limit: int, privileged: bool) -> None:
        """IPC_SET's msg_qbytes; EPERM above MSGMNB without CAP_SYS_RESOURCE."""
        if limit > (HARD_QUEUE if privileged else MSGMNB):
            raise SyscallError(errno.EPERM)
        self.limit = limit
        self.waiters.wake()

    def remove(self) -> None:
        super().remove()
        self.messages.clear()
        self.waiters.wake()

    def pack(self) -> bytes:
        """``struct msqid64_ds``."""
        return self.pack_perm() + MSQID_DS.pack(
            self.sent, self.received, self.changed, self.bytes, len(self.messages), self.limit,
            self.sender, self.receiver, 0, 0,
        )  # fmt: skip


class MessageQueueTable(IpcTable[MessageQueue]):
    """All queues."""

    def __init__(self) -> None:
        super().__init__(MSGMNI)

    def open(self, key: int, flags: int, who: Who) -> int:
        """msgget(2)."""
        found = self.find(key, flags)
        if found is None:
            return self.add(MessageQueue(key, who, flags))
        found.check(who, flags & 0o777)
        return found.id

    def pack_info(self, used: bool) -> bytes:
        """``struct msginfo``: the limits, or (MSG_INFO) how much is in use."""
        pool, messages, size = MSGMNI * MSGMNB // 1024, MSGMNB, MSGMNB
        if used:
            pool = len(self)
            messages = sum(len(queue.messages) for queue in self)
            size = sum(queue.bytes for queue in self)
        return MSGINFO.pack(pool, messages, MSGMAX, MSGMNB, MSGMNI, 16, size, 0xFFFF)
