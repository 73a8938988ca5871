"""UDP over loopback: datagrams between processes of the LibOS. What finds no room is lost, as it should be."""

from __future__ import annotations

import errno
import time
from socket import SO_BROADCAST
from typing import TYPE_CHECKING, Any, NamedTuple

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
    SHUT_RECEIVE,
    SHUT_SEND,
    SO_NO_CHECK,
    SOCK_DGRAM,
    SOL_IP,
    SOL_IPV6,
    SOL_UDP,
    InetAddress,
    decode_inet,
    family_of,
)
from ..file import POLLERR, POLLIN, POLLRDNORM
from . import interface
from . import ipoptions as ip
from .inet import InetSocket, is_multicast
from .packets import NO_WISH, Packet, Wish, told, wish_of
from .ports import LOOPBACK4, LOOPBACK6, PortTable, is_any
from .records import OVERHEAD, RecordSocket
from .socket import SHUT_EVENTS, WRITABLE, Ancillary, Chunk, Received
from .stamps import stamp_messages

if TYPE_CHECKING:
    from .stack import NetworkStack

IPPROTO_UDP = 17
PAYLOAD_MAX4, PAYLOAD_MAX6 = 65507, 65527
BROADCAST = b"\x7f\xff\xff\xff"
SEGMENTS_MAX = 128  # datagrams that one send is cut into
HEADERS4, HEADERS6 = 20 + 8, 40 + 8


class Draft(NamedTuple):
    """A datagram to be sent; without an address it is for whom the socket is connected to."""

    payload: bytes
    address: InetAddress | None
    wish: Wish


