"""What all parts of an ext2 stand on: the device, the superblock, the blocks in memory, and what becomes of damage."""

from __future__ import annotations

import errno
import logging
import time
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ..credentials import CAP_SYS_RESOURCE
from ..inode import FileSystem
from . import layout
from .blockio import BlockIO
from .buffers import Buffers
from .superblock import Superblock

if TYPE_CHECKING:
    from ...sched.strand import Scheduler
    from ..block.device import BlockDevice

log = logging.getLogger(__name__)

FAULTS_LOGGED = 50
_SECOND = 1_000_000_000


class Volume(FileSystem):
    """A file system of which nothing but the superblock is known yet."""

    name = "ext2"
    magic = layout.MAGIC
    needs_device = True

    def __init__(self, device: BlockDevice, superblock: Superblock, scheduler: Scheduler, number: int) -> None:
        super().__init__(number)
        self.block_device = device
        self.superblock = superblock
        self.scheduler = scheduler
        self.writable = False
        # For messages, which a disk from elsewhere may not fill with what a terminal obeys.
        self.label = superblock.label if superblock.label and superblock.label.isprintable() else "ext2"
        self.io = BlockIO(device, superblock.block_size, scheduler)
        self.buffers = Buffers(self.io)
        self._faults = 0

    def check_writable(self) -> None:
        """EROFS."""
        if not self.writable:
            raise SyscallError(errno.EROFS)

    def privileged(self) -> bool:
        """Whether the one whose strand this is may take the reserved blocks."""
        credentials = getattr(self.scheduler.current().owner, "credentials", None)
        if credentials is None or credentials.capable(CAP_SYS_RESOURCE):
            return True
        superblock = self.superblock
        if credentials.fsuid == superblock.def_resuid:
            return True
        return bool(superblock.def_resgid and credentials.in_group(superblock.def_resgid))

    def fault(self, what: str) -> SyscallError:
        """Damage was found: note it on the disk, for e2fsck(8) to look, and do what the superblock says. EIO."""
        self._faults += 1
        if self._faults <= FAULTS_LOGGED:
            log.error("%s is damaged: %s", self.label, what)
        elif self._faults == FAULTS_LOGGED + 1:
            log.error("%s has more damage, which is not reported any more", self.label)
        self.superblock.state |= layout.STATE_ERROR
        if self.superblock.errors in (layout.ERRORS_READ_ONLY, layout.ERRORS_PANIC) and self.writable:
            log.error("%s is read-only from now on", self.label)
            self.writable = False
        return SyscallError(errno.EIO)

    def need_large_files(self) -> None:
        """A file has 2 GiB or more: say so to who would not expect it."""
        self.superblock.feature_ro_compat |= layout.RO_COMPAT_LARGE_FILE

    def first_block_near(self, ino: int) -> int:
        """Where the first block of an inode should be: at the start of its group."""
        group = (ino - 1) // self.superblock.inodes_per_group
        return self.superblock.first_data_block + group * self.superblock.blocks_per_group

    # -- times ---------------------------------------------------------------------------------

    def present(self) -> int:
        """The time as inodes can hold it."""
        return self.representable(time.time_ns())

    def representable(self, time_ns: int) -> int:
        """What an inode can hold of ``time_ns``: 128 bytes have no room for more than the seconds of 32 bits."""
        if self.superblock.inode_size > 128:
            return max(-(1 << 31) * _SECOND, min(time_ns, ((1 << 34) - (1 << 31)) * _SECOND - 1))
        seconds = max(-(1 << 31), min(time_ns // _SECOND, (1 << 31) - 1))
        return seconds * _SECOND
