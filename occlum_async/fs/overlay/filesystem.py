"""An overlay: its layers, and the one inode object that stands for each of their files."""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakValueDictionary

from ...abi.errors import SyscallError
from ...abi.stat import S_IFCHR, S_IFMT
from ...sched.strand import Scheduler
from ..inode import FileSystem, Inode, StatFs
from .directory import OverlayDirectory
from .inode import OverlayInode
from .listing import Listing

PRIVATE_PREFIX = b"trusted.overlay."
OPAQUE = b"trusted.overlay.opaque"
# For upper layers that keep no trusted attributes (a host folder of an ordinary user).
USER_OPAQUE = b"user.overlay.opaque"

MAX_LAYERS = 500
MAX_LISTINGS = 256

_LAYER_SHIFT = 55


class OverlayFs(FileSystem):
    """``lowers``, topmost first, under ``upper``.

    Nobody else may change the upper layer; a lower layer that changes shows its changes as far as that
    layer does. Inode numbers carry the layer in their upper bits, as Linux's ``xino`` does, and stay what
    they are when a file is copied up.
    """

    name = "overlay"
    magic = 0x794C7630
    cacheable = True

    def __init__(self, device: int, scheduler: Scheduler, lowers: Sequence[FileSystem], upper: FileSystem) -> None:
        super().__init__(device)
        if not 0 < len(lowers) <= MAX_LAYERS:
            raise SyscallError(errno.EINVAL)
        self.scheduler = scheduler
        self.upper = upper
        self.lowers = tuple(lowers)
        self._layers = {layer: index for index, layer in enumerate((upper, *lowers))}
        # By the identity of the uppermost real inode, which the overlay's own inode keeps alive.
        self._inodes: WeakValueDictionary[int, OverlayInode] = WeakValueDictionary()
        self._listings: OrderedDict[OverlayDirectory, Listing] = OrderedDict()
        self.root: OverlayDirectory = OverlayDirectory(self, upper.root, [layer.root for layer in lowers], None, b"")
        self.remember(self.root)

    # -- inodes ---------------------------------------------------------------------

    def inode(
        self, upper: Inode | None, lowers: list[Inode], parent: OverlayDirectory | None, name: bytes
    ) -> OverlayInode:
        """The overlay's inode for these real ones, found as ``name`` in ``parent``."""
        real = upper if upper is not None else lowers[0]
        known = self._inodes.get(id(real))
        if known is not None and known.real is real:
            known.found_at(parent, name)
            return known
        kind = OverlayDirectory if real.is_dir else OverlayInode
        fresh = kind(self, upper, lowers, parent, name)
        if not fresh.breaks_links:
            self.remember(fresh)
        return fresh

    def remember(self, inode: OverlayInode) -> None:
        """Enter ``inode`` under its real inode, which a copy-up has just changed."""
        self._inodes[id(inode.real)] = inode

    def number(self, real: Inode) -> int:
        """The st_ino of a file whose first real inode is ``real``."""
        return real.ino ^ self._layers.get(real.fs, 0) << _LAYER_SHIFT

    # -- marks ----------------------------------------------------------------------

    @staticmethod
    def is_whiteout(inode: Inode) -> bool:
        """Whether a layer's inode says: this name does not exist, whatever is below."""
        return inode.mode & S_IFMT == S_IFCHR and inode.rdev == 0

    async def is_opaque(self, directory: Inode) -> bool:
        """Whether a layer's directory hides what is below it."""
        for name in (OPAQUE, USER_OPAQUE):
            try:
                return await directory.getxattr(name) == b"y"
            except SyscallError as error:
                if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
                    raise
        return False

    async def make_opaque(self, directory: Inode) -> None:
        """Let an upper directory hide what is below it."""
        try:
            await directory.setxattr(OPAQUE, b"y", 0)
        except SyscallError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise
            await directory.setxattr(USER_OPAQUE, b"y", 0)

    @staticmethod
    def is_private(attribute: bytes) -> bool:
        """Whether an extended attribute is the overlay's own, which nobody sees through it."""
        return attribute.startswith(PRIVATE_PREFIX) or attribute == USER_OPAQUE

    # -- listings ---------------------------------------------------------------------

    def listing(self, directory: OverlayDirectory) -> Listing:
        """The listing of ``directory``; only the ``MAX_LISTINGS`` used last are kept."""
        listing = self._listings.get(directory)
        if listing is None:
            listing = self._listings[directory] = Listing()
            if len(self._listings) > MAX_LISTINGS:
                self._listings.popitem(last=False)
        else:
            self._listings.move_to_end(directory)
        return listing

    # -- the instance -------------------------------------------------------------------

    async def statfs(self) -> StatFs:
        answer = await self.upper.statfs()
        answer.type = self.magic
        return answer

    async def sync(self) -> None:
        await self.upper.sync()

    def options(self) -> str:
        return f"lowerdir={':'.join(layer.name for layer in self.lowers)},upperdir={self.upper.name}"

    async def unmount(self) -> None:
        self._listings.clear()
        for layer in (self.upper, *self.lowers):
            await layer.unmount()
