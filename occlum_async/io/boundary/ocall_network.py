"""The host's network by plain calls: the event loop says what is ready, one exit for each thing done."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ...abi.errors import SyscallError
from ...abi.socket import MSG_NOSIGNAL, MSG_OOB, SOCKADDR_IN6
from .calls import HostCalls
from .network import (
    CONNECT_MAX,
    CONTROL_ROOM,
    IN_PROGRESS,
    TRANSIENT,
    Accepted,
    Arrived,
    Connected,
    HostNetwork,
    MessageHead,
    Pending,
    Piece,
    Received,
    Sent,
    _libc_call,
    contained,
)

RECEIVE_SIZE = 65536
ACCEPT_FLAGS = int(socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
# Connections and datagrams taken at one wake-up, so that one busy socket leaves room for the others.
BURST = 16


class Watch(Pending):
    """Looks at a descriptor whenever the loop says it is ready, until ``step`` returns True."""

    def __init__(
        self, network: OcallNetwork, fd: int, writing: bool, step: Callable[[], bool], ended: Callable[[], None]
    ) -> None:
        self.network = network
        self.over = False
        self.fd = fd
        self.step = step
        self.ended = ended
        loop = network.loop
        add: Any = loop.add_writer if writing else loop.add_reader
        self._remove: Any = loop.remove_writer if writing else loop.remove_reader
        add(fd, self._ready)
        network.watches.add(self)

    def _ready(self) -> None:
        if not self.over and self.step():
            self.finish()

    def finish(self) -> None:
        """It is over: the loop looks no more."""
        if not self.over:
            self.over = True
            self._remove(self.fd)
            self.network.watches.discard(self)

    def cancel(self) -> None:
        if not self.over:
            self.finish()
            self.network.loop.call_soon(self.ended)


class OcallNetwork(HostNetwork):
    """Non-blocking sockets, watched by the event loop."""

    NONBLOCKING = socket.SOCK_NONBLOCK

    def __init__(self, calls: HostCalls, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(calls)
        self.loop = loop
        self.watches: set[Watch] = set()

    def connect(self, fd: int, address: bytes, connected: Connected, timeout: float = CONNECT_MAX) -> Pending:
        def told(error: int) -> None:
            timer.cancel()
            contained("connect", connected, error)

        def step() -> bool:
            try:
                value = self.get_option(fd, socket.SOL_SOCKET, socket.SO_ERROR, 4)
                told(int.from_bytes(value, "little"))
            except SyscallError as error:
                told(error.errno)
            return True

        def timed_out() -> None:
            watch.finish()
            contained("connect", connected, errno.ETIMEDOUT)

        error = 0
        try:
            self.calls.call("connect", _libc_call, "connect", fd, address, len(address))
        except SyscallError as failure:
            error = failure.errno
        if error in IN_PROGRESS:
            watch = Watch(self, fd, True, step, lambda: told(errno.ECANCELED))
            timer = self.loop.call_later(timeout, timed_out)
            return watch
        return self._done(lambda: contained("connect", connected, error))

    def _done(self, tell: Callable[[], None]) -> Pending:
        """An operation that is over and only has to be told of, by a turn of its own."""
        self.loop.call_soon(tell)
        return _Over()

    def accept(self, fd: int, accepted: Accepted) -> Pending:
        def step() -> bool:
            for _ in range(BURST):
                try:
                    new = self.calls.call("accept", _libc_call, "accept4", fd, None, None, ACCEPT_FLAGS)
                except SyscallError as error:
                    if error.errno == errno.EAGAIN:
                        return False
                    if error.errno in TRANSIENT:
                        continue
                    contained("accept", accepted, -1, error.errno)
                    return True
                with suppress(SyscallError):  # a lie costs this connection
                    contained("accept", accepted, self.calls.check_fd(new), 0)
                if watch.over:
                    return False
            return False

        watch = Watch(self, fd, False, step, lambda: accepted(-1, errno.ECANCELED))
        return watch

    def receive(self, fd: int, received: Received) -> Pending:
        def step() -> bool:
            try:
                data = self.calls.call("recv", os.read, fd, RECEIVE_SIZE)
                self.calls.check_count("recv", len(data), RECEIVE_SIZE)
            except SyscallError as error:
                if error.errno == errno.EAGAIN:
                    return False
                watch.finish()
                contained("receive", received, b"", error.errno)
                return True
            self.counters.bytes_in += len(data)
            if not data:
                watch.finish()
            contained("receive", received, data, 0)
            return not data

        watch = Watch(self, fd, False, step, lambda: received(b"", errno.ECANCELED))
        return watch

    def receive_datagrams(self, fd: int, arrived: Arrived) -> Pending:
        def step() -> bool:
            for _ in range(BURST):
                try:
                    data, sender, control = self.calls.call("recvmsg", _receive_datagram, fd)
                except SyscallError as error:
                    if error.errno == errno.EAGAIN:
                        return False
                    watch.finish()
                    contained("receive", arrived, None, error.errno)
                    return True
                datagram = self._checked_datagram(data, sender, control)
                if datagram is not None:
                    contained("receive", arrived, datagram, 0)
                if watch.over:
                    return False
            return False

        watch = Watch(self, fd, False, step, lambda: arrived(None, errno.ECANCELED))
        return watch

    def send(self, fd: int, pieces: Sequence[Piece], sent: Sent, flags: int = 0) -> Pending:
        size = sum(map(len, pieces))

        def attempt() -> int:
            if flags & MSG_OOB:
                data = b"".join(pieces)
                count = self.calls.call("send", _libc_call, "send", fd, data, len(data), MSG_OOB | MSG_NOSIGNAL)
            else:
                count = self.calls.call("send", os.writev, fd, pieces)
            return self.calls.check_written(count, size)

        def step() -> bool:
            try:
                count = attempt()
            except SyscallError as error:
                if error.errno == errno.EAGAIN:
                    return False
                watch.finish()
                contained("send", sent, 0, error.errno)
                return True
            watch.finish()
            contained("send", sent, count, 0)
            return True

        try:
            count, error = attempt(), 0
        except SyscallError as failure:
            count, error = 0, failure.errno
        if error != errno.EAGAIN:
            return self._done(lambda: contained("send", sent, count, error))
        watch = Watch(self, fd, True, step, lambda: sent(0, errno.ECANCELED))
        return watch

    def close(self, fd: int) -> None:
        self.calls.close(fd)

    def _flush_later(self) -> None:
        self.loop.call_soon(self.run_deferred)

    def cancel_all(self) -> None:
        super().cancel_all()
        for watch in list(self.watches):
            watch.finish()


class _Over(Pending):
    """An operation that was over at once."""

    over = True

    def cancel(self) -> None:
        """There is nothing left to cancel."""


_receive_buffer = bytearray(65536)


def _receive_datagram(fd: int) -> tuple[bytes, bytes, bytes]:
    """One datagram, its sender and its control messages; EAGAIN when there is none."""
    buffer = (ctypes.c_char * len(_receive_buffer)).from_buffer(_receive_buffer)
    name, control = ctypes.create_string_buffer(SOCKADDR_IN6), ctypes.create_string_buffer(CONTROL_ROOM)
    head = MessageHead.of(buffer, name, control)
    count = _libc_call("recvmsg", fd, ctypes.byref(head), 0)
    data = bytes(memoryview(_receive_buffer)[:count])
    return data, name.raw[: min(head.name_size, SOCKADDR_IN6)], control.raw[: min(head.control_size, CONTROL_ROOM)]
