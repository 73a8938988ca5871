"""Changing who one is: the rules of setuid(2), setresuid(2), setfsuid(2), capset(2), see capabilities(7)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from ..fs.credentials import CAP_SETGID, CAP_SETPCAP, CAP_SETUID, Credentials

if TYPE_CHECKING:
    from .thread import Thread

UNCHANGED = 0xFFFFFFFF  # (uid_t)-1
SECBIT_NO_SETUID_FIXUP, SECBIT_KEEP_CAPS, SECBIT_KEEP_CAPS_LOCKED = 1 << 2, 1 << 4, 1 << 5
SECBIT_NO_CAP_AMBIENT_RAISE = 1 << 6
# What follows the file-system uid: CHOWN, DAC_*, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE.
FS_CAPS = 0x1F | 1 << 9 | 1 << 27 | 1 << 32


def commit(thread: Thread, new: Credentials) -> None:
    """Become ``new``. Whoever changes his rights stops being dumpable and loses the parent's death signal."""
    old = thread.credentials
    before = (old.euid, old.egid, old.fsuid, old.fsgid)
    if before != (new.euid, new.egid, new.fsuid, new.fsgid) or new.permitted & ~old.permitted:
        thread.process.dumpable = False
        thread.parent_death_signal = 0
    thread.set_credentials(new)


def _fix_capabilities(old: Credentials, new: Credentials) -> Credentials:
    """uid 0 and the capabilities: leaving root loses them, an effective root has what is permitted."""
    if old.securebits & SECBIT_NO_SETUID_FIXUP:
        return new
    permitted, effective, ambient = new.permitted, new.effective, new.ambient
    if 0 in (old.uid, old.euid, old.suid) and 0 not in (new.uid, new.euid, new.suid):
        if not old.securebits & SECBIT_KEEP_CAPS:
            permitted = effective = 0
        ambient = 0
    if old.euid == 0 and new.euid != 0:
        effective = 0
    if old.euid != 0 and new.euid == 0:
        effective = permitted
    return new.with_(permitted=permitted, effective=effective, ambient=ambient)


def _changed(value: int, old: int) -> int:
    return old if value == UNCHANGED else value


def set_uid(thread: Thread, uid: int) -> None:
    """setuid(2): all three for the privileged, else a switch of the effective one. EINVAL, EPERM."""
    old = thread.credentials
    if uid == UNCHANGED:
        raise SyscallError(errno.EINVAL)
    if old.capable(CAP_SETUID):
        new = old.with_(uid=uid, suid=uid, euid=uid, fsuid=uid)
    elif uid in (old.uid, old.suid):
        new = old.with_(euid=uid, fsuid=uid)
    else:
        raise SyscallError(errno.EPERM)
    commit(thread, _fix_capabilities(old, new))


def set_re_uid(thread: Thread, uid: int, euid: int) -> None:
    """setreuid(2); the saved uid follows when the real one is set, or the effective one to a stranger."""
    old = thread.credentials
    allowed = uid in (UNCHANGED, old.uid, old.euid) and euid in (UNCHANGED, old.uid, old.euid, old.suid)
    if not allowed and not old.capable(CAP_SETUID):
        raise SyscallError(errno.EPERM)
    new_euid = _changed(euid, old.euid)
    saved = new_euid if uid != UNCHANGED or (euid != UNCHANGED and new_euid != old.uid) else old.suid
    new = old.with_(uid=_changed(uid, old.uid), euid=new_euid, suid=saved, fsuid=new_euid)
    commit(thread, _fix_capabilities(old, new))


def set_res_uid(thread: Thread, uid: int, euid: int, suid: int) -> None:
    """setresuid(2)."""
    old = thread.credentials
    known = (UNCHANGED, old.uid, old.euid, old.suid)
    if not old.capable(CAP_SETUID) and not all(value in known for value in (uid, euid, suid)):
        raise SyscallError(errno.EPERM)
    new_euid = _changed(euid, old.euid)
    new = old.with_(uid=_changed(uid, old.uid), euid=new_euid, suid=_changed(suid, old.suid), fsuid=new_euid)
    commit(thread, _fix_capabilities(old, new))


def set_fs_uid(thread: Thread, uid: int) -> int:
    """setfsuid(2): never fails, returns what it was before."""
    old = thread.credentials
    if uid != UNCHANGED and (uid in (old.uid, old.euid, old.suid, old.fsuid) or old.capable(CAP_SETUID)):
        effective = old.effective
        if not old.securebits & SECBIT_NO_SETUID_FIXUP:
            if old.fsuid == 0 and uid != 0:
                effective &= ~FS_CAPS
            elif old.fsuid != 0 and uid == 0:
                effective |= old.permitted & FS_CAPS
        commit(thread, old.with_(fsuid=uid, effective=effective))
    return old.fsuid


def set_gid(thread: Thread, gid: int) -> None:
    """setgid(2)."""
    old = thread.credentials
    if gid == UNCHANGED:
        raise SyscallError(errno.EINVAL)
    if old.capable(CAP_SETGID):
        commit(thread, old.with_(gid=gid, egid=gid, sgid=gid, fsgid=gid))
    elif gid in (old.gid, old.sgid):
        commit(thread, old.with_(egid=gid, fsgid=gid))
    else:
        raise SyscallError(errno.EPERM)


def set_re_gid(thread: Thread, gid: int, egid: int) -> None:
    """setregid(2)."""
    old = thread.credentials
    allowed = gid in (UNCHANGED, old.gid, old.egid) and egid in (UNCHANGED, old.gid, old.egid, old.sgid)
    if not allowed and not old.capable(CAP_SETGID):
        raise SyscallError(errno.EPERM)
    new_egid = _changed(egid, old.egid)
    saved = new_egid if gid != UNCHANGED or (egid != UNCHANGED and new_egid != old.gid) else old.sgid
    commit(thread, old.with_(gid=_changed(gid, old.gid), egid=new_egid, sgid=saved, fsgid=new_egid))


def set_res_gid(thread: Thread, gid: int, egid: int, sgid: int) -> None:
    """setresgid(2)."""
    old = thread.credentials
    known = (UNCHANGED, old.gid, old.egid, old.sgid)
    if not old.capable(CAP_SETGID) and not all(value in known for value in (gid, egid, sgid)):
        raise SyscallError(errno.EPERM)
    new_egid = _changed(egid, old.egid)
    commit(thread, old.with_(gid=_changed(gid, old.gid), egid=new_egid, sgid=_changed(sgid, old.sgid), fsgid=new_egid))


def set_fs_gid(thread: Thread, gid: int) -> int:
    """setfsgid(2)."""
    old = thread.credentials
    if gid != UNCHANGED and (gid in (old.gid, old.egid, old.sgid, old.fsgid) or old.capable(CAP_SETGID)):
        commit(thread, old.with_(fsgid=gid))
    return old.fsgid


def set_capabilities(thread: Thread, effective: int, permitted: int, inheritable: int) -> None:
    """capset(2). EPERM: more than is permitted."""
    old = thread.credentials
    mask = (1 << 41) - 1
    effective, permitted, inheritable = effective & mask, permitted & mask, inheritable & mask
    if not old.capable(CAP_SETPCAP) and inheritable & ~(old.inheritable | old.permitted):
        raise SyscallError(errno.EPERM)
    if inheritable & ~(old.inheritable | old.bounding) or permitted & ~old.permitted or effective & ~permitted:
        raise SyscallError(errno.EPERM)
    ambient = old.ambient & permitted & inheritable
    commit(thread, old.with_(effective=effective, permitted=permitted, inheritable=inheritable, ambient=ambient))
