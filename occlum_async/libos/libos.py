"""``LibOS``: a library OS as an async context manager."""

from __future__ import annotations

import asyncio
import errno
import os
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, TypeVar

from ..abi.errors import SyscallError
from ..abi.signals import SIGKILL
from ..errors import ConfigError, LibOSError, ProgramNotExecutable, ProgramNotFound
from ..fs import namei
from ..fs.access import FileAccess
from ..fs.context import FsContext
from ..fs.dentry import Location
from ..fs.fdtable import FdTable
from ..fs.opening import open_path
from ..io.boundary.options import DEFAULT, RingOptions
from ..io.file import File
from ..io.hoststream import HostStream
from ..io.pipe import make_pipe
from ..io.sockets.policy import Verdict
from ..io.tty.console import Console
from ..process import cloning, dispatch, execute, sending
from ..process.guest import GuestThread
from ..process.kernel import Config, Kernel
from ..process.memorylimit import MemoryWatch
from ..process.program import Main
from ..process.siginfo import SigInfo
from ..process.table import MAX_TASKS
from ..process.thread import Thread
from ..sched.strand import CoroutineStrand
from ..sizes import parse_size
from .accounts import find_user
from .boot import Machine, boot
from .embedded import Process, ReadStream, WriteStream
from .mounts import Bind, Mount, Tmpfs
from .network import NetworkSpec
from .rootfs import RootSpec
from .terminal import QueueDriver, TerminalInput

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SIZE = (24, 80)  # of a terminal
MEMORY_MINIMUM = 16 << 20
GRACE = 2.0  # seconds that programs have to end when the LibOS closes
Stdio = int | IO[Any] | None
M = TypeVar("M", bound=Main)


