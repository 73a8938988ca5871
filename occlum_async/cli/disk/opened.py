"""What all commands do with a disk: open it with its key, mount it, walk to a path, show its names."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from ...abi.errors import SyscallError
from ...errors import ConfigError, DiskError
from ...fs.ext2 import Ext2
from ...fs.inode import Inode
from ...fs.mlsdisk.counter import FileCounter
from ...io.boundary import Boundary, open_boundary
from ...libos.disks import open_ext2
from ...libos.mounts import read_key
from ...sched.strand import Scheduler
from ..parsing import option


def key_option() -> Any:
    """``--key-file``, as every command has it."""
    return option("--key-file", metavar="FILE", help="The file with the root key; a plain image has none.")


def counter_option() -> Any:
    """``--counter``, as every command has it."""
    return option("--counter", metavar="FILE", help="A file that keeps the disk from being set back.")


def run(path: str, work: Coroutine[Any, Any, int]) -> int:
    """Run a command on the disk ``path`` to its end; errors of the disk are ``DiskError``."""
    logging.basicConfig(stream=sys.stderr, level="WARNING", format="occlum-async: %(levelname)s: %(message)s")

    async def reporting() -> int:
        try:
            return await work
        except SyscallError as error:
            raise DiskError(f"{path}: {os.strerror(error.errno)}") from None

    return asyncio.run(reporting())


@asynccontextmanager
async def boundary() -> AsyncIterator[Boundary]:
    """A way to the host for as long as the command runs."""
    opened = open_boundary("auto", Scheduler(asyncio.get_running_loop()))
    try:
        yield opened
    finally:
        await opened.shutdown()


def root_key(key_file: str | None) -> bytes | None:
    """The key of the disk; None for a plain image."""
    return None if key_file is None else read_key(os.path.expanduser(key_file))


def trusted_counter(counter: str | None, key_file: str | None) -> FileCounter | None:
    """The counter of the disk, if it has one."""
    if counter is not None and key_file is None:
        raise ConfigError("--counter: a plain image has none", "add --key-file, or leave it out")
    return None if counter is None else FileCounter(os.path.expanduser(counter))


@asynccontextmanager
async def mounted(
    host: Boundary, path: str, key_file: str | None, counter: str | None, read_only: bool
) -> AsyncIterator[Ext2]:
    """The file system on the disk; unmounted, and its last error told, at the end."""
    hint = "a sealed disk wants its --key-file" if key_file is None else ""
    fs = await open_ext2(host, path, root_key(key_file), trusted_counter(counter, key_file), read_only, hint=hint)
    try:
        yield fs
    finally:
        await fs.unmount()


async def walk(root: Inode, path: str) -> Inode:
    """What is at an absolute path of the disk; symbolic links are not followed. ``DiskError``."""
    here = root
    for name in filter(None, os.fsencode(path).split(b"/")):
        if name in (b".", b".."):
            raise ConfigError(f"{path}: a path on a disk has no . and ..", "write it without")
        try:
            here = await here.lookup(name)
        except SyscallError as error:
            raise DiskError(f"{path}: {os.strerror(error.errno)}") from None
    return here


def shown(name: bytes) -> str:
    """A name or path on the disk as text of one line: bytes that are none, and what a terminal obeys, are escaped."""
    text = name.decode(errors="backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
