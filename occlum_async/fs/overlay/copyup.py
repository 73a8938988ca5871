"""Copy-up: a lower file becomes an upper one, with its data, owner, mode, times and attributes.

The copy is prepared without a name and then linked into place, so nobody ever sees half of it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.stat import S_IFMT
from ..credentials import Credentials
from ..inode import Inode

if TYPE_CHECKING:
    from .inode import OverlayInode

CHUNK = 1 << 20


async def copy_up(inode: OverlayInode, size: int | None) -> Inode:
    """Copy ``inode``, whose ``copying`` the caller holds, and at most ``size`` bytes of its data.

    A file whose last name is gone is copied to one without a name.
    """
    parent = inode.parent
    lower = inode.lowers[0]
    if parent is None and not lower.is_regular:
        raise SyscallError(errno.ENOENT)
    directory = await (parent if parent is not None else inode.fs.root).raised()
    await lower.getattr()
    times = (directory.atime, directory.mtime)
    if lower.is_dir:
        # A directory comes with all of its ancestors and is never unlinked while it is lower.
        upper = await directory.mkdir(inode.place, lower.mode, _owner(lower))
        await _copy_attributes(lower, upper)
    elif lower.is_regular:
        upper = await _copy_regular(lower, directory, size)
        if inode.parent is not None:  # the last name may have gone meanwhile
            directory = await inode.parent.raised()
            times = (directory.atime, directory.mtime)
            await directory.link(inode.place, upper)
    elif lower.is_symlink:
        upper = await directory.symlink(inode.place, await lower.readlink(), _owner(lower))
        await _copy_attributes(lower, upper)
    else:
        upper = await directory.create(inode.place, lower.mode, _owner(lower), lower.rdev)
        await _copy_attributes(lower, upper)
    await directory.setattr(atime=times[0], mtime=times[1])  # nothing was changed that anybody may see
    inode.become_upper(upper)
    return upper


async def _copy_regular(lower: Inode, directory: Inode, size: int | None) -> Inode:
    upper = await directory.tmpfile(lower.mode & 0o7777, _owner(lower))
    try:
        await _copy_data(lower, upper, lower.size if size is None else min(size, lower.size))
        await _copy_attributes(lower, upper)
    except BaseException:
        await upper.setattr(size=0)  # what was copied so far must not count against the layer's size
        raise
    return upper


async def _copy_data(lower: Inode, upper: Inode, end: int) -> None:
    """Copy ``end`` bytes, holes as holes."""
    offset = 0
    while offset < end:
        try:
            offset = await lower.seek_data(offset, hole=False)
        except SyscallError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole is left
        data = await lower.read(min(CHUNK, end - offset), offset) if offset < end else b""
        if not data:
            break
        done = 0
        while done < len(data):
            done += await upper.write(data[done:] if done else data, offset + done)
        offset += len(data)
    if upper.size < end:
        await upper.setattr(size=end)


async def _copy_attributes(lower: Inode, upper: Inode) -> None:
    """Extended attributes, owner, mode (after the owner, which clears set-id bits) and times."""
    for name in await lower.listxattr():
        try:
            await upper.setxattr(name, await lower.getxattr(name), 0)
        except SyscallError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM, errno.EACCES):
                raise
    if (upper.uid, upper.gid) != (lower.uid, lower.gid):
        await upper.setattr(uid=lower.uid, gid=lower.gid)
    mode = None if lower.is_symlink or upper.mode == lower.mode else lower.mode & ~S_IFMT
    await upper.setattr(mode=mode, atime=lower.atime, mtime=lower.mtime)


def _owner(inode: Inode) -> Credentials:
    return Credentials.of(inode.uid, inode.gid)
