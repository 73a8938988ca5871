"""The operations of io_uring that are system calls: for each, which call it is and where its arguments stand.

There is no second implementation of anything: ``CALLS`` names the declared call, whose handler does the work.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from socket import SOL_SOCKET
from typing import Any

import msgspec

from ...abi.errors import SyscallError
from ...abi.socket import INT, IOVEC, MSG_NOSIGNAL, SIOCINQ, SIOCOUTQ
from ...abi.uring import FSYNC_DATASYNC, IOSQE_BUFFER_SELECT, SPLICE_F_FD_IN_FIXED, Op, SocketCommand
from ...abi.user import PythonPointer, UserBuffer, UserPointer, VectorBuffer
from ...io.file import POLLIN, POLLOUT, File
from ...io.sockets.inet import InetSocket
from ...io.sockets.socket import Socket
from ...io.uring.registered import FixedBuffer
from ...io.uring.request import Request
from ...process.asynchronous import FIXED, RemoteUser
from ...process.guestmemory import GuestBuffer, GuestPointer, read_string
from ...process.marshal import IOV_MAX, vector_parts
from .messages import Message

PATH_MAX = 4096
NOWHERE = (1 << 64) - 1  # an offset of -1
OFFSET = struct.Struct("<Q")

Arguments = Callable[[Request, RemoteUser], tuple[Any, ...]]


class SystemCall(msgspec.Struct, frozen=True):
    """One operation. ``number`` is the system call's; ``arguments`` are numbers, or what the handler gets as it is.

    ``on_file``: ``fd`` is a file that the request holds on to. ``waits``: the events that it is waited for where a
    non-blocking file makes the handler say EAGAIN. ``opens``: registered slots may take so many opened files.
    ``selects``: a buffer may be chosen from a group. ``positioned``: the fourth argument is an offset, which streams
    ignore. ``unused``: fields of the entry that must be 0. ``told``: the argument whose number is the result.
    ``kind``: only such files know the operation.
    """

    number: int
    arguments: Arguments
    on_file: bool = True
    waits: int = 0
    opens: int = 0
    selects: bool = False
    positioned: bool = False
    prioritized: bool = False  # the field ``ioprio`` may be set
    messages: bool = False  # ``op_flags`` are those of send(2) and recv(2)
    unused: tuple[str, ...] = ()
    told: int = 0
    kind: type[File] = File


def descriptor(request: Request) -> int:
    """The number under which the handler finds the request's file."""
    fd: int = request.fd
    return FIXED + fd if request.fixed and fd >= 0 else fd


def _path(user: RemoteUser, address: int) -> bytes:
    return read_string(user, address, PATH_MAX)


# -- reading and writing -------------------------------------------------------


