"""Sending and receiving on sockets: send, recv, sendmsg, recvmsg and their multiple forms, with control messages."""

from __future__ import annotations

import errno
import struct
from socket import SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET
from typing import Annotated

from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Buffer, Fd, In, Int, Pointer, Size, UInt
from ..abi.socket import (
    AF_UNIX,
    CONTROL_MAX,
    INT,
    IOVEC,
    MMSG_LEN_AT,
    MMSGHDR_SIZE,
    MSG_CMSG_CLOEXEC,
    MSG_CONTROLLEN_AT,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_FLAGS_AT,
    MSG_NAMELEN_AT,
    MSG_OOB,
    MSG_TRUNC,
    MSG_WAITFORONE,
    MSGHDR,
    SCM_MAX_FD,
    SOCK_STREAM,
    SOCKADDR_MAX,
    UCRED,
    UINT,
    ControlMessage,
    ControlWriter,
    decode_control,
)
from ..abi.user import UserBuffer, UserPointer, VectorBuffer
from ..fs.credentials import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
from ..io.file import File
from ..io.sockets.socket import Ancillary, Received, Socket
from ..io.sockets.stream import ByteStream
from ..io.uring.ring import Uring
from ..process.thread import Thread
from .file import LONG
from .net import find_address, put_address, raw_address, socket_of
from .table import syscall

MAX_RW_COUNT = 0x7FFFF000
# The kernel holds at most this much of one send at a time, and less when sockets hold much already.
CHUNK = 1 << 20
PRESSED_CHUNK = 1 << 16
IOV_MAX = 1024
MESSAGES_MAX = 1024  # of sendmmsg and recvmmsg
TIMESPEC = struct.Struct("<qq")
BILLION = 10**9


# -- send ----------------------------------------------------------------------


async def _send(
    socket: Socket, data: UserBuffer, flags: int, address: object = None, ancillary: Ancillary | None = None
) -> int:
    """Send ``data``; a long one on a stream piece by piece."""
    size = min(data.size, MAX_RW_COUNT)
    most = PRESSED_CHUNK if socket.stack.memory.pressed else CHUNK
    if size <= most or socket.type != SOCK_STREAM:
        if size > max(CHUNK, socket.send_limit):
            _drop(socket, ancillary)
            raise SyscallError(errno.EMSGSIZE)
        try:
            payload = data.read(size) if size else b""
        except BaseException:
            _drop(socket, ancillary)
            raise
        return await socket.send(payload, flags, address, ancillary)
    done = 0
    try:
        while done < size:
            step = min(most, size - done)
            last = done + step == size
            payload = data.read(step, done)
            count = await socket.send(payload, flags if last else flags & ~MSG_OOB, address, ancillary)
            done += count
            ancillary = None
            if count < step:
                break
    except (SyscallError, Interrupted):
        _drop(socket, ancillary)
        if not done:
            raise
    return done


def _drop(socket: Socket, ancillary: Ancillary | None) -> None:
    """Release the files of a message that was not sent."""
    if ancillary is not None and ancillary.files:
        files, ancillary.files = ancillary.files, []
        socket.stack.flight.discard(files)


@syscall(44)
async def sendto(
    thread: Thread, fd: Fd, buf: Annotated[Buffer, In("count")], count: Size, flags: UInt,
    address: Pointer, length: Int,
) -> int:  # fmt: skip
    socket = socket_of(thread, fd)
    target = None
    if address:
        target = await find_address(thread, socket, raw_address(address.buffer(length), length))
    return await _send(socket, buf, flags, target)


@syscall(46)
async def sendmsg(thread: Thread, fd: Fd, message: Pointer, flags: UInt) -> int:
    return await _sendmsg(thread, socket_of(thread, fd), message, flags)


async def _sendmsg(thread: Thread, socket: Socket, message: UserPointer, flags: int) -> int:
    name, name_length, vector, count, control, control_length, _ = message.unpack(MSGHDR)
    data = _gather(message, vector, count)
    target = None
    if name and name_length:
        if name_length >> 31:
            raise SyscallError(errno.EINVAL)
        name_length = min(name_length, SOCKADDR_MAX)
        target = await find_address(thread, socket, message.at(name).read(name_length))
    ancillary = None
    if control and control_length:
        if control_length > CONTROL_MAX:
            raise SyscallError(errno.ENOBUFS)
        ancillary = _ancillary(thread, socket, decode_control(message.at(control).read(control_length)))
    return await _send(socket, data, flags, target, ancillary)