class UdpSocket(InetSocket, RecordSocket):
    """A UDP socket."""

    type = SOCK_DGRAM
    peeks_at_offset = True

    def __init__(self, stack: NetworkStack, family: int) -> None:
        super().__init__(stack, family, IPPROTO_UDP)
        self._cork: Draft | None = None
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
        wish = NO_WISH
        if ancillary is not None:
            self.stack.flight.discard(ancillary.files)  # UDP carries no files, and does not complain
            wish = wish_of(self, ancillary.control)
        if wish.segment < 0:
            wish = wish._replace(segment=self.option(ip.UDP_SEGMENT, SOL_UDP))
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
        draft = Draft(bytes(data), address, wish)
        if self._cork is not None:
            draft = self._cork._replace(payload=self._cork.payload + draft.payload)
        if len(draft.payload) > (PAYLOAD_MAX4 if self.family == AF_INET else PAYLOAD_MAX6):
            raise SyscallError(errno.EMSGSIZE)
        if flags & MSG_MORE or self.option(ip.UDP_CORK, SOL_UDP):
            self._cork = draft
            return size
        self._cork = None
        outside = self._transmit(draft)
        if outside is not None:
            await self._send_outside(draft, outside, flags | (MSG_DONTWAIT if self.nonblocking else 0))
        self.sent_without_copy(flags, size)
        return size

    async def _send_outside(self, draft: Draft, destination: InetAddress, flags: int) -> None:
        segment = draft.wish.segment if draft.wish.segment < len(draft.payload) else 0
        await self.stack.outside.send(self, draft.payload, destination, flags, draft.wish.control, segment)

    def _leads_outside(self, destination: InetAddress, sender: InetAddress) -> bool:
        """Whether a datagram for ``destination`` leaves the LibOS: it is not for anybody inside."""
        outside = self.stack.outside
        if is_multicast(destination.host) or not outside.takes(self, destination):
            return False
        if outside.prefers(self, destination) or not self.stack.is_own(destination.host):
            return True
        return destination.host != BROADCAST and not self._receivers(destination, sender)

    def _transmit(self, draft: Draft) -> InetAddress | None:
        """Deliver a datagram to those inside; its destination when that is outside."""
        address = draft.address
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
        if not is_any(self.name.host):
            source = self.name.host
        sender = InetAddress(draft.wish.source or source, self.name.port)
        if self._leads_outside(destination, sender):
            return destination
        receivers = self._receivers(destination, sender)
        if group is not None and not receivers:
            raise SyscallError(errno.ENETUNREACH)
        self._check_segments(draft, destination)
        packet = self._header(destination.host, draft.wish)
        for receiver in receivers:
            receiver.arrive_segments(draft.payload, draft.wish.segment, sender, packet)
        if not receivers:
            self._unreachable(draft, destination)
        return None

    def _check_segments(self, draft: Draft, destination: InetAddress) -> None:
        """Where UDP_SEGMENT is asked for: EMSGSIZE for pieces that the interface can't take, EINVAL for too many."""
        segment, size = draft.wish.segment, len(draft.payload)
        if not segment:
            return
        headers = HEADERS4 if len(destination.host) == 4 else HEADERS6
        if headers + min(size, segment) > interface.MTU:
            raise SyscallError(errno.EMSGSIZE)
        if size > segment * SEGMENTS_MAX or (self.family == AF_INET and self.option(SO_NO_CHECK)):
            raise SyscallError(errno.EINVAL)

    def _unreachable(self, draft: Draft, destination: InetAddress) -> None:
        """Nobody has taken a datagram: a "port unreachable" comes back, of interest to some."""
        level, name = (SOL_IP, ip.IP_RECVERR) if self.family == AF_INET else (SOL_IPV6, ip.IPV6_RECVERR)
        asked = bool(self.option(name, level))
        if asked:
            self.errors.refused(draft.payload, destination, self.format_address(destination))
        if asked or (self.destination is not None and draft.address is None):
            self.fail(errno.ECONNREFUSED)

    def _header(self, host: bytes, wish: Wish) -> Packet:
        """What the header of a datagram for ``host`` says."""
        level, service = (SOL_IP, ip.IP_TOS) if len(host) == 4 else (SOL_IPV6, ip.IPV6_TCLASS)
        if is_multicast(host):
            hops = ip.IP_MULTICAST_TTL if level == SOL_IP else ip.IPV6_MULTICAST_HOPS
        else:
            hops = ip.IP_TTL if level == SOL_IP else ip.IPV6_UNICAST_HOPS
        number = wish.hops or self.options.get((level, hops), ip.RULES[level, hops].default)
        return Packet(host, hops=number, service=self.option(service, level) if wish.service < 0 else wish.service)

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

    def arrive(self, payload: bytes, sender: InetAddress, packet: Packet, slack: int = 0) -> None:
        """A datagram for this socket; it is lost when the receive buffer and ``slack`` bytes more are full."""
        charge = len(payload) + OVERHEAD
        if self._queued + charge > self.receive_limit + slack or self.shut & SHUT_RECEIVE:
            return
        if self._queued and self.stack.memory.pressed:
            return
        self._queued += charge
        chunk = Chunk(payload, charge, None, None, self.format_address(sender))
        chunk.packet = packet
        chunk.stamp = time.time_ns()
        self.put_record(chunk)

    def arrive_segments(self, payload: bytes, segment: int, sender: InetAddress, packet: Packet) -> None:
        """Datagrams of ``segment`` bytes each (0: one of any size), joined where UDP_GRO wants that."""
        if not segment or len(payload) <= segment:
            self.arrive(payload, sender, packet)
        elif self.option(ip.UDP_GRO, SOL_UDP):
            self.arrive(payload, sender, packet._replace(segment=segment))
        else:
            for at in range(0, len(payload), segment):
                self.arrive(payload[at : at + segment], sender, packet)

    def fail(self, error: int) -> None:
        """A datagram did not arrive, as the network reports: the next call tells."""
        self.error = error
        self.waiters.wake()

    # -- receiving -------------------------------------------------------------

    async def receive(self, size: int, flags: int = 0) -> Received:
        if flags & MSG_ERRQUEUE:
            return self.errors.take(size)
        return await super().receive(size, flags)

    def _remove_first(self, chunk: Chunk) -> None:
        self._queued -= chunk.charge
        super()._remove_first(chunk)

    def answer(self, received: Received, chunk: Chunk, carried: Ancillary | None) -> Received:
        if self.stamps:
            received.control += stamp_messages(self, chunk.stamp)
        if self.options:
            received.control += told(self, chunk.packet)
        return received

    def poll(self) -> int:
        events = WRITABLE | SHUT_EVENTS[self.shut]
        if self.error or self.errors:
            events |= POLLERR
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
        if len(value) < INT.size:
            raise SyscallError(errno.EINVAL)
        if (SOL_UDP, name) not in ip.RULES:
            raise SyscallError(errno.ENOPROTOOPT)
        self.options[SOL_UDP, name] = ip.RULES[SOL_UDP, name].accept(INT.unpack_from(value)[0])
        draft = self._cork
        if name != ip.UDP_CORK or draft is None or self.option(ip.UDP_CORK, SOL_UDP):
            return
        self._cork = None
        if draft.address is None and self.destination is None:
            return  # dissolved meanwhile
        try:
            outside = self._transmit(draft)
        except SyscallError:
            return  # the option is set all the same, and Linux does not tell either
        if outside is not None:
            self.scheduler.spawn(self._uncorked(draft, outside))

    async def _uncorked(self, draft: Draft, destination: InetAddress) -> None:
        try:
            await self._send_outside(draft, destination, MSG_DONTWAIT)
        except SyscallError as error:
            self.fail(error.errno)

    def get_option(self, level: int, name: int, size: int) -> bytes:
        if level != SOL_UDP:
            return super().get_option(level, name, size)
        if (SOL_UDP, name) not in ip.RULES:
            raise SyscallError(errno.ENOPROTOOPT)
        return INT.pack(self.option(name, SOL_UDP))

    def memory_info(self) -> tuple[int, int]:
        return self._queued, 0

    def table_row(self) -> dict[str, Any]:
        if not self.name.port:
            return {}
        state = 1 if self.destination is not None else 7
        return {**super().table_row(), "state": state, "memberships": tuple(self.memberships)}
