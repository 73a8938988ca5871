"""Resource limits (setrlimit(2)), and the per-user counts that some of them bind."""

from __future__ import annotations

import errno
import struct

import msgspec

from ..abi.errors import SyscallError

RLIM_INFINITY = 0xFFFFFFFFFFFFFFFF
(
    RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE,
    RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO,
    RLIMIT_RTTIME,
) = range(16)  # fmt: skip
RLIM_NLIMITS = 16

NR_OPEN = 1048576  # /proc/sys/fs/nr_open: no process may have more descriptors
RLIMIT = struct.Struct("<QQ")

DEFAULTS: dict[int, tuple[int, int]] = {
    RLIMIT_STACK: (8 << 20, RLIM_INFINITY),
    RLIMIT_CORE: (0, RLIM_INFINITY),
    RLIMIT_NOFILE: (1024, 524288),
    RLIMIT_MEMLOCK: (8 << 20, 8 << 20),
    RLIMIT_SIGPENDING: (16384, 16384),
    RLIMIT_MSGQUEUE: (819200, 819200),
    RLIMIT_NICE: (0, 0),
    RLIMIT_RTPRIO: (0, 0),
}


class Limits:
    """A process' resource limits: (soft, hard) for each RLIMIT_*."""

    __slots__ = ("_values",)

    def __init__(self, values: list[tuple[int, int]] | None = None) -> None:
        infinite = (RLIM_INFINITY, RLIM_INFINITY)
        self._values = values or [DEFAULTS.get(resource, infinite) for resource in range(RLIM_NLIMITS)]

    def copy(self) -> Limits:
        """For a child."""
        return Limits(list(self._values))

    def soft(self, resource: int) -> int:
        """The limit that binds; ``RLIM_INFINITY`` for none."""
        return self._values[resource][0]

    def hard(self, resource: int) -> int:
        """How high the soft limit may be raised."""
        return self._values[resource][1]

    def get(self, resource: int) -> tuple[int, int]:
        """(soft, hard); EINVAL when there is no such limit."""
        if not 0 <= resource < RLIM_NLIMITS:
            raise SyscallError(errno.EINVAL)
        return self._values[resource]

    def set(self, resource: int, soft: int, hard: int, privileged: bool) -> None:
        """Change a limit. EINVAL: soft above hard. EPERM: raising hard without CAP_SYS_RESOURCE."""
        _, old_hard = self.get(resource)
        if soft > hard:
            raise SyscallError(errno.EINVAL)
        if resource == RLIMIT_NOFILE and hard > NR_OPEN:
            raise SyscallError(errno.EPERM)
        if hard > old_hard and not privileged:
            raise SyscallError(errno.EPERM)
        self._values[resource] = (soft, hard)


class UserAccount(msgspec.Struct):
    """What the processes of one real uid hold together: RLIMIT_NPROC and RLIMIT_SIGPENDING bind it."""

    threads: int = 0
    signals: int = 0


class UserAccounts:
    """The accounts by real uid. Those that hold nothing are swept when there are many."""

    __slots__ = ("_accounts",)
    SWEEP = 1024

    def __init__(self) -> None:
        self._accounts: dict[int, UserAccount] = {}

    def get(self, uid: int) -> UserAccount:
        """The account of ``uid``."""
        account = self._accounts.get(uid)
        if account is None:
            if len(self._accounts) >= self.SWEEP:
                self._accounts = {uid: held for uid, held in self._accounts.items() if held.threads or held.signals}
            account = self._accounts[uid] = UserAccount()
        return account

    def add_threads(self, uid: int, count: int) -> None:
        """Count ``count`` threads more (or fewer)."""
        account = self.get(uid)
        account.threads += count
        assert account.threads >= 0, "a user's threads were released more often than counted"
