"""Memory that is not the guest's alone: mappings of files, shared memory. What is private the shim does by itself."""

from __future__ import annotations

import errno

from ..abi import shared as abi
from ..abi.errors import SyscallError
from ..abi.marshal import Address, Fd, Int, Long, Size, UInt
from ..fs.mount import MS_NOEXEC
from ..fs.regular import PathFile, PlacedFile
from ..io.file import File
from ..io.memdev import ZeroFile
from ..process.guest import GuestThread
from ..process.thread import Thread
from .table import syscall

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_TYPE = 1, 2, 3, 15
MAP_FIXED, MAP_ANONYMOUS, MAP_HUGETLB, MAP_FIXED_NOREPLACE = 0x10, 0x20, 0x40000, 0x100000
# Flags that have no meaning for a file here, or only one that a host would have to grant.
_PASSED = MAP_FIXED | MAP_FIXED_NOREPLACE | 0x100 | 0x4000 | 0x8000 | 0x10000 | 0x20000
PAGE = 4096


@syscall(9)
async def mmap(
    thread: Thread, address: Address, length: Size, protection: Int, flags: UInt, fd: Fd, offset: Long
) -> int:
    kind = flags & MAP_TYPE
    if kind not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE) or not length or offset % PAGE or offset < 0:
        raise SyscallError(errno.EINVAL)
    if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) and address < abi.SHIM_END and address + length > abi.SHIM_BASE:
        raise SyscallError(errno.ENOMEM)
    shared = kind != MAP_PRIVATE
    guest = thread.guest
    if not isinstance(guest, GuestThread):
        raise SyscallError(errno.ENODEV)
    file = None if flags & MAP_ANONYMOUS else thread.files.get(fd)
    if file is not None:
        _check_rights(file, shared, protection)
    if file is None or (shared and type(file) is ZeroFile):
        if not shared or flags & MAP_HUGETLB:
            raise SyscallError(errno.ENOMEM)  # private memory is the shim's, huge pages there are none
        host_fd, ours, offset = thread.kernel.shared_memory.anonymous(length), False, 0
    else:
        if (wait := file.before_mapping(offset, length, shared and file.writable)) is not None:
            await wait
        host_fd, ours, offset = file.mapping_at(offset, length, shared, shared and file.writable)
        if file.location is not None:
            guest.host.supervisor.names.note(host_fd, file.location)
    kept = (MAP_SHARED if shared else MAP_PRIVATE) | flags & _PASSED
    with thread.kernel.shared_memory.mapping(host_fd, thread.process):
        return await guest.map_descriptor(address, length, protection, kept, host_fd, offset, ours)


def _check_rights(file: File, shared: bool, protection: int) -> None:
    """EACCES and EPERM as mmap(2) says; EBADF for O_PATH."""
    if isinstance(file, PathFile):
        raise SyscallError(errno.EBADF)
    if not file.readable or (shared and protection & PROT_WRITE and not file.writable):
        raise SyscallError(errno.EACCES)
    if protection & PROT_EXEC and isinstance(file, PlacedFile) and file.location.mount.flags & MS_NOEXEC:
        raise SyscallError(errno.EPERM)


@syscall(151)
def mlockall(thread: Thread, flags: Int) -> None:
    # Locking the whole address space would pin the shim's sparse channel, so it is granted without effect.
    if not 0 < flags <= 7 or flags == 4:
        raise SyscallError(errno.EINVAL)


@syscall(152)
def munlockall(thread: Thread) -> None:
    pass
