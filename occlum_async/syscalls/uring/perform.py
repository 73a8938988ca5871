"""Making a request's system call: once, or again and again; with the buffer it brought, or one of a group's."""

from __future__ import annotations

import errno
from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from ...abi.errors import SyscallError
from ...abi.socket import MSG_DONTWAIT, MSG_WAITALL
from ...abi.uring import (
    ACCEPT_MULTISHOT,
    CQE_BUFFER_SHIFT,
    CQE_F_BUFFER,
    CQE_F_MORE,
    CQE_F_NOTIF,
    FILE_INDEX_ALLOC,
    IOSQE_BUFFER_SELECT,
    NOTIF_USAGE_ZC_COPIED,
    RECV_MULTISHOT,
    RECVSEND_FIXED_BUF,
    RECVSEND_POLL_FIRST,
    SEND_ZC_REPORT_USAGE,
    Op,
)
from ...io.file import POLLERR, POLLHUP, File
from ...io.sockets.socket import Socket
from ...io.uring.registered import Selected
from ...io.uring.request import Request
from ...io.uring.ring import Uring
from ...io.uring.submission import breathe
from ...process.asynchronous import RemoteUser, RequestFiles, Worker, failure, make
from ...process.guestmemory import GuestBuffer
from ...process.thread import Thread
from .messages import Message
from .operations import NOWHERE, SystemCall, check_fixed_vector, descriptor, fixed_range

RWF_NOWAIT = 8
BATCH = 64  # results of one multishot request before others have a turn
_RECEIVES, _ZERO_COPY = (Op.RECV, Op.RECVMSG, Op.READ_MULTISHOT), (Op.SEND_ZC, Op.SENDMSG_ZC)


