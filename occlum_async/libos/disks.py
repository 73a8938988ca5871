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
from ..fs.mount import MountNamespace
from ..process.kernel import Kernel
from ..sched.mutex import Mutex
from .mounts import DiskMount, Ext2Mount, SefsMount

if TYPE_CHECKING:
    from ..fs.block.device import BlockDevice
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
        self._shared_cache: PageCache | None = None
        self._caches: list[PageCache] = []
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
        from ..fs.ext2.filesystem import Ext2
        from ..fs.ext2.superblock import BadSuperblock

        device = await open_disk(self._boundary, os.fspath(spec.source), spec.root_key(), spec.counter, spec.read_only)
        try:
            return await Ext2.mount(device, spec.read_only, self._kernel.scheduler, self._cache(spec.cache_size))
        except BadSuperblock as error:
            await device.close()
            hint = "a sealed disk wants its key-file" if spec.root_key() is None else "disk create makes one"
            raise DiskError(f"{os.fspath(spec.source)}: {error}", hint) from None
        except BaseException:
            await device.close()
            raise

    async def _open_sefs(self, spec: SefsMount) -> FileSystem:
        from ..fs.sefs import Sefs

        key = spec.root_key()
        if key is None or spec.counter is not None:
            raise ConfigError("--mount: a sefs needs a key, and knows no counter", "add key-file=FILE alone")
        cache = self._cache(spec.cache_size)
        return await Sefs.mount(self._boundary, os.fspath(spec.source), key, cache, spec.read_only)

    def _cache(self, size: int | None) -> PageCache:
        """A page cache of ``size`` bytes; without a size the one that all such disks share."""
        if size is None and self._shared_cache is not None:
            return self._shared_cache
        # What only a LibOS with disks needs is loaded only there, as the disks themselves: ``run`` starts the sooner.
        from ..fs.pagecache import DEFAULT_LIMIT, PageCache

        kernel = self._kernel
        cache = PageCache(kernel.scheduler, size or DEFAULT_LIMIT, kernel.file_memory)
        cache.collect = lambda: kernel.shared_memory.collect(kernel.supervisor.hosts, True)
        self._caches.append(cache)
        if size is None:
            self._shared_cache = cache
        return cache

    def statistics(self) -> dict[str, dict[str, int]]:
        """What the page caches hold, for ``stats``."""
        return {f"{number}": cache.statistics() for number, cache in enumerate(self._caches)}


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
