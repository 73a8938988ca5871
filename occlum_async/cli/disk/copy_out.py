"""``disk copy-out``."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ...errors import ConfigError
from .copying import copy, disk_bytes, host_folder
from .opened import boundary, counter_option, key_option, mounted, run, walk


@dataclass(frozen=True, slots=True)
class Options:
    """Copy files and folders of the disk FILE to the host: the last of ARGS is a path of the host.

    If that is a folder they go into it under their own names. The disk is not changed.
    """

    file: str
    paths: tuple[str, ...] = ()
    key_file: str | None = key_option()
    counter: str | None = counter_option()


def command(options: Options) -> int:
    """Copy."""
    if len(options.paths) < 2:
        raise ConfigError("SOURCE and TARGET are missing", "like: disk copy-out FILE /data ./data")
    return run(options.file, _copy_out(options))


async def _copy_out(options: Options) -> int:
    *sources, target = options.paths
    into = os.path.isdir(target)
    if not into and len(sources) > 1:
        raise ConfigError(f"{target} is not a folder", "several things can only be copied to a folder")
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(boundary())
        fs = await stack.enter_async_context(mounted(host, options.file, options.key_file, options.counter, True))
        folder = host_folder(host, target if into else os.path.dirname(target) or ".", True)
        stack.push_async_callback(folder.unmount)
        jobs = []
        for source in sources:
            name = os.path.basename(source.rstrip("/")) if into else os.path.basename(target.rstrip("/"))
            inode = await walk(fs.root, source)
            jobs.append((inode, folder.root, os.fsencode(name or os.path.basename(options.file) + ".files"), source))
        return await copy(jobs, sum([await disk_bytes(job[0]) for job in jobs]), "copying out")
