"""UDP over loopback: datagrams between processes of the LibOS. What finds no room is lost, as it should be."""

from __future__ import annotations

import errno
import struct
import time
from socket import SO_BROADCAST
from typing import TYPE_CHECKING, Any

from ...abi.errors import SyscallError
from ...abi.socket import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    INT,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_OOB,
    SHUT_BOTH,
    SHUT_RECEIVE,
    SHUT_SEND,
    SOCK_DGRAM,
    SOL_IP,
    SOL_IPV6,
    SOL_UDP,
    ControlMessage,
    InetAddress,
    decode_inet,
    family_of,
)
from ..file import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)
from . import interface
from . import ipoptions as ip
from .inet import InetSocket, encoded_host, is_multicast
from .ports import LOOPBACK4, LOOPBACK6, PortTable, is_any
from .records import RecordSocket
from .socket import Ancillary, Chunk, Received
from .stamps import stamp_messages

if TYPE_CHECKING:
    from .stack import NetworkStack

IPPROTO_UDP = 17
OVERHEAD = 768
PAYLOAD_MAX4, PAYLOAD_MAX6 = 65507, 65527
BROADCAST = b"\x7f\xff\xff\xff"


class UdpSocket(InetSocket, RecordSocket):
    """A UDP socket."""

    type = SOCK_DGRAM
    peeks_at_offset = True

    def __init__(self, stack: NetworkStack, family: int) -> None:
        super().__init__(stack, family, IPPROTO_UDP)
        # What is corked, and for whom: the first piece says.
        self._corked = b""
        self._corked_for: InetAddress | None = None
        self._queued = 0

    @property
    def ports(self) -> PortTable:
        return self.stack.udp_ports

    def parse_address(self, raw: bytes) -> InetAddress | None:
        # An IPv6 UDP socket takes IPv4 addresses as they are.
        if self.family == AF_INET6 and family_of(raw) == AF_INET and not self.only6:
            return decode_inet(raw)
        if self.family == AF_INET and family_of(raw) == AF_UNSPEC and len(raw) >= 16:
            return None
        return super().parse_address(raw)

    async def connect(self, address: InetAddress | None) -> None:
        if address is None:
            await self._dissolve()
            return
        destination, source = self.route(address)
        if self._leads_outside(destination, InetAddress(source, self.name.port)):
            source = await self.stack.outside.associate(self, destination) or source
        self.autobind(claim=True)
        self.name = InetAddress(source, self.name.port)
        self.destination = destination
        self.error = 0

    async def _dissolve(self) -> None:
        await self.stack.outside.associate(self, None)
        self.destination = None
        self.error = 0
        self.forget_name()

    # -- sending ---------------------------------------------------------------

    async def send(
        self,
        data: bytes | memoryview,
        flags: int = 0,
        address: InetAddress | None = None,
        ancillary: Ancillary | None = None,
    ) -> int:
        if ancillary is not None and ancillary.files:
            self.stack.flight.discard(ancillary.files)  # UDP carries no files, and does not complain
        size = len(data)
        self.raise_error()
        if flags & MSG_OOB:
            raise SyscallError(errno.EOPNOTSUPP)
        if self.shut & SHUT_SEND:
            raise SyscallError(errno.EPIPE)
        if address is None and self.destination is None:
            raise SyscallError(errno.EDESTADDRREQ)
        if address is not None and address.port == 0:
            raise SyscallError(errno.EINVAL)
        if size + len(self._corked) > (PAYLOAD_MAX4 if self.family == AF_INET else PAYLOAD_MAX6):
            raise SyscallError(errno.EMSGSIZE)
        if self._corked:
            address = self._corked_for
        payload = self._corked + bytes(data)
        if flags & MSG_MORE or self.option(ip.UDP_CORK, SOL_UDP):
            self._corked, self._corked_for = payload, address
            return size
        self._corked, self._corked_for = b"", None
        outside = self._transmit(payload, address)
        if outside is not None:
            await self.stack.outside.send(self, payload, outside, flags | (MSG_DONTWAIT if self.nonblocking else 0))
        return size

    def _leads_outside(self, destination: InetAddress, sender: InetAddress) -> bool:
        """Whether a datagram for ``destination`` leaves the LibOS: it is not for anybody inside."""
        outside = self.stack.outside
        if is_multicast(destination.host) or not outside.takes(self, destination):
            return False
        if outside.prefers(self, destination) or not self.stack.is_own(destination.host):
            return True
        return destination.host != BROADCAST and not self._receivers(destination, sender)

    def _transmit(self, payload: bytes, address: InetAddress | None) -> InetAddress | None:
        """Deliver a datagram to those inside; its destination when that is outside."""
        group = address if address is not None and is_multicast(address.host) else None
        if group is not None:
            destination, source = group, LOOPBACK4 if len(group.host) == 4 else LOOPBACK6
        elif address is not None:
            destination, source = self.route(address)
        else:
            assert self.destination is not None
            destination, source = self.destination, self.name.host
        if destination.host == BROADCAST and not self.option(SO_BROADCAST):
            raise SyscallError(errno.EACCES)
        self.autobind(claim=True)
        sender = InetAddress(source if is_any(self.name.host) else self.name.host, self.name.port)
        if self._leads_outside(destination, sender):
            return destination
        receivers = self._receivers(destination, sender)
        if group is not None and not receivers:
            raise SyscallError(errno.ENETUNREACH)
        for receiver in receivers:
            receiver.arrive(payload, sender, destination)
        if not receivers and self.destination is not None and address is None:
            self.fail(errno.ECONNREFUSED)  # the "port unreachable" that comes back
        return None

    def _receivers(self, destination: InetAddress, sender: InetAddress) -> list[UdpSocket]:
        if is_multicast(destination.host) or destination.host == BROADCAST:
            holders = self.ports.bound.get(destination.port, ())
            return [
                one for one in holders
                if isinstance(one, UdpSocket)
                and (destination.host in one.memberships or (destination.host == BROADCAST and is_any(one.name.host)))
            ]  # fmt: skip
        found = [one for one in self.ports.find(False, destination, sender) if isinstance(one, UdpSocket)]
        return [found[sender.port % len(found)]] if found else []

    def arrive(self, payload: bytes, sender: InetAddress, destination: InetAddress, slack: int = 0) -> None:
        """A datagram for this socket; it is lost when the receive buffer and ``slack`` bytes more are full."""
        charge = len(payload) + OVERHEAD
        if self._queued + charge > self.receive_limit + slack or self.shut & SHUT_RECEIVE:
            return
        if self._queued and self.stack.memory.pressed:
            return
        self._queued += charge
        chunk = Chunk(payload, charge, None, None, self.format_address(sender))
        chunk.destination = destination.host
        chunk.stamp = time.time_ns()
        self.put_record(chunk)

    def fail(self, error: int) -> None:
        """A datagram did not arrive, as the network reports: the next call tells."""
        self.error = error
        self.waiters.wake()

    # -- receiving -------------------------------------------------------------

    async def receive(self, size: int, flags: int = 0) -> Received:
        if flags & MSG_ERRQUEUE:
            raise SyscallError(errno.EAGAIN)
        return await super().receive(size, flags)

    def _remove_first(self, chunk: Chunk) -> None:
        self._queued -= chunk.charge
        super()._remove_first(chunk)

    def at_end(self, nonblocking: bool) -> bool:
        return bool(self.shut & SHUT_RECEIVE) and not nonblocking

    def answer(self, received: Received, chunk: Chunk, carried: Ancillary | None) -> Received:
        if self.stamps:
            received.control += stamp_messages(self, chunk.stamp)
        if self.options:
            received.control += self._packet_info(chunk.destination)
        return received

    def _packet_info(self, host: bytes) -> list[ControlMessage]:
        """What IP_PKTINFO, IP_RECVTTL and the like asked for."""
        messages = []
        if len(host) == 4:
            if self.option(ip.IP_PKTINFO, SOL_IP):
                info = struct.pack("<i4s4s", interface.INDEX, host, host)
                messages.append(ControlMessage(SOL_IP, ip.IP_PKTINFO, info))
            if self.option(ip.IP_RECVTTL, SOL_IP):
                messages.append(ControlMessage(SOL_IP, ip.IP_TTL, INT.pack(ip.DEFAULT_HOPS)))
            if self.option(ip.IP_RECVTOS, SOL_IP):
                messages.append(ControlMessage(SOL_IP, ip.IP_TOS, b"\0"))
            if self.option(ip.IP_RECVORIGDSTADDR, SOL_IP):
                original = self.format_address(InetAddress(host, self.name.port))
                messages.append(ControlMessage(SOL_IP, ip.IP_RECVORIGDSTADDR, original))
        if self.family == AF_INET6 and self.option(ip.IPV6_RECVPKTINFO, SOL_IPV6):
            info = struct.pack("<16si", encoded_host(host, AF_INET6), interface.INDEX)
            messages.append(ControlMessage(SOL_IPV6, ip.IPV6_PKTINFO, info))
        if len(host) == 16:
            if self.option(ip.IPV6_RECVHOPLIMIT, SOL_IPV6):
                messages.append(ControlMessage(SOL_IPV6, ip.IPV6_HOPLIMIT, INT.pack(ip.DEFAULT_HOPS)))
            if self.option(ip.IPV6_RECVTCLASS, SOL_IPV6):
                messages.append(ControlMessage(SOL_IPV6, ip.IPV6_TCLASS, INT.pack(0)))
        return messages

    def poll(self) -> int:
        events = POLLOUT | POLLWRNORM | POLLWRBAND
        if self.error:
            events |= POLLERR
        if self.shut & SHUT_RECEIVE:
            events |= POLLRDHUP | POLLIN | POLLRDNORM
        if self.shut == SHUT_BOTH:
            events |= POLLHUP
        if self.inbox:
            events |= POLLIN | POLLRDNORM
        return events

    # -- ending ----------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        self.shut |= how
        self.waiters.wake()
        if self.destination is None:
            raise SyscallError(errno.ENOTCONN)

    def close(self) -> None:
        super().close()
        self.drop_queue()
        self.waiters.wake()

    # -- options ---------------------------------------------------------------

    def set_option(self, level: int, name: int, value: bytes) -> None:
        if level != SOL_UDP:
            super().set_option(level, name, value)
            return
        if name != ip.UDP_CORK:
            raise SyscallError(errno.ENOPROTOOPT)
        if len(value) < INT.size:
            raise SyscallError(errno.EINVAL)
        self.options[SOL_UDP, ip.UDP_CORK] = int(any(value[: INT.size]))
        if self._corked and not self.option(ip.UDP_CORK, SOL_UDP):
            payload, address = self._corked, self._corked_for
            self._corked, self._corked_for = b"", None
            if address is None and self.destination is None:
                return  # dissolved meanwhile
            outside = self._transmit(payload, address)
            if outside is not None:
                self.scheduler.spawn(self._send_outside(payload, outside))

    async def _send_outside(self, payload: bytes, destination: InetAddress) -> None:
        try:
            await self.stack.outside.send(self, payload, destination, MSG_DONTWAIT)
        except SyscallError as error:
            self.fail(error.errno)

    def get_option(self, level: int, name: int, size: int) -> bytes:
        if level != SOL_UDP:
            return super().get_option(level, name, size)
        if name != ip.UDP_CORK:
            raise SyscallError(errno.ENOPROTOOPT)
        return INT.pack(self.option(ip.UDP_CORK, SOL_UDP))

    def memory_info(self) -> tuple[int, int]:
        return self._queued, 0

    def table_row(self) -> dict[str, Any]:
        if not self.name.port:
            return {}
        return {**super().table_row(), "state": 1 if self.destination is not None else 7}
