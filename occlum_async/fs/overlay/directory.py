"""A directory of an overlay: names of all layers merged, changes made in the upper one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ...abi.stat import S_IFCHR, S_IFMT
from ..credentials import Credentials
from ..inode import DirEntry, Inode
from .inode import OverlayInode

if TYPE_CHECKING:
    from .filesystem import OverlayFs

# Whiteouts belong to nobody in particular.
KERNEL = Credentials()

ENTRIES_AT_ONCE = 512


class OverlayDirectory(OverlayInode):
    """``lowers`` are all the lower directories that are merged here, topmost first."""

    def __init__(
        self,
        fs: OverlayFs,
        upper: Inode | None,
        lowers: list[Inode],
        parent: OverlayDirectory | None,
        place: bytes,
    ) -> None:
        self.removed = False
        super().__init__(fs, upper, lowers, parent, place)
        # Counts the changes of names, for listings.
        self.version = 0
        origin = lowers[0] if lowers else upper
        assert origin is not None
        self.ino = fs.number(origin)

    @property
    def merged(self) -> bool:
        """Whether several layers show through."""
        return len(self.lowers) + (self.upper is not None) > 1

    def mirror(self) -> None:
        super().mirror()
        if self.removed:
            self.nlink = 0
        elif self.merged:
            self.nlink = 1  # nobody counts the subdirectories of several layers; find(1) understands 1

    # -- looking up ------------------------------------------------------------------------

    async def lookup(self, name: bytes) -> OverlayInode:
        fs = self.fs
        upper = await _child(self.upper, name) if self.upper is not None else None
        lowers: list[Inode] = []
        if upper is not None:
            if fs.is_whiteout(upper):
                raise SyscallError(errno.ENOENT)
            if upper.is_dir and self.lowers and not await fs.is_opaque(upper):
                lowers = await self.lower_directories(name)
        else:
            lowers = await self.lower_children(name)
            if not lowers:
                raise SyscallError(errno.ENOENT)
        return fs.inode(upper, lowers, self, name)

    async def lower_children(self, name: bytes) -> list[Inode]:
        """What the lower layers have under ``name``: one file, or the directories to merge, or nothing."""
        found: list[Inode] = []
        last = self.lowers[-1] if self.lowers else None
        for layer in self.lowers:
            child = await _child(layer, name)
            if child is None:
                continue
            if not child.is_dir:
                if not found and not self.fs.is_whiteout(child):
                    found.append(child)
                break
            found.append(child)
            if layer is not last and await self.fs.is_opaque(child):
                break
        return found

    async def lower_directories(self, name: bytes) -> list[Inode]:
        """The lower directories that merge with an upper one of that name."""
        found = await self.lower_children(name)
        return found if found and found[0].is_dir else []

    async def readdir(self, cookie: int) -> list[DirEntry]:
        if not self.lowers and self.upper is not None:
            return await self._list_upper(self.upper, cookie)
        listing = self.fs.listing(self)
        token = (self.version, *[inode.mtime for inode in await self._fresh_layers()])
        if listing.token is None or (listing.token != token and (cookie == 0 or self._changed(listing.token))):
            listing.update(token, await self._merge())
        return listing.after(cookie, ENTRIES_AT_ONCE)

    async def _list_upper(self, upper: Inode, cookie: int) -> list[DirEntry]:
        """With nothing below there is nothing to merge: the upper layer's own order and cookies."""
        while entries := await upper.readdir(cookie):
            shown = []
            for entry in entries:
                child = await _child(upper, entry.name)
                if child is not None and not self.fs.is_whiteout(child):
                    entry.ino = child.attached.get("overlay.ino") or entry.ino
                    shown.append(entry)
            if shown:
                return shown
            cookie = entries[-1].cookie
        return []

    def _changed(self, token: object) -> bool:
        return isinstance(token, tuple) and token[0] != self.version

    async def _fresh_layers(self) -> list[Inode]:
        layers = [self.upper, *self.lowers] if self.upper is not None else self.lowers
        for layer in layers:
            await layer.getattr()
        return layers

    async def _merge(self) -> dict[bytes, tuple[int, int]]:
        """All names with their inode numbers and types."""
        found: dict[bytes, tuple[int, int]] = {}
        hidden: set[bytes] = set()
        number = self.fs.number
        for layer in [self.upper, *self.lowers] if self.upper is not None else self.lowers:
            shift = number(layer) ^ layer.ino
            async for entry in layer.all_entries():
                name = entry.name
                if name in found or name in hidden:
                    continue
                ino = entry.ino ^ shift
                if layer is self.upper or entry.type in (S_IFCHR, 0):
                    child = await _child(layer, name)
                    if child is None or self.fs.is_whiteout(child):
                        hidden.add(name)
                        continue
                    # d_ino is st_ino: what was copied up keeps the number that it had below.
                    ino = child.attached.get("overlay.ino") or ino
                found[name] = (ino, entry.type)
        return found

    # -- making names ------------------------------------------------------------------------

    async def _make_room(self, name: bytes) -> tuple[Inode, bool]:
        """The upper directory, with no whiteout at ``name`` any more, and whether there was one."""
        directory = await self.raised()
        existing = await _child(directory, name)
        self.version += 1
        if existing is None:
            return directory, False
        if not self.fs.is_whiteout(existing):
            raise SyscallError(errno.EEXIST)
        await directory.unlink(name, existing)
        return directory, True

    def _made(self, name: bytes, upper: Inode) -> OverlayInode:
        self.mirror()
        return self.fs.inode(upper, [], self, name)

    async def create(self, name: bytes, mode: int, credentials: Credentials, rdev: int = 0) -> OverlayInode:
        if mode & S_IFMT == S_IFCHR and rdev == 0:
            raise SyscallError(errno.EPERM)  # that would be a whiteout
        await self._check_free(name)
        directory, covered = await self._make_room(name)
        try:
            return self._made(name, await directory.create(name, mode, credentials, rdev))
        except SyscallError:
            await self._cover(directory, name, covered)
            raise

    async def symlink(self, name: bytes, target: bytes, credentials: Credentials) -> OverlayInode:
        await self._check_free(name)
        directory, covered = await self._make_room(name)
        try:
            return self._made(name, await directory.symlink(name, target, credentials))
        except SyscallError:
            await self._cover(directory, name, covered)
            raise

    async def mkdir(self, name: bytes, mode: int, credentials: Credentials) -> OverlayInode:
        await self._check_free(name)
        directory, covered = await self._make_room(name)
        try:
            upper = await directory.mkdir(name, mode, credentials)
        except SyscallError:
            await self._cover(directory, name, covered)
            raise
        if covered:
            await self.fs.make_opaque(upper)
        return self._made(name, upper)

    async def link(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, OverlayInode)
        await self._check_free(name)
        source = await inode.raised()
        directory, covered = await self._make_room(name)
        try:
            await directory.link(name, source)
        except SyscallError:
            await self._cover(directory, name, covered)
            raise
        if inode.parent is None:
            inode.found_at(self, name)
        inode.mirror()
        self.mirror()

    async def tmpfile(self, mode: int, credentials: Credentials) -> OverlayInode:
        directory = await self.raised()
        return self.fs.inode(await directory.tmpfile(mode, credentials), [], None, b"")

    async def _check_free(self, name: bytes) -> None:
        """EEXIST for a name that a lower layer shows."""
        if self.lowers:
            existing = await _child(self.upper, name) if self.upper is not None else None
            if existing is None and await self.lower_children(name):
                raise SyscallError(errno.EEXIST)

    # -- removing names ------------------------------------------------------------------------

    async def _cover(self, directory: Inode, name: bytes, wanted: bool = True) -> None:
        """Put a whiteout at ``name``, if ``wanted``."""
        if wanted:
            await directory.create(name, S_IFCHR, KERNEL, 0)

    async def unlink(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, OverlayInode)
        below = bool(await self.lower_children(name))
        directory = await self.raised()
        self.version += 1
        upper = await _child(directory, name)
        if upper is not None:
            await directory.unlink(name, upper)
        if below:
            await self._cover(directory, name)
        self._name_is_gone(inode, name)

    async def rmdir(self, name: bytes, inode: Inode) -> None:
        assert isinstance(inode, OverlayDirectory)
        below = bool(await self.lower_children(name))
        directory = await self.raised()
        await inode.check_empty()
        self.version += 1
        upper = inode.upper
        if upper is not None:
            await inode.clear_whiteouts()
            await directory.rmdir(name, upper)
        if below:
            await self._cover(directory, name)
        self._name_is_gone(inode, name)

    def _name_is_gone(self, inode: OverlayInode, name: bytes) -> None:
        if isinstance(inode, OverlayDirectory):
            inode.removed = True
        elif inode.upper is None:
            inode.lost_names += 1
        self.mirror()
        inode.mirror()
        if inode.parent is self and inode.place == name:
            inode.parent = None

    async def check_empty(self) -> None:
        """ENOTEMPTY unless no layer shows a name here."""
        if await self._merge():
            raise SyscallError(errno.ENOTEMPTY)

    async def clear_whiteouts(self) -> None:
        """Take the whiteouts out of the upper directory, which is about to be removed and is empty otherwise."""
        upper = self.upper
        assert upper is not None
        while entries := await upper.readdir(0):
            for entry in entries:
                child = await _child(upper, entry.name)
                assert child is not None and self.fs.is_whiteout(child), "an empty directory has whiteouts only"
                await upper.unlink(entry.name, child)

    # -- renaming ------------------------------------------------------------------------

    async def rename(
        self, name: bytes, inode: Inode, target: Inode, new_name: bytes, replaced: Inode | None, exchange: bool = False
    ) -> None:
        assert isinstance(inode, OverlayInode) and isinstance(target, OverlayDirectory)
        assert replaced is None or isinstance(replaced, OverlayInode)
        _check_movable(inode)
        if exchange:
            assert replaced is not None
            _check_movable(replaced)
            await replaced.raised()
        elif isinstance(replaced, OverlayDirectory):
            await replaced.check_empty()
        source = await inode.raised()
        below_old = bool(await self.lower_children(name))
        below_new = bool(await target.lower_children(new_name))
        old_directory, new_directory = await self.raised(), await target.raised()
        self.version += 1
        target.version += 1
        if isinstance(replaced, OverlayDirectory) and not exchange and replaced.upper is not None:
            await replaced.clear_whiteouts()
        if source.is_dir and below_new:
            await self.fs.make_opaque(source)
        if exchange and replaced is not None and replaced.is_dir and below_old:
            await self.fs.make_opaque(replaced.real)
        in_the_way = await _child(new_directory, new_name)
        if in_the_way is not None and self.fs.is_whiteout(in_the_way) and source.is_dir:
            await new_directory.unlink(new_name, in_the_way)  # a directory can't replace it by itself
            in_the_way = None
        await old_directory.rename(name, source, new_directory, new_name, in_the_way, exchange)
        if below_old and not exchange:
            await self._cover(old_directory, name)
        self._moved(name, inode, target, new_name, replaced, exchange)

    def _moved(
        self,
        name: bytes,
        inode: OverlayInode,
        target: OverlayDirectory,
        new_name: bytes,
        replaced: OverlayInode | None,
        exchange: bool,
    ) -> None:
        inode.found_at(target, new_name)
        inode.mirror()
        self.mirror()
        target.mirror()
        if replaced is None:
            return
        if exchange:
            replaced.found_at(self, name)
            replaced.mirror()
        else:
            target._name_is_gone(replaced, new_name)


def _check_movable(inode: OverlayInode) -> None:
    """EXDEV for a directory that a lower layer knows: moving it would take a redirection, as mv(1) knows."""
    if isinstance(inode, OverlayDirectory) and inode.lowers:
        raise SyscallError(errno.EXDEV)


async def _child(directory: Inode, name: bytes) -> Inode | None:
    """The real inode of ``name`` in a real directory, or None."""
    try:
        return await directory.lookup(name)
    except SyscallError as error:
        if error.errno != errno.ENOENT:
            raise
        return None
