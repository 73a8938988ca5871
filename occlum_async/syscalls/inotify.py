"""inotify(7)."""

from __future__ import annotations

import errno
import os

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, Path, UInt
from ..fs.inotify import (
    IN_ALL_EVENTS,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_ONESHOT,
    IN_ONLYDIR,
    Inotify,
)
from ..fs.namei import DIRECTORY, FOLLOW, resolve
from ..fs.permissions import MAY_READ, check
from ..process.thread import Thread
from .table import syscall

IN_KNOWN = IN_ALL_EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_ADD | IN_MASK_CREATE | IN_ONESHOT


def _instance(thread: Thread, fd: int) -> Inotify:
    file = thread.files.get(fd)
    if not isinstance(file, Inotify):
        raise SyscallError(errno.EINVAL)
    return file


@syscall(294)
def inotify_init1(thread: Thread, flags: Int) -> int:
    if flags & ~(os.O_NONBLOCK | os.O_CLOEXEC):
        raise SyscallError(errno.EINVAL)
    file = Inotify(thread.scheduler, flags).acquire()
    try:
        return thread.files.install(file, bool(flags & os.O_CLOEXEC))
    finally:
        file.release()


@syscall(253)
def inotify_init(thread: Thread) -> int:
    return inotify_init1(thread, 0)


@syscall(254)
async def inotify_add_watch(thread: Thread, fd: Fd, path: Path, mask: UInt) -> int:
    instance = _instance(thread, fd)
    if not mask & IN_ALL_EVENTS or (mask & IN_MASK_ADD and mask & IN_MASK_CREATE):
        raise SyscallError(errno.EINVAL)
    how = (0 if mask & IN_DONT_FOLLOW else FOLLOW) | (DIRECTORY if mask & IN_ONLYDIR else 0)
    location = await resolve(thread, path, None, how)
    check(location.inode, thread.credentials, MAY_READ)
    return instance.add(location.inode, mask & IN_KNOWN)


@syscall(255)
def inotify_rm_watch(thread: Thread, fd: Fd, descriptor: Int) -> None:
    _instance(thread, fd).remove(descriptor)
