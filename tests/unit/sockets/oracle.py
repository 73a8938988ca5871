"""The same steps on the host's sockets and on the LibOS's: what Linux does is what is expected.

A scenario is an ``async def`` over a ``World``; every step's outcome (a value, or the name of an errno) goes
into its log, and the logs of both worlds must be equal. All sockets are non-blocking, so nothing can hang.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.socket import decode_control
from occlum_async.abi.user import PythonPointer
from occlum_async.io.sockets.connection import SHUT_BITS
from occlum_async.io.sockets.socket import Ancillary, Identity
from occlum_async.io.sockets.stack import NetworkStack
from occlum_async.sched.strand import Scheduler

UNIQUE = itertools.count()
EVENTS = {
    1: "IN", 2: "PRI", 4: "OUT", 8: "ERR", 0x10: "HUP", 0x40: "RDNORM", 0x100: "WRNORM", 0x200: "WRBAND",
    0x2000: "RDHUP",
}  # fmt: skip


def event_names(mask: int) -> str:
    return "|".join(name for bit, name in EVENTS.items() if mask & bit)


class World:
    """Where a scenario is played. ``log`` holds what happened; sockets are named by small numbers."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.sockets: list[Any] = []
        # Names must differ between runs, because the host's world is shared.
        self.unique = f"{os.getpid()}-{next(UNIQUE)}"

    def name(self, text: str) -> bytes:
        """An abstract unix address."""
        return struct.pack("<H", socket.AF_UNIX) + b"\0" + f"{text}-{self.unique}".encode()

    async def step(self, label: str, action: Callable[[], Any]) -> Any:
        """Do one thing and note its outcome."""
        try:
            outcome = action()
            if isinstance(outcome, Awaitable):
                outcome = await outcome
        except (SyscallError, OSError) as error:
            number = error.errno
            self.log.append((label, errno.errorcode.get(number or 0, number)))
            return None
        shown = outcome if isinstance(outcome, (int, bytes, str, tuple, list, type(None))) else "done"
        self.log.append((label, shown))
        return outcome

    def add(self, one: Any) -> int:
        self.sockets.append(one)
        return len(self.sockets) - 1

    async def listen(self, s: int, backlog: int = 8) -> None:
        await self.step("listen", lambda: self.sockets[s].listen(backlog))

    async def getopt(self, s: int, level: int, name: int, size: int = 4) -> Any:
        return await self.step("getsockopt", lambda: self.sockets[s].getsockopt(level, name, size))

    async def setopt(self, s: int, level: int, name: int, value: bytes) -> None:
        await self.step("setsockopt", lambda: self.sockets[s].setsockopt(level, name, value))


class HostWorld(World):
    """Linux itself, through libc's view of it."""

    async def socket(self, family: int, type: int, protocol: int = 0) -> int:
        made = await self.step("socket", lambda: socket.socket(family, type | socket.SOCK_NONBLOCK, protocol))
        return self.add(made)

    async def pair(self, type: int) -> tuple[int, int]:
        one, other = socket.socketpair(socket.AF_UNIX, type | socket.SOCK_NONBLOCK)
        return self.add(one), self.add(other)

    async def bind(self, s: int, raw: bytes) -> None:
        await self.step("bind", lambda: _call("bind", self.sockets[s], raw))

    async def connect(self, s: int, raw: bytes) -> None:
        await self.step("connect", lambda: _call("connect", self.sockets[s], raw))

    async def accept(self, s: int) -> int:
        def action() -> socket.socket:
            fd, _ = self.sockets[s]._accept()
            accepted = socket.socket(fileno=fd)
            accepted.setblocking(False)
            return accepted

        return self.add(await self.step("accept", action))

    async def send(self, s: int, data: bytes, flags: int = 0, to: bytes | None = None) -> Any:
        flags |= socket.MSG_NOSIGNAL
        if to is None:
            return await self.step("send", lambda: self.sockets[s].send(data, flags))
        return await self.step("send", lambda: _sendto(self.sockets[s], data, flags, to))

    async def receive(self, s: int, size: int, flags: int = 0) -> Any:
        def action() -> tuple[bytes, int]:
            data, _, out, _ = self.sockets[s].recvmsg(size, 0, flags)
            return data, out

        return await self.step("recv", action)

    async def shutdown(self, s: int, how: int) -> None:
        await self.step("shutdown", lambda: self.sockets[s].shutdown(how))

    async def close(self, s: int) -> None:
        self.sockets[s].close()

    async def poll(self, s: int) -> None:
        def action() -> str:
            poller = select.poll()
            poller.register(self.sockets[s].fileno(), 0xFFFF)
            found = poller.poll(0)
            return event_names(found[0][1] if found else 0)

        await self.step("poll", action)

    async def ioctl(self, s: int, command: int) -> None:
        import fcntl

        await self.step("ioctl", lambda: fcntl.ioctl(self.sockets[s].fileno(), command, bytes(4)))

    async def local(self, s: int) -> bytes:
        return _name(self.sockets[s], "getsockname")

    async def remote(self, s: int) -> None:
        await self.step("peer", lambda: _name(self.sockets[s], "getpeername").replace(self.unique.encode(), b"*"))

    async def send_file(self, s: int, data: bytes, carried: int) -> Any:
        fds = struct.pack("i", self.sockets[carried].fileno())
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
        return await self.step("sendmsg", lambda: self.sockets[s].sendmsg([data], ancillary, socket.MSG_NOSIGNAL))

    async def receive_file(self, s: int, size: int) -> None:
        def action() -> tuple[bytes, int]:
            data, ancillary, _, _ = self.sockets[s].recvmsg(size, 256)
            count = 0
            for _, kind, payload in ancillary:
                if kind == socket.SCM_RIGHTS:
                    for (fd,) in struct.iter_unpack("i", payload):
                        os.close(fd)
                        count += 1
            return data, count

        await self.step("recvmsg", action)

    def end(self) -> None:
        for one in self.sockets:
            if one is not None:
                one.close()


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _call(function: str, one: socket.socket, raw: bytes) -> None:
    import ctypes

    if getattr(_libc(), function)(one.fileno(), raw, len(raw)) < 0:
        raise OSError(ctypes.get_errno(), function)


