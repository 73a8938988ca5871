"""Resource usage: getrusage(2), wait4(2), times(2)."""

from __future__ import annotations

import struct

import msgspec

RUSAGE = struct.Struct("<18q")
CLOCK_TICKS = 100  # per second, sysconf(_SC_CLK_TCK)
NANOSECONDS_PER_TICK = 10**9 // CLOCK_TICKS


class ResourceUsage(msgspec.Struct, frozen=True):
    """Times in nanoseconds, ``max_resident`` in bytes, the rest are counts."""

    user: int = 0
    system: int = 0
    max_resident: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    blocks_in: int = 0
    blocks_out: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0

    def __add__(self, other: ResourceUsage) -> ResourceUsage:
        """Both together: sums, but the larger of the two resident sizes."""
        return ResourceUsage(
            self.user + other.user,
            self.system + other.system,
            max(self.max_resident, other.max_resident),
            self.minor_faults + other.minor_faults,
            self.major_faults + other.major_faults,
            self.blocks_in + other.blocks_in,
            self.blocks_out + other.blocks_out,
            self.voluntary_switches + other.voluntary_switches,
            self.involuntary_switches + other.involuntary_switches,
        )

    def pack(self) -> bytes:
        """``struct rusage``."""
        return RUSAGE.pack(
            self.user // 10**9, self.user % 10**9 // 1000, self.system // 10**9, self.system % 10**9 // 1000,
            self.max_resident // 1024, 0, 0, 0, self.minor_faults, self.major_faults, 0,
            self.blocks_in, self.blocks_out, 0, 0, 0, self.voluntary_switches, self.involuntary_switches,
        )  # fmt: skip

    def ticks(self) -> tuple[int, int]:
        """User and system time in clock ticks."""
        return self.user // NANOSECONDS_PER_TICK, self.system // NANOSECONDS_PER_TICK


NO_USAGE = ResourceUsage()
