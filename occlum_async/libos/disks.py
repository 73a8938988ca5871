"""The disks of a LibOS: opened when they are first mounted, closed with their last mount.

A guest may mount and unmount what the configuration names, and nothing else of the host's.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from ..errors import ConfigError, DiskError, DiskInUse, LibOSError
from ..fs.inode import FileSystem
from ..fs.namespace import MountNamespace
from ..process.kernel import Kernel
from ..sched.mutex import Mutex
from .mounts import DiskMount, Ext2Mount, SefsMount

if TYPE_CHECKING:
    from ..fs.block.device import BlockDevice
    from ..fs.ext2.filesystem import Ext2
    from ..fs.mlsdisk.counter import TrustedCounter
    from ..fs.pagecache import PageCache
    from ..io.boundary import Boundary

log = logging.getLogger(__name__)

# Seconds for which the host may hold the image of a LibOS that was killed: its io_uring goes by and by.
LINGERS = 1.0
LOOK_AGAIN = 0.02


class Disks:
    """What ``specs`` name, by the names that programs inside have for it."""

    def __init__(self, kernel: Kernel, boundary: Boundary, specs: Sequence[DiskMount]) -> None:
        self._kernel = kernel
        self._boundary = boundary
        self._specs: dict[bytes, DiskMount] = {}
        self._caches: dict[bytes | None, PageCache] = {}  # by the disk's name; None: of those without one of their own
        self._mounted: dict[bytes, FileSystem] = {}
        self._opening = Mutex()
        for spec in specs:
            if spec.name in self._specs:
                raise ConfigError(f"--mount: two disks are called {spec.name.decode()}", "name each file once")
            self._specs[spec.name] = spec

    def register(self, mounts: MountNamespace) -> None:
        """Let mount(2) mount them."""
        for kind in {spec.kind for spec in self._specs.values()}:
            mounts.factories[kind] = partial(self._mount_inside, kind)

    async def _mount_inside(self, kind: str, _device: int, source: bytes, data: bytes) -> FileSystem:
        spec = self._specs.get(source)
        if spec is None or spec.kind != kind:
            raise SyscallError(errno.ENOENT)
        if data:
            raise SyscallError(errno.EINVAL)
        try:
            return await self.file_system(spec)
        except LibOSError as error:
            log.warning("mount of %s: %s", source.decode(errors="replace"), error)
            raise SyscallError(errno.EIO if isinstance(error, DiskError) else errno.EINVAL) from None

    async def file_system(self, spec: DiskMount) -> FileSystem:
        """The file system on a disk: the one object while it is mounted. ``ConfigError``, ``DiskError``."""
        async with self._opening.hold(self._kernel.scheduler):
            known = self._mounted.get(spec.name)
            if known is not None and not known.closed:
                return known
            fs = self._mounted[spec.name] = await self._open(spec)
            return fs

    async def _open(self, spec: DiskMount) -> FileSystem:
        try:
            if isinstance(spec, Ext2Mount):
                return await self._open_ext2(spec)
            if isinstance(spec, SefsMount):
                return await self._open_sefs(spec)
        except SyscallError as error:
            raise DiskError(f"{os.fspath(spec.source)} can't be mounted: {os.strerror(error.errno)}") from None
        raise ConfigError(f"--mount: there is no file system {spec.kind}")

    async def _open_ext2(self, spec: Ext2Mount) -> FileSystem:
        key = spec.root_key()
        hint = "a sealed disk wants its key-file" if key is None else "disk create makes one"
        path, cache = os.fspath(spec.source), self._cache(spec)
        return await open_ext2(self._boundary, path, key, spec.counter, spec.read_only, cache=cache, hint=hint)

    async def _open_sefs(self, spec: SefsMount) -> FileSystem:
        from ..fs.sefs import Sefs

        key = spec.root_key()
        if key is None or spec.counter is not None:
            raise ConfigError("--mount: a sefs needs a key, and knows no counter", "add key-file=FILE alone")
        return await Sefs.mount(self._boundary, os.fspath(spec.source), key, self._cache(spec), spec.read_only)

    def _cache(self, spec: DiskMount) -> PageCache:
        """The page cache of a disk, however often it is mounted: its own, or the one that all others share."""
        size = spec.cache_size
        name = None if size is None else spec.name
        known = self._caches.get(name)
        if known is not None:
            return known
        # What only a LibOS with disks needs is loaded only there, as the disks themselves: ``run`` starts the sooner.
        from ..fs.pagecache import DEFAULT_LIMIT, PageCache

        kernel = self._kernel
        cache = PageCache(kernel.scheduler, size or DEFAULT_LIMIT, kernel.file_memory)
        cache.collect = lambda: kernel.shared_memory.collect(kernel.supervisor.hosts, True)
        self._caches[name] = cache
        return cache

    def statistics(self) -> dict[str, dict[str, int]]:
        """What the page caches hold, for ``stats``."""
        return {f"{number}": cache.statistics() for number, cache in enumerate(self._caches.values())}


async def open_ext2(
    boundary: Boundary,
    path: str,
    key: bytes | None,
    counter: TrustedCounter | None = None,
    read_only: bool = False,
    *,
    cache: PageCache | None = None,
    hint: str = "",
) -> Ext2:
    """The ext2 on the disk in the host's file ``path``; who unmounts it closes the disk.

    ``cache`` None: one of its own. ``DiskError``, with ``hint`` where there is no file system; EIO.
    """
    from ..fs.ext2.filesystem import Ext2
    from ..fs.ext2.superblock import BadSuperblock

    device = await open_disk(boundary, path, key, counter, read_only)
    try:
        return await Ext2.mount(device, read_only, boundary.scheduler, cache)
    except BadSuperblock as error:
        await device.close()
        raise DiskError(f"{path}: {error}", hint) from None
    except BaseException:
        await device.close()
        raise


async def open_disk(
    boundary: Boundary, path: str, key: bytes | None, counter: TrustedCounter | None = None, read_only: bool = False
) -> BlockDevice:
    """The block device in the host's file ``path``: plain without a key. ``DiskError``."""
    deadline = boundary.loop.time() + LINGERS
    while True:
        try:
            return await _open_disk(boundary, path, key, counter, read_only)
        except DiskInUse:
            if boundary.loop.time() > deadline:
                raise
        await boundary.scheduler.bridge(asyncio.sleep(LOOK_AGAIN))


async def _open_disk(
    boundary: Boundary, path: str, key: bytes | None, counter: TrustedCounter | None, read_only: bool
) -> BlockDevice:
    if key is None:
        from ..fs.block.image import HostImage

        return HostImage.open(path, boundary, read_only)
    from ..fs.mlsdisk import MlsDisk

    return await MlsDisk.open(path, key, counter=counter, read_only=read_only, boundary=boundary)
