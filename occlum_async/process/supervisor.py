"""The host side's root: the supervisor process, the zygote that all guests are forks of, and a pool of ready stubs."""

from __future__ import annotations

import array
import errno
import logging
import os
import resource
import signal
import socket
import subprocess
from collections import deque
from contextlib import suppress

from .._native import shim_path
from ..abi import shared
from ..abi.errors import SyscallError
from ..errors import HostUnsupported
from ..sched.mutex import Mutex
from ..sched.strand import Scheduler
from . import hoststat
from .channel import Channel
from .guest import SCRATCH, GuestGone, GuestThread, HostProcess, allocate
from .listener import CloneListener
from .naming import MappedFiles
from .strays import Strays
from .submissions import Submissions

log = logging.getLogger(__name__)

POOL = 2  # stubs kept ready for exec
FILES_EACH = 3  # descriptors that a guest costs the kernel: guests together get half of what it may open
GUEST_FILES = 32  # descriptors that a guest may have: it has two, and some for a moment
START_TIMEOUT = 10.0
CLONE_PARENT = 0x8000
_SECCOMP_FAILED = 108  # the zygote's exit status, see native/shim/guest.c
_CLOSE, _MUNMAP = 3, 11
_MMAP, _PROT_NONE, _MAP_PRIVATE_ANONYMOUS = 9, 0, 0x22


