"""Births, deaths, waits, groups and sessions."""

from __future__ import annotations

import asyncio
import errno

import pytest

from occlum_async.abi import signals as abi
from occlum_async.abi.errors import SyscallError
from occlum_async.process import cloning, sending, sessions
from occlum_async.process.kernel import Kernel
from occlum_async.process.limits import RLIMIT_NPROC
from occlum_async.process.pidfd import PidFd
from occlum_async.process.siginfo import SigInfo
from occlum_async.process.signals import SigAction, Stop, Terminate
from occlum_async.process.thread import Thread
from occlum_async.process.wait import WCONTINUED, WEXITED, WNOHANG, WNOTHREAD, WNOWAIT, WUNTRACED

from .conftest import call, spawn


def fork(thread: Thread, flags: int = 0) -> Thread:
    return cloning.clone(thread, flags, abi.SIGCHLD)


def die(thread: Thread, status: int = 0) -> None:
    thread.process.exit(status)
    thread.exit()


async def wait(thread: Thread, pid: int = -1, options: int = 0) -> tuple[int, int]:
    status = bytearray(4)
    found = await call(thread, "wait4", pid, status, options, None)
    return found, int.from_bytes(status, "little")


async def test_fork_copies_and_forgets(thread: Thread) -> None:
    thread.process.dispositions[abi.SIGUSR1] = SigAction(0x1000)
    thread.set_blocked(abi.sigset(abi.SIGUSR2))
    thread.parent_death_signal = 9
    sending.send_to_process(thread.process, SigInfo.kernel(abi.SIGUSR2))
    child = fork(thread)
    assert child.process.parent is thread.process and child.process.group is thread.process.group
    assert child.process.dispositions[abi.SIGUSR1].handler == 0x1000
    assert child.process.dispositions is not thread.process.dispositions
    assert child.files is not thread.files and child.files.users == 1
    assert child.signals.blocked == abi.sigset(abi.SIGUSR2)
    assert child.pending_mask == 0 and child.parent_death_signal == 0


async def test_clone_flags(thread: Thread) -> None:
    member = fork(thread, 0x10F00)  # CLONE_THREAD and what it needs
    assert member.process is thread.process and thread.files.users == 2 and thread.fs.users == 2
    for flags in (0x10000, 0x10800, 0x800, 1 << 29, 0x8000):
        with pytest.raises(SyscallError) as caught:
            fork(thread, flags)
        assert caught.value.errno == errno.EINVAL
    member.exit()
    assert thread.files.users == 1 and not thread.process.zombie


async def test_limits_of_tasks(kernel: Kernel, thread: Thread) -> None:
    children = []
    with pytest.raises(SyscallError) as caught:
        while True:
            children.append(fork(thread))
    assert caught.value.errno == errno.EAGAIN and kernel.processes.tasks == kernel.config.pids
    for child in children:
        die(child)
    with pytest.raises(SyscallError):
        fork(thread)  # zombies count
    await wait(thread)
    fork(thread)
    user = spawn_user(kernel, thread)
    user.process.limits.set(RLIMIT_NPROC, 1, 1, True)
    with pytest.raises(SyscallError):
        fork(user)


def spawn_user(kernel: Kernel, thread: Thread) -> Thread:
    for child in list(thread.process.children.values()):
        if child.zombie:
            child.reap()
    return spawn(kernel, uid=1000)


async def test_abandoned_children_leave_no_trace(kernel: Kernel, thread: Thread) -> None:
    tasks, account = kernel.processes.tasks, kernel.accounts.get(0).threads
    for flags in (0, 0x10F00):
        cloning.abandon(fork(thread, flags))
    assert kernel.processes.tasks == tasks and kernel.accounts.get(0).threads == account
    assert not thread.process.children and list(thread.process.threads) == [thread.tid]


