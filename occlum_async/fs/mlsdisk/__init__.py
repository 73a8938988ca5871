"""MlsDisk: a secure virtual disk, log-structured, on a block device that is not trusted.

From below to above, each usable alone: sealed blocks (``blockio``), logs that authenticate themselves (``journal``,
``superblock``), the cache and the trees over them (``cache``, ``forest``), space (``space``), transactions over all
of it (``volume``, ``writer``, ``commit``, ``recovery``), and the disk (``disk``). Knows block devices, not files.
"""

from .check import Report
from .counter import CallbackCounter, FileCounter, MemoryCounter, TrustedCounter
from .disk import MlsDisk

__all__ = ["CallbackCounter", "FileCounter", "MemoryCounter", "MlsDisk", "Report", "TrustedCounter"]