class Supervisor:
    """Starts the host processes of one LibOS, and ends them all."""

    def __init__(self, scheduler: Scheduler, submissions: Submissions) -> None:
        self.scheduler = scheduler
        self.submissions = submissions
        self.hosts: set[HostProcess] = set()
        self.names = MappedFiles()
        self.map_top = 0  # below here the host maps what has no address
        self.vdso = 0
        self._pool: deque[GuestThread] = deque()
        self._refilling = False
        self.listener: CloneListener | None = None
        self._zygote_mutex = Mutex()
        self._watch = -1  # the supervisor's pidfd
        self._closed = False
        self.strays = Strays(self)
        self.scratch = allocate("char[]", SCRATCH)  # used within one call, see ``HostProcess.read_some``

    async def start(self) -> None:
        """Start the supervisor and the zygote. ``HostUnsupported`` when this host can't run guests."""
        channel = Channel()
        host = HostProcess(self, channel)
        # Before anybody can submit: what comes earlier than the watch is not seen.
        self._zygote = GuestThread(self.submissions, host, 0)
        self._spawn(channel)
        timer = self.scheduler.loop.call_later(START_TIMEOUT, self._zygote.abandon)
        try:
            entry = await self._zygote.receive()
            host.greet()
            self.listener = CloneListener(self.scheduler, host.pidfd, entry[3])
        except (SyscallError, GuestGone, OSError) as error:
            self._kill_group()
            reason = str(error) or f"no answer; the supervisor's status is {self._process.wait()}"
            raise HostUnsupported(
                f"the first guest did not start ({reason}): does this host allow seccomp filters with a listener, "
                "pidfd_getfd and process_vm_readv?",
                "run `python -m occlum_async check`",
            ) from None
        finally:
            timer.cancel()
        channel.handed_over()
        self._watch = os.pidfd_open(self._process.pid)
        self.scheduler.loop.add_reader(self._watch, self._lost)
        # A guest that held the listener could agree to its own clones.
        self._zygote.operation(shared.OP_CALL, _CLOSE, entry[3])
        if await self._zygote.operate():
            raise HostUnsupported("the zygote keeps its listener")
        await self._measure(host.pid)
        if not self.apart:
            log.info("this host allows no namespaces: the guests are held by their filter alone")
        self._refill()

    def _lost(self) -> None:
        """The supervisor has died, and not by us: now nobody would end the guests if the kernel died. So they end."""
        self.scheduler.loop.remove_reader(self._watch)
        log.error("the supervisor (host process %d) was killed: all guests end with it", self._process.pid)
        self._kill_group()

    def _kill_group(self) -> None:
        """Kill the supervisor, and first the zygote: without its parent nobody would end it."""
        with suppress(ProcessLookupError):  # there is no group yet, and so no zygote
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def _spawn(self, channel: Channel) -> None:
        """Start the supervisor and send it the zygote's descriptors."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._process = subprocess.Popen(
            [_executable()], stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=dict[str, str](), cwd="/",
        )  # fmt: skip
        theirs.close()
        resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (GUEST_FILES, GUEST_FILES))
        resource.prlimit(self._process.pid, resource.RLIMIT_CORE, (0, 0))  # a guest's memory is not the host's to keep
        page = self.submissions.read_only_page()
        self._send([self.submissions.doorbell, channel.fd, channel.guest_socket.fileno(), page])
        os.close(page)

    def _send(self, fds: list[int]) -> None:
        self._control.sendmsg([b"s"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])

    async def _measure(self, pid: int) -> None:
        """Learn where the host maps things in the zygote, and so in every guest."""
        for mapping in hoststat.mappings(pid):
            if mapping.path == b"[vdso]":
                self.vdso = mapping.start
        self._zygote.operation(shared.OP_CALL, _MMAP, 0, 4096, _PROT_NONE, _MAP_PRIVATE_ANONYMOUS, -1, 0)
        self.map_top = await self._zygote.operate() + 4096
        self._zygote.operation(shared.OP_CALL, _MUNMAP, self.map_top - 4096, 4096)  # munmap

    @property
    def apart(self) -> bool:
        """Whether the guests live in namespaces of their own, without network and files; not every host allows it."""
        own, theirs = (os.stat(f"/proc/{pid}/ns/net").st_ino for pid in ("self", self._process.pid))
        return own != theirs

    @property
    def pid(self) -> int:
        """The supervisor's own."""
        return self._process.pid

    def is_parent_of(self, pid: int) -> bool:
        """Whether ``pid`` is a guest of ours: every guest is the supervisor's child."""
        return bool(hoststat.parent_of(pid) == self.pid)

    # -- stubs -------------------------------------------------------------------

    async def take_stub(self) -> GuestThread:
        """A fresh host process that waits for its program: it has a pending entry, so operations can be sent."""
        while self._pool:
            stub = self._pool.popleft()
            self._refill()
            if not stub.host.dead:
                return stub
        stub = await self._make_stub()
        self._refill()
        return stub

    async def _make_stub(self) -> GuestThread:
        async with self._zygote_mutex.hold(self.scheduler):
            stub = await self.fork(self._zygote, CLONE_PARENT, 0, 0)
        await stub.receive()
        stub.host.greet()
        return stub

    def _refill(self) -> None:
        if not self._refilling:
            self._refilling = True
            self.scheduler.spawn(self._fill_pool())

    async def _fill_pool(self) -> None:
        try:
            while len(self._pool) < POOL and not self._closed:
                self._pool.append(await self._make_stub())
        except (SyscallError, GuestGone, OSError) as error:
            if not self._closed:
                log.warning("could not prepare a host process: %s", error)
        finally:
            self._refilling = False

    async def fork(self, parent: GuestThread, flags: int, stack: int, tls: int) -> GuestThread:
        """Fork ``parent``'s host process (``flags`` without CLONE_VM). The child's first entry is its hello.

        Raises ``SyscallError`` when the host refuses.
        """
        try:
            if len(self.hosts) * FILES_EACH > resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:
                raise SyscallError(errno.EAGAIN)
            channel = Channel()
        except OSError:
            raise SyscallError(errno.EAGAIN) from None
        host = HostProcess(self, channel)
        child = GuestThread(self.submissions, host, parent.index)
        try:
            async with parent.channel.descriptors.hold(self.scheduler):
                parent.channel.send_descriptors([channel.fd, channel.guest_socket.fileno()])
                parent.operation(shared.OP_RECEIVE, 2)
                result = await parent.clone(flags, parent.index, stack, tls)
                parent.expect_taken()
            if result < 0:
                raise SyscallError(-result)
        except BaseException:
            host.vanish()
            raise
        channel.handed_over()
        return child

    # -- the end -----------------------------------------------------------------

    def reap(self, pidfd: int) -> None:
        """Let the supervisor wait for a guest that has ended."""
        with suppress(OSError):
            self._send([pidfd])

    def forget(self, host: HostProcess) -> None:
        """``host`` is gone."""
        self.hosts.discard(host)

    def close(self) -> None:
        """End every guest: the supervisor kills its process group when its control socket closes."""
        self._closed = True
        self.strays.close()
        if self._watch >= 0:
            self.scheduler.loop.remove_reader(self._watch)
            os.close(self._watch)
        for host in tuple(self.hosts):
            host.doomed = True
        self._control.close()
        self._process.wait()
        for host in tuple(self.hosts):
            host.vanish()
        if self.listener is not None:
            self.listener.close()


def _executable() -> str:
    """The shim's file; ``HostUnsupported`` when the package was not built."""
    file = shim_path()
    if not os.access(file, os.X_OK):
        raise HostUnsupported(f"{file} is missing or not executable", "build it: `pip install .` needs gcc")
    return file
