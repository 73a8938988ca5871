"""fio, sync engine, on every file system of the LibOS, natively and on gocryptfs, in turn; MB/s, medians."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import report
import storage

from occlum_async.sizes import parse_size


@dataclass(frozen=True, slots=True)
class Job:
    """One fio job. ``cold``: nothing is cached when it begins. ``seed``: MlsDisk over SEFS in the seed's paper."""

    title: str
    rw: str
    bs: str
    options: tuple[str, ...] = ()
    cold: bool = False
    seed: float | None = None

    @property
    def reads(self) -> bool:
        """Whether its figure is what is read."""
        return "read" in self.rw


JOBS = (
    Job("write 1M", "write", "1m", seed=5.6),
    Job("write 1M, fsync at the end", "write", "1m", ("--end_fsync=1",)),
    Job("read 1M, cold", "read", "1m", cold=True, seed=2.3),
    Job("read 1M, warm", "read", "1m"),
    Job("random write 4K", "randwrite", "4k", seed=17),
    Job("random write 4K, fsync at the end", "randwrite", "4k", ("--end_fsync=1",)),
    Job("random read 4K, cold", "randread", "4k", cold=True, seed=2.4),
    Job("random read 4K, warm", "randread", "4k"),
)
BASELINE, OURS = "sefs", "ext2 on MlsDisk"


async def measure(place: storage.Place, job: Job, size: int, seconds: int) -> float:
    """MB/s of one run. Random jobs are bounded in time as well."""
    if job.cold:
        await place.cool()
    bounded = (f"--runtime={seconds}",) if "rand" in job.rw else ()
    output = await place.run(
        "fio", "--name=job", f"--filename={place.folder}/file", f"--size={size}", "--ioengine=sync", f"--rw={job.rw}",
        f"--bs={job.bs}", "--thread", "--fallocate=none", "--invalidate=0", "--output-format=json",
        *bounded, *job.options,
    )  # fmt: skip
    (found,) = json.loads(output[output.index("{") :])["jobs"]
    return float(found["read" if job.reads else "write"]["bw_bytes"]) / 1e6


async def lines(places: list[storage.Place], size: int, repeat: int, seconds: int) -> dict[str, dict[str, float]]:
    """By the title of the job, and the name of the place: the median."""
    samples: dict[str, dict[str, list[float]]] = {job.title: {one.name: [] for one in places} for job in JOBS}
    for _ in range(repeat):
        for place in places:
            async with place:
                for job in JOBS:
                    samples[job.title][place.name].append(await measure(place, job, size, seconds))
            print(f"measured {place.name}", file=sys.stderr)
    return {title: {name: statistics.median(found) for name, found in row.items()} for title, row in samples.items()}


def tell(found: dict[str, dict[str, float]], names: list[str], size: int) -> None:
    """The table, with MlsDisk's ratio to SEFS beside the seed's."""
    rows = []
    for job in JOBS:
        row = found[job.title]
        ratio = row[OURS] / row[BASELINE] if OURS in row and row.get(BASELINE) else None
        met = None if ratio is None or job.seed is None else ratio >= job.seed
        figures = [report.human(row[name], "MB/s") for name in names]
        rows.append((
            job.title, *figures, "" if ratio is None else f"{ratio:.2f}", f"{job.seed or ''}", report.verdict(met)
        ))  # fmt: skip
    headings = ("job", *names, "MlsDisk / sefs", "seed's", "")
    report.show(f"fio, {size >> 20} MiB, sync engine: MB/s, medians", headings, rows)


def main() -> None:
    """Measure, and tell."""
    parser = report.options(__doc__)
    parser.add_argument("--size", help="of the file (default: 10g, 1g with --quick)")
    parser.add_argument("--cache", default="256m", help="of the page cache (default: 256m)")
    parser.add_argument("--seconds", type=int, default=30, help="that a random job lasts at most (default: 30)")
    parser.add_argument("--only", metavar="NAMES", help="places to measure, with commas between")
    parser.add_argument("--folder", help="where the disks are made (default: the folder for temporary files)")
    options = parser.parse_args()
    if not shutil.which("fio"):
        raise SystemExit("fio is missing: apt-get install fio")
    size = parse_size(options.size or ("1g" if options.quick else "10g"), "--size")
    work = storage.work_folder(options.folder)
    try:
        places = storage.places(work, size, Path(__file__).parent, options.cache, options.only)
        found = report.run(lines(places, size, 1 if options.quick else 3, options.seconds))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    names = [place.name for place in places]
    tell(found, names, size)
    if options.json:
        report.write_json(options.json, [{**asdict(job), "mb_per_s": found[job.title], "size": size} for job in JOBS])
    if options.plot:
        series = {name: [found[job.title][name] for job in JOBS] for name in names}
        report.plot(options.plot, [report.Panel("fio", "MB/s", [job.title for job in JOBS], series, True)])


if __name__ == "__main__":
    main()
