"""Copy-up: a lower file becomes an upper one, with its data, owner, mode, times and attributes.

The copy is prepared without a name and then linked into place, so nobody ever sees half of it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ..inode import Inode
from ..transfer import copy_attributes, copy_data, owner_of

if TYPE_CHECKING:
    from .inode import OverlayInode


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
        upper = await directory.mkdir(inode.place, lower.mode, owner_of(lower))
        await copy_attributes(lower, upper)
    elif lower.is_regular:
        upper = await _copy_regular(lower, directory, size)
        if inode.parent is not None:  # the last name may have gone meanwhile
            directory = await inode.parent.raised()
            times = (directory.atime, directory.mtime)
            await directory.link(inode.place, upper)
    elif lower.is_symlink:
        upper = await directory.symlink(inode.place, await lower.readlink(), owner_of(lower))
        await copy_attributes(lower, upper)
    else:
        upper = await directory.create(inode.place, lower.mode, owner_of(lower), lower.rdev)
        await copy_attributes(lower, upper)
    await directory.setattr(atime=times[0], mtime=times[1])  # nothing was changed that anybody may see
    inode.become_upper(upper)
    return upper


async def _copy_regular(lower: Inode, directory: Inode, size: int | None) -> Inode:
    upper = await directory.tmpfile(lower.mode & 0o7777, owner_of(lower))
    try:
        await copy_data(lower, upper, lower.size if size is None else min(size, lower.size))
        await copy_attributes(lower, upper)
    except BaseException:
        await upper.setattr(size=0)  # what was copied so far must not count against the layer's size
        raise
    return upper
