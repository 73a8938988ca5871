"""System V IPC: what semaphores, message queues and shared memory have in common, see sysvipc(7).

An object is found by its key and named by its id. An id is made of the object's slot and a sequence number,
so that the id of a removed object is not soon that of another.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Iterator
from typing import Generic, TypeVar

from ..abi.errors import SyscallError

IPC_PRIVATE = 0
IPC_CREAT, IPC_EXCL, IPC_NOWAIT = 0o1000, 0o2000, 0o4000
IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO = 0, 1, 2, 3

SLOTS = 32768  # IPCMNI
SEQUENCES = 65536

PERM = struct.Struct("<iIIIIIHHxxxxQQ")  # struct ipc64_perm


class Who:
    """Who asks, as far as permissions to IPC objects go."""

    __slots__ = ("admin", "gid", "groups", "owner", "uid")

    def __init__(
        self, uid: int, gid: int, groups: tuple[int, ...] = (), owner: bool = False, admin: bool = False
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.owner = owner  # CAP_IPC_OWNER: may access everything
        self.admin = admin  # CAP_SYS_ADMIN: may change everything


class IpcObject:
    """One object. Times are seconds since the epoch, as the user sees them."""

    def __init__(self, key: int, who: Who, mode: int) -> None:
        self.key = key
        self.id = -1
        self.uid = self.creator_uid = who.uid
        self.gid = self.creator_gid = who.gid
        self.mode = mode & 0o777
        self.changed = int(time.time())
        self.removed = False

    def check(self, who: Who, wanted: int) -> None:
        """EACCES unless ``who`` may do ``wanted`` (bits of 0o666, as the mode for all three classes)."""
        if who.uid in (self.uid, self.creator_uid):
            granted = self.mode >> 6
        elif who.gid in (self.gid, self.creator_gid) or {self.gid, self.creator_gid} & set(who.groups):
            granted = self.mode >> 3
        else:
            granted = self.mode
        requested = wanted >> 6 | wanted >> 3 | wanted
        if requested & ~granted & 0o7 and not who.owner:
            raise SyscallError(errno.EACCES)

    def check_owner(self, who: Who) -> None:
        """EPERM unless ``who`` may change or remove it."""
        if who.uid not in (self.uid, self.creator_uid) and not who.admin:
            raise SyscallError(errno.EPERM)

    def change(self, who: Who, uid: int, gid: int, mode: int) -> None:
        """IPC_SET's common part."""
        self.check_owner(who)
        self.uid, self.gid = uid, gid
        self.mode = self.mode & ~0o777 | mode & 0o777
        self.changed = int(time.time())

    def pack_perm(self) -> bytes:
        """``struct ipc64_perm``."""
        return PERM.pack(
            self.key, self.uid, self.gid, self.creator_uid, self.creator_gid, self.mode, self.id // SLOTS, 0, 0, 0
        )

    def remove(self) -> None:
        """It is gone: wake all who wait, who then see ``removed`` (EIDRM)."""
        self.removed = True


Object = TypeVar("Object", bound=IpcObject)


class IpcTable(Generic[Object]):
    """All objects of one kind, at most ``limit`` (ENOSPC)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._slots: list[Object | None] = []
        self._keys: dict[int, Object] = {}
        self._sequence = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Object]:
        return iter([found for found in self._slots if found is not None])

    @property
    def highest(self) -> int:
        """The highest slot in use; 0 for none (what IPC_INFO returns)."""
        return max(len(self._slots) - 1, 0)

    def find(self, key: int, flags: int) -> Object | None:
        """For the get calls: the object of ``key``, or None when one is to be made. ENOENT, EEXIST."""
        found = None if key == IPC_PRIVATE else self._keys.get(key)
        if found is None:
            if key != IPC_PRIVATE and not flags & IPC_CREAT:
                raise SyscallError(errno.ENOENT)
            return None
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise SyscallError(errno.EEXIST)
        return found

    def check_room(self) -> None:
        """ENOSPC when there are too many objects."""
        if self._count >= self.limit:
            raise SyscallError(errno.ENOSPC)

    def add(self, found: Object) -> int:
        """Enter a new object; its id."""
        self.check_room()
        slot = next((index for index, taken in enumerate(self._slots) if taken is None), len(self._slots))
        if slot == len(self._slots):
            self._slots.append(None)
        found.id = self._sequence * SLOTS + slot
        self._sequence = (self._sequence + 1) % SEQUENCES
        self._slots[slot] = found
        self._count += 1
        if found.key != IPC_PRIVATE:
            self._keys[found.key] = found
        return found.id

    def get(self, identifier: int) -> Object:
        """The object of that id. EINVAL: never was one; EIDRM: its slot has another one by now."""
        found = self.slot(identifier % SLOTS) if identifier >= 0 else None
        if found is None:
            raise SyscallError(errno.EINVAL)
        if found.id != identifier:
            raise SyscallError(errno.EIDRM)
        return found

    def slot(self, index: int) -> Object | None:
        """The object in a slot (the *_STAT commands)."""
        return self._slots[index] if 0 <= index < len(self._slots) else None

    def hide(self, found: Object) -> None:
        """Its key finds it no more, its id still does (a shared memory segment in use)."""
        self._keys.pop(found.key, None)
        found.key = IPC_PRIVATE

    def remove(self, found: Object) -> None:
        """Take it out."""
        slot = found.id % SLOTS
        if self.slot(slot) is not found:
            return
        if self._keys.get(found.key) is found:
            del self._keys[found.key]
        self._slots[slot] = None
        self._count -= 1
        while self._slots and self._slots[-1] is None:
            self._slots.pop()
        found.remove()
