"""System V shared memory segments: each is a memory file of the host, which guests map, see shmop(2)."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Hashable

from ..abi.errors import SyscallError
from .sysv import IpcObject, IpcTable, Who

PAGE = 4096
SHMMNI = 4096  # segments
SHMMAX = (1 << 64) - 1 - (1 << 24)
DEFAULT_TOTAL = 1 << 30  # bytes in all segments, unless the LibOS is given another limit
SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
SHM_DEST, SHM_LOCKED = 0o1000, 0o2000
SHM_HUGETLB = 0o4000

SHMID_DS = struct.Struct("<QqqqiiQQQ")  # behind the perm: segsz, atime, dtime, ctime, cpid, lpid, nattch
SHMINFO = struct.Struct("<9Q")
SHM_INFO = struct.Struct("<i4x5Q")


class Segment(IpcObject):
    """One segment. ``attached`` counts its mappings."""

    def __init__(self, key: int, who: Who, mode: int, size: int, pid: int) -> None:
        super().__init__(key, who, mode)
        self.size = size
        self.creator = pid
        self.last = 0
        self.attached = 0
        self.attach_time = self.detach_time = 0
        try:
            self.fd = os.memfd_create(f"SYSV{key & 0xFFFFFFFF:08x}", os.MFD_CLOEXEC)
        except OSError as error:
            raise SyscallError(errno.ENOSPC) from error
        try:
            os.ftruncate(self.fd, self.length)
        except OSError as error:
            os.close(self.fd)
            raise SyscallError(errno.ENOMEM) from error

    @property
    def length(self) -> int:
        """The size in whole pages, in bytes."""
        return (self.size + PAGE - 1) // PAGE * PAGE

    def mapping(self, writable: bool) -> int:
        """A descriptor to send to a guest, with no more rights than it needs; the caller closes it."""
        return os.open(f"/proc/self/fd/{self.fd}", (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)

    def remove(self) -> None:
        super().remove()
        os.close(self.fd)

    def pack(self) -> bytes:
        """``struct shmid64_ds``."""
        return self.pack_perm() + SHMID_DS.pack(
            self.size, self.attach_time, self.detach_time, self.changed, self.creator, self.last, self.attached, 0, 0
        )


class SegmentTable(IpcTable[Segment]):
    """All segments, at most ``total`` bytes, and who has mapped which of them where."""

    def __init__(self, total: int = DEFAULT_TOTAL) -> None:
        super().__init__(SHMMNI)
        self.total = total
        self.used = 0
        self.attachments: dict[Hashable, dict[int, Segment]] = {}

    def open(self, key: int, size: int, flags: int, who: Who, pid: int) -> int:
        """shmget(2)."""
        found = self.find(key, flags)
        if found is not None:
            found.check(who, flags & 0o777)
            if size > found.size:
                raise SyscallError(errno.EINVAL)
            return found.id
        if not 0 < size <= SHMMAX:
            raise SyscallError(errno.EINVAL)
        if flags & SHM_HUGETLB:
            raise SyscallError(errno.ENOMEM)  # there are none
        self.check_room()
        if self.used + size > self.total:
            raise SyscallError(errno.ENOSPC)
        segment = Segment(key, who, flags, size, pid)
        self.used += segment.length
        return self.add(segment)

    def remove(self, found: Segment) -> None:
        """IPC_RMID: a segment in use only loses its key; it goes with its last mapping."""
        if found.attached:
            found.mode |= SHM_DEST
            self.hide(found)
        elif not found.removed:
            self.used -= found.length
            super().remove(found)

    # -- mappings --------------------------------------------------------------

    def hold(self, segment: Segment) -> None:
        """Keep ``segment`` while it is being mapped."""
        segment.attached += 1

    def let_go(self, segment: Segment) -> None:
        """Undo ``hold``; a segment that was removed goes with its last user."""
        segment.attached -= 1
        if not segment.attached and segment.mode & SHM_DEST:
            self.remove(segment)

    def attach(self, owner: Hashable, address: int, segment: Segment, pid: int) -> None:
        """Process ``owner`` has mapped ``segment`` at ``address``."""
        replaced = self.attachments.setdefault(owner, {}).get(address)
        if replaced is not None:
            self._dropped(replaced, pid)
        self.attachments[owner][address] = segment
        self.hold(segment)
        segment.attach_time = int(time.time())
        segment.last = pid

    def detach(self, owner: Hashable, address: int, pid: int) -> None:
        """... and has unmapped it. EINVAL when there is none."""
        mine = self.attachments.get(owner, {})
        segment = mine.pop(address, None)
        if segment is None:
            raise SyscallError(errno.EINVAL)
        if not mine:
            del self.attachments[owner]
        self._dropped(segment, pid)

    def _dropped(self, segment: Segment, pid: int) -> None:
        segment.detach_time = int(time.time())
        segment.last = pid
        self.let_go(segment)

    def inherit(self, owner: Hashable, child: Hashable, pid: int) -> None:
        """fork(2): the child has the same mappings."""
        for address, segment in self.attachments.get(owner, {}).items():
            self.attach(child, address, segment, pid)

    def detach_all(self, owner: Hashable, pid: int) -> None:
        """execve(2), exit(2)."""
        for segment in self.attachments.pop(owner, {}).values():
            self._dropped(segment, pid)

    def pack_limits(self) -> bytes:
        """``struct shminfo``."""
        return SHMINFO.pack(SHMMAX, 1, SHMMNI, SHMMNI, self.total // PAGE, 0, 0, 0, 0)

    def pack_usage(self) -> bytes:
        """``struct shm_info``."""
        return SHM_INFO.pack(len(self), self.used // PAGE, self.used // PAGE, 0, 0, 0)
