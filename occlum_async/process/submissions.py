"""Where submissions arrive: the doorbell, the poll over all slots, and the hand-over to the waiting strands.

The kernel looks for submissions while there is work, a little longer when there is a second core for guests to
run on, and then sleeps in asyncio until a guest rings. Guests ring only while the kernel's page says that it sleeps.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .._native._host import ffi, lib
from ..abi import shared
from ..abi.errors import SyscallError
from ..sched.strand import Scheduler

PAGE = 4096
CAPACITY = 32768  # threads of one LibOS
BATCH = 256
GATHER_NS = 5_000  # how long it looks before what is queued for the host leaves
SPIN_NS, SPIN_MAX_NS = 20_000, 200_000  # how long it looks for a submission before it sleeps, at least and at most
BRIEF_NS = 100_000  # how long it looks for the answer of a disk, at least
# How long it looks for a submission between two looks for answers of the host: those of sockets had better gather.
LOOK_NS, BRIEF_LOOK_NS = 20_000, 2_000
ASLEEP = -1
GUEST_SPIN = 2000  # how often a guest looks for a completion before it sleeps
SLICE_NS = 2_000_000  # how long guests are served before asyncio's other callbacks have a turn
LOOKS = 32  # how many calls of one guest may follow each other without a look at the clock


class Submitter(Protocol):
    """Something that has a slot: a guest thread."""

    def submitted(self) -> None:
        """Its slot holds a new entry."""
        ...


class Submissions:
    """The poller over all slots of one LibOS, driven by the event loop through an eventfd.

    ``memory``: bytes that there are, so that guests refuse to map more at once; 0 for any number.
    """

    def __init__(self, scheduler: Scheduler, grants: int, table: bytes, memory: int = 0) -> None:
        self.scheduler = scheduler
        self._loop = scheduler.loop
        self.page_fd = os.memfd_create("occlum-page", os.MFD_CLOEXEC)
        os.ftruncate(self.page_fd, shared.PAGE_SIZE)
        self._page = mmap.mmap(self.page_fd, shared.PAGE_SIZE)
        self._page[shared.PAGE_TABLE : shared.PAGE_TABLE + len(table)] = table
        alone = len(os.sched_getaffinity(0)) == 1  # then guests run only while the kernel does not
        self.spin_ns = SPIN_NS
        self._look_ns = 0 if alone else LOOK_NS
        self._gather_ns = 0 if alone else GATHER_NS
        self._asleep_since = 0
        self._looks = 0  # how often ``follows`` may still look; 0 while nobody serves
        self._seen: int | None = None  # how many of ``_found`` it has seen and left to be served
        self._set_word(shared.PAGE_GRANTS, grants)
        self._set_word(shared.PAGE_MEMORY, min(memory // PAGE, (1 << 32) - 1))
        self._set_word(shared.PAGE_SPIN, 0 if alone else GUEST_SPIN)
        self.doorbell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.poller = lib.poller_new(ffi.from_buffer(self._page), CAPACITY)
        if self.poller == ffi.NULL:
            raise MemoryError("no memory for the submission poller")
        self._found = ffi.new("uint32_t[]", BATCH)
        self._submitters: list[Submitter | None] = [None] * CAPACITY
        self._free = list(range(CAPACITY - 1, -1, -1))
        self.scheduled = False
        self.wakeups = 0
        # Hands over what is queued for the host and takes what came from it; True when anything was.
        self.turn: Callable[[], bool] = lambda: False
        # Does a little of that, in the time that a guest needs until it calls again.
        self.prepare: Callable[[], None] = lambda: None
        # Whether an answer of the host is sure to come soon.
        self.brief: Callable[[], bool] = lambda: False
        lib.poller_sleep(self.poller, self._found, BATCH)
        self._loop.add_reader(self.doorbell, self._rung)

    def _set_word(self, offset: int, value: int) -> None:
        self._page[offset : offset + 4] = value.to_bytes(4, "little")

    def read_only_page(self) -> int:
        """A descriptor of the kernel's page that can't be mapped for writing. The caller closes it."""
        return os.open(f"/proc/self/fd/{self.page_fd}", os.O_RDONLY | os.O_CLOEXEC)

    # -- slots -----------------------------------------------------------------

    def watch(self, submitter: Submitter, memory: mmap.mmap, index: int) -> int:
        """Begin to look for entries in slot ``index`` of a channel's ``memory``; the handle to complete them with.

        EAGAIN when the LibOS has as many threads as it can, or is closing.
        """
        if not self._free or not self.poller:
            raise SyscallError(errno.EAGAIN)
        handle = self._free.pop()
        self._submitters[handle] = submitter
        slot = ffi.from_buffer(memory) + index * shared.SLOT_SIZE
        lib.poller_add(self.poller, handle, slot)
        return handle

    def forget(self, handle: int) -> None:
        """Stop looking at a slot. Must come before its channel's memory is closed."""
        if not self.poller:
            return
        lib.poller_remove(self.poller, handle)
        self._submitters[handle] = None
        self._free.append(handle)

    # -- the loop ----------------------------------------------------------------

    def _rung(self) -> None:
        self.wakeups += 1
        with suppress(BlockingIOError):
            os.eventfd_read(self.doorbell)
        if not self.scheduled:
            self._woken()
            self._serve()

    def schedule(self) -> None:
        """See to it that somebody looks for submissions: a guest has been answered, and nobody does."""
        self.scheduled = True
        self._loop.call_soon(self._scheduled_serve)

    def _scheduled_serve(self) -> None:
        self.scheduled = False
        if self.poller != ffi.NULL:
            self._serve()

    def _serve(self) -> None:
        """Serve guests until none has anything to say, or a time slice is over."""
        self.scheduled = True  # completions sent from here need no other turn
        end = time.monotonic_ns() + SLICE_NS
        poller, found, scheduler = self.poller, self._found, self.scheduler
        lib.poller_wake(poller)
        while time.monotonic_ns() < end:
            count, self._seen = self._seen, None
            if count is None and scheduler.ready:
                count = lib.poller_scan(poller, found, BATCH)
            elif count is None:
                # What guests do next may leave together with what is queued: so look a moment longer.
                count = lib.poller_spin(poller, found, BATCH, self._gather_ns)
            if not count:
                if scheduler.ready or self.turn():
                    break  # by way of asyncio: what the host tells of sockets had better gather, too
                count = self._wait()
                if count < 0:
                    self.scheduled = False
                    return
            if count:
                self._looks = LOOKS if count == 1 else 0  # the rest of a batch must not wait for its first
                self._dispatch(count)
            elif not scheduler.ready:
                break
            if scheduler.ready:
                scheduler.run_ready()
            self._looks = 0
        self.schedule()

    def _wait(self) -> int:
        """Look a while; then ask guests to ring, and return ASLEEP. How many have submitted, 0 if the host answered.

        To sleep and to wake up takes longer than most guests compute between two calls: so how long this looks follows
        how soon they have rung lately, as a hypervisor polls before it halts a processor.
        """
        poller, found = self.poller, self._found
        spin, look = self.spin_ns, self._look_ns
        if look and self.brief():
            spin, look = max(spin, BRIEF_NS), BRIEF_LOOK_NS
        end = time.monotonic_ns() + spin
        while True:
            count: int = lib.poller_spin(poller, found, BATCH, look)
            if count:
                return count
            if not look or time.monotonic_ns() >= end:
                break
            if self.turn():
                return 0
        self.spin_ns = max(self.spin_ns // 2, SPIN_NS)
        self._asleep_since = time.monotonic_ns()
        return lib.poller_sleep(poller, found, BATCH) or ASLEEP

    def _woken(self) -> None:
        """A guest has rung: was it so soon that a longer look would have found it?"""
        if time.monotonic_ns() - self._asleep_since < SPIN_MAX_NS:
            self.spin_ns = min(4 * self.spin_ns, SPIN_MAX_NS)

    def follows(self, handle: int) -> bool:
        """Look a moment whether who has just been answered submits again at once, and nobody else.

        True spares a way through the scheduler. False where somebody else may have a turn first: what was seen is
        kept for ``_serve`` then.
        """
        if not self._looks or self.scheduler.ready:
            return False
        self._looks -= 1
        poller, found = self.poller, self._found
        count = lib.poller_scan(poller, found, BATCH)
        if not count:
            self.prepare()
            count = lib.poller_spin(poller, found, BATCH, self._gather_ns)
        if count == 1 and found[0] == handle:
            return True
        self._looks = 0
        self._seen = count
        return False

    def _dispatch(self, count: int) -> None:
        submitters, found = self._submitters, self._found
        if count == 1:
            only = submitters[found[0]]
            if only is not None:
                only.submitted()
            return
        # All are looked up first: what is served may give a handle to somebody else. Who was answered last comes
        # first: of two that talk to each other that is the one who sends, and then the other finds what it waits for.
        for submitter in [submitters[found[i]] for i in range(count - 1, -1, -1)]:
            if submitter is not None:
                submitter.submitted()

    def close(self) -> None:
        """Stop. No slot may be watched any more."""
        self._loop.remove_reader(self.doorbell)
        lib.poller_free(self.poller)
        self.poller = ffi.NULL
        os.close(self.doorbell)
        self._page.close()
        os.close(self.page_fd)
