"""What lies beyond the loopback interface of a LibOS: the interface, and the answer of a LibOS that is alone."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.socket import InetAddress
from .links import LOOPBACK_ALONE, Links

if TYPE_CHECKING:
    from .inet import InetSocket
    from .tcp import Attempt, TcpSocket
    from .udp import UdpSocket


class Outside:
    """Nothing: every address that is not loopback is unreachable. Other networks override what they have."""

    def owns(self, host: bytes) -> bool:
        """Whether ``host``, which is not loopback, is an address of this machine."""
        return False

    def links(self) -> Links:
        """The network interfaces that programs see."""
        return LOOPBACK_ALONE

    def takes(self, socket: InetSocket, destination: InetAddress) -> bool:
        """Whether what ``socket`` has for ``destination`` goes outside, given that nobody inside is there."""
        return False

    def prefers(self, socket: InetSocket, destination: InetAddress) -> bool:
        """Whether it goes outside even if somebody inside is there: an answer to a peer outside."""
        return False

    async def admit_bind(self, socket: InetSocket, address: InetAddress) -> None:
        """Ask the policy whether ``socket`` may be bound there; EACCES."""

    def claim(self, socket: InetSocket, host: bytes, port: int) -> int:
        """Take a port (0: any) for ``socket`` outside too; the port. EADDRINUSE, EADDRNOTAVAIL, EACCES."""
        return port

    def release(self, socket: InetSocket) -> None:
        """Give back what ``claim`` and ``listen`` have taken; harmless when there is nothing."""

    def listen(self, socket: TcpSocket, backlog: int) -> None:
        """Let connections from outside come to ``socket``."""

    def connect(self, socket: TcpSocket, destination: InetAddress) -> Attempt:
        """Begin to connect ``socket`` to a destination that is outside."""
        raise SyscallError(errno.ENETUNREACH)

    async def associate(self, socket: UdpSocket, destination: InetAddress | None) -> bytes | None:
        """Connect a datagram socket to a destination outside (None: dissolve it); its local address there."""
        return None

    async def send(
        self, socket: UdpSocket, payload: bytes, destination: InetAddress, flags: int, control: bytes = b"",
        segment: int = 0,
    ) -> None:  # fmt: skip
        """Send a datagram outside, with control messages that were checked; ``segment``: cut into such of that size."""
        raise SyscallError(errno.ENETUNREACH)

    def option_set(self, socket: InetSocket, level: int, name: int) -> None:
        """An option of a socket without a connection was set."""

    def get_option(self, socket: InetSocket, level: int, name: int) -> bytes:
        """What the host says of the option of a connection outside; b"" where it has nothing to say."""
        return b""

    def has_congestion(self, name: bytes) -> bool:
        """Whether connections outside can have this algorithm of congestion control."""
        return False

    async def poll(self, fd: int, events: int) -> int:
        """Wait for events at a descriptor of the host's."""
        raise SyscallError(errno.EBADF)

    async def drain(self) -> None:
        """The LibOS ends: let what was sent get out first, for a moment."""

    def close(self) -> None:
        """Give everything back."""