def _gather(message: UserPointer, vector: int, count: int) -> UserBuffer:
    """The buffers of a message as one; EMSGSIZE for too many, EINVAL for a negative size."""
    if count > IOV_MAX:
        raise SyscallError(errno.EMSGSIZE)
    parts: list[UserBuffer] = []
    room = MAX_RW_COUNT
    raw = message.at(vector).read(count * IOVEC.size) if count else b""
    for address, size in IOVEC.iter_unpack(raw):
        if size >> 63:
            raise SyscallError(errno.EINVAL)
        size = min(size, room)
        room -= size
        if size:
            parts.append(message.at(address).buffer(size))
    return parts[0] if len(parts) == 1 else VectorBuffer(parts)


def _ancillary(thread: Thread, socket: Socket, messages: list[ControlMessage]) -> Ancillary:
    """What the control messages ask to send along. Files are acquired; EBADF, EINVAL, EPERM."""
    result = Ancillary()
    files: list[File] = []
    for message in messages:
        if message.level != SOL_SOCKET or socket.family != AF_UNIX:
            result.control.append(message)
        elif message.type == SCM_RIGHTS:
            count = len(message.data) // INT.size
            if len(files) + count > SCM_MAX_FD:
                raise SyscallError(errno.EINVAL)
            numbers = struct.unpack_from(f"<{count}i", message.data)
            files += [thread.files.get(number) for number in numbers]
            if any(isinstance(file, Uring) for file in files):
                raise SyscallError(errno.EINVAL)  # its registered files could keep it, and themselves, open for ever
        elif message.type == SCM_CREDENTIALS:
            result.credentials = _credentials(thread, message.data)
        else:
            raise SyscallError(errno.EINVAL)
    result.files = [file.acquire() for file in files]
    return result


def _credentials(thread: Thread, data: bytes) -> tuple[int, int, int]:
    """SCM_CREDENTIALS: one's own, or anybody's with the capability for it."""
    if len(data) != UCRED.size:
        raise SyscallError(errno.EINVAL)
    pid, uid, gid = UCRED.unpack(data)
    who = thread.credentials
    if pid != thread.process.pid:
        if not who.capable(CAP_SYS_ADMIN):
            raise SyscallError(errno.EPERM)
        if pid not in thread.kernel.processes.by_pid:
            raise SyscallError(errno.ESRCH)
    if uid not in (who.uid, who.euid, who.suid) and not who.capable(CAP_SETUID):
        raise SyscallError(errno.EPERM)
    if gid not in (who.gid, who.egid, who.sgid) and not who.capable(CAP_SETGID):
        raise SyscallError(errno.EPERM)
    return pid, uid, gid


@syscall(307)
async def sendmmsg(thread: Thread, fd: Fd, messages: Pointer, count: UInt, flags: UInt) -> int:
    socket = socket_of(thread, fd)
    done = 0
    try:
        while done < min(count, MESSAGES_MAX):
            message = messages.at(messages.address + done * MMSGHDR_SIZE)
            sent = await _sendmsg(thread, socket, message, flags)
            message.pack(UINT, sent, offset=MMSG_LEN_AT)
            done += 1
    except (SyscallError, Interrupted) as failure:
        # An error after the first message is found again by the next call; its signal must not be lost.
        if not done or (isinstance(failure, SyscallError) and failure.signal):
            raise
    return done


# -- receive -------------------------------------------------------------------


def _result(socket: Socket, received: Received, data: UserBuffer, flags: int) -> int:
    """Copy the bytes out; what the call returns."""
    if flags & MSG_TRUNC and socket.type == SOCK_STREAM and socket.family != AF_UNIX:
        return received.length  # TCP throws the bytes away instead
    if received.data:
        data.write(received.data)
    return received.length if flags & MSG_TRUNC else len(received.data)


