"""Sockets: making them, their names, connecting, and their options. Sending and receiving is in ``messages``."""

from __future__ import annotations

import errno
import os
from socket import SHUT_RDWR
from typing import Annotated, Any

from ..abi.errors import SyscallError
from ..abi.marshal import Buffer, Fd, In, Int, Pointer, StructOut
from ..abi.socket import (
    AF_UNIX,
    INT,
    SOCK_TYPE_MASK,
    SOCKADDR_MAX,
    UnixAddress,
)
from ..abi.stat import S_IFSOCK
from ..abi.user import UserBuffer, UserPointer
from ..fs.namei import resolve
from ..fs.names import make_node, remove_file
from ..fs.permissions import MAY_WRITE, check
from ..fs.regular import PathFile
from ..io.sockets.connection import SHUT_BITS
from ..io.sockets.socket import Socket
from ..io.sockets.unix import UnixSocket
from ..process.thread import Thread
from .events import install as install_file
from .events import install_pair
from .table import syscall

SOCKET_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
OPTION_MAX = 4096  # bytes of an option's value that are looked at


def socket_of(thread: Thread, fd: int) -> Socket:
    """The socket behind ``fd``; EBADF, ENOTSOCK."""
    file = thread.files.get(fd)
    if not isinstance(file, Socket):
        raise SyscallError(errno.EBADF if isinstance(file, PathFile) else errno.ENOTSOCK)
    return file


def raw_address(address: UserBuffer, length: int) -> bytes:
    """The ``struct sockaddr`` of a call; EINVAL for an impossible length."""
    if not 0 <= length <= SOCKADDR_MAX:
        raise SyscallError(errno.EINVAL)
    return address.read(length) if length else b""


async def find_address(thread: Thread, socket: Socket, raw: bytes) -> Any:
    """The address as ``socket`` takes it; a unix socket's path is followed to the socket behind it."""
    address = socket.parse_address(raw)
    if not isinstance(address, UnixAddress) or not address.is_path:
        return address
    inode = (await resolve(thread, address.name)).inode
    check(inode, thread.credentials, MAY_WRITE)
    if inode.format != S_IFSOCK:
        raise SyscallError(errno.ECONNREFUSED)
    return UnixAddress(address.name, inode.attached.get("socket"))


def put_address(raw: bytes, target: UserPointer, length: UserPointer) -> None:
    """Give an address back: as much as there is room for, and how long it is."""
    (room,) = length.unpack(INT)
    if room < 0:
        raise SyscallError(errno.EINVAL)
    if room and raw:
        target.write(raw[:room])
    length.pack(INT, len(raw))


def install(thread: Thread, socket: Socket, flags: int) -> int:
    """Give a fresh socket its status flags and a descriptor; it is closed when there is none."""
    socket.flags |= flags & os.O_NONBLOCK
    return install_file(thread, socket, flags)


# -- making ------------------------------------------------------------------


def _split_type(type: int) -> tuple[int, int]:
    flags = type & ~SOCK_TYPE_MASK
    if flags & ~SOCKET_FLAGS:
        raise SyscallError(errno.EINVAL)
    return type & SOCK_TYPE_MASK, flags


@syscall(41)
def socket(thread: Thread, family: Int, type: Int, protocol: Int) -> int:
    kind, flags = _split_type(type)
    return install(thread, thread.kernel.network.create(family, kind, protocol), flags)


@syscall(53)
def socketpair(
    thread: Thread, family: Int, type: Int, protocol: Int, fds: Annotated[UserPointer, StructOut(8)]
) -> None:
    kind, flags = _split_type(type)
    one, other = thread.kernel.network.pair(family, kind, protocol)
    one.flags |= flags & os.O_NONBLOCK
    other.flags |= flags & os.O_NONBLOCK
    install_pair(thread, one, other, flags, fds)


# -- names -------------------------------------------------------------------


@syscall(49)
async def bind(thread: Thread, fd: Fd, address: Annotated[Buffer, In("length")], length: Int) -> None:
    target = socket_of(thread, fd)
    name = target.parse_address(raw_address(address, length))
    if not isinstance(target, UnixSocket) or not name.is_path:
        await target.admit_bind(name)
        target.bind(name)
        return
    try:
        place = await make_node(thread, name.name, S_IFSOCK | 0o777)
    except SyscallError as error:
        if error.errno == errno.EEXIST:
            raise SyscallError(errno.EADDRINUSE) from None
        raise
    try:
        target.bind_inode(name.name, place.inode.attached)
    except SyscallError:  # it has a name already, which Linux, too, finds out only now
        await remove_file(thread, name.name)
        raise


@syscall(51)
def getsockname(thread: Thread, fd: Fd, address: Pointer, length: Pointer) -> None:
    put_address(socket_of(thread, fd).local(), address, length)


@syscall(52)
def getpeername(thread: Thread, fd: Fd, address: Pointer, length: Pointer) -> None:
    put_address(socket_of(thread, fd).remote(), address, length)


# -- connecting --------------------------------------------------------------


@syscall(50)
async def listen(thread: Thread, fd: Fd, backlog: Int) -> None:
    target = socket_of(thread, fd)
    await target.admit_listen()
    target.listen(backlog)


@syscall(42)
async def connect(thread: Thread, fd: Fd, address: Annotated[Buffer, In("length")], length: Int) -> None:
    target = socket_of(thread, fd)
    raw = raw_address(address, length)
    if target.family == AF_UNIX and len(raw) >= 2 and raw[:2] == b"\0\0":
        await target.connect(None)
    else:
        await target.connect(await find_address(thread, target, raw))


async def _accept(thread: Thread, fd: int, address: UserPointer, length: UserPointer, flags: int) -> int:
    if flags & ~SOCKET_FLAGS:
        raise SyscallError(errno.EINVAL)
    listener = socket_of(thread, fd)
    if len(thread.files) >= thread.files.limit:
        raise SyscallError(errno.EMFILE)  # before a connection is taken that nobody could hold
    connection = await listener.accept()
    number = install(thread, connection, flags)
    if address:
        try:
            put_address(connection.origin(), address, length)
        except SyscallError:
            thread.files.close(number)
            raise
    return number


@syscall(43)
async def accept(thread: Thread, fd: Fd, address: Pointer, length: Pointer) -> int:
    return await _accept(thread, fd, address, length, 0)


@syscall(288)
async def accept4(thread: Thread, fd: Fd, address: Pointer, length: Pointer, flags: Int) -> int:
    return await _accept(thread, fd, address, length, flags)


@syscall(48)
def shutdown(thread: Thread, fd: Fd, how: Int) -> None:
    target = socket_of(thread, fd)
    if not 0 <= how <= SHUT_RDWR:
        raise SyscallError(errno.EINVAL)
    target.shutdown(SHUT_BITS[how])


# -- options -----------------------------------------------------------------


@syscall(54)
def setsockopt(
    thread: Thread, fd: Fd, level: Int, name: Int, value: Annotated[Buffer, In("length")], length: Int
) -> None:
    target = socket_of(thread, fd)
    if length < 0:
        raise SyscallError(errno.EINVAL)
    target.setsockopt(level, name, value.read(min(length, OPTION_MAX)) if length else b"")


@syscall(55)
def getsockopt(thread: Thread, fd: Fd, level: Int, name: Int, value: Pointer, length: Pointer) -> None:
    target = socket_of(thread, fd)
    (room,) = length.unpack(INT)
    if room < 0:
        raise SyscallError(errno.EINVAL)
    data = target.getsockopt(level, name, room)
    if data:
        value.write(data)
    length.pack(INT, len(data))
