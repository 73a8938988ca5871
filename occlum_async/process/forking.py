"""fork(2), vfork(2), clone(2) on the host's side: the child's channel, the host clone, the child's first steps."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..abi.errors import SyscallError
from ..abi.user import UserPointer
from ..sched.strand import CoroutineStrand
from . import cloning, dispatch
from .cloning import (
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_FILES,
    CLONE_FS,
    CLONE_PARENT,
    CLONE_PARENT_SETTID,
    CLONE_PIDFD,
    CLONE_SETTLS,
    CLONE_SIGHAND,
    CLONE_SYSVSEM,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
)  # fmt: skip
from .guest import GuestThread, HostProcess, guest_of
from .pidfd import PidFd

if TYPE_CHECKING:
    from .kernel import Kernel
    from .thread import Thread

HOST_THREAD_FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM


async def clone(
    thread: Thread, flags: int, exit_signal: int, stack: int, tls: int, parent_tid: UserPointer, child_tid: UserPointer,
    pidfd: UserPointer,
) -> int:  # fmt: skip
    """Make a thread or a process; its tid. EINVAL, EAGAIN as clone(2)."""
    parent = guest_of(thread, errno.ENOSYS)
    child = cloning.clone(thread, flags, exit_signal)
    tid = child.tid
    try:
        if flags & CLONE_PARENT_SETTID:
            parent_tid.write(tid.to_bytes(4, "little"))
        if flags & CLONE_PIDFD:
            fd = thread.files.install(PidFd(child.process), cloexec=True)
            pidfd.write(fd.to_bytes(4, "little"))
        if flags & CLONE_CHILD_CLEARTID:
            child.clear_child_tid = child_tid.address
        if flags & CLONE_VM:
            await _share(thread, parent, child, flags, stack, tls, child_tid.address)
        else:
            await _copy(thread, parent, child, flags, stack, tls, child_tid.address)
    except BaseException:  # also when the parent is killed meanwhile
        if child.strand is None:
            cloning.abandon(child)
        raise
    return tid


async def _copy(
    thread: Thread, parent: GuestThread, child: Thread, flags: int, stack: int, tls: int, child_tid: int
) -> None:
    """A process of its own: the host forks, so memory is copied on write."""
    supervisor = parent.host.supervisor
    host_flags = CLONE_PARENT | (flags & CLONE_SETTLS)
    guest = await supervisor.fork(parent, host_flags, stack, tls)
    parent.host.layout_to(guest.host)
    _start(child, guest, child_tid if flags & CLONE_CHILD_SETTID else 0, True)


async def _share(
    thread: Thread, parent: GuestThread, child: Thread, flags: int, stack: int, tls: int, child_tid: int
) -> None:
    """A thread, or (vfork) a process that borrows its parent's memory until it executes a program."""
    parent.host.admit_thread()
    index = parent.channel.allocate()
    if flags & CLONE_THREAD:
        host, host_flags = parent.host, HOST_THREAD_FLAGS
    else:
        host = HostProcess(parent.host.supervisor, parent.channel)
        parent.host.layout_to(host)
        host_flags = CLONE_VM | CLONE_FILES | CLONE_PARENT | (flags & CLONE_VFORK)
    guest = GuestThread(parent.submissions, host, index)
    _start(child, guest, child_tid if flags & CLONE_CHILD_SETTID else 0, not flags & CLONE_THREAD)
    # With CLONE_VFORK the host keeps the parent until the child has let go of the memory.
    result = await parent.clone(host_flags | (flags & CLONE_SETTLS), index, stack, tls)
    if result < 0:
        host.discard(guest)
        raise SyscallError(-result)


def _start(child: Thread, guest: GuestThread, child_tid: int, new_process: bool) -> None:
    """Give ``child`` its life: it begins with the hello of its host thread."""

    async def hello() -> int:
        await guest.receive()
        if new_process:
            guest.host.greet()
        if child_tid:
            guest.copy_out(child_tid, child.tid.to_bytes(4, "little"))
        return 0

    kernel: Kernel = child.kernel
    child.guest = guest
    if new_process:
        child.process.memory = guest.host
    publish_identity(child)
    strand = CoroutineStrand(kernel.scheduler, dispatch.live(child, kernel.calls, hello))
    child.strand = guest.strand = strand
    guest.on_kick = dying_kick(child, guest)
    strand.start()


def publish_identity(thread: Thread) -> None:
    """Write what the identity grant lets the shim answer."""
    thread.publish_identity()


def dying_kick(thread: Thread, guest: GuestThread):  # type: ignore[no-untyped-def]
    """What a kick does to a thread that must end: no cooperation of the guest's is needed for that."""

    def on_kick() -> bool:
        if thread.process.exiting and not dispatch.has_duties(thread, guest):
            guest.host.kill()
            return True
        if thread.process.exiting:
            guest.host.kill_soon()
        return False

    return on_kick
