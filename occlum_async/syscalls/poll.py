"""poll(2), select(2) and their relatives."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

from ..abi.errors import Interrupted, SyscallError
from ..abi.marshal import Bits, Buffer, InOut, Int, Size, StructIn, StructInOut, UInt
from ..abi.user import UserPointer
from ..io.file import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
    holding,
)
from ..process.thread import Thread
from ..sched.waitqueue import wait_any
from .epoll import TIMESPEC, signal_mask
from .events import BILLION, timespec
from .table import Restart, syscall

POLLFD = struct.Struct("<iHH")
SIGSET_ARGUMENT = struct.Struct("<QQ")  # pselect6's last argument: address and size of the mask
MILLION = 10**6
FOREVER = (1 << 63) - 1  # seconds, where a timeout exceeds what time can hold

# What makes a descriptor a member of select(2)'s three sets; one that was closed meanwhile is in all of them.
SELECT_EVENTS = (
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR | POLLNVAL,
    POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR | POLLNVAL,
    POLLPRI | POLLNVAL,
)


async def wait_ready(thread: Thread, wanted: list[tuple[int, int]], deadline: int | None) -> list[int]:
    """Which of the wanted events hold for each descriptor, as soon as one does, or at ``deadline`` (monotonic ns).

    POLLNVAL is wanted always. As on Linux it is the files that are waited for, which stay open, and the descriptors
    that are looked at: one that was closed meanwhile is told of when there is something to tell.

    Raises ``Interrupted`` when nothing is ready and a signal is pending, even if there is no time to wait.
    """
    found = _look(thread, wanted)
    if any(found):
        return found
    scheduler = thread.scheduler
    files = [thread.files.get(fd) for fd, _ in wanted]
    queues = [(file.waiters, events) for file, (_, events) in zip(files, wanted, strict=True)]
    with holding(files):
        while True:
            remaining = None
            if deadline is not None:
                remaining = (deadline - time.monotonic_ns()) / BILLION
                if remaining <= 0:
                    if scheduler.current().interrupted:
                        raise Interrupted
                    return found
            await wait_any(scheduler, queues, remaining)
            found = _look(thread, wanted)
            if any(found):
                return found


def _look(thread: Thread, wanted: list[tuple[int, int]]) -> list[int]:
    found = []
    for fd, events in wanted:
        try:
            found.append(thread.files.get(fd).poll() & events)
        except SyscallError:
            found.append(POLLNVAL)
    return found


class TimeLimit:
    """The deadline (monotonic ns) of a wait of at most ``limit`` ns; ``target`` is told what was left of these.

    In seconds and ``unit`` ns. Linux tells it whatever the outcome, so that a restart waits for the rest. A target that
    can't be written is ignored: some programs pass read-only memory.
    """

    __slots__ = ("_deadline", "_target", "_unit")

    def __init__(self, target: UserPointer, limit: int | None, unit: int) -> None:
        self._target = target if limit else None
        self._unit = unit
        self._deadline = None if limit is None else time.monotonic_ns() + limit

    def __enter__(self) -> int | None:
        return self._deadline

    def __exit__(self, *_: object) -> None:
        if self._target is not None and self._deadline is not None:
            seconds, nanoseconds = divmod(max(self._deadline - time.monotonic_ns(), 0), BILLION)
            with suppress(SyscallError):
                self._target.pack(TIMESPEC, min(seconds, FOREVER), nanoseconds // self._unit)


# -- poll --------------------------------------------------------------------


@syscall(7, restart=Restart.NOHAND)
async def poll(thread: Thread, fds: Annotated[Buffer, InOut("nfds", POLLFD.size)], nfds: UInt, timeout: Int) -> int:
    deadline, thread.restart_deadline = thread.restart_deadline, None
    if timeout < 0:
        deadline = None
    elif deadline is None:
        deadline = time.monotonic_ns() + timeout * MILLION
    try:
        return await _poll(thread, fds, nfds, deadline)
    except Interrupted:
        thread.restart_deadline = deadline
        raise


@syscall(271, restart=Restart.NOHAND)
async def ppoll(
    thread: Thread,
    fds: Annotated[Buffer, InOut("nfds", POLLFD.size)],
    nfds: UInt,
    timeout: Annotated[UserPointer, StructInOut(16)],
    sigmask: Annotated[UserPointer, StructIn(8)],
    sigsetsize: Size,
) -> int:
    limit = timespec(*timeout.unpack(TIMESPEC)) if timeout else None
    mask = signal_mask(sigmask, sigsetsize)
    with TimeLimit(timeout, limit, 1) as deadline, thread.signals.temporary_mask(mask):
        return await _poll(thread, fds, nfds, deadline)


async def _poll(thread: Thread, fds: Buffer, nfds: int, deadline: int | None) -> int:
    if nfds > thread.files.limit:
        raise SyscallError(errno.EINVAL)
    entries = list(POLLFD.iter_unpack(fds.read(nfds * POLLFD.size)))
    places = [place for place, (fd, _, _) in enumerate(entries) if fd >= 0]
    wanted = [(entries[place][0], entries[place][1] | POLLERR | POLLHUP) for place in places]
    results = [0] * nfds
    for place, ready in zip(places, await wait_ready(thread, wanted, deadline), strict=True):
        results[place] = ready
    answer = (POLLFD.pack(fd, events, results[place]) for place, (fd, events, _) in enumerate(entries))
    fds.write(b"".join(answer))
    return sum(map(bool, results))


# -- select ------------------------------------------------------------------


@syscall(23, restart=Restart.NOHAND)
async def select(
    thread: Thread,
    n: Int,
    reads: Annotated[UserPointer, Bits("n")],
    writes: Annotated[UserPointer, Bits("n")],
    errors: Annotated[UserPointer, Bits("n")],
    timeout: Annotated[UserPointer, StructInOut(16)],
) -> int:
    limit = None
    if timeout:
        seconds, micros = timeout.unpack(TIMESPEC)
        if seconds < 0 or micros < 0:
            raise SyscallError(errno.EINVAL)
        limit = seconds * BILLION + micros * 1000
    with TimeLimit(timeout, limit, 1000) as deadline:
        return await _select(thread, n, (reads, writes, errors), deadline)


@syscall(270, restart=Restart.NOHAND)
async def pselect6(
    thread: Thread,
    n: Int,
    reads: Annotated[UserPointer, Bits("n")],
    writes: Annotated[UserPointer, Bits("n")],
    errors: Annotated[UserPointer, Bits("n")],
    timeout: Annotated[UserPointer, StructInOut(16)],
    sigmask: Annotated[UserPointer, StructIn(16)],
) -> int:
    mask = None
    if sigmask:
        address, size = sigmask.unpack(SIGSET_ARGUMENT)
        mask = signal_mask(sigmask.at(address), size)
    limit = timespec(*timeout.unpack(TIMESPEC)) if timeout else None
    with TimeLimit(timeout, limit, 1) as deadline, thread.signals.temporary_mask(mask):
        return await _select(thread, n, (reads, writes, errors), deadline)


async def _select(
    thread: Thread, n: int, sets: tuple[UserPointer, UserPointer, UserPointer], deadline: int | None
) -> int:
    if n < 0:
        raise SyscallError(errno.EINVAL)
    n = min(n, thread.files.limit)
    size = (n + 63) // 64 * 8
    valid = (1 << n) - 1
    masks = [int.from_bytes(pointer.read(size), "little") & valid if pointer and size else 0 for pointer in sets]
    found = _look_sets(thread, masks)
    if not any(found):
        wanted = [(fd, _events(masks, 1 << fd)) for fd in _members(masks)]
        ready = await wait_ready(thread, wanted, deadline)
        found = [0, 0, 0]
        for (fd, _), events in zip(wanted, ready, strict=True):
            _enter(found, masks, 1 << fd, events)
    for pointer, bits in zip(sets, found, strict=True):
        if pointer and size:
            pointer.write(bits.to_bytes(size, "little"))
    return sum(bits.bit_count() for bits in found)


def _members(masks: list[int]) -> Iterator[int]:
    """The descriptors in any of the sets, in ascending order."""
    everything = masks[0] | masks[1] | masks[2]
    while everything:
        lowest = everything & -everything
        everything ^= lowest
        yield lowest.bit_length() - 1


def _events(masks: list[int], bit: int) -> int:
    """What the sets want to know of a descriptor."""
    events = 0
    for mask, of_set in zip(masks, SELECT_EVENTS, strict=True):
        events |= of_set if mask & bit else 0
    return events


def _enter(found: list[int], masks: list[int], bit: int, events: int) -> None:
    """Note in ``found`` which sets ``events`` of a descriptor make it a ready member of."""
    for place, mask in enumerate(masks):
        if mask & bit and events & SELECT_EVENTS[place]:
            found[place] |= bit


def _look_sets(thread: Thread, masks: list[int]) -> list[int]:
    """Which members of each set are ready now; EBADF."""
    found = [0, 0, 0]
    files = thread.files
    for fd in _members(masks):
        if events := files.get(fd).poll():
            _enter(found, masks, 1 << fd, events)
    return found
