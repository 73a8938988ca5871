"""``disk copy-in``."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ...errors import ConfigError, DiskError
from ...fs.inode import Inode
from .copying import copy, host_bytes, host_folder
from .opened import boundary, counter_option, key_option, mounted, run, walk


@dataclass(frozen=True, slots=True)
class Options:
    """Copy host files and folders into the disk FILE: the last of ARGS is the path on the disk, the others are copied.

    A path on the disk that is a folder gets them under their own names. Modes, times, links, holes and extended
    attributes are kept; what belongs to the user who copies belongs to root on the disk.
    """

    file: str
    paths: tuple[str, ...] = ()
    key_file: str | None = key_option()
    counter: str | None = counter_option()


def command(options: Options) -> int:
    """Copy."""
    if len(options.paths) < 2:
        raise ConfigError("SOURCE and TARGET are missing", "like: disk copy-in FILE ./data /data")
    return run(options.file, _copy_in(options))


async def _copy_in(options: Options) -> int:
    *sources, target = options.paths
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(boundary())
        fs = await stack.enter_async_context(mounted(host, options.file, options.key_file, options.counter, False))
        directory, given = await _place(fs.root, target, len(sources))
        jobs = []
        for source in sources:
            folder = host_folder(host, source, False)
            stack.push_async_callback(folder.unmount)
            name = given or os.fsencode(os.path.basename(os.path.realpath(source)))
            jobs.append((folder.root, directory, name, source))
        return await copy(jobs, sum(map(host_bytes, sources)), "copying in")


async def _place(root: Inode, target: str, count: int) -> tuple[Inode, bytes]:
    """The directory that the copies go to, and their name there if the target gives one."""
    try:
        there = await walk(root, target)
    except DiskError:
        if count > 1 or target.endswith("/"):
            raise
    else:
        if there.is_dir:
            return there, b""
        if count > 1:
            raise ConfigError(f"{target} is not a folder on the disk", "several things can only be copied to a folder")
    parent, _, name = target.rpartition("/")
    return await walk(root, parent), os.fsencode(name)
