"""``disk resize``."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ...errors import ConfigError, DiskError
from ...fs.block.device import BLOCK
from ...fs.block.image import HostImage
from ...fs.ext2 import Ext2, mkfs
from ...fs.ext2.resize import grow
from ...fs.ext2.superblock import BadSuperblock
from ...fs.mlsdisk import MlsDisk
from ...fs.transfer import TreeCopy, copy_attributes
from ...io.boundary import Boundary
from ...libos.disks import open_disk
from ...sizes import parse_size
from ..parsing import option
from .copying import disk_bytes
from .create import make_device
from .opened import boundary, counter_option, key_option, mounted, root_key, run, trusted_counter
from .progress import progress

SUFFIX = ".resize"
COPY_OVERHEAD = 20  # a 20th more than the files have: what ext2 and a sealed disk say about them


@dataclass(frozen=True, slots=True)
class Options:
    """Make the disk FILE hold --size, more or less than now.

    A disk that grows does so in its place. For one that shrinks, or whose file system can't grow, all files are copied
    to a new disk beside it, which then takes its place: the host needs room for both meanwhile.
    """

    file: str
    size: str | None = option("--size", metavar="SIZE", help="How much it is to hold, like 40g.")
    key_file: str | None = key_option()
    counter: str | None = counter_option()


def command(options: Options) -> int:
    """Resize."""
    if options.size is None:
        raise ConfigError("--size is missing", "like --size 40g")
    return run(options.file, _resize(options, parse_size(options.size, "--size") // BLOCK))


async def _resize(options: Options, blocks: int) -> int:
    async with boundary() as host:
        if not await _grow(options, host, blocks):
            await _replace(options, host, blocks)
    return 0


async def _grow(options: Options, host: Boundary, blocks: int) -> bool:
    """Make disk and file system larger in their place; False where that can't be done."""
    counter = trusted_counter(options.counter, options.key_file)
    device = await open_disk(host, options.file, root_key(options.key_file), counter)
    try:
        if blocks < device.blocks:
            return False
        if isinstance(device, MlsDisk):
            await device.resize(blocks)
        elif isinstance(device, HostImage):
            device.resize(blocks)
        await grow(device)
    except ValueError:
        return False
    except BadSuperblock as error:
        raise DiskError(f"{options.file}: {error}") from None
    finally:
        await device.close()
    return True


async def _replace(options: Options, host: Boundary, blocks: int) -> None:
    """Copy everything to a new disk, which takes the place of the old one."""
    new = options.file + SUFFIX
    if os.path.lexists(new):
        raise ConfigError(f"{new} exists", "it is left from a resize that was interrupted: remove it")
    try:
        await _copy(options, host, new, blocks)
        await _bind(options, host, new)
    except BaseException:
        if os.path.lexists(new):
            os.unlink(new)
        raise
    os.chmod(new, os.stat(options.file).st_mode & 0o777)
    os.replace(new, options.file)
    folder = os.open(os.path.dirname(options.file) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def _copy(options: Options, host: Boundary, new: str, blocks: int) -> None:
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(mounted(host, options.file, options.key_file, options.counter, True))
        device = await make_device(new, root_key(options.key_file), blocks, None, host)
        try:
            plan = old.superblock
            try:
                await mkfs(device, block_size=plan.block_size, label=plan.volume_name, uuid=bytes(plan.uuid))
            except ValueError as error:
                raise ConfigError(str(error)) from None
            fs = await Ext2.mount(device, scheduler=host.scheduler)
        except BaseException:
            await device.close()
            raise
        try:
            await _copy_files(old, fs, options.file)
        finally:
            await fs.unmount()


async def _copy_files(old: Ext2, fs: Ext2, path: str) -> None:
    free = (await fs.statfs()).bfree * fs.superblock.block_size
    total = await disk_bytes(old.root)
    if total > free:
        raise DiskError(f"{path}: the new size has no room for {total} bytes of files", "choose a larger one")
    host = os.statvfs(os.path.dirname(path) or ".")
    if total + total // COPY_OVERHEAD > host.f_bavail * host.f_frsize:
        raise DiskError(f"{path}: the host has no room beside it for a copy of {total} bytes", "make some there")
    with progress("copying", total) as advance:
        tree = TreeCopy(advance)
        await tree.copy_into(old.root, fs.root, b"")
        await copy_attributes(old.root, fs.root)


async def _bind(options: Options, host: Boundary, new: str) -> None:
    """From now on the counter counts for the new disk: the old one is history."""
    key = root_key(options.key_file)
    counter = trusted_counter(options.counter, options.key_file)
    if key is not None and counter is not None:
        disk = await MlsDisk.open(new, key, counter=counter, bind_counter=True, boundary=host)
        await disk.close()
