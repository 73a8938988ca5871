"""mount(2), umount2(2), pivot_root(2)."""

from __future__ import annotations

import errno
import inspect

from ..abi.errors import SyscallError
from ..abi.marshal import Int, OptionalPath, Path, Size
from ..fs.credentials import CAP_SYS_ADMIN
from ..fs.dentry import Location
from ..fs.inode import FileSystem
from ..fs.mount import (
    MS_BIND,
    MS_MOVE,
    MS_PROPAGATION,
    MS_REC,
    MS_REMOUNT,
    MS_SILENT,
    Mount,
    anonymous_device,
)
from ..fs.namei import DIRECTORY, FOLLOW, resolve
from ..fs.namespace import MNT_DETACH, MNT_EXPIRE, MNT_FORCE, UMOUNT_NOFOLLOW, MountNamespace
from ..process.thread import Thread
from .table import syscall

MS_MAGIC, MS_MAGIC_MASK = 0xC0ED0000, 0xFFFF0000


def _may_mount(thread: Thread) -> None:
    if not thread.credentials.capable(CAP_SYS_ADMIN):
        raise SyscallError(errno.EPERM)


def _mount_at(location: Location) -> Mount:
    """The mount whose root ``location`` is; EINVAL."""
    if location.dentry is not location.mount.root:
        raise SyscallError(errno.EINVAL)
    return location.mount


@syscall(165)
async def mount(
    thread: Thread, source: OptionalPath, target: Path, kind: OptionalPath, flags: Size, data: OptionalPath
) -> None:
    if flags & MS_MAGIC_MASK == MS_MAGIC:
        flags &= ~MS_MAGIC_MASK
    place = await resolve(thread, target)
    _may_mount(thread)
    mounts: MountNamespace = thread.kernel.mounts
    if flags & MS_REMOUNT:
        mounts.remount(_mount_at(place), flags)
    elif flags & MS_BIND:
        origin = await resolve(thread, source or b"")
        copy = mounts.bind(origin, place, bool(flags & MS_REC))
        copy.source = origin.mount.source
    elif flags & MS_PROPAGATION:
        change = flags & MS_PROPAGATION
        if change & (change - 1) or flags & ~(MS_PROPAGATION | MS_REC | MS_SILENT):
            raise SyscallError(errno.EINVAL)
        # There is one mount namespace: what is shared within it or not makes no difference.
        _mount_at(place)
    elif flags & MS_MOVE:
        mounts.move(_mount_at(await resolve(thread, source or b"")), place)
    else:
        fs = await _make(mounts, kind or b"", source or b"none", data or b"")
        try:
            mounts.mount(fs, place, flags, source or b"none")
        except SyscallError:
            if all(mount.fs is not fs for mount in mounts):
                await fs.unmount()
            raise


async def _make(mounts: MountNamespace, kind: bytes, source: bytes, data: bytes) -> FileSystem:
    factory = mounts.factories.get(kind.decode(errors="replace"))
    if not kind:
        raise SyscallError(errno.EINVAL)
    if factory is None:
        raise SyscallError(errno.ENODEV)
    made = factory(anonymous_device(), source, data)
    return await made if inspect.isawaitable(made) else made


@syscall(166)
async def umount2(thread: Thread, target: Path, flags: Int) -> None:
    if flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW):
        raise SyscallError(errno.EINVAL)
    if flags & MNT_EXPIRE and flags & (MNT_FORCE | MNT_DETACH):
        raise SyscallError(errno.EINVAL)
    _may_mount(thread)
    place = await resolve(thread, target, None, 0 if flags & UMOUNT_NOFOLLOW else FOLLOW)
    await thread.kernel.mounts.umount(_mount_at(place), flags)


@syscall(155)
async def pivot_root(thread: Thread, new_root: Path, put_old: Path) -> None:
    _may_mount(thread)
    new = await resolve(thread, new_root, None, FOLLOW | DIRECTORY)
    old = await resolve(thread, put_old, None, FOLLOW | DIRECTORY)
    thread.kernel.mounts.pivot_root(new, old)
