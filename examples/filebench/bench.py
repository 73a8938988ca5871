"""filebench's workloads on every file system of the LibOS, natively and on gocryptfs, in turn; operations a second."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import report
import storage

HERE = Path(__file__).resolve().parent
# MlsDisk over SEFS in the seed's paper.
WORKLOADS = {"varmail": 7.4, "fileserver": 1.7, "oltp": 1.6, "videoserver": 1.35}
BASELINE, OURS = "sefs", "ext2 on MlsDisk"
SPACE = 8 << 30  # that the largest workload takes at most, with SHARE 1


def build() -> Path:
    """Compile the driver; the folder that it is in."""
    folder = HERE / "build"
    folder.mkdir(exist_ok=True)
    command = ["gcc", "-O2", "-pthread", "-o", str(folder / "filebench"), str(HERE / "filebench.c")]
    subprocess.run(command, check=True)
    return folder


async def lines(places: list[storage.Place], repeat: int, seconds: float, share: float) -> dict[str, dict[str, float]]:
    """By the workload, and the name of the place: the median of operations a second."""
    samples: dict[str, dict[str, list[float]]] = {name: {one.name: [] for one in places} for name in WORKLOADS}
    for _ in range(repeat):
        for workload in WORKLOADS:
            for place in places:
                async with place:
                    output = await place.run("programs/filebench", workload, place.folder, f"{seconds}", f"{share}")
                samples[workload][place.name].append(float(output))
            print(f"measured {workload}", file=sys.stderr)
    return {title: {name: statistics.median(found) for name, found in row.items()} for title, row in samples.items()}


def tell(found: dict[str, dict[str, float]], names: list[str]) -> None:
    """The table, with MlsDisk's ratio to SEFS beside the seed's."""
    rows = []
    for workload, seed in WORKLOADS.items():
        row = found[workload]
        ratio = row[OURS] / row[BASELINE] if OURS in row and row.get(BASELINE) else None
        figures = [report.human(row[name], "ops/s") for name in names]
        met = report.verdict(None if ratio is None else ratio >= seed)
        rows.append((workload, *figures, "" if ratio is None else f"{ratio:.2f}", f"{seed}", met))
    report.show("filebench: operations a second", ("workload", *names, "MlsDisk / sefs", "seed's", ""), rows)


def main() -> None:
    """Measure, and tell."""
    parser = report.options(__doc__)
    parser.add_argument("--share", type=float, help="of the usual number and size of files (default: 1; quick: 0.05)")
    parser.add_argument("--seconds", type=float, help="of each run (default: 60; quick: 5)")
    parser.add_argument("--cache", default="256m", help="of the page cache (default: 256m)")
    parser.add_argument("--only", metavar="NAMES", help="places to measure, with commas between")
    parser.add_argument("--folder", help="where the disks are made (default: the folder for temporary files)")
    options = parser.parse_args()
    share = options.share or (0.05 if options.quick else 1.0)
    work = storage.work_folder(options.folder)
    try:
        size = max(1 << 30, int(SPACE * share))
        places = storage.places(work, size, build(), options.cache, options.only)
        seconds = options.seconds or (5.0 if options.quick else 60.0)
        found = report.run(lines(places, 1 if options.quick else 3, seconds, share))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    names = [place.name for place in places]
    tell(found, names)
    if options.json:
        report.write_json(options.json, [{"workload": name, "ops_per_s": row} for name, row in found.items()])
    if options.plot:
        series = {name: [found[workload][name] for workload in WORKLOADS] for name in names}
        report.plot(options.plot, [report.Panel("filebench", "operations/s", list(WORKLOADS), series, True)])


if __name__ == "__main__":
    main()