class LibOS:
    """One LibOS: its own processes, files, users and limits.

    ``rootfs``: a host folder that becomes /, read-only under a layer in memory (``rw``: written to itself); without it
    the host's programs are shown, read-only. ``binds`` and ``tmpfs`` mount more. ``env`` is every program's environment
    on top of a PATH and its user's HOME. ``memory`` (bytes, or "512m") bounds guests and files in memory together,
    ``pids`` the number of tasks. ``user`` is "name", "uid" or "uid:gid" of spawned programs, root by default.
    ``boundary``: "uring", "ocall" or "auto"; ``exit_cost`` cycles are spent at each of its exits, to model an enclave
    (SGX: 8000); ``ring`` lays the io_urings out. ``grants=False`` is the strict mode. ``limits`` maps RLIMIT_* numbers
    to (soft, hard). ``network`` is "private" (loopback inside, and the ports of ``publish``, like "8080:80"), "none" or
    "host"; ``allow`` and ``deny`` are rules like "10.0.0.0/8" or "example.org:443", and ``on_connect`` and ``on_bind``
    are asked, with the address, the port and "tcp" or "udp", whether a program may; they may be coroutines.
    Raises ``ConfigError`` and ``HostUnsupported`` on entering.
    """

    def __init__(
        self,
        rootfs: str | os.PathLike[str] | None = None,
        *,
        rw: bool = False,
        read_only: bool = False,
        binds: Sequence[Bind] = (),
        tmpfs: Mapping[str, int | None] | None = None,
        mounts: Sequence[Mount] = (),
        env: Mapping[str, str] | None = None,
        memory: int | str = "1g",
        pids: int = MAX_TASKS,
        user: str = "0:0",
        hostname: str = "libos",
        boundary: str = "auto",
        exit_cost: int = 0,
        ring: RingOptions = DEFAULT,
        grants: bool = True,
        limits: Mapping[int, tuple[int, int]] | None = None,
        network: str = "private",
        publish: Sequence[str] = (),
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        on_connect: Verdict | None = None,
        on_bind: Verdict | None = None,
    ) -> None:
        size = parse_size(memory, "memory", MEMORY_MINIMUM)
        self._config = Config(
            hostname=hostname, memory=size, pids=pids, grants=grants, boundary=boundary, exit_cost=exit_cost, ring=ring
        )
        root = None if rootfs is None else os.fspath(rootfs)
        wanted = (*binds, *(Tmpfs(path, limit) for path, limit in (tmpfs or {}).items()), *mounts)
        self._spec = RootSpec(root, rw, read_only, wanted, size, hostname, user)
        self._network = NetworkSpec(network, tuple(publish), tuple(allow), tuple(deny), on_connect, on_bind)
        self._network.check()
        self._env = dict(env or {})
        self._user = user
        self._limits = dict(limits or {})
        self._machine: Machine | None = None
        self._programs: dict[str, Location] = {}
        self._pending_programs: dict[str, Main] = {}
        self._installing: list[asyncio.Task[None]] = []
        self._starting: set[asyncio.Task[Process]] = set()
        self._watch: MemoryWatch | None = None

    # -- life ----------------------------------------------------------------------

    async def __aenter__(self) -> LibOS:
        machine = await boot(self._config, self._spec, self._network)
        self._machine = machine
        self.fs = FileAccess(machine.kernel.mounts, machine.kernel.scheduler)
        self._watch = MemoryWatch(machine.kernel)
        try:
            self._account = await find_user(self.fs, self._user)
            for path, main in self._pending_programs.items():
                await self.install_program(path, main)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every program and let go of everything. Harmless when done twice."""
        machine, self._machine = self._machine, None
        if machine is None:
            return
        if self._watch is not None:
            self._watch.close()
        if self._starting:
            await asyncio.wait(self._starting, timeout=GRACE)
        await _end_all(machine.kernel)
        await machine.shut_down()

    @property
    def kernel(self) -> Any:
        """The kernel object, for those who extend the LibOS."""
        return self._booted().kernel

    @property
    def published(self) -> list[tuple[int, int]]:
        """The ports of the host that lead inside, and where: (port of the host, port inside)."""
        outside = self._booted().kernel.network.outside
        return [(one.port, one.inside) for one in getattr(outside, "published", ())]

    def _booted(self) -> Machine:
        if self._machine is None:
            raise LibOSError("the LibOS is not running", "use it inside `async with LibOS(...)`")
        return self._machine

    def stats(self) -> dict[str, Any]:
        """What happened so far: system calls by name, what was not supported, exits and bytes of the boundary."""
        kernel = self._booted().kernel
        return {
            "syscalls": {call.name: call.count for call in kernel.calls.values() if call.count},
            "unsupported": dict(kernel.stats.unsupported),
            "oopses": kernel.stats.oopses,
            "boundary": {"kind": kernel.boundary.name, **kernel.boundary.counters.snapshot()},
            "network": {"refused": sum(kernel.policy.refused.values())},
            "processes": len(list(kernel.processes)),
            "memory": kernel.memory_in_use(),
            "page cache": kernel.disks.statistics(),
        }

    # -- Python programs -------------------------------------------------------------

    def program(self, path: str) -> Callable[[M], M]:
        """Decorator: let ``async def main(sys, argv, env)`` be the program at ``path``, for every process inside.

        Inside a running LibOS the file is there for whatever is spawned next, and tells of a failure there; use
        ``install_program`` to wait for it.
        """

        def register(main: M) -> M:
            self._pending_programs[path] = main
            if self._machine is not None:
                self._installing.append(asyncio.ensure_future(self.install_program(path, main)))
            return main

        return register

    async def install_program(self, path: str, main: Main) -> None:
        """Put a Python program at ``path``, in place of what was there."""
        kernel = self._booted().kernel
        await self.fs.write_bytes(path, b"")
        await self.fs.chmod(path, 0o755)
        location = await namei.resolve(kernel.mounts.boot_caller(kernel.scheduler), os.fsencode(path))
        location.inode.attached["program"] = main
        self._programs[path] = location

    # -- programs --------------------------------------------------------------------

    async def spawn(
        self,
        program: str,
        *arguments: str,
        stdin: Stdio = None,
        stdout: Stdio = None,
        stderr: Stdio = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        tty: bool | tuple[int, int] = False,
    ) -> Process:
        """Start a program; as ``asyncio.create_subprocess_exec``.

        The streams are ``PIPE``, ``DEVNULL``, ``STDOUT`` (for ``stderr``), a host descriptor or file, or None for the
        embedder's own. With ``tty`` (True, or rows and columns) all three are a terminal, whose other side are
        ``Process.stdin`` and ``Process.stdout``. ``program`` is searched for in PATH if it has no slash. ``env`` is
        added to the LibOS's. Raises ``ProgramNotFound``, ``ProgramNotExecutable``, ``ConfigError``.
        """
        self._booted()
        starting = asyncio.ensure_future(
            self._start(program, arguments, stdin, stdout, stderr, cwd, dict(env or {}), user, tty)
        )
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        try:
            # Half a start can't be taken back: whoever is cancelled leaves a program that is killed when it runs.
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_abandon)
            raise

    async def _start(
        self,
        program: str,
        arguments: Sequence[str],
        stdin: Stdio,
        stdout: Stdio,
        stderr: Stdio,
        cwd: str | None,
        env: Mapping[str, str],
        user: str | None,
        tty: bool | tuple[int, int],
    ) -> Process:
        kernel = self._booted().kernel
        await self._await_programs()
        account = self._account if user is None else await find_user(self.fs, user)
        environment = {"PATH": PATH, "HOME": account.home, **self._env, **env}
        context = FsContext(kernel.mounts.root_location())
        words = [_c_string(word) for word in (program, *arguments)]
        variables = [_c_string(f"{name}={value}") for name, value in environment.items()]
        try:
            thread = kernel.create_process(words[0], account.credentials, FdTable(), context)
        except SyscallError as error:
            raise _spawn_error(program, error) from None
        for resource, pair in self._limits.items():
            thread.process.limits.set(resource, *pair, privileged=True)
        try:
            if cwd is not None:
                context.cwd = await self._directory(thread, cwd)
            location, filename = await _find_program(thread, program, environment["PATH"])
            streams = _Streams(kernel, thread)
            await streams.connect(stdin, stdout, stderr, tty)
            await _start(thread, location, filename, words, variables)
        except SyscallError as error:
            cloning.abandon(thread)
            raise _spawn_error(program, error) from None
        except BaseException:
            cloning.abandon(thread)
            raise
        return streams.process()

    async def _await_programs(self) -> None:
        while self._installing:
            await self._installing.pop()

    @staticmethod
    async def _directory(thread: Thread, path: str) -> Location:
        try:
            location = await namei.resolve(thread, os.fsencode(path))
        except SyscallError as error:
            raise ConfigError(f"working directory {path}: {os.strerror(error.errno)}") from None
        if not location.inode.is_dir:
            raise ConfigError(f"working directory {path}: not a directory")
        return location


async def _end_all(kernel: Kernel) -> None:
    """Kill every process and give each its turn to end; whoever has not by then ends with the host processes."""
    for process in list(kernel.processes):
        if not process.is_init:
            sending.send_to_process(process, SigInfo.kernel(SIGKILL))
    deadline = kernel.loop.time() + GRACE
    while len(list(kernel.processes)) > 1 and kernel.loop.time() < deadline:
        await asyncio.sleep(0)


async def _find_program(thread: Thread, program: str, path: str) -> tuple[Location, bytes]:
    """The file that a shell would run, and its name."""
    if "/" in program:
        name = os.fsencode(program)
        return await namei.resolve(thread, name), name
    failure = SyscallError(errno.ENOENT)
    for folder in path.split(":"):
        name = os.fsencode(f"{folder or '.'}/{program}")
        try:
            location = await namei.resolve(thread, name)
        except SyscallError as error:
            if error.errno == errno.EACCES:
                failure = error
            continue
        if location.inode.is_regular:
            return location, name
    raise failure


async def _start(
    thread: Thread, location: Location, filename: bytes, arguments: list[bytes], environment: list[bytes]
) -> None:
    kernel = thread.kernel
    try:
        await execute.execute(thread, kernel.supervisor, location, filename, arguments, environment)
    except dispatch.Departed:
        return
    guest = thread.guest
    assert isinstance(guest, GuestThread)

    async def begin() -> int:
        return 0

    strand = CoroutineStrand(kernel.scheduler, dispatch.live(thread, kernel.calls, begin))
    thread.strand = guest.strand = strand
    strand.start()


def _abandon(starting: asyncio.Task[Process]) -> None:
    """Nobody waits for this program any more."""
    if not starting.cancelled() and starting.exception() is None and starting.result().returncode is None:
        starting.result().kill()


def _c_string(text: str) -> bytes:
    data = os.fsencode(text)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data


def _spawn_error(program: str, error: SyscallError) -> LibOSError:
    reason = os.strerror(error.errno)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ProgramNotFound(f"{program}: {reason}", "name a program that exists inside the LibOS")
    if error.errno in (errno.EACCES, errno.ENOEXEC, errno.ELIBBAD, errno.EPERM, errno.ELOOP):
        hint = "it must be an x86-64 ELF file or a #! script with x rights"
        return ProgramNotExecutable(f"{program}: {reason}", hint)
    return LibOSError(f"{program}: {reason}")


class _Streams:
    """The first three descriptors of a program, and the embedder's ends of them."""

    def __init__(self, kernel: Any, thread: Thread) -> None:
        self.kernel = kernel
        self.thread = thread
        self.stdin: WriteStream | None = None
        self.stdout: ReadStream | None = None
        self.stderr: ReadStream | None = None
        self.console: Console | None = None

    def process(self) -> Process:
        """The embedder's view of the program."""
        return Process(self.thread.process, self.stdin, self.stdout, self.stderr, self.console)

    async def connect(self, stdin: Stdio, stdout: Stdio, stderr: Stdio, tty: bool | tuple[int, int]) -> None:
        """Fill descriptors 0, 1 and 2."""
        if tty is not False:
            self._connect_terminal(DEFAULT_SIZE if tty is True else tty)
            return
        files = self.thread.files
        files.install(await self._input(stdin))
        files.install(await self._output(stdout, 1))
        files.install(files.get(1) if stderr == STDOUT else await self._output(stderr, 2))

    def _connect_terminal(self, size: tuple[int, int]) -> None:
        who = self.thread.credentials
        driver = QueueDriver(self.kernel.scheduler)
        self.console = self.kernel.terminals.create_console(driver, who.uid, who.gid)
        self.console.resize(*size)
        terminal = self.kernel.terminals.open(self.console.terminal, os.O_RDWR, self.thread)
        for _ in range(3):
            self.thread.files.install(terminal)
        self.stdin = WriteStream(TerminalInput(self.kernel.scheduler, self.console))
        self.stdout = ReadStream(driver.reader)

    async def _input(self, stdin: Stdio) -> File:
        if stdin == PIPE:
            reader, writer = make_pipe(self.kernel.scheduler)
            self.stdin = WriteStream(writer)
            return reader
        return await self._other(stdin, 0, os.O_RDONLY)

    async def _output(self, target: Stdio, number: int) -> File:
        if target == PIPE:
            reader, writer = make_pipe(self.kernel.scheduler)
            stream = ReadStream(reader)
            if number == 1:
                self.stdout = stream
            else:
                self.stderr = stream
            return writer
        return await self._other(target, number, os.O_WRONLY)

    async def _other(self, target: Stdio, number: int, flags: int) -> File:
        if target == DEVNULL:
            return await open_path(self.thread, b"/dev/null", os.O_RDWR)
        if target == STDOUT:
            raise ConfigError("STDOUT is for stderr only")
        fd = number if target is None else target if isinstance(target, int) else target.fileno()
        try:
            os.fstat(fd)
        except OSError:
            return await open_path(self.thread, b"/dev/null", os.O_RDWR)
        return HostStream(self.kernel.boundary, fd, flags)
