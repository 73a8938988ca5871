"""System V semaphores: sets of counters that change together or not at all, see semop(2).

Those who wait stand in one queue per set, in order of arrival; whoever changes the set performs the
operations of those whose turn has come. So a set is always consistent, and nobody is overtaken by a
newcomer that wants the same.
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from ..abi.errors import SyscallError
from ..sched.strand import TIMED_OUT, Scheduler, Strand
from .sysv import IPC_NOWAIT, IpcObject, IpcTable, Who

SEMMSL = 32000  # semaphores in a set
SEMMNI = 4096  # sets
SEMMNS = 256000  # semaphores in all
SEMOPM = 500  # operations in one call
SEMVMX = 32767  # the greatest value
SEMAEM = SEMVMX  # the greatest adjustment at exit
SEM_UNDO = 0x1000

SEMBUF = struct.Struct("<Hhh")
SEMID_DS = struct.Struct("<qQqQQQQ")  # behind the ipc64_perm: otime, -, ctime, -, nsems, -, -
SEMINFO = struct.Struct("<10i")


class Operation(NamedTuple):
    """``struct sembuf``."""

    number: int
    change: int
    flags: int


class _Sleeper:
    """A call that waits: what it wants to do, and which of its operations it waits for."""

    __slots__ = ("blocked_by", "operations", "owner", "pid", "strand", "ticket")

    def __init__(
        self, operations: Sequence[Operation], blocked_by: Operation, owner: Hashable, pid: int, strand: Strand
    ) -> None:
        self.operations = operations
        self.blocked_by = blocked_by
        self.owner = owner
        self.pid = pid
        self.strand = strand
        self.ticket = strand.ticket


class SemaphoreSet(IpcObject):
    """One set. ``undo`` holds, by process, what its exit adds to each semaphore (SEM_UNDO)."""

    def __init__(self, key: int, who: Who, mode: int, size: int) -> None:
        super().__init__(key, who, mode)
        self.values = [0] * size
        self.pids = [0] * size
        self.operated = 0
        self.undo: dict[Hashable, dict[int, int]] = {}
        self._sleepers: list[_Sleeper] = []

    async def operate(
        self,
        scheduler: Scheduler,
        operations: Sequence[Operation],
        owner: Hashable,
        pid: int,
        timeout: float | None = None,
    ) -> None:
        """semop(2) for process ``owner``. EAGAIN: must wait and may not, or waited too long; EIDRM, EFBIG, ERANGE."""
        if any(operation.number >= len(self.values) for operation in operations):
            raise SyscallError(errno.EFBIG)
        blocked_by = self._attempt(operations, owner, pid)
        if blocked_by is None:
            self._changed()
            return
        if blocked_by.flags & IPC_NOWAIT:
            raise SyscallError(errno.EAGAIN)
        sleeper = _Sleeper(operations, blocked_by, owner, pid, scheduler.current())
        self._sleepers.append(sleeper)
        try:
            result = await sleeper.strand.park(timeout)
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
        if result is TIMED_OUT:
            raise SyscallError(errno.EAGAIN)
        if result:
            raise SyscallError(result)

    def _attempt(self, operations: Sequence[Operation], owner: Hashable, pid: int) -> Operation | None:
        """Do all operations, or none: then the one that must wait is returned. ERANGE."""
        values: dict[int, int] = {}
        undo = dict(self.undo.get(owner, {}))
        for operation in operations:
            number, change, flags = operation
            value = values.get(number, self.values[number])
            if value + change < 0 or (change == 0 and value):
                return operation
            if value + change > SEMVMX:
                raise SyscallError(errno.ERANGE)
            values[number] = value + change
            if flags & SEM_UNDO and change:
                undo[number] = undo.get(number, 0) - change
                if not -SEMAEM - 1 < undo[number] <= SEMAEM:
                    raise SyscallError(errno.ERANGE)
        for number, value in values.items():
            self.values[number] = value
            self.pids[number] = pid
        undo = {number: change for number, change in undo.items() if change}
        if undo:
            self.undo[owner] = undo
        else:
            self.undo.pop(owner, None)
        self.operated = int(time.time())
        return None

    def _changed(self) -> None:
        """Perform what has become possible, until nothing more has."""
        progress = True
        while progress:
            progress = False
            for sleeper in tuple(self._sleepers):
                progress = self._retry(sleeper) or progress

    def _retry(self, sleeper: _Sleeper) -> bool:
        """Try again for one who waits; True if that changed the set. He is resumed only with the outcome."""
        if not sleeper.strand.parked or sleeper.strand.ticket != sleeper.ticket:
            return False  # interrupted or late: it only has not run yet
        try:
            blocked_by = self._attempt(sleeper.operations, sleeper.owner, sleeper.pid)
        except SyscallError as error:
            self._finish(sleeper, error.errno)
            return False
        if blocked_by is None:
            self._finish(sleeper, 0)
            return any(operation.change for operation in sleeper.operations)
        sleeper.blocked_by = blocked_by
        if blocked_by.flags & IPC_NOWAIT:
            self._finish(sleeper, errno.EAGAIN)
        return False

    def _finish(self, sleeper: _Sleeper, result: int) -> None:
        self._sleepers.remove(sleeper)
        sleeper.strand.resume(sleeper.ticket, result)

    def waiting(self, number: int, for_zero: bool) -> int:
        """GETZCNT and GETNCNT."""
        blocking = (sleeper.blocked_by for sleeper in self._sleepers)
        return sum(found.number == number and (found.change == 0) == for_zero for found in blocking)

    def set_values(self, values: dict[int, int], pid: int) -> None:
        """SETVAL, SETALL: nobody's exit undoes anything of these any more. ERANGE."""
        if any(not 0 <= value <= SEMVMX for value in values.values()):
            raise SyscallError(errno.ERANGE)
        for number, value in values.items():
            self.values[number] = value
            self.pids[number] = pid
            for undo in self.undo.values():
                undo.pop(number, None)
        self.changed = int(time.time())
        self._changed()

    def owner_exits(self, owner: Hashable, pid: int) -> None:
        """Do what a process that ends left to be undone."""
        for number, change in self.undo.pop(owner, {}).items():
            self.values[number] = min(max(self.values[number] + change, 0), SEMVMX)
            self.pids[number] = pid
        self._changed()

    def remove(self) -> None:
        super().remove()
        self.undo.clear()
        for sleeper in tuple(self._sleepers):
            self._finish(sleeper, errno.EIDRM)

    def pack(self) -> bytes:
        """``struct semid64_ds``."""
        return self.pack_perm() + SEMID_DS.pack(self.operated, 0, self.changed, 0, len(self.values), 0, 0)


