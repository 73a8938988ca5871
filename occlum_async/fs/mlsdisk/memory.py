"""Memory for plaintext: anonymous, in no core dump, and given back as zeros.

Invariant: after ``wipe`` nothing of what was in it is left in this process.
"""

from __future__ import annotations

import contextlib
import mmap


def private(size: int) -> mmap.mmap:
    """``size`` bytes of zeros, which take memory only where they are touched."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_DONTDUMP)
    return memory


def wipe(memory: mmap.mmap) -> None:
    """Give all pages back; the memory reads as zeros."""
    memory.madvise(mmap.MADV_DONTNEED)
