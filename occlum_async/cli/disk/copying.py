"""What ``copy-in`` and ``copy-out`` share: the host as a file system, and a copy that tells what failed."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ...abi.errors import SyscallError
from ...errors import ConfigError, DiskError
from ...fs.hostfs import HostFs
from ...fs.inode import Inode
from ...fs.mount import anonymous_device
from ...fs.transfer import TreeCopy
from ...io.boundary import Boundary
from .opened import shown
from .progress import progress

EXIT_INCOMPLETE = 1


def host_folder(host: Boundary, path: str, writable: bool) -> HostFs:
    """A file or folder of the host as a file system; ``ConfigError``."""
    try:
        return HostFs(anonymous_device(), host, os.path.realpath(path), writable=writable, validity=None)
    except (SyscallError, OSError) as error:
        raise ConfigError(f"{path}: {os.strerror(error.errno or errno.EIO)}", "name what exists on this host") from None


def host_bytes(path: str) -> int:
    """How many bytes the files below ``path`` have, for a progress bar."""
    start = Path(path)
    if not start.is_dir():
        return start.stat().st_size
    return sum(one.lstat().st_size for one in start.rglob("*") if one.is_file() and not one.is_symlink())


async def disk_bytes(inode: Inode) -> int:
    """How many bytes the files below ``inode`` have."""
    if not inode.is_dir:
        return inode.size
    total = 0
    async for entry in inode.all_entries():
        child = await inode.lookup(entry.name)
        if child.is_dir or child.is_regular:
            total += await disk_bytes(child)
    return total


async def copy(jobs: Sequence[tuple[Inode, Inode, bytes, str]], total: int, title: str) -> int:
    """Copy each source to a name in a directory; the exit status. What can't be copied is told, one line each."""
    failures = 0

    def failed(path: bytes, error: SyscallError) -> None:
        nonlocal failures
        failures += 1
        if error.errno == errno.ENOSPC:
            raise DiskError(f"{shown(path)}: the disk is full", "make a larger one, or copy less")
        print(f"occlum-async: {shown(path)}: {os.strerror(error.errno)}", file=sys.stderr)

    with progress(title, total) as advance:
        tree = TreeCopy(advance, failed)
        for source, directory, name, path in jobs:
            await tree.merge(source, directory, name, os.fsencode(path))
    print(f"{tree.files} files, {tree.size} bytes" + (f", {failures} failed" if failures else ""))
    return EXIT_INCOMPLETE if failures else 0