async def test_wait_reports_each_change_once(thread: Thread) -> None:
    thread.set_blocked(abi.sigset(abi.SIGCHLD))
    child = fork(thread)
    pid = child.process.pid
    assert await wait(thread, options=WNOHANG) == (0, 0)
    sending.send_to_process(child.process, SigInfo.kernel(abi.SIGSTOP))
    assert isinstance(child.next_delivery(), Stop)
    info = thread.take_pending(abi.sigset(abi.SIGCHLD))
    assert info is not None and (info.code, info.pid, info.status) == (abi.CLD_STOPPED, pid, abi.SIGSTOP)
    assert await wait(thread, options=WNOHANG) == (0, 0)
    assert await wait(thread, options=WUNTRACED) == (pid, abi.stopped(abi.SIGSTOP))
    assert await wait(thread, options=WUNTRACED | WNOHANG) == (0, 0)
    sending.send_to_process(child.process, SigInfo.kernel(abi.SIGCONT))
    assert await wait(thread, options=WCONTINUED) == (pid, abi.CONTINUED)
    die(child, abi.exited(7))
    info_bytes = bytearray(128)
    await call(thread, "waitid", 1, pid, info_bytes, WEXITED | WNOWAIT, None)
    found = SigInfo.unpack(bytes(info_bytes))
    assert (found.signo, found.code, found.pid, found.status) == (abi.SIGCHLD, abi.CLD_EXITED, pid, 7)
    assert await wait(thread, pid) == (pid, 7 << 8)
    with pytest.raises(ChildProcessError):
        await wait(thread)


async def test_wait_blocks_until_a_child_dies(thread: Thread) -> None:
    child = fork(thread)
    waiting = asyncio.ensure_future(wait(thread, child.process.pid))
    await asyncio.sleep(0)
    assert not waiting.done()
    sending.send_to_process(child.process, SigInfo.kernel(abi.SIGKILL))
    assert isinstance(child.next_delivery(), Terminate)
    child.exit()
    assert await waiting == (child.process.pid, abi.SIGKILL)


async def test_wait_selectors(thread: Thread) -> None:
    first, second = fork(thread), fork(thread)
    await call(thread, "setpgid", second.process.pid, 0)
    clone_child = cloning.clone(thread, 0, 0)
    for child in (first, second, clone_child):
        die(child)
    assert await wait(thread, -second.process.pid) == (second.process.pid, 0)
    assert await wait(thread, 0) == (first.process.pid, 0)
    with pytest.raises(ChildProcessError):
        await wait(thread)
    assert await wait(thread, options=0x80000000) == (clone_child.process.pid, 0)
    member = fork(thread, 0x10F00)
    fork(member)
    with pytest.raises(ChildProcessError):
        await wait(thread, options=WNOTHREAD | WNOHANG)
    for options in (0x10, WNOWAIT):
        with pytest.raises(OSError) as caught:
            await wait(thread, options=options)
        assert caught.value.errno == errno.EINVAL


async def test_ignoring_sigchld_reaps(kernel: Kernel, thread: Thread) -> None:
    thread.process.dispositions[abi.SIGCHLD] = SigAction(abi.SIG_IGN)
    child = fork(thread)
    waiting = asyncio.ensure_future(wait(thread))
    await asyncio.sleep(0)
    die(child)
    with pytest.raises(ChildProcessError):
        await waiting
    assert kernel.processes.get(child.process.pid) is None


async def test_orphans_go_to_the_subreaper_or_init(kernel: Kernel, thread: Thread) -> None:
    await call(thread, "prctl", 36, 1, 0, 0, 0)
    child = fork(thread)
    grandchild, zombie = fork(child), fork(child)
    grandchild.parent_death_signal = abi.SIGUSR1
    grandchild.set_blocked(abi.sigset(abi.SIGUSR1))
    die(zombie)
    die(child)
    assert grandchild.process.parent is thread.process
    assert grandchild.has_pending(abi.sigset(abi.SIGUSR1))
    assert {(await wait(thread))[0], (await wait(thread))[0]} == {child.process.pid, zombie.process.pid}
    die(thread)
    assert grandchild.process.parent is kernel.init
    pid = grandchild.process.pid
    die(grandchild)
    assert kernel.processes.get(pid) is None and kernel.processes.get(thread.process.pid) is None


async def test_the_last_thread_ends_the_process(thread: Thread) -> None:
    child = fork(thread)
    member = fork(child, 0x10F00)
    child.exit(abi.exited(3))
    assert not child.process.zombie
    member.exit(abi.exited(4))
    assert child.process.zombie and child.process.wait_status == abi.exited(3)


async def test_exec_by_another_thread_takes_the_pid(kernel: Kernel, thread: Thread) -> None:
    child = fork(thread)
    member = fork(child, 0x10F00)
    process, tasks = child.process, kernel.processes.tasks
    process.dispositions[abi.SIGUSR1] = SigAction(0x1000)
    process.dispositions[abi.SIGUSR2] = SigAction(abi.SIG_IGN)
    alone = asyncio.ensure_future(process.become_single_threaded(member))
    await asyncio.sleep(0)
    assert isinstance(child.next_delivery(), Terminate)
    child.exit()
    await alone
    cloning.enter_program(member, b"a-name-that-is-too-long")
    assert member.tid == process.pid and process.leader is member and kernel.processes.tasks == tasks - 1
    assert member.name == b"a-name-that-is-"
    assert process.dispositions[abi.SIGUSR1].handler == abi.SIG_DFL
    assert process.dispositions[abi.SIGUSR2].handler == abi.SIG_IGN
    with pytest.raises(PermissionError) as caught:
        await call(thread, "setpgid", process.pid, 0)
    assert caught.value.errno == errno.EACCES


