"""The pages of a file that no guest maps: bytes objects on the kernel's own heap.

A page that is read whole is handed out as it is, and one that is written whole is kept as it came: that is three times
as fast as a memfd, which the host's kernel copies page by page, and needs no descriptor.
"""

from __future__ import annotations

from ..memory import Memfds, Memory
from .store import PAGE

_ZEROS = bytes(PAGE)


class HeapPages:
    """What ``fs.memory.Memory`` is, for pages that come and go one by one. ``promote`` makes a memfd of it.

    Invariant: every page in ``pages`` is whole, and the bytes of the last one behind ``size`` are zeros.
    """

    __slots__ = ("pages", "size")

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.pages: dict[int, bytes] = {}

    def read(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes at ``offset``; what is not there reads as zeros."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        first, start = divmod(offset, PAGE)
        if start + size <= PAGE:
            page = self.pages.get(first, _ZEROS)
            return page if size == PAGE else page[start : start + size]
        last, end = divmod(offset + size, PAGE)
        get = self.pages.get
        pieces = [get(page, _ZEROS) for page in range(first, last)]
        if start:
            pieces[0] = pieces[0][start:]
        if end:
            pieces.append(get(last, _ZEROS)[:end])
        return b"".join(pieces)

    def put(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Store ``data``, growing the file; all of it is taken."""
        length = len(data)
        pages = self.pages
        if length == PAGE and not offset % PAGE:
            pages[offset // PAGE] = bytes(data)
        else:
            view = memoryview(data)
            start = -offset % PAGE  # where whole pages begin
            if start:
                self._patch(view[:start], offset)
            whole = max(0, (length - start) // PAGE)
            first = (offset + start) // PAGE
            for page in range(whole):
                at = start + page * PAGE
                pages[first + page] = view[at : at + PAGE].tobytes()
            done = start + whole * PAGE
            if done < length:
                self._patch(view[done:], offset + done)
        if offset + length > self.size:
            self.size = offset + length
        return length

    def _patch(self, piece: memoryview, offset: int) -> None:
        """Change a part of one page."""
        page, start = divmod(offset, PAGE)
        old = self.pages.get(page, _ZEROS)
        self.pages[page] = b"".join((old[:start], piece, old[start + len(piece) :]))

    def resize(self, size: int) -> None:
        """Set the size. What lies behind it was taken away, or blanked, before."""
        self.size = size

    def punch(self, offset: int, length: int) -> None:
        """Let go of the pages that begin in this range, which begins with one."""
        for page in range(offset // PAGE, -(-(offset + length) // PAGE)):
            self.pages.pop(page, None)

    def promote(self, memfds: Memfds) -> Memory:
        """The same pages in a memfd, with nothing where there is none. ENFILE, ENOMEM."""
        memory = Memory(memfds, self.size)
        memory.promote()
        for page, data in self.pages.items():
            memory.put(data[: self.size - page * PAGE], page * PAGE)
        return memory
