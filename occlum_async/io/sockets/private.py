"""A network of one's own: loopback inside, and ports of the host that lead to ports inside."""

from __future__ import annotations

import asyncio
import socket as s
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ...abi.errors import SyscallError
from ...abi.socket import AF_INET, AF_INET6, INT, SOCK_DGRAM, SOCK_STREAM, InetAddress, decode_inet, encode_inet
from ..boundary import Boundary
from .datagrams import SLACK, Datagrams
from .gate import Gate
from .hostoptions import ASKED
from .outside import Outside
from .packets import Packet
from .policy import FROM, Policy
from .ports import LOOPBACK4, LOOPBACK6
from .tcp import TcpSocket
from .udp import UdpSocket
from .wire import Wire

if TYPE_CHECKING:
    from .inet import InetSocket
    from .stack import NetworkStack

BACKLOG = 4096
FLOWS_MAX = 4096  # peers outside that a published datagram port remembers
DRAIN = 5.0  # seconds that bytes may take to get out at the end


class Publication(msgspec.Struct, frozen=True):
    """A port of the host, ``host``:``port``, that leads to port ``inside``; ``protocol`` is tcp or udp."""

    host: bytes
    port: int
    inside: int
    protocol: str = "tcp"


class WithWires(Outside):
    """A network that has wires: it lets them finish when the LibOS ends."""

    def __init__(self, stack: NetworkStack, boundary: Boundary, policy: Policy) -> None:
        self.stack = stack
        self.boundary = boundary
        self.network = boundary.network
        self.policy = policy

    def admits_peer(self, peer: InetAddress) -> bool:
        """Whether the policy lets a peer from outside connect."""
        return self.policy.allows(FROM, peer, "tcp")

    def get_option(self, socket: InetSocket, level: int, name: int) -> bytes:
        wire = socket.peer if isinstance(socket, TcpSocket) and socket.connected else None
        if not isinstance(wire, Wire) or (level, name) not in ASKED:
            return b""
        return wire.ask(level, name)

    async def poll(self, fd: int, events: int) -> int:
        return await self.boundary.poll(fd, events)

    async def drain(self) -> None:
        deadline = self.stack.scheduler.loop.time() + DRAIN
        while self._busy() and self.stack.scheduler.loop.time() < deadline:
            await asyncio.sleep(0.001)

    def _busy(self) -> bool:
        return any(isinstance(one, Wire) and one.busy for one in self.stack.sockets.values())


class PrivateNetwork(WithWires):
    """Nothing leaves but answers: connections come in by published ports only."""

    def __init__(self, stack: NetworkStack, boundary: Boundary, policy: Policy) -> None:
        super().__init__(stack, boundary, policy)
        self._gates: list[Gate] = []
        self._forwards: dict[int, Datagrams] = {}
        # Who outside has sent to which port inside: the way back. The least recent one is forgotten first.
        self._flows: OrderedDict[tuple[int, bytes, int], Datagrams] = OrderedDict()
        self.published: list[Publication] = []

    def publish(self, publication: Publication) -> Publication:
        """Open a port of the host; the publication with the port that it got. ``SyscallError`` when it can't be."""
        datagram = publication.protocol == "udp"
        family = AF_INET if len(publication.host) == 4 else AF_INET6
        fd = self.network.socket(family, SOCK_DGRAM if datagram else SOCK_STREAM)
        try:
            if not datagram:
                self.network.set_option(fd, s.SOL_SOCKET, s.SO_REUSEADDR, INT.pack(1))
                self.network.set_option(fd, s.IPPROTO_TCP, s.TCP_NODELAY, INT.pack(1))
            self.network.bind(fd, encode_inet(InetAddress(publication.host, publication.port), family))
            if not datagram:
                self.network.listen(fd, BACKLOG)
            port = decode_inet(self.network.name(fd)).port
        except SyscallError:
            self.network.close(fd)
            raise
        if datagram:
            self._forward(fd, family, publication.inside)
        else:
            self._open_gate(fd, publication.inside)
        done = Publication(publication.host, port, publication.inside, publication.protocol)
        self.published.append(done)
        return done

    # -- connections -----------------------------------------------------------------

    def _open_gate(self, fd: int, inside: int) -> None:
        gate = Gate(
            self.stack, self.network, fd, partial(self._find, inside), lambda fd: InetAddress(LOOPBACK4, inside),
            self.admits_peer,
        )  # fmt: skip
        self._gates.append(gate)
        gate.open()

    def _find(self, inside: int, peer: InetAddress) -> list[TcpSocket]:
        for host in (LOOPBACK4, LOOPBACK6):
            listeners = self.stack.listeners(InetAddress(host, inside))
            if listeners:
                return listeners
        return []

    # -- datagrams -------------------------------------------------------------------

    def _forward(self, fd: int, family: int, inside: int) -> None:
        def arrived(payload: bytes, sender: InetAddress, control: bytes) -> None:
            if not self.policy.allows(FROM, sender, "udp"):
                return
            for host in (LOOPBACK4, LOOPBACK6):
                destination = InetAddress(host, inside)
                found = self.stack.udp_ports.find(False, destination, sender)
                receivers = [one for one in found if isinstance(one, UdpSocket)]
                if receivers:
                    self._remember(inside, sender, forward)
                    receivers[sender.port % len(receivers)].arrive(payload, sender, Packet(host), SLACK)
                    return

        forward = self._forwards[inside] = Datagrams(self.boundary, fd, family, arrived)

    def _remember(self, inside: int, sender: InetAddress, forward: Datagrams) -> None:
        key = (inside, sender.host, sender.port)
        self._flows[key] = forward
        self._flows.move_to_end(key)
        if len(self._flows) > FLOWS_MAX:
            self._flows.popitem(last=False)

    def _flow(self, socket: InetSocket, destination: InetAddress) -> Datagrams | None:
        if socket.type != SOCK_DGRAM:
            return None
        return self._flows.get((socket.name.port, destination.host, destination.port))

    def takes(self, socket: InetSocket, destination: InetAddress) -> bool:
        return self._flow(socket, destination) is not None

    prefers = takes

    async def send(
        self, socket: UdpSocket, payload: bytes, destination: InetAddress, flags: int, control: bytes = b"",
        segment: int = 0,
    ) -> None:  # fmt: skip
        forward = self._flow(socket, destination)
        if forward is not None:
            await forward.send(payload, destination, flags, segment=segment)

    def close(self) -> None:
        for gate in self._gates:
            gate.close()
        for forward in self._forwards.values():
            forward.close()
