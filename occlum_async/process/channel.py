"""The memory and the socket that the kernel shares with one guest address space.

Invariant: what a guest can write is read once, copied, checked; nothing here trusts a field twice.
"""

from __future__ import annotations

import array
import errno
import fcntl
import mmap
import os
import socket
import struct

from ..abi import shared
from ..abi.errors import SyscallError
from ..sched.mutex import Mutex

FIRST_SLOTS = 16  # as many slots exist at first: a guest can't fill memory that nobody gave it
_CREDENTIALS = struct.Struct("3i")
_SIOCOUTQ = 0x5411


class Channel:
    """One address space's slots. ``users`` counts the host processes in it (vfork makes it two).

    ``slots`` is how many the file has room for; nobody may touch those beyond.
    """

    def __init__(self) -> None:
        self.socket, self.guest_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.fd = os.memfd_create("occlum-channel", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, shared.CHANNEL_SIZE)
        self.memory = mmap.mmap(self.fd, shared.CHANNEL_SIZE)
        self.slots = 0
        self._grow(FIRST_SLOTS)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # Held while descriptors are on their way: all threads here share one socket.
        self.descriptors = Mutex()
        self.users = 0
        self._used: set[int] = set()
        self._next = 0

    def handed_over(self) -> None:
        """The guest holds its end of the socket now: close ours of it."""
        self.guest_socket.close()

    def _grow(self, slots: int) -> None:
        self.slots = min(slots, shared.SLOTS)
        os.ftruncate(self.fd, self.slots * shared.SLOT_SIZE)

    def allocate(self, index: int | None = None) -> int:
        """A free slot for a new thread; EAGAIN when an address space has as many threads as it can."""
        if index is None:
            index = self._find_free()
        if index >= self.slots:
            self._grow(max(index + 1, 2 * self.slots))
        self._used.add(index)
        return index

    def _find_free(self) -> int:
        for step in range(self.slots):
            index = (self._next + step) % self.slots
            # A slot is free again when the host has cleared the thread's id: only then is its stack unused.
            if index not in self._used and not self.host_tid(index):
                self._next = index + 1
                return index
        if self.slots == shared.SLOTS:
            raise SyscallError(errno.EAGAIN)
        return self.slots

    def host_tid(self, index: int) -> int:
        """What the slot says is the host's thread id. Only ever used together with the true process id."""
        tid: int = struct.unpack_from("<I", self.memory, index * shared.SLOT_SIZE + shared.SLOT_HOST_TID)[0]
        return tid & 0x3FFFFFFF

    def release(self, index: int) -> None:
        """The thread of this slot has been told to end."""
        self._used.discard(index)

    def send_descriptors(self, fds: list[int]) -> None:
        """Send descriptors to the guest, who takes them with the next OP_RECEIVE; EPROTO when it can't."""
        rights = array.array("i", fds)
        try:
            self.socket.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_DONTWAIT)
        except OSError:
            raise SyscallError(errno.EPROTO) from None

    def descriptors_taken(self) -> bool:
        """Whether nothing is on its way any more: descriptors that no guest takes would use up the host's."""
        return not any(fcntl.ioctl(self.socket, _SIOCOUTQ, bytes(4)))

    def receive_hello(self) -> int:
        """The host pid of the process that said hello, from the host's own mouth; EPROTO when there was none."""
        try:
            _, ancillary, _, _ = self.socket.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_DONTWAIT)
        except OSError:
            raise SyscallError(errno.EPROTO) from None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid: int = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
                return pid
        raise SyscallError(errno.EPROTO)

    def close(self) -> None:
        """The last host process of this address space is gone."""
        self.socket.close()
        self.guest_socket.close()
        os.close(self.fd)
        self.memory.close()
