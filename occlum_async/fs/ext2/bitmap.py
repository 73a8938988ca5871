"""Runs of bits in a bitmap, by arithmetic on the whole bitmap as one number: a set bit is in use."""

from __future__ import annotations


def free_bits(data: bytearray, bits: int) -> int:
    """The number whose set bits are the free ones among the first ``bits``."""
    return ~int.from_bytes(data, "little") & ((1 << bits) - 1)


def find_run(free: int, start: int, length: int) -> int:
    """The first position from ``start`` on where ``length`` bits of ``free`` are set in a row; -1."""
    folded = free >> start
    covered = 1
    while folded and covered < length:
        step = min(covered, length - covered)
        folded &= folded >> step
        covered += step
    return start + (folded & -folded).bit_length() - 1 if folded else -1


def run_length(free: int, start: int, limit: int) -> int:
    """How many bits of ``free`` are set in a row from ``start`` on, at most ``limit``."""
    part = (free >> start) & ((1 << limit) - 1)
    return ((part + 1) & ~part).bit_length() - 1


def set_run(data: bytearray, start: int, count: int) -> None:
    """Mark ``count`` bits from ``start`` on as used."""
    first, last = start // 8, (start + count + 7) // 8
    mask = ((1 << count) - 1) << start % 8
    data[first:last] = (int.from_bytes(data[first:last], "little") | mask).to_bytes(last - first, "little")


def clear_run(data: bytearray, start: int, count: int) -> int:
    """Mark ``count`` bits from ``start`` on as free; how many of them were used."""
    first, last = start // 8, (start + count + 7) // 8
    mask = ((1 << count) - 1) << start % 8
    value = int.from_bytes(data[first:last], "little")
    data[first:last] = (value & ~mask).to_bytes(last - first, "little")
    return (value & mask).bit_count()
