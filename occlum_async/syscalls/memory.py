"""Memory that is not the guest's alone: mappings of files, shared memory. What is private the shim does by itself."""

from __future__ import annotations

import errno

from ..abi import shared as abi
from ..abi.errors import SyscallError
from ..abi.marshal import Address, Fd, Int, Long, Size, UInt
from ..fs.inode import Inode
from ..fs.mount import MS_NOEXEC
from ..fs.regular import PathFile, PlacedFile
from ..io.file import File
from ..io.memdev import ZeroFile
from ..process import hoststat
from ..process.guest import GuestThread, guest_of
from ..process.hoststat import Mapping
from ..process.thread import Thread
from .table import syscall

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_TYPE = 1, 2, 3, 15
MREMAP_FIXED = 2
MS_SYNC = 4
SYS_MREMAP, SYS_MSYNC = 25, 26
MAP_FIXED, MAP_ANONYMOUS, MAP_HUGETLB, MAP_FIXED_NOREPLACE = 0x10, 0x20, 0x40000, 0x100000
# Flags that have no meaning for a file here, or only one that a host would have to grant.
_PASSED = MAP_FIXED | MAP_FIXED_NOREPLACE | 0x100 | 0x4000 | 0x8000 | 0x10000 | 0x20000
# The flags that MAP_SHARED_VALIDATE knows without a file system's word for it (Linux's LEGACY_MAP_MASK). MAP_SYNC is
# none of them: no file here is persistent memory, and a database that believed so would not flush.
_VALID = MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_HUGETLB | 0x7C000000 | 0x0403F9C0
PAGE = 4096
# vm.mmap_min_addr: below it only those with CAP_SYS_RAWIO map, so that a null pointer leads nowhere.
MIN_ADDRESS = 65536
CAP_SYS_RAWIO = 17


@syscall(9)
async def mmap(
    thread: Thread, address: Address, length: Size, protection: Int, flags: UInt, fd: Fd, offset: Long
) -> int:
    kind = flags & MAP_TYPE
    if kind not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE) or not length or offset % PAGE or offset < 0:
        raise SyscallError(errno.EINVAL)
    fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
    if fixed and _touches_shim(address, length):
        raise SyscallError(errno.ENOMEM)
    shared = kind != MAP_PRIVATE
    guest = guest_of(thread, errno.ENODEV)
    file = None if flags & MAP_ANONYMOUS else thread.files.get(fd)
    if fixed and address < MIN_ADDRESS and not thread.credentials.capable(CAP_SYS_RAWIO):
        raise SyscallError(errno.EPERM)
    if kind == MAP_SHARED_VALIDATE and (file is None or flags & ~_VALID):
        raise SyscallError(errno.EINVAL if file is None else errno.EOPNOTSUPP)
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


def _files_mapped(guest: GuestThread, start: int, end: int) -> list[tuple[Mapping, Inode]]:
    """What of the guest's memory between two addresses are files, and which."""
    host = guest.host
    found = []
    for mapping in hoststat.mappings(host.host_pid) if host.host_pid else ():
        place = host.supervisor.names.find(mapping) if mapping.start < end and start < mapping.end else None
        if place is not None:
            found.append((mapping, place.inode))
    return found


def _touches_shim(address: int, length: int) -> bool:
    return address < abi.SHIM_END and address + length > abi.SHIM_BASE


@syscall(25)
async def mremap(thread: Thread, old: Address, old_size: Size, new_size: Size, flags: UInt, new: Address) -> int:
    # The shim does this by itself unless a disk's file may be mapped: what that grows into must be read before.
    guest = guest_of(thread, errno.ENODEV)
    if _touches_shim(old, old_size):
        raise SyscallError(errno.ENOMEM)
    if flags & MREMAP_FIXED and _touches_shim(new, new_size):
        raise SyscallError(errno.EINVAL)
    if new_size > old_size:
        for mapping, inode in _files_mapped(guest, old, old + 1):
            offset = mapping.offset + old - mapping.start
            if (wait := inode.before_mapping(offset, new_size, mapping.perms[1:4:2] == "ws")) is not None:
                await wait
    return await guest.host_call(SYS_MREMAP, old, old_size, new_size, flags, new)


@syscall(26)
async def msync(thread: Thread, address: Address, length: Size, flags: Int) -> None:
    guest = guest_of(thread, errno.ENODEV)
    if _touches_shim(address, length):
        raise SyscallError(errno.ENOMEM)
    await guest.host_call(SYS_MSYNC, address, length, flags)
    if flags & MS_SYNC:
        for mapping, inode in _files_mapped(guest, address, address + length):
            if mapping.perms.endswith("s"):
                await inode.sync(True)


@syscall(151)
def mlockall(thread: Thread, flags: Int) -> None:
    # Locking the whole address space would pin the shim's sparse channel, so it is granted without effect.
    if not 0 < flags <= 7 or flags == 4:
        raise SyscallError(errno.EINVAL)


@syscall(152)
def munlockall(thread: Thread) -> None:
    pass
