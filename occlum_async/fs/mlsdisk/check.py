"""Looking at everything: does each block verify, and does the space map agree with what is referred to?

Invariant: nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...abi.errors import SyscallError
from .cipher import numbers
from .layout import (
    DATA,
    ENTRY_SIZE,
    FANOUT,
    HOLE,
    INDEX,
    REGION,
    SPACE,
    SUPERBLOCKS,
    node_key,
)
from .superblock import decode, read_header
from .volume import Volume, place_in

MAX_FAULTS = 1000  # that are listed


@dataclass
class Report:
    """What ``check`` found. ``faults`` are lines for people; the disk is whole when there are none."""

    faults: list[str] = field(default_factory=list)
    bad_blocks: list[tuple[int, int]] = field(default_factory=list)  # runs of addresses: (first, count)
    blocks: int = 0  # that hold data
    nodes: int = 0
    leaked: int = 0  # used, but nobody's; they are found again by writing the disk anew

    @property
    def whole(self) -> bool:
        """Whether everything verified and agreed."""
        return not self.faults

    def fault(self, text: str) -> None:
        """Note a fault."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)

    def bad(self, first: int, count: int, why: str) -> None:
        """Note addresses that can't be read."""
        if self.bad_blocks and sum(self.bad_blocks[-1]) == first:
            self.bad_blocks[-1] = (self.bad_blocks[-1][0], self.bad_blocks[-1][1] + count)
        elif len(self.bad_blocks) < MAX_FAULTS:
            self.bad_blocks.append((first, count))
        self.fault(f"blocks {first}..{first + count - 1}: {why}")


class Checker:
    """One look at one volume, which nobody changes meanwhile."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._forest = volume.forest
        self._geometry = volume.geometry
        self.report = Report()
        # A bit for each block of the image that is referred to.
        self.referred = bytearray(-(-volume.geometry.image // 8))

    async def run(self) -> Report:
        """Look at everything."""
        await self._superblocks()
        await self._walk(self._forest.index_top, INDEX, 0)
        await self._walk(self._forest.space_top, SPACE, 0)
        await self._compare()
        return self.report

    async def _superblocks(self) -> None:
        io = self._volume.io
        for number, place in enumerate(SUPERBLOCKS):
            block = await io.device.read(place, 1)
            if read_header(block) is None or decode(block, io.keys) is None:
                self.report.fault(f"superblock copy {number} does not verify")

    def _refer(self, place: int, what: str) -> None:
        if not self._geometry.first <= place < self._geometry.image:
            self.report.fault(f"{what} lies outside of the image")
        elif self.referred[place // 8] >> place % 8 & 1:
            self.report.fault(f"{what} shares its place with another block")
        else:
            self.referred[place // 8] |= 1 << place % 8

    async def _walk(self, kind: int, lowest: int, number: int) -> None:
        """A node and everything below it."""
        forest = self._forest
        key = node_key(kind, number)
        if not await forest.exists(key):
            return
        try:
            await forest.ensure((key,))
        except SyscallError as error:
            self._lost(kind, lowest, number, error)
            return
        self.report.nodes += 1
        if place := forest.place_of(key):
            self._refer(place, f"node {number} of kind {kind}")
        if kind == INDEX:
            await self._leaf(number)
        elif kind > lowest:
            for child in range(number * FANOUT, (number + 1) * FANOUT):
                await self._walk(kind - 1, lowest, child)

    def _lost(self, kind: int, lowest: int, number: int, error: SyscallError) -> None:
        width = FANOUT ** (kind - lowest)
        if lowest == SPACE:
            self.report.fault(f"pages {number * width}.. of the space map can't be read ({error})")
            return
        first = number * width * FANOUT
        count = min(width * FANOUT, self._geometry.blocks - first)
        self.report.bad(first, count, f"their index node can't be read ({error})")

    async def _leaf(self, number: int) -> None:
        first = number * FANOUT
        addresses = numbers(range(first, min(first + FANOUT, self._geometry.blocks)))
        entries = await self._volume.lookup(addresses)
        for index, address in enumerate(addresses):
            if place := place_in(entries, index):
                self.report.blocks += 1
                self._refer(place, f"block {address}")
        try:
            _, bad = await self._volume.io.read(DATA, addresses, entries)
        except SyscallError:
            bad = bytearray([await self._unreadable(addresses, entries, index) for index in range(len(addresses))])
        for index, address in enumerate(addresses):
            if bad[index]:
                self.report.bad(address, 1, "the content does not verify")

    async def _unreadable(self, addresses: object, entries: bytearray, index: int) -> int:
        entry = entries[index * ENTRY_SIZE : (index + 1) * ENTRY_SIZE]
        if entry == HOLE:
            return 0
        try:
            _, bad = await self._volume.io.read(DATA, addresses[index : index + 1], entry)  # type: ignore[index]
        except SyscallError:
            return 1
        return bad[0]

    async def _compare(self) -> None:
        """Hold the bits of the space map against what was referred to."""
        space, geometry = self._volume.space, self._geometry
        if self.report.faults:
            return  # what can't be read can't be counted
        used_total = 0
        for region in range(geometry.regions):
            await self._forest.ensure((space.region_key(region),))
            base = geometry.first + region * REGION
            count = min(REGION, geometry.image - base)
            page = self._volume.cache.page(self._volume.cache.slot_of[space.region_key(region)])
            used = int.from_bytes(page[-2 * (REGION // 8) : -(REGION // 8)], "little") & (1 << count) - 1
            referred = int.from_bytes(self.referred[base // 8 : (base + count + 7) // 8], "little")
            referred = referred >> base % 8 & (1 << count) - 1
            used_total += used.bit_count()
            if missing := (referred & ~used).bit_count():
                self.report.fault(f"region {region}: {missing} blocks are in use, but the space map says they are free")
            self.report.leaked += (used & ~referred).bit_count()
        self.report.leaked -= len(self._volume.replaced_nodes)
        if used_total != space.occupied:
            self.report.fault(f"{used_total} blocks are used, but the superblock counts {space.occupied}")
