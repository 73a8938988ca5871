"""The pages of files that nobody maps, against a bytearray."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from occlum_async.fs.pagecache.heap import Chunk, HeapPages
from occlum_async.fs.pagecache.store import PAGE

PAGES = 12
places = st.integers(0, PAGES * PAGE) | st.integers(0, PAGES).map(lambda page: page * PAGE)
steps = st.tuples(st.sampled_from(["put", "punch", "read"]), places, places)


def held(pages: HeapPages) -> int:
    """Bytes of memory that the pages take."""
    objects = {id(one): one for one in pages.pages.values()}
    return sum(len(one.data if isinstance(one, Chunk) else one) for one in objects.values())


@given(st.lists(steps, max_size=40))
def test_what_is_written_is_read(script: list[tuple[str, int, int]]) -> None:
    pages, model = HeapPages(), bytearray()
    for number, (what, one, other) in enumerate(script):
        first, end = sorted((one, other))
        if what == "put" and first < end:
            data = bytes([number + 1]) * (end - first)
            assert pages.put(data, first) == len(data)
            model.extend(bytes(max(0, end - len(model))))
            model[first:end] = data
        elif what == "punch":
            first, end = first // PAGE * PAGE, end // PAGE * PAGE
            pages.punch(first, end - first)
            model[first:end] = bytes(len(model[first:end]))
        assert pages.size == len(model)
        assert pages.read(end - first, first) == model[first:end]
        assert held(pages) == len(pages.pages) * PAGE, "memory is held by less than all that is in it"
    assert pages.read(2 * PAGES * PAGE, 0) == model


def test_whole_pieces_are_not_copied() -> None:
    pages, data = HeapPages(), bytes(range(256)) * 64
    pages.put(data, PAGE)
    assert pages.read(len(data), PAGE) is data
    assert pages.read(2 * PAGE, PAGE) == data[: 2 * PAGE]
    pages.put(b"x", 2 * PAGE)
    assert pages.read(len(data), PAGE) == data[:PAGE] + b"x" + data[PAGE + 1 :]
    writable = bytearray(data)
    pages.put(writable, 0)
    writable[0] = 255
    assert pages.read(len(data), 0) == data
