"""Scheduling attributes: kept and reported as Linux does. The host's scheduler runs all guests alike."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Annotated

from ..abi.errors import SyscallError
from ..abi.marshal import Buffer, In, Int, Out, StructIn, StructInOut, StructOut, UInt
from ..abi.user import UserPointer
from ..fs.credentials import CAP_SYS_ADMIN, CAP_SYS_NICE
from ..process.limits import RLIMIT_NICE, RLIMIT_RTPRIO
from ..process.thread import Thread
from .table import syscall

SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 1, 2, 3, 5, 6
SCHED_RESET_ON_FORK = 0x40000000
REALTIME = (SCHED_FIFO, SCHED_RR)
ORDINARY = (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE)
SCHED_FLAG_RESET_ON_FORK = 1
ROUND_ROBIN_INTERVAL = (0, 100_000_000)
PRIORITY = struct.Struct("<i")
TIMESPEC = struct.Struct("<qq")
SCHED_ATTR = struct.Struct("<IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period
PRIO_PROCESS, PRIO_PGRP, PRIO_USER = 0, 1, 2
IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE = 1, 2, 3


def _target(thread: Thread, pid: int) -> Thread:
    """The thread that a scheduling call means; EINVAL, ESRCH."""
    if pid < 0:
        raise SyscallError(errno.EINVAL)
    return thread.kernel.processes.task(pid) if pid else thread


def _check_owner(thread: Thread, target: Thread) -> None:
    mine, theirs = thread.credentials, target.credentials
    if mine.euid not in (theirs.uid, theirs.euid) and not mine.capable(CAP_SYS_NICE):
        raise SyscallError(errno.EPERM)


@syscall(24)
def sched_yield(thread: Thread) -> None:
    """Every entry into the kernel is one turn of its run queue already."""


# -- policies ----------------------------------------------------------------


def _set_policy(thread: Thread, target: Thread, policy: int, priority: int, nice: int | None, reset: bool) -> None:
    if policy not in REALTIME + ORDINARY:
        raise SyscallError(errno.EINVAL)
    if not (1 <= priority <= 99 if policy in REALTIME else priority == 0):
        raise SyscallError(errno.EINVAL)
    _check_owner(thread, target)
    scheduling = target.scheduling
    if not thread.credentials.capable(CAP_SYS_NICE):
        if policy in REALTIME and priority > target.process.limits.soft(RLIMIT_RTPRIO):
            raise SyscallError(errno.EPERM)
        if scheduling.reset_on_fork and not reset:
            raise SyscallError(errno.EPERM)
    if nice is not None and policy not in REALTIME:
        _check_nice(thread, target, nice)
        scheduling.nice = nice
    scheduling.policy, scheduling.priority, scheduling.reset_on_fork = policy, priority, reset


@syscall(144)
def sched_setscheduler(thread: Thread, pid: Int, policy: Int, parameter: Annotated[UserPointer, StructIn(4)]) -> None:
    if policy < 0 or pid < 0 or not parameter:
        raise SyscallError(errno.EINVAL)
    (priority,) = parameter.unpack(PRIORITY)
    target = _target(thread, pid)
    _set_policy(thread, target, policy & ~SCHED_RESET_ON_FORK, priority, None, bool(policy & SCHED_RESET_ON_FORK))


@syscall(145)
def sched_getscheduler(thread: Thread, pid: Int) -> int:
    scheduling = _target(thread, pid).scheduling
    return scheduling.policy | (SCHED_RESET_ON_FORK if scheduling.reset_on_fork else 0)


@syscall(142)
def sched_setparam(thread: Thread, pid: Int, parameter: Annotated[UserPointer, StructIn(4)]) -> None:
    if pid < 0 or not parameter:
        raise SyscallError(errno.EINVAL)
    (priority,) = parameter.unpack(PRIORITY)
    target = _target(thread, pid)
    old = target.scheduling
    _set_policy(thread, target, old.policy, priority, None, old.reset_on_fork)


@syscall(143)
def sched_getparam(thread: Thread, pid: Int, parameter: Annotated[UserPointer, StructOut(4)]) -> None:
    if not parameter:
        raise SyscallError(errno.EINVAL)
    parameter.pack(PRIORITY, _target(thread, pid).scheduling.priority)


@syscall(146)
def sched_get_priority_max(thread: Thread, policy: Int) -> int:
    return _priority_bound(policy, 99)


@syscall(147)
def sched_get_priority_min(thread: Thread, policy: Int) -> int:
    return _priority_bound(policy, 1)


def _priority_bound(policy: int, bound: int) -> int:
    if policy not in (*REALTIME, *ORDINARY, SCHED_DEADLINE):
        raise SyscallError(errno.EINVAL)
    return bound if policy in REALTIME else 0


@syscall(148)
def sched_rr_get_interval(thread: Thread, pid: Int, interval: Annotated[UserPointer, StructOut(16)]) -> None:
    policy = _target(thread, pid).scheduling.policy
    interval.pack(TIMESPEC, *(ROUND_ROBIN_INTERVAL if policy == SCHED_RR else (0, 0)))


@syscall(314)
def sched_setattr(
    thread: Thread, pid: Int, attributes: Annotated[UserPointer, StructInOut(SCHED_ATTR.size)], flags: UInt
) -> None:
    if pid < 0 or flags or not attributes:
        raise SyscallError(errno.EINVAL)
    size, policy, options, nice, priority, *_ = attributes.unpack(SCHED_ATTR)
    if size and size < SCHED_ATTR.size:
        attributes.write(SCHED_ATTR.size.to_bytes(4, "little"))
        raise SyscallError(errno.E2BIG)
    if options & ~SCHED_FLAG_RESET_ON_FORK:
        raise SyscallError(errno.EINVAL)
    nice = min(max(nice, -20), 19)
    _set_policy(thread, _target(thread, pid), policy, priority, nice, bool(options & SCHED_FLAG_RESET_ON_FORK))


@syscall(315)
def sched_getattr(
    thread: Thread, pid: Int, attributes: Annotated[Buffer, Out("size")], size: UInt, flags: UInt
) -> None:
    if flags or not SCHED_ATTR.size <= size <= 4096:
        raise SyscallError(errno.EINVAL)
    own = _target(thread, pid).scheduling
    nice = 0 if own.policy in REALTIME else own.nice
    attributes.write(SCHED_ATTR.pack(SCHED_ATTR.size, own.policy, int(own.reset_on_fork), nice, own.priority, 0, 0, 0))


# -- affinity ----------------------------------------------------------------


def _bound(thread: Thread, pid: int) -> Thread:
    """As ``_target``, but a negative pid is nobody's here; ESRCH."""
    if pid < 0:
        raise SyscallError(errno.ESRCH)
    return _target(thread, pid)


