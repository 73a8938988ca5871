"""The pages of a file that no guest maps: bytes objects on the kernel's own heap.

What is read whole is handed out as it is, and what is written whole is kept as it came: that is three times as fast as
a memfd, which the host's kernel copies page by page, and needs no descriptor.
"""

from __future__ import annotations

from ..memory import Memfds, Memory
from .store import PAGE

_ZEROS = bytes(PAGE)


class Chunk:
    """Pages that came together: one copy, and one object, for all of them."""

    __slots__ = ("data", "end", "first")

    def __init__(self, data: bytes, first: int) -> None:
        self.data = data
        self.first = first
        self.end = first + len(data) // PAGE

    def page(self, page: int) -> bytes:
        """The content of one of its pages."""
        start = (page - self.first) * PAGE
        return self.data[start : start + PAGE]


class HeapPages:
    """What ``fs.memory.Memory`` is, for pages that come and go one by one. ``promote`` makes a memfd of it.

    Invariants: every page in ``pages`` is whole, and the bytes of the last one behind ``size`` are zeros. A chunk
    stands at all of its pages: when the first of them goes its own way the others do, too, so that no memory is held
    by less than all that is in it.
    """

    __slots__ = ("pages", "size")

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.pages: dict[int, bytes | Chunk] = {}

    def read(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes at ``offset``; what is not there reads as zeros."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        first, start = divmod(offset, PAGE)
        if start + size <= PAGE:
            page = self._page(first)
            return page if size == PAGE else page[start : start + size]
        pieces: list[bytes | memoryview] = []
        end = offset + size
        while offset < end:
            piece = self._piece(offset, end)
            pieces.append(piece)
            offset += len(piece)
        only = pieces[0]
        return only if len(pieces) == 1 and isinstance(only, bytes) else b"".join(pieces)

    def _page(self, page: int) -> bytes:
        found = self.pages.get(page, _ZEROS)
        return found.page(page) if isinstance(found, Chunk) else found

    def _piece(self, offset: int, end: int) -> bytes | memoryview:
        """What lies side by side from ``offset`` on, at most up to ``end``."""
        page, start = divmod(offset, PAGE)
        found = self.pages.get(page, _ZEROS)
        if isinstance(found, Chunk):
            start += (page - found.first) * PAGE
            found = found.data
        if not start and len(found) <= end - offset:
            return found
        return memoryview(found)[start : start + end - offset]

    def put(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Store ``data``, growing the file; all of it is taken."""
        length = len(data)
        if length == PAGE and not offset % PAGE and type(self.pages.get(offset // PAGE)) is not Chunk:
            self.pages[offset // PAGE] = bytes(data)
            self.size = max(self.size, offset + PAGE)
            return length
        view = memoryview(data)
        start = min(-offset % PAGE, length)  # where whole pages begin
        if start:
            self._patch(view[:start], offset)
        done = start + (length - start) // PAGE * PAGE
        if done > start:
            self._put_whole(view[start:done], (offset + start) // PAGE)
        if done < length:
            self._patch(view[done:], offset + done)
        if offset + length > self.size:
            self.size = offset + length
        return length

    def _put_whole(self, view: memoryview, first: int) -> None:
        """Keep whole pages, without a copy where ``view`` is all of an object that can't change."""
        end = first + len(view) // PAGE
        self._part(first, end)
        whole = view.obj
        data = whole if isinstance(whole, bytes) and len(whole) == len(view) else view.tobytes()
        if end - first == 1:
            self.pages[first] = data
        else:
            self.pages.update(dict.fromkeys(range(first, end), Chunk(data, first)))

    def _part(self, first: int, end: int) -> None:
        """Let no chunk have pages from ``first`` on and before ``end``, and others too."""
        pages = self.pages
        for edge in (first, end - 1):
            chunk = pages.get(edge)
            if isinstance(chunk, Chunk) and (chunk.first < first or chunk.end > end):
                for page in range(chunk.first, chunk.end):
                    pages[page] = chunk.page(page)

    def _patch(self, piece: memoryview, offset: int) -> None:
        """Change a part of one page."""
        page, start = divmod(offset, PAGE)
        self._part(page, page + 1)
        old = self._page(page)
        self.pages[page] = b"".join((old[:start], piece, old[start + len(piece) :]))

    def resize(self, size: int) -> None:
        """Set the size. What lies behind it was taken away, or blanked, before."""
        self.size = size

    def punch(self, offset: int, length: int) -> None:
        """Let go of the pages that begin in this range, which begins with one."""
        first, end = offset // PAGE, -(-(offset + length) // PAGE)
        self._part(first, end)
        for page in range(first, end):
            self.pages.pop(page, None)

    def promote(self, memfds: Memfds) -> Memory:
        """The same pages in a memfd, with nothing where there is none. ENFILE, ENOMEM."""
        memory = Memory(memfds, self.size)
        memory.promote()
        for page in self.pages:
            memory.put(self._page(page)[: self.size - page * PAGE], page * PAGE)
        return memory
