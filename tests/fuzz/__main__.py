"""``python -m tests.fuzz [SECONDS [SEED [USER]]]``: fuzz until something is found, or for so long."""

from __future__ import annotations

import asyncio
import sys

from .runner import fuzz


def main() -> int:
    words = sys.argv[1:]
    seconds = float(words[0]) if words else 0.0
    seed = int(words[1]) if len(words) > 1 else None
    report = asyncio.run(fuzz(seconds, seed, words[2] if len(words) > 2 else "1000:1000"))
    for oops in report.oopses[:10]:
        print(oops)
    print(f"{report.rounds} rounds, {len(report.oopses)} oopses, neighbour served: {report.neighbour_served}")
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
