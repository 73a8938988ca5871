"""What all sockets of a LibOS hold of the kernel's memory, and what happens when that is much.

Each buffer has a limit of its own, but a guest may have thousands. So everything that waits to be read is counted
here, and every socket. At ``limit`` the sockets are *pressed*: each may hold ``PRESSED`` bytes more, as if its buffer
were small; senders wait, datagrams are lost, and nothing more is taken from the host. That ends when an eighth of the
limit is free again. At twice the limit no socket is made any more. Compare tcp_mem in tcp(7).
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from ...abi.errors import SyscallError

PRESSED = 4096  # bytes that a socket may hold while there is pressure
SOCKET_COST = 4096  # what a socket costs beside the bytes in its buffers, about
LEAST_WRITABLE = PRESSED >> 2  # bytes: who has sent no more than that can always be written to
UNLIMITED = 1 << 62


class SocketMemory:
    """The account, in bytes. ``relieved`` is called when pressure ends: who waits for room must look again.

    Invariant: ``used`` is the sum of the charges of all chunks in queues and of the costs of all sockets.
    """

    __slots__ = ("limit", "pressed", "relieved", "used")

    def __init__(self, relieved: Callable[[], None]) -> None:
        self.relieved = relieved
        self.limit = UNLIMITED
        self.used = 0
        self.pressed = False

    def charge(self, size: int) -> None:
        """``size`` bytes more are held."""
        self.used += size
        if self.used >= self.limit:
            self.pressed = True

    def uncharge(self, size: int) -> None:
        """``size`` bytes are held no more."""
        self.used -= size
        if self.pressed and self.used < self.limit - self.limit // 8:
            self.pressed = False
            self.relieved()

    def check_socket(self) -> None:
        """ENOBUFS where there is no room for another socket."""
        if self.used >= 2 * self.limit:
            raise SyscallError(errno.ENOBUFS)