def _plain(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return _transfer(request, GuestBuffer(user, request.addr, request.length))


def _vector(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    if request.flags & IOSQE_BUFFER_SELECT:
        if request.length != 1:
            raise SyscallError(errno.EINVAL)
        return _plain(request, user)
    if request.length > IOV_MAX:
        raise SyscallError(errno.EINVAL)
    raw = user.host.read(request.addr, request.length * IOVEC.size) if request.length else b""
    return _transfer(request, VectorBuffer(vector_parts(user, raw)))


def _fixed(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return _transfer(request, GuestBuffer(user, *fixed_range(request)))


def check_fixed_vector(request: Request, vector: VectorBuffer) -> None:
    """Each part of a vector must lie in the registered buffer that the request names; EFAULT."""
    buffer = _fixed_buffer(request)
    for part in vector.parts:
        assert isinstance(part, GuestBuffer), "vectors of a request name the guest's memory"
        _within(buffer, part.address, part.size)


def fixed_range(request: Request) -> tuple[int, int]:
    """Address and length within the registered buffer that the request names; EFAULT."""
    _within(_fixed_buffer(request), request.addr, request.length)
    return request.addr, request.length


def _fixed_buffer(request: Request) -> FixedBuffer:
    buffers = request.ring.buffers or []
    return buffers[request.buf_index] if request.buf_index < len(buffers) else FixedBuffer()


def _within(buffer: FixedBuffer, address: int, size: int) -> None:
    if not buffer.address <= address or address + size > buffer.address + buffer.size or not buffer.size:
        raise SyscallError(errno.EFAULT)


def _transfer(request: Request, buffer: UserBuffer) -> tuple[Any, ...]:
    return descriptor(request), buffer, 1, request.off, 0, request.op_flags


def _splice(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return (
        _splice_source(request), _by_value(request.addr), descriptor(request), _by_value(request.off), request.length,
        request.op_flags & ~SPLICE_F_FD_IN_FIXED,
    )  # fmt: skip


def _tee(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    flags = request.op_flags & ~SPLICE_F_FD_IN_FIXED
    return _splice_source(request), descriptor(request), request.length, flags


def _splice_source(request: Request) -> int:
    fd: int = request.file_index
    return FIXED + fd if request.op_flags & SPLICE_F_FD_IN_FIXED and fd >= 0 else fd


def _by_value(offset: int) -> UserPointer:
    """An offset that stands in the entry itself, where the call takes a pointer to it."""
    return PythonPointer(None if offset == NOWHERE else bytearray(OFFSET.pack(offset)))


# -- sockets -------------------------------------------------------------------


def _send(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    address_length = request.file_index & 0xFFFF
    flags = request.op_flags | MSG_NOSIGNAL
    return descriptor(request), request.addr, request.length, flags, request.off, address_length


def _receive(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return descriptor(request), request.addr, request.length, request.op_flags, 0, 0


def _send_message(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return descriptor(request), _message(request, user), request.op_flags | MSG_NOSIGNAL


def _receive_message(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return descriptor(request), _message(request, user), request.op_flags


def _message(request: Request, user: RemoteUser) -> UserPointer:
    return Message(GuestPointer(user, request.addr))


def _accept(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return descriptor(request), request.addr, request.off, request.op_flags


def _bind(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return descriptor(request), request.addr, request.off & 0xFFFFFFFF


def _epoll_wait(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return descriptor(request), request.addr, request.length, NOWHERE  # no time-out


def _read_option(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    level, name = _option(request)
    if level != SOL_SOCKET:
        raise SyscallError(errno.EOPNOTSUPP)
    room = PythonPointer(bytearray(INT.pack(request.file_index)))
    return descriptor(request), level, name, request.addr3, room


def _write_option(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return descriptor(request), *_option(request), request.addr3, request.file_index


def _option(request: Request) -> tuple[int, int]:
    """The level and the name, which share a field."""
    return request.addr & 0xFFFFFFFF, request.addr >> 32


def _ask(command: int) -> Arguments:
    """An ioctl(2) whose answer is a number."""
    return lambda request, user: (descriptor(request), command, PythonPointer(bytearray(INT.size)))


# -- files by their names ------------------------------------------------------


def _open(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.fd, _path(user, request.addr), request.op_flags, request.length


def _open_how(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.fd, _path(user, request.addr), request.off, request.length


def _close(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    if request.fixed:
        raise SyscallError(errno.EBADF)
    if not request.file_index:
        return (request.fd,)
    if request.fd:
        raise SyscallError(errno.EINVAL)
    return (FIXED + (request.file_index & 0xFFFFFFFF) - 1,)


def _statx(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.fd, _path(user, request.addr), request.op_flags, request.length, request.off


def _rename(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.fd, _path(user, request.addr), request.length, _path(user, request.off), request.op_flags


def _unlink(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.fd, _path(user, request.addr), request.op_flags


def _mkdir(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.fd, _path(user, request.addr), request.length


def _symlink(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return _path(user, request.addr), request.fd, _path(user, request.off)


def _link(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.fd, _path(user, request.addr), request.length, _path(user, request.off), request.op_flags


def _set_attribute(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return _path(user, request.addr3), request.addr, request.off, request.length, request.op_flags


def _get_attribute(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return _path(user, request.addr3), request.addr, request.off, request.length


def _advise(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    """The length may stand where it has room for all 64 bits."""
    return descriptor(request), request.off, request.addr or request.length, request.op_flags


def _waitid(request: Request, user: RemoteUser) -> tuple[Any, ...]:
    return request.length, request.fd, request.off, request.file_index & 0xFFFFFFFF, 0


# -- the table -----------------------------------------------------------------


def _in_order(*fields: str) -> Arguments:
    """Arguments that are fields of the entry; ``file`` is the request's descriptor."""

    def arguments(request: Request, user: RemoteUser) -> tuple[Any, ...]:
        return tuple(descriptor(request) if field == "file" else getattr(request, field) for field in fields)

    return arguments


_READ: dict[str, Any] = {"waits": POLLIN, "positioned": True, "prioritized": True}
_WRITE: dict[str, Any] = {"waits": POLLOUT, "positioned": True, "prioritized": True}
_SENDS: dict[str, Any] = {"waits": POLLOUT, "messages": True, "prioritized": True}
_RECEIVES: dict[str, Any] = {"waits": POLLIN, "messages": True, "prioritized": True, "selects": True}

_NO_INDEX = ("buf_index", "file_index")  # neither a registered buffer nor a slot
_NO_FLAGS = ("op_flags", *_NO_INDEX)

CALLS: dict[int, SystemCall] = {
    Op.READ: SystemCall(327, _plain, selects=True, **_READ),
    Op.READV: SystemCall(327, _vector, selects=True, **_READ),
    Op.READ_FIXED: SystemCall(327, _fixed, **_READ),
    Op.READV_FIXED: SystemCall(327, _vector, **_READ),
    Op.READ_MULTISHOT: SystemCall(327, _plain, selects=True, unused=("addr", "length"), **_READ),
    Op.WRITE: SystemCall(328, _plain, **_WRITE),
    Op.WRITEV: SystemCall(328, _vector, **_WRITE),
    Op.WRITE_FIXED: SystemCall(328, _fixed, **_WRITE),
    Op.WRITEV_FIXED: SystemCall(328, _vector, **_WRITE),
    Op.SYNC_FILE_RANGE: SystemCall(277, _in_order("file", "off", "length", "op_flags"), unused=("addr", *_NO_INDEX)),
    Op.FALLOCATE: SystemCall(285, _in_order("file", "length", "off", "addr"), unused=_NO_FLAGS),
    Op.FTRUNCATE: SystemCall(77, _in_order("file", "off"), unused=("addr", "length", "addr3", *_NO_FLAGS)),
    Op.FADVISE: SystemCall(221, _advise, unused=_NO_INDEX),
    Op.SPLICE: SystemCall(275, _splice),
    Op.TEE: SystemCall(276, _tee, unused=("off", "addr")),
    Op.SEND: SystemCall(44, _send, **_SENDS),
    Op.SEND_ZC: SystemCall(44, _send, **_SENDS),
    Op.SENDMSG: SystemCall(46, _send_message, **_SENDS),
    Op.SENDMSG_ZC: SystemCall(46, _send_message, **_SENDS),
    Op.RECV: SystemCall(45, _receive, **_RECEIVES),
    Op.RECVMSG: SystemCall(47, _receive_message, **_RECEIVES),
    Op.SOCKET: SystemCall(
        41, _in_order("fd", "off", "length"), on_file=False, opens=1, unused=("addr", "op_flags", "buf_index")
    ),
    Op.BIND: SystemCall(49, _bind, unused=("length", *_NO_FLAGS)),
    Op.LISTEN: SystemCall(50, _in_order("file", "length"), unused=("off", "addr", *_NO_FLAGS)),
    Op.CONNECT: SystemCall(42, _bind, waits=POLLOUT, unused=("length", *_NO_FLAGS)),
    Op.ACCEPT: SystemCall(288, _accept, waits=POLLIN, opens=1, prioritized=True, unused=("length", "buf_index")),
    Op.SHUTDOWN: SystemCall(48, _in_order("file", "length"), unused=("off", "addr", *_NO_FLAGS)),
    Op.EPOLL_CTL: SystemCall(233, _in_order("fd", "length", "off", "addr"), on_file=False, unused=_NO_INDEX),
    Op.EPOLL_WAIT: SystemCall(232, _epoll_wait, unused=("off", *_NO_FLAGS)),
    Op.PIPE: SystemCall(293, _in_order("addr", "op_flags"), on_file=False, opens=2, unused=("fd", "off", "addr3")),
    Op.WAITID: SystemCall(247, _waitid, on_file=False, unused=("addr", "op_flags", "buf_index", "addr3")),
    Op.OPENAT: SystemCall(257, _open, on_file=False, opens=1, unused=("buf_index",)),
    Op.OPENAT2: SystemCall(437, _open_how, on_file=False, opens=1, unused=("buf_index",)),
    Op.CLOSE: SystemCall(3, _close, on_file=False, unused=("off", "addr", "length", "op_flags", "buf_index")),
    Op.STATX: SystemCall(332, _statx, on_file=False, unused=_NO_INDEX),
    Op.RENAMEAT: SystemCall(316, _rename, on_file=False, unused=_NO_INDEX),
    Op.UNLINKAT: SystemCall(263, _unlink, on_file=False, unused=("off", "length", *_NO_INDEX)),
    Op.MKDIRAT: SystemCall(258, _mkdir, on_file=False, unused=("off", *_NO_FLAGS)),
    Op.SYMLINKAT: SystemCall(266, _symlink, on_file=False, unused=("length", *_NO_FLAGS)),
    Op.LINKAT: SystemCall(265, _link, on_file=False, unused=_NO_INDEX),
    Op.SETXATTR: SystemCall(188, _set_attribute, on_file=False),
    Op.GETXATTR: SystemCall(191, _get_attribute, on_file=False),
    Op.FSETXATTR: SystemCall(190, _in_order("file", "addr", "off", "length", "op_flags")),
    Op.FGETXATTR: SystemCall(193, _in_order("file", "addr", "off", "length")),
}
# What URING_CMD asks of a socket, by the command.
_UNUSED = ("op_flags", "buf_index")
COMMANDS: dict[int, SystemCall] = {
    SocketCommand.SIOCINQ: SystemCall(16, _ask(SIOCINQ), told=2, kind=InetSocket, unused=_UNUSED),
    SocketCommand.SIOCOUTQ: SystemCall(16, _ask(SIOCOUTQ), told=2, kind=InetSocket, unused=_UNUSED),
    SocketCommand.GETSOCKOPT: SystemCall(55, _read_option, told=4, kind=Socket, unused=_UNUSED),
    SocketCommand.SETSOCKOPT: SystemCall(54, _write_option, kind=Socket, unused=_UNUSED),
}
_FSYNC = SystemCall(74, _in_order("file"), unused=("addr", *_NO_INDEX))
_FDATASYNC = SystemCall(75, _in_order("file"), unused=("addr", *_NO_INDEX))


def system_call(request: Request) -> SystemCall | None:
    """Which system call the request makes; None when it is about the ring itself, or nothing that is known."""
    if request.op == Op.FSYNC:
        return _FDATASYNC if request.op_flags & FSYNC_DATASYNC else _FSYNC
    if request.op == Op.URING_CMD:
        if request.off >> 32:
            raise SyscallError(errno.EINVAL)
        return COMMANDS.get(request.off)
    return CALLS.get(request.op)
