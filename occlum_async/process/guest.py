"""The host side of a LibOS process: a host process that holds guest memory and the shim, and its threads."""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .._native._host import ffi, lib
from ..abi import shared
from ..abi.errors import SyscallError
from ..sched.strand import Scheduler, Strand
from . import hoststat, naming
from .channel import Channel
from .limits import RLIMIT_AS, RLIMIT_DATA, Limits
from .rusage import ResourceUsage
from .submissions import Submissions

if TYPE_CHECKING:
    from .loading import Layout
    from .supervisor import Supervisor
    from .thread import Thread

log = logging.getLogger(__name__)

FRAMES = 6  # signal handlers stacked in one answer
_FRAME_ROOM = (shared.SIGNAL_BYTES + 15) & ~15
# What is kept of the window and of the operations for signal frames, which are always the last to come.
_ENTRY_ROOM = shared.WINDOW_SIZE - FRAMES * _FRAME_ROOM
_LAST_OPERATION = shared.OPERATIONS - FRAMES - 2
# Bound once: most calls that answer with bytes come by here.
_pack_copy, _unpack_entry = shared.COPY.pack_into, shared.ENTRY.unpack_from
_OP_COPY, _OPERATION_SIZE, _WINDOW_COPY_MAX = shared.OP_COPY, shared.OPERATION.size, shared.WINDOW_COPY_MAX
KICK_SIGNAL = signal.SIGUSR1
THREAD_CHECK = 32  # after so many new threads the host is asked how many there are
LAST_ORDERS = 0.2  # seconds that a dying guest has to release its robust futexes
allocate = ffi.new_allocator(should_clear_after_alloc=False)  # for what is filled at once
SCRATCH = 1 << 20  # bytes that are copied in by way of memory that is there: fresh memory costs more than the copy
_SYS_MMAP, _SYS_MUNMAP = 9, 11
_CLONE_VM, _CLONE_THREAD, _CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x100, 0x10000, 0x200000, 0x1000000


class GuestGone(BaseException):
    """The host process behind a thread has ended: thrown into whatever the thread was doing."""