async def test_sessions_and_groups(kernel: Kernel, thread: Thread) -> None:
    with pytest.raises(PermissionError):
        await call(thread, "setsid")
    child = fork(thread)
    assert await call(child, "setsid") == child.process.pid
    with pytest.raises(PermissionError):
        await call(thread, "setpgid", child.process.pid, 0)
    with pytest.raises(PermissionError):
        await call(child, "setpgid", 0, thread.process.pid)
    with pytest.raises(ProcessLookupError):
        await call(child, "setpgid", thread.process.pid, 0)
    grandchild = fork(child)
    await call(grandchild, "setpgid", 0, 0)
    await call(child, "setpgid", grandchild.process.pid, child.process.pid)
    assert grandchild.process.group is child.process.group
    assert grandchild.process.pid not in kernel.processes.groups
    die(grandchild)
    die(child)
    await wait(thread)
    assert child.process.pid not in kernel.processes.sessions


async def test_stopped_orphans_are_hung_up_on(thread: Thread) -> None:
    shell = fork(thread)
    sessions.new_session(shell.process)
    job = fork(shell)
    await call(shell, "setpgid", job.process.pid, 0)
    sending.send_to_process(job.process, SigInfo.kernel(abi.SIGTSTP))
    assert isinstance(job.next_delivery(), Stop)
    die(shell)
    assert not job.process.stopped
    assert job.next_delivery() == Terminate(abi.SIGHUP)


class FakeTerminal:
    hung_up = False

    def hangup(self, leader_exits: bool = False) -> None:
        self.hung_up = leader_exits


async def test_a_leader_takes_its_terminal_along(thread: Thread) -> None:
    terminal = FakeTerminal()
    thread.process.session.terminal = terminal
    die(fork(thread))
    assert not terminal.hung_up
    die(thread)
    assert terminal.hung_up


async def test_pidfd(thread: Thread) -> None:
    child = fork(thread)
    fd = await call(thread, "pidfd_open", child.process.pid, 0)
    file = thread.files.get(fd)
    assert isinstance(file, PidFd) and thread.files.cloexec(fd) and file.poll() == 0
    with pytest.raises(OSError) as caught:
        await call(thread, "pidfd_open", child.process.pid, 1)
    assert caught.value.errno == errno.EINVAL
    woken: list[int] = []
    file.waiters.add(woken.append)
    await call(thread, "pidfd_send_signal", fd, abi.SIGKILL, None, 0)
    child.exit()
    assert woken and file.poll()
    info = bytearray(128)
    await call(thread, "waitid", 3, fd, info, WEXITED, None)
    assert SigInfo.unpack(bytes(info)).pid == child.process.pid
    with pytest.raises(ProcessLookupError):
        await call(thread, "pidfd_send_signal", fd, 0, None, 0)
    thread.files.close(fd)


async def test_pids_are_not_reused_while_a_group_bears_them(kernel: Kernel, thread: Thread) -> None:
    leader = fork(thread)
    await call(leader, "setpgid", 0, 0)
    member = fork(leader)
    die(leader)
    await wait(thread)
    kernel.processes.last_pid = leader.process.pid - 1
    assert fork(thread).process.pid != leader.process.pid
    assert member.process.group.pgid == leader.process.pid


class FakeHost:
    """A host thread that remembers what it was told to answer."""

    identity: tuple[int, ...] = ()

    def kick(self) -> None:
        pass

    def cpu_times(self) -> tuple[int, int]:
        return 0, 0

    def stack_pointer(self) -> int:
        return 0

    def set_identity(self, *identity: int) -> None:
        self.identity = identity


async def test_the_identity_grant_hears_of_changes(thread: Thread) -> None:
    child = fork(thread)
    orphan = fork(child)
    host = FakeHost()
    orphan.guest = host
    pid = orphan.process.pid
    await call(orphan, "setresuid", 7, 8, 0xFFFFFFFF)
    assert host.identity == (pid, pid, child.process.pid, 7, 8, 0, 0)
    die(child)
    assert host.identity == (pid, pid, 1, 7, 8, 0, 0)
