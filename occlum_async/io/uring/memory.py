"""The memory that a guest shares with the kernel: both rings and the submission entries, in one memfd.

The guest may write to all of it at any time. Every field is read once, into a copy that is checked; the
kernel's own indices (``sq_head``, ``cq_tail``) are kept here and only ever written out.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os

from ...abi.errors import SyscallError
from ...abi.uring import (
    CQ_OFFSETS,
    CQE,
    OFF_CQ_RING,
    OFF_SQ_RING,
    OFF_SQES,
    SQ_OFFSETS,
    SQE,
)

PAGE = 4096
_U32 = 0xFFFFFFFF
# Where the fields are: what each side writes has a cache line of its own. Indices of 32-bit words.
_SQ_HEAD, _SQ_TAIL, _CQ_HEAD, _CQ_TAIL = 0, 16, 32, 48
_SQ_MASK, _SQ_ENTRIES, _CQ_MASK, _CQ_ENTRIES = 64, 65, 66, 67
_DROPPED, _SQ_FLAGS, _CQ_FLAGS, _OVERFLOW = 68, 69, 70, 71
_CQES = 320  # bytes


def _pages(size: int) -> int:
    return (size + PAGE - 1) // PAGE * PAGE


def shared_memory(name: str, size: int) -> tuple[int, mmap.mmap]:
    """Memory to share with a guest: its memfd, and our mapping of it. ENFILE."""
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        raise SyscallError(errno.ENFILE) from None
    os.ftruncate(fd, size)
    # A guest that holds the descriptor must not be able to take pages from under our mapping.
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd, mmap.mmap(fd, size)


class SharedPages:
    """Memory that a ring has made for its guest to map, read as if it were the guest's own from address 0 on."""

    def __init__(self, size: int) -> None:
        self.size = _pages(size)
        self.fd, self._memory = shared_memory("io_uring", self.size)

    def read(self, address: int, size: int) -> bytes:
        """Copy ``size`` bytes from ``address``."""
        return self._memory[address : address + size]

    def close(self) -> None:
        """Give the memory back; what the guest has mapped stays its own."""
        self._memory.close()
        os.close(self.fd)


class RingMemory:
    """The rings of one io_uring. Sizes are powers of two; ``big_*``: entries of twice the size.

    ``indirect``: an array between the submission ring and the entries says which entry comes next.
    """

    def __init__(
        self, sq_entries: int, cq_entries: int, big_sqe: bool = False, big_cqe: bool = False, indirect: bool = True
    ) -> None:
        self.sq_entries = sq_entries
        self.cq_entries = cq_entries
        self._indirect = indirect
        self._sqe_step = SQE.size << big_sqe
        self._cqe_step = CQE.size << big_cqe
        self.sq_head = 0
        self.cq_tail = 0
        self._array = (_CQES + cq_entries * self._cqe_step) // 4
        self._rings_size = _pages(self._array * 4 + sq_entries * 4)
        self._sqes_size = _pages(sq_entries * self._sqe_step)
        self.size = self._rings_size + self._sqes_size
        self.fd, self._memory = shared_memory("io_uring", self.size)
        self._words = memoryview(self._memory).cast("I")
        words = self._words
        words[_SQ_MASK], words[_SQ_ENTRIES] = sq_entries - 1, sq_entries
        words[_CQ_MASK], words[_CQ_ENTRIES] = cq_entries - 1, cq_entries

    def close(self) -> None:
        """Give the memory back; what the guest has mapped stays its own."""
        self._words.release()
        self._memory.close()
        os.close(self.fd)

    def offsets(self) -> tuple[bytes, bytes]:
        """``struct io_sqring_offsets`` and ``struct io_cqring_offsets``."""
        array = self._array if self._indirect else 0
        sq = (_SQ_HEAD, _SQ_TAIL, _SQ_MASK, _SQ_ENTRIES, _SQ_FLAGS, _DROPPED, array)
        cq = (_CQ_HEAD, _CQ_TAIL, _CQ_MASK, _CQ_ENTRIES, _OVERFLOW, _CQES // 4, _CQ_FLAGS)
        return SQ_OFFSETS.pack(*(word * 4 for word in sq)), CQ_OFFSETS.pack(*(word * 4 for word in cq))

    def place(self, offset: int, length: int) -> int:
        """Where in the memfd a mapping at mmap(2)'s ``offset`` begins; EINVAL."""
        if offset in (OFF_SQ_RING, OFF_CQ_RING) and length <= self._rings_size:
            return 0
        if offset == OFF_SQES and length <= self._sqes_size:
            return self._rings_size
        raise SyscallError(errno.EINVAL)

    # -- submissions ---------------------------------------------------------

    def submitted(self) -> int:
        """How many entries the guest has put in, at most as many as there are."""
        return min((self._words[_SQ_TAIL] - self.sq_head) & _U32, self.sq_entries)

    def take(self) -> bytes | None:
        """A copy of the next submission; None for an index that is out of range, which is counted as dropped."""
        place = self.sq_head & (self.sq_entries - 1)
        index = self._words[self._array + place] if self._indirect else place
        self.sq_head = (self.sq_head + 1) & _U32
        self._words[_SQ_HEAD] = self.sq_head
        if index >= self.sq_entries:
            self._words[_DROPPED] = (self._words[_DROPPED] + 1) & _U32
            return None
        start = self._rings_size + index * self._sqe_step
        return self._memory[start : start + SQE.size]

    def set_sq_flags(self, flags: int) -> None:
        """What the guest is told beside the submission ring."""
        self._words[_SQ_FLAGS] = flags

    # -- completions ---------------------------------------------------------

    def completed(self) -> int:
        """How many completions the guest has not taken yet."""
        return min((self.cq_tail - self._words[_CQ_HEAD]) & _U32, self.cq_entries)

    def put(self, user_data: int, result: int, flags: int) -> bool:
        """Add a completion; False when there is no room."""
        tail = self.cq_tail
        if (tail - self._words[_CQ_HEAD]) & _U32 >= self.cq_entries:
            return False
        where = _CQES + (tail & (self.cq_entries - 1)) * self._cqe_step
        CQE.pack_into(self._memory, where, user_data, result, flags)
        self.cq_tail = (tail + 1) & _U32
        self._words[_CQ_TAIL] = self.cq_tail  # after the entry: x86 keeps stores in order
        return True

    @property
    def eventfd_disabled(self) -> bool:
        """Whether the guest wants no word of completions through its eventfd now."""
        return bool(self._words[_CQ_FLAGS] & 1)
