"""Who asks: the identity that permission checks look at."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID = 0, 1, 2, 3, 4
CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 5, 6, 7, 8
CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW = 10, 12, 13
CAP_LINUX_IMMUTABLE, CAP_IPC_LOCK, CAP_IPC_OWNER, CAP_SYS_CHROOT, CAP_SYS_PTRACE = 9, 14, 15, 18, 19
CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYS_NICE, CAP_SYS_RESOURCE = 21, 22, 23, 24
CAP_SYS_TIME, CAP_SYS_TTY_CONFIG, CAP_MKNOD, CAP_LEASE, CAP_AUDIT_CONTROL, CAP_SETFCAP = 25, 26, 27, 28, 30, 31
ALL_CAPS = (1 << 41) - 1
UNSET = 2**32 - 1  # a number of a user or of a session that is none
NO_LOGIN = (UNSET, UNSET)  # the user and the session that audit(7) notes when somebody logs in: nobody has


class Credentials(msgspec.Struct, frozen=True):
    """Credentials of a thread, see credentials(7). Immutable: a change makes a new one (``replace``)."""

    uid: int = 0
    gid: int = 0
    euid: int = 0
    egid: int = 0
    suid: int = 0
    sgid: int = 0
    fsuid: int = 0
    fsgid: int = 0
    groups: tuple[int, ...] = ()
    permitted: int = ALL_CAPS
    effective: int = ALL_CAPS
    inheritable: int = 0
    bounding: int = ALL_CAPS
    ambient: int = 0
    securebits: int = 0

    @classmethod
    def of(cls, uid: int, gid: int, groups: tuple[int, ...] = ()) -> Credentials:
        """The credentials of a fresh process of that user: all capabilities for uid 0, none otherwise."""
        caps = ALL_CAPS if uid == 0 else 0
        return cls(uid, gid, uid, gid, uid, gid, uid, gid, groups, caps, caps)

    def capable(self, capability: int) -> bool:
        """Whether ``capability`` (a CAP_* number) is effective."""
        return bool(self.effective >> capability & 1)

    def in_group(self, gid: int) -> bool:
        """Whether ``gid`` is the file-system group or a supplementary one."""
        return gid == self.fsgid or gid in self.groups

    def with_(self, **changes: object) -> Credentials:
        """A copy with ``changes``."""
        return replace(self, **changes)
