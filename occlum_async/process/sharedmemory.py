"""Memory that guests share: mappings that fill files unseen, and live on when nobody else knows the file.

The host's page cache holds it, so no process' private memory tells of it. What guests have mapped is therefore kept
in ``Quota.mapped``, measured when the memory limit is looked after, and let go of when no guest holds it any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ..abi.errors import SyscallError
from ..fs.pages import PAGE, Pages, Quota
from . import hoststat

if TYPE_CHECKING:
    from .guest import HostProcess
    from .process import Process

FIRST_LOOK = 64  # so many mapped files are not worth a look at all guests
MAX_LENGTH = 1 << 46
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
Key = tuple[int, int]  # the host's device and inode


class SharedMemory:
    """What the guests of one LibOS have mapped, and who mapped it last."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._owners: WeakValueDictionary[Key, Process] = WeakValueDictionary()
        self._in_flight: Counter[Key] = Counter()  # on their way to a guest
        self._look_at = FIRST_LOOK
        self._pages_at = 0

    def anonymous(self, length: int) -> int:
        """Fresh memory to share, of fixed ``length``; a host descriptor to map, ours. ENOMEM."""
        if not 0 < length <= MAX_LENGTH:
            raise SyscallError(errno.ENOMEM)
        pages = Pages(self._quota)
        try:
            fd = pages.promote()
            pages.truncate((length + PAGE - 1) // PAGE * PAGE)
        except SyscallError:
            raise SyscallError(errno.ENOMEM) from None
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        self._quota.mapped.add(pages)
        return fd

    @contextmanager
    def mapping(self, fd: int, process: Process) -> Iterator[None]:
        """While ``process`` maps ``fd``. What the file holds is put to its account from now on."""
        if self._quota.mapped:
            self._owners[_key(fd)] = process
        with self.in_flight(fd):
            yield

    @contextmanager
    def in_flight(self, fd: int) -> Iterator[None]:
        """While ``fd`` is on its way to a guest, which does not hold it yet."""
        key = _key(fd)
        self._in_flight[key] += 1
        try:
            yield
        finally:
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]

    def measure(self) -> Counter[Process]:
        """Bring the account of mapped files up to date; how many bytes each process answers for."""
        usage: Counter[Process] = Counter()
        for pages in self._quota.mapped:
            pages.measure()
            owner = self._owners.get(_key(pages.fd))
            if owner is not None:
                usage[owner] += pages.charged * PAGE
        return usage

    def collect(self, hosts: Iterable[HostProcess], urgent: bool) -> None:
        """Let go of the files that no guest holds. Unless ``urgent``, only when they have become many or large."""
        mapped = self._quota.mapped
        held_pages = sum(pages.charged for pages in mapped)
        if not urgent and len(mapped) < self._look_at and held_pages <= 2 * self._pages_at + (64 << 20) // PAGE:
            return
        held = set(self._in_flight)
        for host in hosts:
            if host.host_pid:
                held |= hoststat.files_held(host.host_pid)
            elif not host.dead:
                return  # a child on its way holds what its parent held, who may be gone by now
        for pages in [pages for pages in mapped if _key(pages.fd) not in held]:
            mapped.discard(pages)
            pages.unmapped()
        keys = {_key(pages.fd) for pages in mapped}
        self._owners = WeakValueDictionary({key: owner for key, owner in self._owners.items() if key in keys})
        self._look_at = max(FIRST_LOOK, 2 * len(mapped))
        self._pages_at = sum(pages.charged for pages in mapped)

    def close(self) -> None:
        """Let go of everything. No guest is left, and no file system."""
        self._quota.mapped.clear()


def _key(fd: int) -> Key:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
