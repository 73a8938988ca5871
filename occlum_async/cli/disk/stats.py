"""``disk stats``."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from ...fs.mlsdisk import MlsDisk
from ..parsing import option
from .opened import boundary, counter_option, key_option, mounted, run, shown


@dataclass(frozen=True, slots=True)
class Options:
    """Tell how full the disk FILE is, and how it is laid out."""

    file: str
    key_file: str | None = key_option()
    counter: str | None = counter_option()
    json: bool = option("--json", help="Print it for machines.")


def command(options: Options) -> int:
    """Tell."""
    return run(options.file, _stats(options))


async def _stats(options: Options) -> int:
    async with boundary() as host, mounted(host, options.file, options.key_file, options.counter, True) as fs:
        numbers = await fs.statfs()
        status = os.stat(options.file)
        figures: dict[str, Any] = {
            "label": shown(fs.superblock.volume_name.rstrip(b"\0")),
            "block size": numbers.bsize,
            "size": numbers.blocks * numbers.bsize,
            "free": numbers.bfree * numbers.bsize,
            "files": numbers.files,
            "free files": numbers.ffree,
            "image size": status.st_size,
            "image on host": status.st_blocks * 512,
        }
        if isinstance(fs.block_device, MlsDisk):
            figures["disk"] = fs.block_device.stats()
    if options.json:
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(figures), indent=2).decode() + "\n")
    else:
        from ..counters import flatten

        for name, value in flatten(figures):
            print(f"{name:30} {value:,}" if isinstance(value, int) else f"{name:30} {value}")
    return 0