@syscall(45)
async def recvfrom(
    thread: Thread, fd: Fd, buf: Pointer, count: Size, flags: UInt, address: Pointer, length: Pointer
) -> int:
    socket = socket_of(thread, fd)
    if count and not flags and not address and isinstance(socket, ByteStream):  # the common case is read(2)
        if count >= LONG:
            return await socket.read_into(buf.buffer(count), min(count, CHUNK))
        data = await socket.read(count)
        buf.write(data)
        return len(data)
    received = await socket.receive(min(count, MAX_RW_COUNT), flags)
    if received.files:
        socket.stack.flight.discard(received.files)  # nobody asked for them
    result = _result(socket, received, buf.buffer(count), flags)
    if address:
        put_address(received.address or b"", address, length)
    return result


@syscall(47)
async def recvmsg(thread: Thread, fd: Fd, message: Pointer, flags: UInt) -> int:
    return await _recvmsg(thread, socket_of(thread, fd), message, flags)


async def _recvmsg(thread: Thread, socket: Socket, message: UserPointer, flags: int) -> int:
    name, name_length, vector, count, control, control_length, _ = message.unpack(MSGHDR)
    if name_length >> 31:
        raise SyscallError(errno.EINVAL)
    data = _gather(message, vector, count)
    received = await socket.receive(min(data.size, MAX_RW_COUNT), flags & ~MSG_CMSG_CLOEXEC)
    try:
        result = _result(socket, received, data, flags)
        if name:
            address = received.address or b""
            if address and name_length:
                message.at(name).write(address[:name_length])
            message.pack(UINT, len(address), offset=MSG_NAMELEN_AT)
        writer = ControlWriter(min(control_length, CONTROL_MAX) if control else 0)
        for item in received.control:
            writer.put(item)
    except BaseException:
        socket.stack.flight.discard(received.files)
        raise
    if received.files:
        _install_files(thread, socket, received.files, writer, bool(flags & MSG_CMSG_CLOEXEC))
    if writer.data:
        message.at(control).write(bytes(writer.data))
    out = received.flags | flags & MSG_CMSG_CLOEXEC | (MSG_CTRUNC if writer.truncated else 0)
    message.pack(INT, out, offset=MSG_FLAGS_AT)
    message.write(len(writer.data).to_bytes(8, "little"), MSG_CONTROLLEN_AT)
    return result


def _install_files(thread: Thread, socket: Socket, files: list[File], writer: ControlWriter, cloexec: bool) -> None:
    """SCM_RIGHTS: as many descriptors as there is room for; the other files are released."""
    numbers: list[int] = []
    for file in files[: writer.left // INT.size]:
        try:
            numbers.append(thread.files.install(file, cloexec))
        except SyscallError:
            break
    if len(numbers) < len(files):
        writer.truncated = True
    if numbers:
        writer.put(ControlMessage(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"<{len(numbers)}i", *numbers)))
    # A descriptor holds a reference of its own: those that travelled are done with.
    socket.stack.flight.discard(files)


@syscall(299)
async def recvmmsg(thread: Thread, fd: Fd, messages: Pointer, count: UInt, flags: UInt, timeout: Pointer) -> int:
    socket = socket_of(thread, fd)
    clock = thread.kernel.clock
    deadline = None
    if timeout:
        seconds, nanos = timeout.unpack(TIMESPEC)
        if seconds < 0 or not 0 <= nanos < BILLION:
            raise SyscallError(errno.EINVAL)
        deadline = clock.monotonic() + seconds * BILLION + nanos
    done = 0
    try:
        while done < min(count, MESSAGES_MAX):
            message = messages.at(messages.address + done * MMSGHDR_SIZE)
            size = await _recvmsg(thread, socket, message, flags & ~MSG_WAITFORONE)
            message.pack(UINT, size, offset=MMSG_LEN_AT)
            done += 1
            if flags & MSG_WAITFORONE:
                flags |= MSG_DONTWAIT
            # As in Linux, the time-out is only looked at between two messages.
            if deadline is not None and clock.monotonic() >= deadline:
                break
    except (SyscallError, Interrupted) as failure:
        if not done:
            raise
        if isinstance(failure, SyscallError) and failure.errno != errno.EAGAIN and not socket.error:
            socket.error = failure.errno  # told by the next call
    if deadline is not None:
        timeout.pack(TIMESPEC, *divmod(max(0, deadline - clock.monotonic()), BILLION))
    return done
