"""MlsDisk against a dictionary: any sequence of calls, with crashes and openings between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from occlum_async.fs.block.device import BLOCK
from occlum_async.fs.mlsdisk import MlsDisk
from tests.crash.simulated import EMPTY, Blocks, SimulatedDisk
from tests.crash.workload import CACHE, KEY

ADDRESS = st.integers(0, 10_000)
COUNT = st.sampled_from((1, 1, 2, 3, 16, 17, 60, 300))


class DiskMachine(RuleBasedStateMachine):
    """``model`` is what the disk holds, ``durable`` what it held at the last sync."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.mls: MlsDisk
        self.model: Blocks = {}
        self.durable: Blocks = {}
        self.number = 0

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def range_of(self, address: int, count: int) -> tuple[int, int]:
        count = min(count, self.mls.blocks)
        return address % (self.mls.blocks - count + 1), count

    @initialize(image=st.sampled_from((512, 700, 3000)), bits=st.sampled_from((128, 256)))
    def create(self, image: int, bits: int) -> None:
        self.device = SimulatedDisk(image)
        self.mls = self.do(MlsDisk.create(self.device, KEY, bits=bits, cache=CACHE))

    @rule(address=ADDRESS, count=COUNT)
    def write(self, address: int, count: int) -> None:
        first, count = self.range_of(address, count)
        self.number += 1
        pieces = [b"%08d %08d" % (self.number, index) * (BLOCK // 17) + b"-" * (BLOCK % 17) for index in range(count)]
        before = self.mls.stats()["early_commits"]
        self.do(self.mls.write(first, bytearray(b"".join(pieces))))
        self.model.update(zip(range(first, first + count), pieces, strict=True))
        if self.mls.stats()["early_commits"] > before:
            self.sync()

    @rule(address=ADDRESS, count=COUNT)
    def discard(self, address: int, count: int) -> None:
        first, count = self.range_of(address, count)
        self.do(self.mls.discard(first, count))
        for block in range(first, first + count):
            self.model.pop(block, None)

    @rule(address=ADDRESS, count=COUNT)
    def read(self, address: int, count: int) -> None:
        first, count = self.range_of(address, count)
        expected = b"".join(self.model.get(block, EMPTY) for block in range(first, first + count))
        assert self.do(self.mls.read(first, count)) == expected

    @rule()
    def sync(self) -> None:
        self.do(self.mls.sync())
        self.durable = dict(self.model)

    @rule()
    def checkpoint(self) -> None:
        self.do(self.mls.checkpoint())
        self.durable = dict(self.model)

    @rule()
    def crash(self) -> None:
        self.do(self.mls.abandon())
        self.mls = self.do(MlsDisk.open(self.device, KEY, cache=CACHE))
        self.model = dict(self.durable)

    @rule()
    def close_and_open(self) -> None:
        self.do(self.mls.close())
        self.mls = self.do(MlsDisk.open(self.device, KEY, cache=CACHE))
        self.durable = dict(self.model)

    @rule(blocks=st.integers(300, 4000))
    def resize(self, blocks: int) -> None:
        self.do(self.mls.resize(blocks))
        self.model = {block: data for block, data in self.model.items() if block < blocks}
        self.durable = dict(self.model)

    @rule()
    def check(self) -> None:
        report = self.do(self.mls.check())
        assert report.whole and not report.leaked, report
        assert report.blocks == len(self.model)
        self.durable = dict(self.model)

    @invariant()
    def nothing_failed(self) -> None:
        assert not hasattr(self, "mls") or not self.mls.stats()["failed"]

    def teardown(self) -> None:
        if hasattr(self, "mls"):
            self.do(self.mls.abandon())
        self.loop.close()


TestModel: Callable[[], Any] = DiskMachine.TestCase
TestModel.settings = settings(  # type: ignore[attr-defined]
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
