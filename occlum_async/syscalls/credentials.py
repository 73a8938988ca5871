"""Users, groups and capabilities."""

from __future__ import annotations

import errno
import struct
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Int, Pointer, StructInOut, StructOut, UInt
from ..abi.user import UserPointer
from ..fs.credentials import CAP_SETGID
from ..process import identity
from ..process.thread import Thread
from .table import syscall

ID = struct.Struct("<I")
NGROUPS_MAX = 65536
_Id = Annotated[UserPointer, StructOut(4)]


@syscall(102)
def getuid(thread: Thread) -> int:
    return thread.credentials.uid


@syscall(104)
def getgid(thread: Thread) -> int:
    return thread.credentials.gid


@syscall(107)
def geteuid(thread: Thread) -> int:
    return thread.credentials.euid


@syscall(108)
def getegid(thread: Thread) -> int:
    return thread.credentials.egid


@syscall(105)
def setuid(thread: Thread, uid: UInt) -> None:
    identity.set_uid(thread, uid)


@syscall(106)
def setgid(thread: Thread, gid: UInt) -> None:
    identity.set_gid(thread, gid)


@syscall(113)
def setreuid(thread: Thread, uid: UInt, euid: UInt) -> None:
    identity.set_re_uid(thread, uid, euid)


@syscall(114)
def setregid(thread: Thread, gid: UInt, egid: UInt) -> None:
    identity.set_re_gid(thread, gid, egid)


@syscall(117)
def setresuid(thread: Thread, uid: UInt, euid: UInt, suid: UInt) -> None:
    identity.set_res_uid(thread, uid, euid, suid)


@syscall(119)
def setresgid(thread: Thread, gid: UInt, egid: UInt, sgid: UInt) -> None:
    identity.set_res_gid(thread, gid, egid, sgid)


@syscall(118)
def getresuid(thread: Thread, uid: _Id, euid: _Id, suid: _Id) -> None:
    who = thread.credentials
    uid.pack(ID, who.uid)
    euid.pack(ID, who.euid)
    suid.pack(ID, who.suid)


@syscall(120)
def getresgid(thread: Thread, gid: _Id, egid: _Id, sgid: _Id) -> None:
    who = thread.credentials
    gid.pack(ID, who.gid)
    egid.pack(ID, who.egid)
    sgid.pack(ID, who.sgid)


@syscall(122)
def setfsuid(thread: Thread, uid: UInt) -> int:
    return identity.set_fs_uid(thread, uid)


@syscall(123)
def setfsgid(thread: Thread, gid: UInt) -> int:
    return identity.set_fs_gid(thread, gid)


@syscall(115)
def getgroups(thread: Thread, size: Int, groups: Pointer) -> int:
    held = thread.credentials.groups
    if size < 0 or (size and size < len(held)):
        raise SyscallError(errno.EINVAL)
    if size and held:
        groups.write(struct.pack(f"<{len(held)}I", *held))
    return len(held)


@syscall(116)
def setgroups(thread: Thread, size: Int, groups: Pointer) -> None:
    if not thread.credentials.capable(CAP_SETGID):
        raise SyscallError(errno.EPERM)
    if not 0 <= size <= NGROUPS_MAX:
        raise SyscallError(errno.EINVAL)
    wanted = struct.unpack(f"<{size}I", groups.read(4 * size)) if size else ()
    if identity.UNCHANGED in wanted:
        raise SyscallError(errno.EINVAL)
    identity.commit(thread, thread.credentials.with_(groups=tuple(sorted(wanted))))


# -- capabilities ------------------------------------------------------------

CAP_HEADER = struct.Struct("<Ii")  # version, pid
CAP_DATA = struct.Struct("<III")  # effective, permitted, inheritable: 32 bits each
# How many CAP_DATA follow, by version.
CAP_WORDS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
CAP_VERSION = 0x20080522


def _capability_words(header: UserPointer) -> tuple[int, int]:
    """(words, pid) as the header asks; EINVAL, with the version that we speak, for any other."""
    version, pid = header.unpack(CAP_HEADER)
    if version not in CAP_WORDS:
        header.write(ID.pack(CAP_VERSION))
        raise SyscallError(errno.EINVAL)
    return CAP_WORDS[version], pid


@syscall(125)
def capget(thread: Thread, header: Annotated[UserPointer, StructInOut(8)], data: Pointer) -> None:
    try:
        words, pid = _capability_words(header)
    except SyscallError as error:
        if error.errno == errno.EINVAL and not data:
            return  # a question for the version only
        raise
    if pid < 0:
        raise SyscallError(errno.EINVAL)
    who = (thread.kernel.processes.task(pid) if pid else thread).credentials
    if data:
        sets = (who.effective, who.permitted, who.inheritable)
        parts = [CAP_DATA.pack(*(caps >> 32 * word & 0xFFFFFFFF for caps in sets)) for word in range(words)]
        data.write(b"".join(parts))


@syscall(126)
def capset(thread: Thread, header: Annotated[UserPointer, StructInOut(8)], data: Pointer) -> None:
    words, pid = _capability_words(header)
    if pid not in (0, thread.tid):
        raise SyscallError(errno.EPERM)
    raw = data.read(CAP_DATA.size * words)
    effective = permitted = inheritable = 0
    for word in range(words):
        low_effective, low_permitted, low_inheritable = CAP_DATA.unpack_from(raw, word * CAP_DATA.size)
        effective |= low_effective << 32 * word
        permitted |= low_permitted << 32 * word
        inheritable |= low_inheritable << 32 * word
    identity.set_capabilities(thread, effective, permitted, inheritable)
