"""A gate: where connections from outside come in. It takes them from the host and leads each to a listener inside."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import InetAddress, decode_inet
from ..boundary.network import HostNetwork, Pending, reset_on_close
from .hostoptions import pass_options
from .tcp import TcpSocket
from .wire import Wire

if TYPE_CHECKING:
    from .stack import NetworkStack

log = logging.getLogger(__name__)

# Seconds until the host is asked again after it had no descriptors; twice as long each time, up to a limit.
RETRY, RETRY_MAX = 0.1, 5.0

# ``find(peer)``: the listeners for a connection from there. ``local(fd)``: the address that it came to.
Find = Callable[[InetAddress], list[TcpSocket]]
Local = Callable[[int], InetAddress]


class Gate:
    """Owns the host's listening descriptor ``fd``.

    While no listener inside has room nothing is taken from the host's queue. ``inherits``: the options of the
    listener are set on ``fd``, from which the host's connections have them.
    """

    def __init__(
        self, stack: NetworkStack, network: HostNetwork, fd: int, find: Find, local: Local,
        admits: Callable[[InetAddress], bool], inherits: bool = False,
    ) -> None:  # fmt: skip
        self.stack = stack
        self.network = network
        self.fd = fd
        self._find, self._local, self._admits = find, local, admits
        self._inherits = inherits
        self._accepting: Pending | None = None
        self._waiting: deque[tuple[int, InetAddress]] = deque()
        self._closing = False
        self._pause = RETRY

    def open(self) -> None:
        """Accept from now on."""
        if self._accepting is None and not self._waiting and not self._closing:
            self._accepting = self.network.accept(self.fd, self._accepted)

    def close(self) -> None:
        """Let nobody in any more."""
        if self._closing:
            return
        self._closing = True
        while self._waiting:
            self._turn_away(self._waiting.popleft()[0])
        if self._accepting is not None:
            self._accepting.cancel()
        else:
            self.network.close(self.fd)

    def _accepted(self, fd: int, error: int) -> None:
        if not error:
            self._pause = RETRY
            self._introduce(fd)
            return
        self._accepting = None
        if self._closing:
            self.network.close(self.fd)
        elif error == errno.ECANCELED:
            self.open()
        else:
            if self._pause == RETRY:
                log.warning("the host accepts no connection: %s", errno.errorcode.get(error, error))
            self.stack.scheduler.loop.call_later(self._pause, self.open)
            self._pause = min(2 * self._pause, RETRY_MAX)

    def _introduce(self, fd: int) -> None:
        try:
            peer = decode_inet(self.network.peer(fd))
        except SyscallError:  # it is gone already
            self.network.close(fd)
            return
        if self._closing or not self._admits(peer):
            self._turn_away(fd)
        elif self._waiting or not self._deliver(fd, peer):
            self._waiting.append((fd, peer))
            if self._accepting is not None:
                self._accepting.cancel()

    def _turn_away(self, fd: int) -> None:
        reset_on_close(self.network, fd)
        self.network.close(fd)

    def _deliver(self, fd: int, peer: InetAddress) -> bool:
        """Lead a connection to a listener; False while all of them are full."""
        listeners = self._find(peer)
        if not listeners:
            self._turn_away(fd)
            return True
        listener = listeners[peer.port % len(listeners)]
        if listener.backlog_full:
            self._await_vacancy(listener)
            return False
        try:
            local = self._local(fd)
        except SyscallError:
            self.network.close(fd)
            return True
        try:
            child = listener.child(local, peer)
        except SyscallError as error:
            log.warning("a connection from outside was turned away: %s", errno.errorcode.get(error.errno, error.errno))
            self._turn_away(fd)
            return True
        if not self._inherits:
            pass_options(self.network, fd, child)
        Wire(self.stack, self.network, fd, child.family).attach(child)
        listener.enqueue_connection(child)
        return True

    def _await_vacancy(self, listener: TcpSocket) -> None:
        """Try again when ``listener`` has room, or listens no more."""

        def vacant(events: int) -> None:
            listener.vacancy.remove(waiter)
            # Not at once: the listener may be on its way to close.
            self.stack.scheduler.loop.call_soon(self._retry)

        waiter = listener.vacancy.add(vacant, exclusive=True)

    def _retry(self) -> None:
        while self._waiting and not self._closing and self._deliver(*self._waiting[0]):
            self._waiting.popleft()
        self.open()
