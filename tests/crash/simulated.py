"""A host disk that is simulated: it remembers every write and flush, and can be taken apart at each of them.

After a crash a write since the last flush may be there, or not, or partly (in sectors of 512 bytes), in any
combination. All of it follows from a seed.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.block.device import BLOCK, BlockDevice
from occlum_async.sched.strand import Scheduler

SECTOR = 512
EMPTY = bytes(BLOCK)

Blocks = dict[int, bytes]


class SimulatedDisk(BlockDevice):
    """``log`` has what was done: (block, data) for each block that was written; for a flush, how much it covers."""

    def __init__(self, blocks: int, content: Blocks | None = None) -> None:
        self.blocks = blocks
        self.content: Blocks = dict(content or {})
        self.log: list[tuple[int, bytes] | int] = []
        # Raises an error, or does not, before each operation: "read", "write" or "sync".
        self.fault: Callable[[str], None] = lambda operation: None
        # Lets others run, as a real disk does, when there is a scheduler.
        self.scheduler: Scheduler | None = None
        self.chance = random.Random(0)

    def _check(self, block: int, count: int) -> None:
        if not 0 <= block <= self.blocks - count:
            raise SyscallError(errno.EINVAL)

    async def _pause(self) -> None:
        if self.scheduler is None:
            return
        for _ in range(self.chance.randrange(4)):
            strand = self.scheduler.current()
            self.scheduler.loop.call_soon(strand.resume, strand.ticket)
            await strand.park(interruptible=False)

    async def read(self, block: int, count: int) -> bytes:
        self._check(block, count)
        await self._pause()
        self.fault("read")
        return b"".join([self.content.get(number, EMPTY) for number in range(block, block + count)])

    async def write(self, block: int, data: bytes | bytearray | memoryview) -> None:
        assert len(data) % BLOCK == 0
        self._check(block, len(data) // BLOCK)
        self.fault("write")
        for index in range(len(data) // BLOCK):
            piece = bytes(data[index * BLOCK : (index + 1) * BLOCK])
            self.content[block + index] = piece
            self.log.append((block + index, piece))
        await self._pause()

    async def discard(self, block: int, count: int) -> None:
        await self.write(block, bytes(count * BLOCK))

    async def sync(self) -> None:
        self.fault("sync")
        # What is written while it is under way need not be covered.
        covered = len(self.log)
        await self._pause()
        self.log.append(covered)

    async def close(self) -> None:
        pass

    def resize(self, blocks: int) -> None:
        self.blocks = blocks


class History:
    """The states that a crash may leave, at each point of a disk's log."""

    def __init__(self, disk: SimulatedDisk, before: Blocks) -> None:
        self._blocks = disk.blocks
        self._log = disk.log
        self._durable = dict(before)
        self._pending: list[tuple[int, int, bytes]] = []
        self._position = 0

    def advance(self, position: int) -> None:
        """Go on to a later point: ``position`` operations were begun."""
        assert position >= self._position
        for index, entry in enumerate(self._log[self._position : position], self._position):
            if isinstance(entry, int):
                while self._pending and self._pending[0][0] < entry:
                    _, block, data = self._pending.pop(0)
                    self._durable[block] = data
            else:
                self._pending.append((index, *entry))
        self._position = position

    @property
    def pending(self) -> int:
        """How many writes are not flushed."""
        return len(self._pending)

    def whole(self) -> SimulatedDisk:
        """All writes are there."""
        return self._with(lambda block, data, old: data)

    def nothing(self) -> SimulatedDisk:
        """No write since the last flush is there."""
        return SimulatedDisk(self._blocks, self._durable)

    def crashed(self, chance: random.Random) -> SimulatedDisk:
        """Some of the writes are there, some in part, in any order."""
        kept = chance.random()

        def choose(block: int, data: bytes, old: bytes) -> bytes:
            fate = chance.random()
            if fate < 0.1:
                mask = chance.getrandbits(BLOCK // SECTOR)
                return b"".join(
                    (data if mask >> sector & 1 else old)[sector * SECTOR : (sector + 1) * SECTOR]
                    for sector in range(BLOCK // SECTOR)
                )
            return data if fate < 0.1 + 0.9 * kept else old

        return self._with(choose, chance)

    def _with(self, choose: Callable[[int, bytes, bytes], bytes], chance: random.Random | None = None) -> SimulatedDisk:
        state = dict(self._durable)
        pending = list(self._pending)
        if chance is not None:
            chance.shuffle(pending)
        for _, block, data in pending:
            state[block] = choose(block, data, state.get(block, EMPTY))
        return SimulatedDisk(self._blocks, state)