class SemaphoreTable(IpcTable[SemaphoreSet]):
    """All sets, with a bound on the semaphores in all of them."""

    def __init__(self) -> None:
        super().__init__(SEMMNI)
        self.semaphores = 0

    def open(self, key: int, size: int, flags: int, who: Who) -> int:
        """semget(2)."""
        if not 0 <= size <= SEMMSL:
            raise SyscallError(errno.EINVAL)
        found = self.find(key, flags)
        if found is not None:
            found.check(who, flags & 0o777)
            if size > len(found.values):
                raise SyscallError(errno.EINVAL)
            return found.id
        if not size:
            raise SyscallError(errno.EINVAL)
        if self.semaphores + size > SEMMNS:
            raise SyscallError(errno.ENOSPC)
        identifier = self.add(SemaphoreSet(key, who, flags, size))
        self.semaphores += size
        return identifier

    def remove(self, found: SemaphoreSet) -> None:
        if not found.removed:
            self.semaphores -= len(found.values)
        super().remove(found)

    def owner_exits(self, owner: Hashable, pid: int) -> None:
        """A process ends."""
        for found in self:
            if owner in found.undo:
                found.owner_exits(owner, pid)

    def pack_info(self, used: bool) -> bytes:
        """``struct seminfo``: the limits, and with ``used`` (SEM_INFO) how much is in use."""
        sets, semaphores = (len(self), self.semaphores) if used else (20, SEMAEM)
        return SEMINFO.pack(SEMMNS, SEMMNI, SEMMNS, SEMMNS, SEMMSL, SEMOPM, SEMOPM, sets, SEMVMX, semaphores)