class HostProcess:
    """One host process with guest memory. ``pid`` is 0 until it has said hello, and again when it is dead.

    Invariant: ``pid`` is used only while ``pidfd`` is unread: the supervisor reaps a dead guest when it is told to,
    so the number can't have been given to anyone else.
    """

    def __init__(self, supervisor: Supervisor, channel: Channel) -> None:
        self.supervisor = supervisor
        self.channel = channel
        channel.users += 1
        self.pid = 0
        self.pidfd = -1
        self.born = time.monotonic()
        self.dead = False
        self.doomed = False
        self.settled = False  # what it has used is on an account: it is not asked again
        self.threads: set[GuestThread] = set()
        self._admitted = 0
        supervisor.hosts.add(self)
        self.last_usage = ResourceUsage()
        self.layout: Layout | None = None

    @property
    def host_pid(self) -> int:
        """The host's pid, 0 when it is gone."""
        return 0 if self.dead else self.pid

    @property
    def address_space(self) -> object:
        """One object for all processes that share this memory: they have one channel."""
        return self.channel

    def greet(self) -> None:
        """The process said hello: learn from the host who it is. EPROTO when that is none of ours."""
        if self.dead:
            raise GuestGone
        pid = self.channel.receive_hello()
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            raise SyscallError(errno.EPROTO) from None
        # A hello in another's name would leave the true process unknown.
        if not self.supervisor.is_parent_of(pid) or any(host.pid == pid for host in self.supervisor.hosts):
            os.close(pidfd)
            raise SyscallError(errno.EPROTO)
        self.pid, self.pidfd = pid, pidfd
        self.supervisor.scheduler.loop.add_reader(self.pidfd, self._died)
        if self.doomed:
            self.kill()

    def greet_late(self) -> None:
        """The process may have said hello after it was killed, when nobody knew its pid: it ends now."""
        if not self.pid:
            with suppress(SyscallError, GuestGone):  # who lies about that is a stray
                self.greet()

    def admit_thread(self) -> None:
        """A thread is to be added; EAGAIN when threads that were told to end live on in numbers."""
        self._admitted += 1
        if self._admitted % THREAD_CHECK == 0 and hoststat.thread_count(self.pid) > len(self.threads) + THREAD_CHECK:
            raise SyscallError(errno.EAGAIN)

    # -- memory ------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """Copy ``size`` bytes in from ``address``; EFAULT."""
        data = self.read_some(address, size)
        if len(data) != size:
            raise SyscallError(errno.EFAULT)
        return data

    def read_some(self, address: int, size: int) -> bytes:
        """Copy in from ``address`` as much as there is, at most ``size`` bytes."""
        if size == 0:
            return b""
        if self.dead or address >> 63:
            raise SyscallError(errno.EFAULT)
        data = self.supervisor.scratch if size <= SCRATCH else allocate("char[]", size)
        got = lib.guest_read(self.pid, data, address, size)
        if got < 0:
            raise SyscallError(errno.EFAULT)
        copied: bytes = ffi.buffer(data, got)[:]
        return copied

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy ``data`` out; EFAULT."""
        size = len(data)
        if size == 0:
            return
        if self.dead or address >> 63 or lib.guest_write(self.pid, ffi.from_buffer(data), address, size) != size:
            raise SyscallError(errno.EFAULT)

    def layout_to(self, other: HostProcess) -> None:
        """``other`` is a copy of this process: the program lies where it lay."""
        other.layout = self.layout

    async def map_fd(
        self, thread: Thread, address: int, length: int, protection: int, flags: int, fd: int, offset: int
    ) -> int:
        """Map ``fd``, which stays the caller's, into the memory of ``thread``; the address."""
        guest = thread.guest
        assert isinstance(guest, GuestThread), "only guests have memory to map into"
        return await guest.map_descriptor(address, length, protection, flags, fd, offset, False)

    async def unmap(self, thread: Thread, address: int, length: int) -> None:
        """munmap(2) by ``thread``."""
        guest = thread.guest
        assert isinstance(guest, GuestThread), "only guests have memory to unmap"
        await guest.host_call(_SYS_MUNMAP, address, length)

    def memory_map(self) -> list[hoststat.Mapping]:
        """The guest's mappings with the names that it knows them by, for /proc/PID/maps."""
        if not self.host_pid:
            return []
        return naming.name_mappings(hoststat.mappings(self.pid), self.layout, self.supervisor.names)

    @property
    def auxv(self) -> bytes:
        """The auxiliary vector of the program, for /proc/PID/auxv."""
        return self.layout.auxiliary if self.layout is not None else b""

    def apply_limits(self, limits: Limits) -> None:
        """Have the host bind what it alone can: the size of the address space and of private writable memory."""
        if not self.host_pid:
            return
        room = self.layout.stack_high - self.layout.gap_low if self.layout is not None else 0
        hoststat.limit_memory(self.pid, limits.soft(RLIMIT_AS), limits.soft(RLIMIT_DATA), room + shared.SHIM_ROOM)

    # -- accounts ------------------------------------------------------------------

    def resource_usage(self) -> ResourceUsage:
        """What the host process has used so far, all its threads together."""
        if self.pid and not self.dead and not self.settled:
            self.last_usage = hoststat.resource_usage(self.pid) or self.last_usage
        return self.last_usage

    def settle(self) -> None:
        """The program has ended: note what it has used, once and for all."""
        self.resource_usage()
        self.settled = True

    def memory_usage(self) -> tuple[int, int, int]:
        """Bytes of address space, resident, and shared."""
        if not self.host_pid:
            return 0, 0, 0
        size, resident, common = hoststat.memory_usage(self.pid)
        gap = self.layout.stack_low - self.layout.gap_low if self.layout is not None else 0
        return max(resident, size - gap - shared.SHIM_ROOM), resident, common

    # -- the end -------------------------------------------------------------------

    def kill(self) -> None:
        """End the host process at once; its threads' strands are told."""
        self.settle()
        self.doomed = True
        if self.pidfd >= 0 and not self.dead:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        for thread in tuple(self.threads):
            thread.abandon()

    def discard(self, thread: GuestThread) -> None:
        """The host refused to make the thread: take its slot back, and the process if it was to be its first."""
        thread.abandon()
        thread.detach()
        if not self.threads and self.pid == 0:
            self.dead = True
            self.channel.users -= 1
            self.supervisor.forget(self)

    def kill_soon(self) -> None:
        """Its threads have their last orders; whoever has not followed them shortly is killed."""
        if not self.doomed:
            self.supervisor.scheduler.loop.call_later(LAST_ORDERS, self.kill)

    def _died(self) -> None:
        """The pidfd is readable: the process is a zombie, which the supervisor may now reap."""
        if not self.dead:
            self.resource_usage()
            self.supervisor.reap(self.pidfd)
            self.vanish()

    def vanish(self) -> None:
        """The process is gone. The only place that ends ``pid``'s validity."""
        if self.dead:
            return
        self.dead = True
        if self.pidfd >= 0:
            self.supervisor.scheduler.loop.remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1
        for thread in tuple(self.threads):
            thread.abandon()
            thread.detach()
        self.channel.users -= 1
        if self.channel.users == 0:
            self.channel.close()
        self.supervisor.forget(self)


