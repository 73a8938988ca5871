"""What leaving the enclave has cost so far."""

from __future__ import annotations

from collections import defaultdict


class Counters:
    """Exits, submissions and bytes since the boundary was opened.

    An *exit* is one entry into the host, whatever it carries; a *submission* is one operation handed to an
    io_uring (several may share an exit). ``bytes_in`` came from the host, ``bytes_out`` went to it.
    ``copies`` counts the bytes that were copied on their way between the host's memory and ours.
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

    def snapshot(self) -> dict[str, int]:
        """All figures by name; those of single operations as ``operation.NAME``."""
        figures = {name: getattr(self, name) for name in self.__slots__ if name != "operations"}
        return figures | {f"operation.{name}": count for name, count in sorted(self.operations.items())}
