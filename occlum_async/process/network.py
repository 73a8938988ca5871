"""How the network learns who acts on a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..io.sockets.socket import Identity
from ..io.sockets.stack import NetworkStack

if TYPE_CHECKING:
    from .kernel import Kernel
    from .thread import Thread

# Whoever boots or embeds the LibOS, and what happens without anybody's doing.
NOBODY = Identity(capabilities=-1)
SOCKET_SHARE = 8  # sockets may hold this part of the memory before each of them may hold only little


def identity(thread: Thread) -> Identity:
    """What sockets need to know of ``thread``."""
    who = thread.credentials
    return Identity(thread.process.pid, who.uid, who.gid, who.euid, who.egid, who.groups, who.effective)


def make_network(kernel: Kernel) -> NetworkStack:
    """The network of a LibOS: loopback alone."""

    def identify() -> Identity:
        try:
            thread = kernel.current_thread()
        except RuntimeError:  # no strand runs: a timer, or a callback of the event loop
            return NOBODY
        return NOBODY if thread is None else identity(thread)

    stack = NetworkStack(kernel.scheduler, identify)
    stack.memory.limit = kernel.config.memory // SOCKET_SHARE
    return stack