class Performance:
    """One request on its way to be a system call."""

    __slots__ = (
        "_arguments", "_call", "_file", "_files", "_limit", "_multishot", "_operation", "_request", "_user", "_worker",
    )  # fmt: skip

    def __init__(self, thread: Thread, user: RemoteUser, request: Request, operation: SystemCall) -> None:
        """Everything that the entry points to and that the guest may then change is read here."""
        self._request = request
        self._operation = operation
        self._user = user
        self._multishot = _is_multishot(request)
        self._limit = request.length  # of a buffer that is chosen
        slot = _slot(request) if operation.opens else None
        self._files = RequestFiles(thread.files, request.ring.files, slot, operation.opens > 1)
        credentials = request.ring.personalities[request.personality] if request.personality else None
        self._worker = Worker(thread, self._files, credentials)
        self._call = thread.kernel.calls[operation.number]
        self._arguments: tuple[Any, ...] = operation.arguments(request, user)
        self._file: File | None = None
        if request.op == Op.SEND_ZC and request.ioprio & RECVSEND_FIXED_BUF:
            fixed_range(request)

    async def start(self, request: Request) -> int:
        """The work of the request: what comes of it in one number, negative for an error."""
        try:
            return await self._perform(request)
        except Exception as error:
            return failure(request.owner, self._call.name, error)

    async def _perform(self, request: Request) -> int:
        operation = self._operation
        if operation.on_file:
            number = descriptor(request)
            self._file = self._files.held[number] = request.hold(self._files.get(number))
            if operation.positioned and not self._file.seekable:
                self._arguments = (*self._arguments[:3], NOWHERE, *self._arguments[4:])
            if not isinstance(self._file, operation.kind):
                raise SyscallError(errno.EOPNOTSUPP)
            if request.op in (Op.READV_FIXED, Op.WRITEV_FIXED):
                check_fixed_vector(request, self._arguments[1])
        elif request.op == Op.CLOSE and isinstance(self._files.get(self._arguments[0]), Uring):
            raise SyscallError(errno.EBADF)
        if operation.messages and request.ioprio & RECVSEND_POLL_FIRST:
            await self._readiness()
        if self._multishot:
            if self._file is not None and self._file.seekable:  # what is never waited for can't tell of more
                raise SyscallError(errno.EBADFD)
            return await self._repeatedly()
        if request.op in _ZERO_COPY:
            return await self._without_copies()
        result = await self._once()
        if operation.told:
            result = int.from_bytes(self._arguments[operation.told].data, "little", signed=True)
        request.succeeded = self._whole(result)
        return result

    def _whole(self, result: int) -> bool:
        """Whether everything was transferred: if not, the chain ends here."""
        request = self._request
        if self._operation.positioned:
            return result >= int(self._arguments[1].size)
        waits_for_all = request.op in (Op.SEND, Op.RECV) and request.op_flags & MSG_WAITALL
        return not waits_for_all or result >= request.length

    async def _without_copies(self) -> int:
        """Such a send completes twice: with its result, and when the buffer is free again, which it always is here."""
        request = self._request
        request.more_flags = CQE_F_MORE
        usage = -NOTIF_USAGE_ZC_COPIED if request.ioprio & SEND_ZC_REPORT_USAGE else 0
        try:
            return await self._once()
        finally:
            ring = request.ring
            ring.scheduler.loop.call_soon(ring.post, request.user_data, usage, CQE_F_NOTIF)

    async def _repeatedly(self) -> int:
        """A multishot request: a completion for each result, until one fails or finds no room."""
        request, ring = self._request, self._request.ring
        posted = 0
        while True:
            await self._readiness()
            result = await self._once()
            if result <= 0 and request.op in _RECEIVES:
                return result
            if not ring.post(request.user_data, result, request.more_flags | CQE_F_MORE, last=False):
                return result
            request.more_flags = 0
            posted += 1
            if posted % BATCH == 0:
                await breathe(ring.scheduler)

    # -- one result ------------------------------------------------------------

    async def _once(self) -> int:
        """One call. A non-blocking file is waited for: it is the request that does not block."""
        selects = self._request.flags & IOSQE_BUFFER_SELECT
        while True:
            try:
                if not selects:
                    result = make(self._call, self._worker, self._user, self._arguments)
                    return (await result if self._call.blocking else result) or 0
                if self._patient():
                    await self._readiness()
                return await self._call_with_chosen()
            except SyscallError as error:
                if error.errno == errno.EINPROGRESS and self._request.op == Op.CONNECT:
                    return await self._connected()
                if error.errno != errno.EAGAIN or not self._patient(also_blocking=False):
                    raise
            await self._change()

    async def _call_handler(self) -> int:
        result = make(self._call, self._worker, self._user, self._arguments)
        return (await result if self._call.blocking else result) or 0

    async def _call_with_chosen(self) -> int:
        """Call with a buffer of the request's group, chosen now that there should be something to put into it."""
        request = self._request
        group = request.ring.groups.get(request.buf_index)
        if group is None:
            raise SyscallError(errno.ENOBUFS)
        buffer = group.take(0 if request.op == Op.RECVMSG else self._limit)
        flags = CQE_F_BUFFER | buffer.id << CQE_BUFFER_SHIFT
        result = 0
        try:
            result = await self._call_into(buffer)
        finally:
            if result > 0 or not group.give_back(buffer):
                request.more_flags = flags
        return result

    async def _call_into(self, buffer: Selected) -> int:
        request = self._request
        if request.op == Op.RECVMSG:
            message: Message = self._arguments[1]
            if not self._multishot:
                message.receive_into(buffer.address, buffer.size)
                return await self._call_handler()
            message.lay_out(buffer.address, buffer.size)
            length = await self._call_handler()
            return message.write_result(buffer.address, length) if length else 0
        number, _, third, *rest = self._arguments
        if request.op == Op.RECV:
            self._arguments = (number, buffer.address, buffer.size, *rest)
        else:
            self._arguments = (number, GuestBuffer(self._user, buffer.address, buffer.size), third, *rest)
        return await self._call_handler()

    # -- waiting ---------------------------------------------------------------

    def _patient(self, also_blocking: bool = True) -> bool:
        """Whether the file is waited for: it can be, and the request does not say otherwise."""
        file, operation = self._file, self._operation
        if file is None or not operation.waits or file.seekable or not (also_blocking or file.nonblocking):
            return False
        refusal = MSG_DONTWAIT if operation.messages else RWF_NOWAIT if operation.positioned else 0
        return not self._request.op_flags & refusal

    async def _change(self) -> None:
        """Wait until something has happened to the file that was not ready."""
        assert self._file is not None, "only operations on files wait for them"
        await self._file.waiters.wait(self._file.scheduler, self._operation.waits | POLLERR | POLLHUP)

    async def _readiness(self) -> None:
        assert self._file is not None, "only operations on files wait for them"
        while not self._file.poll() & (self._operation.waits | POLLERR | POLLHUP):
            await self._change()

    async def _connected(self) -> int:
        """A non-blocking connect(2) is under way: its end."""
        socket = self._file
        assert isinstance(socket, Socket), "nothing else connects"
        await self._readiness()
        if failure := int.from_bytes(socket.getsockopt(SOL_SOCKET, SO_ERROR, 4), "little"):
            raise SyscallError(failure)
        return 0


def _slot(request: Request) -> int | None:
    """Where among the registered files the new file goes; None for an ordinary descriptor."""
    slot = request.file_index & 0xFFFFFFFF
    return None if not slot else slot if slot == FILE_INDEX_ALLOC else slot - 1


def _is_multishot(request: Request) -> bool:
    """Whether it goes on after its first result; EINVAL where it can't."""
    if request.op == Op.ACCEPT:
        if request.ioprio & ~ACCEPT_MULTISHOT:
            raise SyscallError(errno.EINVAL)
        if request.ioprio and _slot(request) not in (None, FILE_INDEX_ALLOC):
            raise SyscallError(errno.EINVAL)
        return bool(request.ioprio)
    if request.op == Op.READ_MULTISHOT:
        if not request.flags & IOSQE_BUFFER_SELECT:
            raise SyscallError(errno.EINVAL)
        return True
    if request.op not in _RECEIVES or not request.ioprio & RECV_MULTISHOT:
        return False
    if not request.flags & IOSQE_BUFFER_SELECT or request.op_flags & MSG_WAITALL:
        raise SyscallError(errno.EINVAL)
    if request.op == Op.RECV and request.length:
        raise SyscallError(errno.EINVAL)
    return True