@syscall(203)
def sched_setaffinity(thread: Thread, pid: Int, size: UInt, mask: Annotated[Buffer, In("size")]) -> None:
    wanted = int.from_bytes(mask.read(min(size, 128)), "little")
    target = _bound(thread, pid)
    _check_owner(thread, target)
    cpus = frozenset(cpu for cpu in range(thread.kernel.config.cpus) if wanted >> cpu & 1)
    if not cpus:
        raise SyscallError(errno.EINVAL)
    target.scheduling.affinity = cpus


@syscall(204)
def sched_getaffinity(thread: Thread, pid: Int, size: UInt, mask: Annotated[Buffer, Out("size")]) -> int:
    needed = (thread.kernel.config.cpus + 63) // 64 * 8
    if size % 8 or size < needed:
        raise SyscallError(errno.EINVAL)
    bits = sum(1 << cpu for cpu in _bound(thread, pid).scheduling.affinity)
    mask.write(bits.to_bytes(needed, "little"))
    return needed


@syscall(309)
def getcpu(
    thread: Thread, cpu: Annotated[UserPointer, StructOut(4)], node: Annotated[UserPointer, StructOut(4)]
) -> None:
    if cpu:
        cpu.write(min(thread.scheduling.affinity, default=0).to_bytes(4, "little"))
    if node:
        node.write(bytes(4))


# -- nice values -------------------------------------------------------------


def _threads_of(thread: Thread, which: int, who: int) -> list[Thread]:
    """The threads that getpriority(2) and ioprio_get(2) mean by ``which`` (0 to 2) and ``who``; ESRCH."""
    table = thread.kernel.processes
    if which == PRIO_PROCESS:
        return [table.task(who) if who else thread]
    if which == PRIO_PGRP:
        group = table.groups.get(who) if who else thread.process.group
        found = [member for process in (group.members if group else ()) for member in process.threads.values()]
    else:
        uid = who or thread.credentials.uid
        found = [member for member in table.threads.values() if member.credentials.uid == uid]
    if not found:
        raise SyscallError(errno.ESRCH)
    return found


def _check_nice(thread: Thread, target: Thread, nice: int) -> None:
    """EACCES for a nicer life than RLIMIT_NICE allows."""
    allowed = 20 - min(target.process.limits.soft(RLIMIT_NICE), 40)
    if nice < target.scheduling.nice and nice < allowed and not thread.credentials.capable(CAP_SYS_NICE):
        raise SyscallError(errno.EACCES)


@syscall(140)
def getpriority(thread: Thread, which: Int, who: Int) -> int:
    if which not in (PRIO_PROCESS, PRIO_PGRP, PRIO_USER):
        raise SyscallError(errno.EINVAL)
    # 1 to 40, so that it is never taken for an error: the C library turns it round.
    return max(20 - target.scheduling.nice for target in _threads_of(thread, which, who))


@syscall(141)
def setpriority(thread: Thread, which: Int, who: Int, nice: Int) -> None:
    if which not in (PRIO_PROCESS, PRIO_PGRP, PRIO_USER):
        raise SyscallError(errno.EINVAL)
    nice = min(max(nice, -20), 19)
    _for_all(_threads_of(thread, which, who), thread, nice)


def _for_all(targets: Iterable[Thread], thread: Thread, nice: int) -> None:
    for target in targets:
        _check_owner(thread, target)
        _check_nice(thread, target, nice)
        target.scheduling.nice = nice


# -- I/O priorities ----------------------------------------------------------


@syscall(251)
def ioprio_set(thread: Thread, which: Int, who: Int, priority: Int) -> None:
    kind, level = priority >> 13 & 7, priority & 0x1FFF
    if which not in (1, 2, 3) or kind > IOPRIO_CLASS_IDLE or priority < 0:
        raise SyscallError(errno.EINVAL)
    if (level >= 8 and kind in (IOPRIO_CLASS_RT, IOPRIO_CLASS_BE)) or (kind == 0 and level):
        raise SyscallError(errno.EINVAL)
    who_asks = thread.credentials
    if kind == IOPRIO_CLASS_RT and not (who_asks.capable(CAP_SYS_ADMIN) or who_asks.capable(CAP_SYS_NICE)):
        raise SyscallError(errno.EPERM)
    for target in _threads_of(thread, which - 1, who):
        _check_owner(thread, target)
        target.scheduling.io_priority = priority


@syscall(252)
def ioprio_get(thread: Thread, which: Int, who: Int) -> int:
    if which not in (1, 2, 3):
        raise SyscallError(errno.EINVAL)
    return min(target.scheduling.io_priority for target in _threads_of(thread, which - 1, who))
