"""One sealed host file: a header, nodes of a Merkle tree, and data, in blocks of 4 KiB.

Block 0 is the header: in the clear how it is sealed, then sealed the inode's record and the entry of node 0. After it
come groups of 97 blocks: node m, and the data that it has the entries of. A node has 96 entries of data and 32 of nodes
below it; the parent of node m is (m - 1) // 32. An entry says how a block is sealed: tag, epoch, counter; all zeros is
a hole. The file's number and the block's are part of what is sealed, so no block can stand for another one.

Invariant: between two syncs the nodes and the header are changed in memory only; data are changed in place, after the
journal has what was there.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from collections.abc import Iterable, Mapping, Sequence

from ...abi.errors import SyscallError
from ...errors import DiskError
from ...io.boundary import Boundary
from ...sched.mutex import Mutex
from ..block.device import BLOCK
from ..block.image import HostImage
from ..mlsdisk.cipher import TAG, numbers
from ..mlsdisk.keys import Keys
from ..mlsdisk.layout import ENTRY, ENTRY_SIZE, HOLE
from ..pagecache import Data
from .journal import Journal

log = logging.getLogger(__name__)

DATA_ENTRIES, NODE_ENTRIES = 96, 32
GROUP = 1 + DATA_ENTRIES
MAGIC = b"OASEFS01"
_HEADER = struct.Struct("<8sQI16s")  # magic, epoch, counter, tag
_SEALED = struct.Struct("<QH")  # number of the file, bytes of the record; the entry of node 0, then the record
HEADER_ROOM = BLOCK - _HEADER.size
RECORD_MAX = HEADER_ROOM - _SEALED.size - ENTRY_SIZE
NODE_ADDRESS = 1 << 31  # added to a node's number in what it is sealed for
MAX_PAGES = NODE_ADDRESS  # of a file (8 TiB): no page has the address of a node
HEADER_KIND = b"sefs header"
TURN = 64  # nodes of a long search after which everybody else has a turn
KEPT_NODES = 4096  # in memory, of all open files; a file with more than half of that changed is synced


def _data_block(page: int) -> int:
    return 1 + page // DATA_ENTRIES * GROUP + 1 + page % DATA_ENTRIES


def _node_block(node: int) -> int:
    return 1 + node * GROUP


class SealedTree:
    """The file number ``number`` at ``path``. Everything waits for ``lock``.

    ``trees`` are all that are open, what was used longest ago first: their nodes share the memory.
    """

    def __init__(self, boundary: Boundary, keys: Keys, path: str, number: int, trees: Mapping[int, SealedTree]) -> None:
        self._trees = trees
        self._boundary = boundary
        self._keys = keys
        self._path = path
        self.number = number
        self._journal = Journal(boundary, path + ".journal")
        self._image: HostImage | None = None
        self._durable = 0
        self._root = bytearray(ENTRY_SIZE)
        self._nodes: dict[int, bytearray] = {}
        self._changed: set[int] = set()
        self._steps = 0
        self.record = b""
        self.pages = 0  # that are no holes; kept in the record by whoever makes that
        self.removed = False
        self.lock = Mutex()

    # -- the host's file ----------------------------------------------------------------------

    def create(self) -> None:
        """Make the file; it is nothing before its first ``sync``. ENOSPC and other errors of the host."""
        self._image = HostImage.make(self._path, 1, self._boundary)

    async def open(self) -> None:
        """Open the file, and undo what was left half done. ``DiskError`` when it does not verify."""
        image = HostImage.open(self._path, self._boundary)
        try:
            await self._journal.undo(image)
            if not image.blocks:
                raise DiskError(f"{self._path}: there is no header")
            self._read_header(await image.read(0, 1))
        except BaseException:
            await image.close()
            raise
        self._image, self._durable = image, image.blocks

    async def close(self) -> None:
        """Close the file; what was not synced is undone by the next ``open``."""
        self._journal.leave()
        self._nodes.clear()
        self._changed.clear()
        if self._image is not None:
            image, self._image = self._image, None
            await image.close()

    async def remove(self) -> None:
        """Close the host's file and remove it."""
        self.removed = True
        await self._journal.finish()
        await self.close()
        self._boundary.call("unlink", os.unlink, self._path)

    @property
    def image(self) -> HostImage:
        """The open file; EIO when it is not."""
        if self._image is None:
            raise SyscallError(errno.EIO)
        return self._image

    def _read_header(self, block: Data) -> None:
        magic, epoch, counter, tag = _HEADER.unpack_from(block)
        if magic != MAGIC:
            raise DiskError(f"{self._path}: this is no file of a sefs")
        sealed = memoryview(block)[_HEADER.size :]
        plain = self._keys.cipher.open(self._keys.of(epoch), counter, HEADER_KIND, sealed, tag)
        if plain is None:
            raise DiskError(f"{self._path}: the header does not verify", "the key is wrong, or the file was changed")
        number, length = _SEALED.unpack_from(plain)
        if number != self.number or length > RECORD_MAX:
            raise DiskError(f"{self._path}: this is another file than its name says")
        start = _SEALED.size + ENTRY_SIZE
        self._root = plain[_SEALED.size : start]
        self.record = bytes(plain[start : start + length])

    # -- nodes ------------------------------------------------------------------------------------

    async def _node(self, number: int) -> bytearray:
        """The content of a node, verified; zeros if there is none."""
        node = self._nodes.get(number)
        if node is not None:
            return node
        entry = await self._entry_of(number)
        node = bytearray(BLOCK)
        if entry != HOLE:
            if _node_block(number) >= self.image.blocks:
                raise SyscallError(errno.EIO)
            sealed = await self.image.read(_node_block(number), 1)
            self._open(numbers((NODE_ADDRESS | number,)), entry, sealed, node)
        self._forget_some()
        return self._nodes.setdefault(number, node)

    async def _entry_of(self, number: int) -> bytearray:
        """How a node is sealed, as its parent says."""
        if number == 0:
            return self._root
        parent = await self._node((number - 1) // NODE_ENTRIES)
        start = (DATA_ENTRIES + (number - 1) % NODE_ENTRIES) * ENTRY_SIZE
        return parent[start : start + ENTRY_SIZE]

    def _forget_some(self) -> None:
        """Make room for one more node; changed ones, and those of files at which somebody is at work, stay."""
        kept = sum(len(tree._nodes) for tree in self._trees.values())
        if kept < KEPT_NODES:
            return
        for tree in self._trees.values():
            if tree is self or not tree.lock.locked:
                before = len(tree._nodes)
                for number in [one for one in tree._nodes if one not in tree._changed][: kept - KEPT_NODES // 2]:
                    del tree._nodes[number]
                kept -= before - len(tree._nodes)
            if kept <= KEPT_NODES // 2:
                return

    def _open(self, addresses: Sequence[int], entries: bytearray, sealed: Data, target: bytearray) -> None:
        """Open blocks that may be sealed in several epochs; EIO when one does not verify."""
        epochs = {ENTRY.unpack_from(entries, at)[1] for at in range(0, len(entries), ENTRY_SIZE)} - {0}
        for epoch in epochs:
            bad = bytearray(len(addresses))
            self._keys.cipher.open_blocks(
                self._keys.of(epoch), epoch, self.number, addresses, entries, sealed, target, bad
            )
            if any(bad):
                log.error("%s: block %d does not verify", self._path, addresses[bad.index(1)] & (NODE_ADDRESS - 1))
                raise SyscallError(errno.EIO)

    # -- data ---------------------------------------------------------------------------------------

    async def read(self, page: int, count: int) -> bytearray:
        """The ``count`` pages from ``page`` on; holes, and what lies behind the end, are zeros. EIO."""
        target = bytearray(count * BLOCK)
        for first, length in _groups(page, count):
            node = await self._node(first // DATA_ENTRIES)
            start = first % DATA_ENTRIES * ENTRY_SIZE
            entries = node[start : start + length * ENTRY_SIZE]
            if not any(entries):
                continue
            there = min(length, self.image.blocks - _data_block(first))
            sealed = await self.image.read(_data_block(first), there) if there > 0 else b""
            if there < length and any(entries[max(0, there) * ENTRY_SIZE :]):
                raise SyscallError(errno.EIO)
            opened = bytearray(length * BLOCK)
            padded = bytes(sealed).ljust(length * BLOCK, b"\0")
            self._open(numbers(range(first, first + length)), entries, padded, opened)
            target[(first - page) * BLOCK : (first - page + length) * BLOCK] = opened
        return target

    async def write(self, runs: Sequence[tuple[int, Data]]) -> None:
        """Write runs of pages in place, when the journal has what was there. ENOSPC, EIO."""
        pieces = [
            (first, memoryview(data)[(first - page) * BLOCK : (first - page + length) * BLOCK])
            for page, data in runs
            for first, length in _groups(page, len(data) // BLOCK)
        ]
        blocks = [_data_block(first) + at for first, data in pieces for at in range(len(data) // BLOCK)]
        await self._journal.save(self.image, self._durable, blocks)
        self._lengthen(max(blocks) + 1)
        for first, data in pieces:
            node = await self._node(first // DATA_ENTRIES)
            sealed, entries = self._seal(range(first, first + len(data) // BLOCK), data)
            await self.image.write(_data_block(first), sealed)
            start = first % DATA_ENTRIES * ENTRY_SIZE
            self.pages += len(entries) // ENTRY_SIZE - _filled(node[start : start + len(entries)])
            node[start : start + len(entries)] = entries
            self._changed.add(first // DATA_ENTRIES)
        await self._sync_if_much()

    async def _sync_if_much(self) -> None:
        if len(self._changed) > KEPT_NODES // 2:
            await self.sync()

    def _seal(self, addresses: Iterable[int], data: Data) -> tuple[bytearray, bytearray]:
        where = numbers(addresses)
        key, epoch, counter = self._keys.take(len(where))
        sealed, entries = bytearray(len(data)), bytearray(len(where) * ENTRY_SIZE)
        self._keys.cipher.seal_blocks(key, epoch, counter, self.number, where, data, None, where, sealed, entries)
        return sealed, entries

    async def clear(self, first: int, end: int) -> None:
        """Make holes of the pages from ``first`` on and before ``end``, as far as there are any."""
        page = await self._next_node(first, end)
        while page < end:
            node = await self._node(page // DATA_ENTRIES)
            length = min(end - page, DATA_ENTRIES - page % DATA_ENTRIES)
            at = page % DATA_ENTRIES * ENTRY_SIZE
            if filled := _filled(node[at : at + length * ENTRY_SIZE]):
                self.pages -= filled
                node[at : at + length * ENTRY_SIZE] = bytes(length * ENTRY_SIZE)
                self._changed.add(page // DATA_ENTRIES)
            await self._sync_if_much()
            page = await self._next_node(page + length, end)

    async def find(self, page: int, end: int, hole: bool) -> int:
        """The first page from ``page`` on, and before ``end``, that is a hole, or is none; ``end`` if there is none."""
        while page < end:
            there = await self._next_node(page, end)
            if hole and there > page:
                return page
            node, page = await self._node(there // DATA_ENTRIES) if there < end else b"", there
            while page < end and page // DATA_ENTRIES == there // DATA_ENTRIES:
                at = page % DATA_ENTRIES * ENTRY_SIZE
                if hole != any(node[at : at + ENTRY_SIZE]):
                    return page
                page += 1
        return end

    async def _next_node(self, page: int, end: int) -> int:
        """The first page from ``page`` on whose node there is; ``end`` if that is not before it.

        Below a node that is not there is none, so a hole of any size is passed in a few steps.
        """
        self._steps += 1
        if self._steps % TURN == 0:
            await self._boundary.scheduler.give_way()
        limit = min(end, -(-(self.image.blocks - 1) // GROUP) * DATA_ENTRIES)
        number = page // DATA_ENTRIES
        while (start := max(page, number * DATA_ENTRIES)) < limit:
            last = await self._missing_until(number)
            if last is None:
                return start
            number = min([last + 1, *(changed for changed in self._changed if changed > number)])
        return end

    async def _missing_until(self, number: int) -> int | None:
        """The last node below the uppermost missing one above ``number``; None when that one is there."""
        path = [number]
        while path[-1] and number not in self._nodes:
            path.append((path[-1] - 1) // NODE_ENTRIES)
        for height in range(len(path) - 1, -1, -1):
            node = path[height]
            if node not in self._nodes and await self._entry_of(node) == HOLE:
                for _ in range(height):
                    node = node * NODE_ENTRIES + NODE_ENTRIES
                return node
        return None

    def _lengthen(self, blocks: int) -> None:
        if blocks > self.image.blocks:
            self.image.resize(blocks)

    # -- making it durable -----------------------------------------------------------------------------

    async def settle(self) -> None:
        """``sync`` if anything was changed since the last one, or if there was none."""
        if self._changed or not self._durable:
            await self.sync()

    async def sync(self) -> None:
        """Write the changed nodes and the header with ``record``, and make all of it durable at once."""
        changed = set(self._changed)
        for number in tuple(changed):
            while number:
                number = (number - 1) // NODE_ENTRIES
                changed.add(number)
        order = sorted(changed, reverse=True)  # what is below comes first: its entry goes into its parent
        await self._journal.save(self.image, self._durable, [0, *map(_node_block, order)])
        if order:
            self._lengthen(_node_block(order[0]) + 1)
        for number in order:
            node = await self._node(number)
            sealed, entry = self._seal((NODE_ADDRESS | number,), node)
            await self.image.write(_node_block(number), sealed)
            if number == 0:
                self._root = entry
            else:
                parent = await self._node((number - 1) // NODE_ENTRIES)
                start = (DATA_ENTRIES + (number - 1) % NODE_ENTRIES) * ENTRY_SIZE
                parent[start : start + ENTRY_SIZE] = entry
                self._changed.add((number - 1) // NODE_ENTRIES)
        await self.image.write(0, self._header())
        await self.image.sync()
        self._durable = self.image.blocks
        self._changed.clear()
        await self._journal.finish()

    def _header(self) -> bytes:
        plain = _SEALED.pack(self.number, len(self.record)) + self._root + self.record
        key, epoch, counter = self._keys.take(1)
        sealed, tag = self._keys.cipher.seal(key, counter, HEADER_KIND, plain.ljust(HEADER_ROOM, b"\0"))
        assert len(tag) == TAG
        return _HEADER.pack(MAGIC, epoch, counter, tag) + sealed


def _filled(entries: bytearray) -> int:
    """How many of the entries are no holes: none has the epoch 0."""
    return sum(map(bool, memoryview(entries).cast("Q")[2::4].tolist()))


def _groups(page: int, count: int) -> list[tuple[int, int]]:
    """The pages from ``page`` on, node by node: (first, count)."""
    found = []
    end = page + count
    while page < end:
        length = min(end - page, DATA_ENTRIES - page % DATA_ENTRIES)
        found.append((page, length))
        page += length
    return found
