"""Places where a program can keep its files: natively, and on each file system of the LibOS."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from occlum_async.fs.ext2 import mkfs
from occlum_async.fs.mlsdisk import MlsDisk
from occlum_async.io.boundary import open_boundary
from occlum_async.libos import Bind, Ext2Mount, LibOS, SefsMount, Tmpfs
from occlum_async.libos.mounts import Mount
from occlum_async.sched.strand import Scheduler

KEY = bytes(range(32))
INSIDE = "/data"
SLACK = 1.5  # a disk is so much larger than the files that are written to it


class Place(ABC):
    """A folder for files, and a way to run programs that see it as ``folder``. Made anew by each ``async with``."""

    def __init__(self, name: str, work: Path, size: int, programs: Path) -> None:
        self.name = name
        self.work = work / name.replace(" ", "-")
        self.size = int(size * SLACK)
        self.programs = programs
        self.folder = INSIDE

    async def __aenter__(self) -> Place:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        await self.make()
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        shutil.rmtree(self.work, ignore_errors=True)

    async def cool(self) -> None:
        """Forget everything that is cached: unmount, have the host forget, mount."""
        await self.close()
        subprocess.run(["sync"], check=True)
        for path in self.work.rglob("*"):
            if path.is_file() and not path.is_symlink():
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)
        await self.open()

    async def make(self) -> None:
        """Make what lasts for the whole measurement."""
        return

    @abstractmethod
    async def open(self) -> None:
        """Mount it."""

    @abstractmethod
    async def close(self) -> None:
        """Unmount it."""

    @abstractmethod
    async def run(self, *argv: str) -> str:
        """Run a program to its end; its output. A word that begins with "programs/" is one of ours."""


class Native(Place):
    """A folder of the host."""

    async def open(self) -> None:
        self.folder = str(self.work)

    async def close(self) -> None:
        pass

    async def run(self, *argv: str) -> str:
        words = [str(self.programs / word[9:]) if word.startswith("programs/") else word for word in argv]
        process = await asyncio.create_subprocess_exec(*words, stdin=DEVNULL, stdout=PIPE, cwd=self.folder)
        output, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.name}: {' '.join(argv)} ended with {process.returncode}")
        return output.decode()


class Gocryptfs(Native):
    """gocryptfs over a folder of the host."""

    @staticmethod
    def usable() -> bool:
        """Whether this host has it, and lets it mount."""
        return bool(shutil.which("gocryptfs") and shutil.which("fusermount3") and os.access("/dev/fuse", os.W_OK))

    async def make(self) -> None:
        (self.work / "cipher").mkdir()
        (self.work / "plain").mkdir()
        (self.work / "password").write_text("benchmark\n")
        await self._call("-init", "-q", str(self.work / "cipher"))

    async def open(self) -> None:
        await self._call("-q", str(self.work / "cipher"), str(self.work / "plain"))
        self.folder = str(self.work / "plain")

    async def close(self) -> None:
        subprocess.run(["fusermount3", "-u", str(self.work / "plain")], check=True)

    async def _call(self, *words: str) -> None:
        password = ("-passfile", str(self.work / "password"))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["gocryptfs", *password, *words], check=True, **quiet)


class Inside(Place):
    """A mount of the LibOS, which ``mount`` makes from the place."""

    def __init__(
        self, name: str, work: Path, size: int, programs: Path, mount: Callable[[Inside], Mount], cache: str
    ) -> None:
        super().__init__(name, work, size, programs)
        self._mount = mount
        self.cache = cache
        self._stack = AsyncExitStack()
        self._libos: LibOS | None = None

    async def make(self) -> None:
        mount = self._mount(self)
        if not isinstance(mount, Ext2Mount):
            return
        path, blocks = str(mount.source), self.size // 4096
        if mount.key is not None:
            disk = await MlsDisk.create(path, mount.key, blocks=blocks)
            await mkfs(disk)
            await disk.close()
        else:
            from occlum_async.fs.block.image import HostImage

            boundary = open_boundary("auto", Scheduler(asyncio.get_running_loop()))
            image = HostImage.create(path, blocks, boundary)
            await mkfs(image)
            await image.close()
            await boundary.shutdown()

    async def open(self) -> None:
        programs = Bind(str(self.programs), "/programs", True)
        libos = LibOS(mounts=[self._mount(self)], binds=[programs], memory=self.size + (1 << 30))
        self._libos = await self._stack.enter_async_context(libos)

    async def close(self) -> None:
        await self._stack.aclose()
        self._libos = None

    async def run(self, *argv: str) -> str:
        assert self._libos is not None, "a place is used before it is open"
        words = [f"/{word}" if word.startswith("programs/") else word for word in argv]
        process = await self._libos.spawn(*words, stdin=DEVNULL, stdout=PIPE, cwd=INSIDE)
        output, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"{self.name}: {' '.join(argv)} ended with {process.returncode}")
        return (output or b"").decode()


def _sefs(place: Inside) -> Mount:
    (place.work / "sefs").mkdir(exist_ok=True)
    return SefsMount(INSIDE, place.work / "sefs", key=KEY, cache=place.cache)


def _hostfs(place: Inside) -> Mount:
    (place.work / "files").mkdir(exist_ok=True)
    return Bind(str(place.work / "files"), INSIDE)


MOUNTS: dict[str, Callable[[Inside], Mount]] = {
    "ramfs": lambda place: Tmpfs(INSIDE, place.size),
    "hostfs": _hostfs,
    "ext2 plain": lambda place: Ext2Mount(INSIDE, place.work / "plain.img", cache=place.cache),
    "ext2 on MlsDisk": lambda place: Ext2Mount(INSIDE, place.work / "disk.mls", key=KEY, cache=place.cache),
    "sefs": _sefs,
}


def places(work: Path, size: int, programs: Path, cache: str, only: str | None) -> list[Place]:
    """Every place that this host has, or those whose names are in ``only``, with commas between."""
    found: list[Place] = [Native("native", work, size, programs)]
    if Gocryptfs.usable():
        found.append(Gocryptfs("gocryptfs", work, size, programs))
    else:
        print("gocryptfs is left out: apt-get install gocryptfs fuse3, on a host with /dev/fuse", file=sys.stderr)
    found += [Inside(name, work, size, programs, mount, cache) for name, mount in MOUNTS.items()]
    wanted = None if only is None else only.split(",")
    return [place for place in found if wanted is None or place.name in wanted]


def work_folder(folder: str | None) -> Path:
    """Where the disks and files are kept while it is measured."""
    return Path(tempfile.mkdtemp(prefix="storage-", dir=folder))
