"""A datagram socket of the host, and the one inside that it serves."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import MSG_DONTWAIT, InetAddress, decode_inet, encode_inet
from ..boundary import Boundary
from ..boundary.network import Datagram, HostNetwork, Pending
from ..file import POLLOUT
from .packets import Packet, packet_from_host, with_segment

if TYPE_CHECKING:
    from .udp import UdpSocket

log = logging.getLogger(__name__)

# What the host reports about datagrams that were sent before; the next call inside is told of them.
REPORTED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE)

# Bytes that may wait inside beyond a socket's own limit: the host hands over whole batches.
SLACK = 4 << 20


class Datagrams:
    """Owns the host's descriptor ``fd``. Every datagram that comes goes to ``arrived(payload, sender, control)``."""

    def __init__(
        self, boundary: Boundary, fd: int, family: int, arrived: Callable[[bytes, InetAddress, bytes], None],
        failed: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        self.boundary = boundary
        self.network: HostNetwork = boundary.network
        self.fd = fd
        self.family = family
        self._tell, self._fail = arrived, failed
        self._closing = False
        self._receiving: Pending | None = self.network.receive_datagrams(fd, self._arrived)

    def _arrived(self, datagram: Datagram | None, error: int) -> None:
        if datagram is not None:
            if not self._closing:
                self._tell(datagram.data, decode_inet(datagram.sender), datagram.control)
            return
        self._receiving = None
        if self._closing:
            self.network.close(self.fd)
            return
        if error not in REPORTED:
            log.warning("the host receives no datagrams: %s", errno.errorcode.get(error, error))
            self.boundary.loop.call_later(0.1, self._again)
            return
        if self._fail is not None:
            self._fail(error)
        self._again()

    def _again(self) -> None:
        if self._receiving is None and not self._closing:
            self._receiving = self.network.receive_datagrams(self.fd, self._arrived)

    async def send(
        self, payload: bytes, destination: InetAddress | None, flags: int, control: bytes = b"", segment: int = 0
    ) -> None:
        """Send one datagram; None: to where the descriptor is connected. Waits for room, unless told not to.

        ``segment``: the host cuts it into datagrams of that size.
        """
        address = b"" if destination is None else encode_inet(destination, self.family)
        if segment:
            control = with_segment(control, segment)
        while True:
            try:
                self.network.send_datagram(self.fd, payload, address, control)
                return
            except SyscallError as error:
                if error.errno != errno.EAGAIN or flags & MSG_DONTWAIT:
                    raise
            await self.boundary.poll(self.fd, POLLOUT)

    def close(self) -> None:
        """The socket inside is closed."""
        self._closing = True
        if self._receiving is not None:
            self._receiving.cancel()
        else:
            self.network.close(self.fd)


def serve(boundary: Boundary, fd: int, socket: UdpSocket, admits: Callable[[InetAddress], bool]) -> Datagrams:
    """Let ``socket`` have what comes to ``fd``, which is its own, from those whom ``admits`` lets in."""

    def arrived(payload: bytes, sender: InetAddress, control: bytes) -> None:
        if not admits(sender):
            return
        packet = Packet(socket.name.host)
        if control:
            try:
                packet = packet_from_host(control, packet)
            except SyscallError:
                boundary.refuse("recvmsg", control)
        socket.arrive(payload, sender, packet, SLACK)

    return Datagrams(boundary, fd, socket.family, arrived, socket.fail)
