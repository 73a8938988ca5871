"""What leaving the enclave has cost so far."""

from __future__ import annotations

import time
from collections import defaultdict

# What an exit may be made to cost at most, in cycles: some milliseconds.
EXIT_COST_MAX = 10_000_000
_TRIALS = 64


class Counters:
    """Exits, submissions and bytes since the boundary was opened.

    An *exit* is one entry into the host, whatever it carries; a *submission* is one operation handed to an
    io_uring (several may share an exit). ``bytes_in`` came from the host, ``bytes_out`` went to it.
    ``copies`` counts the bytes that the boundary copied besides, out of memory that the host had filled.
    ``refused`` counts the answers of the host that could not be true.
    """

    __slots__ = ("bytes_in", "bytes_out", "copies", "exits", "operations", "refused", "submissions")

    def __init__(self) -> None:
        self.exits = 0
        self.submissions = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.copies = 0
        self.refused = 0
        self.operations: defaultdict[str, int] = defaultdict(int)

    def exit(self) -> None:
        """The kernel leaves for the host, now."""
        self.exits += 1

    def snapshot(self) -> dict[str, int]:
        """All figures by name; those of single operations as ``operation.NAME``."""
        figures = {name: getattr(self, name) for name in Counters.__slots__ if name != "operations"}
        return figures | {f"operation.{name}": count for name, count in sorted(self.operations.items())}


class CostlyCounters(Counters):
    """Counters of a modelled enclave: each exit takes ``cycles`` of the processor's clock, spent waiting."""

    __slots__ = ("_wait",)

    def __init__(self, cycles: int) -> None:
        super().__init__()
        self._wait = round(cycles / clock_rate() * 1e9)
        # The wait begins late and ends late: by so much it must be shorter.
        best = min(self._spend() for _ in range(_TRIALS))
        self._wait = max(0, 2 * self._wait - best)

    def exit(self) -> None:
        self.exits += 1
        end = time.perf_counter_ns() + self._wait
        while time.perf_counter_ns() < end:
            pass

    def _spend(self) -> int:
        """How many nanoseconds one exit takes. It is none: the figures stay as they are."""
        begin = time.perf_counter_ns()
        self.exit()
        self.exits -= 1
        return time.perf_counter_ns() - begin


def clock_rate() -> float:
    """Cycles a second of the processor, as its kernel tells; 3 GHz where it does not."""
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "cpu MHz":
                return float(value) * 1e6
    return 3e9


def make_counters(exit_cost: int) -> Counters:
    """Counters for a boundary whose exits cost ``exit_cost`` cycles more than they do anyhow."""
    return CostlyCounters(exit_cost) if exit_cost else Counters()