def _sendto(one: socket.socket, data: bytes, flags: int, to: bytes) -> int:
    import ctypes

    result = _libc().sendto(one.fileno(), data, ctypes.c_size_t(len(data)), flags, to, len(to))
    if result < 0:
        raise OSError(ctypes.get_errno(), "sendto")
    return int(result)


def _name(one: socket.socket, function: str) -> bytes:
    import ctypes

    buffer = ctypes.create_string_buffer(128)
    length = ctypes.c_uint32(128)
    if getattr(_libc(), function)(one.fileno(), buffer, ctypes.byref(length)) < 0:
        raise OSError(ctypes.get_errno(), function)
    return buffer.raw[: length.value]


class LibosWorld(World):
    """The LibOS's sockets, called as the system calls call them."""

    def __init__(self, stack: NetworkStack) -> None:
        super().__init__()
        self.stack = stack

    async def socket(self, family: int, type: int, protocol: int = 0) -> int:
        made = await self.step("socket", lambda: self.stack.create(family, type, protocol))
        return self._own(made)

    def _own(self, one: Any) -> int:
        if one is not None:
            one.acquire()
            one.flags |= os.O_NONBLOCK
        return self.add(one)

    async def pair(self, type: int) -> tuple[int, int]:
        one, other = self.stack.pair(socket.AF_UNIX, type, 0)
        return self._own(one), self._own(other)

    async def bind(self, s: int, raw: bytes) -> None:
        await self.step("bind", lambda: self.sockets[s].bind(self.sockets[s].parse_address(raw)))

    async def connect(self, s: int, raw: bytes) -> None:
        def action() -> Any:
            return self.sockets[s].connect(self.sockets[s].parse_address(raw) if raw[:2] != b"\0\0" else None)

        await self.step("connect", action)

    async def accept(self, s: int) -> int:
        return self._own(await self.step("accept", lambda: self.sockets[s].accept()))

    async def send(self, s: int, data: bytes, flags: int = 0, to: bytes | None = None) -> Any:
        flags |= socket.MSG_NOSIGNAL
        one = self.sockets[s]
        return await self.step("send", lambda: one.send(data, flags, None if to is None else one.parse_address(to)))

    async def receive(self, s: int, size: int, flags: int = 0) -> Any:
        async def action() -> tuple[bytes, int]:
            received = await self.sockets[s].receive(size, flags)
            self.stack.flight.discard(received.files)
            return received.data, received.flags | (socket.MSG_CTRUNC if received.files else 0)

        return await self.step("recv", action)

    async def shutdown(self, s: int, how: int) -> None:
        await self.step("shutdown", lambda: self.sockets[s].shutdown(SHUT_BITS[how]))

    async def close(self, s: int) -> None:
        self.sockets[s].release()
        self.sockets[s] = None

    async def poll(self, s: int) -> None:
        await self.step("poll", lambda: event_names(self.sockets[s].poll()))

    async def ioctl(self, s: int, command: int) -> None:
        async def action() -> bytes:
            room = bytearray(4)
            await self.sockets[s].ioctl(None, command, PythonPointer(room))
            return bytes(room)

        await self.step("ioctl", action)

    async def local(self, s: int) -> bytes:
        return bytes(self.sockets[s].local())

    async def remote(self, s: int) -> None:
        await self.step("peer", lambda: self.sockets[s].remote().replace(self.unique.encode(), b"*"))

    async def send_file(self, s: int, data: bytes, carried: int) -> Any:
        ancillary = Ancillary([self.sockets[carried].acquire()])
        return await self.step("sendmsg", lambda: self.sockets[s].send(data, socket.MSG_NOSIGNAL, None, ancillary))

    async def receive_file(self, s: int, size: int) -> None:
        async def action() -> tuple[bytes, int]:
            received = await self.sockets[s].receive(size)
            count = len(received.files)
            self.stack.flight.discard(received.files)
            return received.data, count

        await self.step("recvmsg", action)

    def end(self) -> None:
        for one in self.sockets:
            if one is not None:
                one.release()


def make_stack(identity: Identity | None = None) -> NetworkStack:
    who = identity or Identity(1, 0, 0, 0, 0, (), -1)
    return NetworkStack(Scheduler(asyncio.get_running_loop()), lambda: who)


async def play(scenario: Callable[[Any], Awaitable[None]]) -> tuple[list[Any], list[Any]]:
    """The logs of Linux and of the LibOS. Nothing of the LibOS's world may be left over."""
    host = HostWorld()
    try:
        await scenario(host)
    finally:
        host.end()
    inside = LibosWorld(make_stack())
    await scenario(inside)
    inside.end()
    stack = inside.stack
    assert not stack.sockets and not stack.abstract and not stack.flight.count and not stack.flight.sockets
    assert not stack.tcp_ports.bound and not stack.udp_ports.bound
    return host.log, inside.log


__all__ = ["HostWorld", "LibosWorld", "decode_control", "make_stack", "play"]
