"""What the disk has done since it was opened."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Statistics:
    """Counts of blocks unless said otherwise."""

    user_written: int = 0  # what was asked for
    user_read: int = 0
    discarded: int = 0
    written: int = 0  # what went to the image: data, nodes, pages, moved blocks; without the two below
    journal_written: int = 0
    superblocks_written: int = 0
    data_written: int = 0
    nodes_written: int = 0
    moved: int = 0  # by cleaning
    read: int = 0
    writes: int = 0  # requests
    flushes: int = 0
    commits: int = 0
    checkpoints: int = 0
    early_commits: int = 0  # because there was no room for more without one
    segments_cleaned: int = 0
    cache_hits: int = 0  # of nodes
    cache_misses: int = 0
    damaged: int = 0  # reads of blocks that did not verify

    @property
    def write_amplification(self) -> float:
        """Blocks written to the image for one that was asked for."""
        total = self.written + self.journal_written + self.superblocks_written
        return total / self.user_written if self.user_written else 0.0

    def snapshot(self) -> dict[str, float]:
        """All of it by name."""
        figures: dict[str, float] = {field.name: getattr(self, field.name) for field in fields(self)}
        return figures | {"write_amplification": round(self.write_amplification, 4)}