def guest_of(thread: Thread, refusal: int) -> GuestThread:
    """The host side of ``thread``; the error ``refusal`` for a Python program, which has no memory of its own."""
    if not isinstance(thread.guest, GuestThread):
        raise SyscallError(refusal)
    return thread.guest


def _checked(result: int) -> int:
    """A host call's result; its error as ``SyscallError``."""
    if -4096 < result < 0:
        raise SyscallError(-result)
    return result


class GuestThread:
    """One host thread and its slot: submissions come from here, completions go back."""

    def __init__(self, submissions: Submissions, host: HostProcess, index: int) -> None:
        self.submissions = submissions
        self._scheduler: Scheduler = submissions.scheduler
        self.host = host
        self.channel = host.channel
        self.index = self.channel.allocate(index)
        self._memory = self.channel.memory
        self._base = index * shared.SLOT_SIZE
        self._entry_at = self._base + shared.SLOT_ENTRY
        self._places_at = self._base + shared.SLOT_PLACES
        self._window_at = self._base + shared.SLOT_WINDOW
        self._operations_at = self._base + shared.SLOT_OPERATIONS
        self._patience = self._base + shared.SLOT_PATIENCE
        self.strand: Strand | None = None  # what serves this thread, wherever it waits
        self._handle = submissions.watch(self, self._memory, index)
        host.threads.add(self)
        self._waiting: Strand | None = None
        self.arrived = False  # an entry waits to be taken
        self._gone = False
        self.in_guest = True  # no submission is being handled: only a kick reaches it
        self._ordered = False  # it has operations to carry out in the middle of a call
        self._operations = 0
        # How far the window is used: by the entry's bytes, as the guest says, and then by ours.
        self._window_used = 0
        self.on_kick: Callable[[], bool] | None = None

    # -- submissions ---------------------------------------------------------------

    def submitted(self) -> None:
        """The poller has found a new entry in the slot."""
        self.in_guest = False
        strand, self._waiting = self._waiting, None
        if strand is None:
            self.arrived = True
            if self._gone:
                self.host.greet_late()
            return
        strand.step()
        if not self.in_guest and not self._gone:
            # Not answered at once: the guest had better sleep, unless it is for a moment only.
            self._memory[self._patience] = shared.BRIEF if strand.brief else shared.SLEEP

    async def receive(self) -> tuple[int, ...]:
        """Wait for the next entry: (number, flags, user_data, six arguments).

        Raises ``GuestGone`` when the host process ends first.
        """
        if not self.arrived:
            await self.arrival()
        return self.take()

    def arrival(self) -> Awaitable[None]:
        """To be awaited while no entry has ``arrived``; then ``take`` it."""
        if self._gone:
            raise GuestGone
        self._waiting = strand = self._scheduler.current()
        suspension: Awaitable[None] = strand.suspend()
        return suspension

    def follows(self) -> bool:
        """Whether the thread, which has just been answered, has its next entry ready to ``take`` already."""
        if self.submissions.follows(self._handle):
            self.in_guest = False
            return True
        return False

    def take(self) -> tuple[int, ...]:
        """The entry that has arrived. The only place where it is read."""
        if self._gone:
            raise GuestGone
        self.arrived = False
        self._operations = 0
        entry = _unpack_entry(self._memory, self._entry_at)
        used = entry[1]
        self._window_used = used if used < _ENTRY_ROOM else _ENTRY_ROOM
        return entry

    def place(self, position: int) -> tuple[int, int]:
        """Where in the window the bytes of an argument are: offset and length, or one of PLACE_*."""
        return shared.PLACE.unpack_from(self._memory, self._places_at + 8 * position)

    def window(self, offset: int, size: int) -> bytes:
        """A copy of bytes that the shim has put into the window."""
        if self._gone:
            raise GuestGone
        if offset + size > shared.WINDOW_SIZE:
            raise SyscallError(errno.EFAULT)
        start = self._window_at + offset
        return self._memory[start : start + size]

    # -- completions ---------------------------------------------------------------

    def operation(self, code: int, *arguments: int) -> None:
        """Add an operation for the shim to the next completion."""
        if self._gone:
            raise GuestGone
        assert self._operations < shared.OPERATIONS, "too many operations in one completion"
        padded = arguments + (0,) * (7 - len(arguments))
        where = self._operations_at + self._operations * _OPERATION_SIZE
        shared.OPERATION.pack_into(self._memory, where, code, 0, *(value & (1 << 64) - 1 for value in padded))
        self._operations += 1

    async def clone(self, flags: int, index: int, stack: int, tls: int) -> int:
        """Have the host make a child that uses slot ``index``; 0, or the host's error as a negative number."""
        self.operation(shared.OP_CLONE, flags, index, stack, tls)
        self.operation(shared.OP_DROP)
        listener, tid = self.host.supervisor.listener, self.host_tid
        assert listener is not None, "no clone before the listener listens"
        if flags & _CLONE_VM:
            flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID  # the shim's, for its slot
        listener.expect(tid, flags)
        if not flags & _CLONE_THREAD:
            self.host.supervisor.strays.expect_hello()
        try:
            return await self.operate()
        finally:
            listener.settle(tid, flags)

    @property
    def host_tid(self) -> int:
        """The host's id of the thread, 0 when it is gone. Not to be trusted beyond its own process."""
        return (0 if self._gone else self.channel.host_tid(self.index)) or self.host.host_pid

    def reserve(self, data: bytes | bytearray | memoryview) -> int:
        """Put ``data`` into the window for an operation; its offset. The caller has looked whether it fits."""
        if self._gone:
            raise GuestGone
        offset = self._window_used
        end = offset + len(data)
        start = self._window_at
        self._memory[start + offset : start + end] = data
        self._window_used = (end + 15) & ~15
        return offset

    def copy_out(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Have ``data`` copied to ``address`` before the guest goes on: through the window if it is short."""
        size = len(data)
        if size == 0:
            return
        if address >> 63:
            raise SyscallError(errno.EFAULT)
        operations = self._operations
        if size > _WINDOW_COPY_MAX or self._window_used + size > _ENTRY_ROOM or operations >= _LAST_OPERATION:
            self.host.write(address, data)
        else:
            where = self._operations_at + operations * _OPERATION_SIZE
            _pack_copy(self._memory, where, _OP_COPY, 0, address, self.reserve(data), size)
            self._operations = operations + 1

    def complete(self, result: int, flags: int = 0) -> None:
        """Answer the entry; the operations added since it came run first."""
        if self._gone:
            return
        self.in_guest = True
        submissions = self.submissions
        lib.poller_complete(submissions.poller, self._handle, result, self._operations, flags)
        if not submissions.scheduled:
            submissions.schedule()

    async def operate(self) -> int:
        """Have the operations added so far run now, in the middle of a call; the last one's result or the error."""
        self._ordered = True
        try:
            self.complete(0, shared.CQ_CONTINUE | shared.CQ_RESULT)
            entry = await self.receive()
        finally:
            self._ordered = False
        if entry[0] != shared.NR_DONE:
            raise SyscallError(errno.EPROTO)
        return (entry[3] ^ 1 << 63) - (1 << 63)

    async def host_call(self, number: int, *arguments: int) -> int:
        """Have the guest make a host call that concerns its own memory alone; the result, or the host's error."""
        self.operation(shared.OP_CALL, number, *arguments)
        return _checked(await self.operate())

    async def map_descriptor(
        self, address: int, length: int, protection: int, flags: int, fd: int, offset: int, close: bool
    ) -> int:
        """mmap(2) of a host descriptor by the guest; the address. ``close``: ``fd`` is ours to close."""
        try:
            # One message at a time: whichever thread receives next would take this one.
            async with self.channel.descriptors.hold(self._scheduler):
                self.channel.send_descriptors([fd])
                self.operation(shared.OP_RECEIVE, 1)
                self.operation(shared.OP_MAP, _SYS_MMAP, address, length, protection, flags, 0, offset)
                self.operation(shared.OP_DROP)
                result = await self.operate()
                self.expect_taken()
        finally:
            if close:
                os.close(fd)
        return _checked(result)

    def expect_taken(self) -> None:
        """The guest has had its orders to take descriptors: one that left them lying is killed."""
        if not self._gone and not self.channel.descriptors_taken():
            log.warning("a guest (host process %d) does not take its descriptors: it is killed", self.host.pid)
            self.host.kill()
            raise GuestGone

    # -- attention -------------------------------------------------------------------

    def kick(self) -> None:
        """Make the thread enter the kernel soon if it is running guest code."""
        if self._gone or not self.in_guest:
            return
        if self.on_kick is not None and self.on_kick():
            return
        self.call_in()
        # Orders are carried out at once and then it comes in; a signal would only make the host repeat a clone.
        if self.host.host_pid and not self._ordered:
            lib.kick_thread(self.host.host_pid, self.host_tid, KICK_SIGNAL)

    def call_in(self) -> None:
        """Have the thread come in before it runs guest code again; without effect on what it runs now."""
        offset = self._base + shared.SLOT_KICK
        self._memory[offset : offset + 4] = shared.WORD.pack(1)

    def clear_kick(self) -> None:
        """The thread has come in."""
        offset = self._base + shared.SLOT_KICK
        self._memory[offset : offset + 4] = b"\0\0\0\0"

    def set_identity(self, *identity: int) -> None:
        """pid, tid, ppid, uid, euid, gid, egid: what the identity grant lets the shim answer."""
        if not self._gone:
            shared.IDENTITY.pack_into(self._memory, self._base + shared.SLOT_IDENTITY, *identity)

    def stack_pointer(self) -> int:
        """The guest's stack pointer at its present system call."""
        return 0 if self._gone else int(shared.STACK_POINTER.unpack_from(self._memory, self._base + shared.SLOT_RIP)[0])

    def cpu_times(self) -> tuple[int, int]:
        """User and system time in nanoseconds."""
        return hoststat.thread_times(self.host.host_pid, self.host_tid) if self.host.host_pid else (0, 0)

    def asleep(self) -> bool:
        """Whether it waits in a granted call: a sleep or a futex."""
        if self._gone or not self.in_guest or not hoststat.thread_sleeps(self.host.host_pid, self.host_tid):
            return False
        # It may wait for us: an entry that nobody has looked at yet.
        return not self._memory[self._base + shared.SLOT_WAITING]

    # -- the end -----------------------------------------------------------------------

    def abandon(self) -> None:
        """The host process ends: whoever waits for this thread gets ``GuestGone``."""
        if self._gone:
            return
        self._gone = True
        strand, self._waiting = self._waiting, None
        if strand is not None:
            strand.fail(GuestGone())
        elif self.strand is not None:
            self.strand.abort(GuestGone())

    @property
    def leads(self) -> bool:
        """Whether this is the first thread of its host process."""
        return not self._gone and self.channel.host_tid(self.index) in (0, self.host.pid)

    def detach(self, free: bool = True) -> None:
        """Let go of the slot: the host thread has been told to end, or its process has ended.

        ``free``: the slot may be used again once the host thread is gone.
        """
        if self in self.host.threads:
            self._gone = True
            self.host.threads.discard(self)
            self.submissions.forget(self._handle)
            if free:
                self.channel.release(self.index)
