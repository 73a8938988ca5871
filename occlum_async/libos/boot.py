"""The boot: every room gets what it needs of the others, once, here."""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import pkgutil
import resource
from contextlib import suppress

from .. import syscalls
from ..abi import shared
from ..fs.context import FsContext
from ..fs.fdtable import FdTable
from ..fs.pages import PAGE
from ..io.boundary import Boundary, open_boundary
from ..io.ipc import IpcNamespace
from ..process.kernel import Config, Kernel
from ..process.marshal import compile_calls, shim_table
from ..process.network import make_network
from ..process.submissions import Submissions
from ..process.supervisor import Supervisor
from ..sched.strand import Scheduler
from ..syscalls.table import TABLE
from . import rootfs
from .mounts import DiskMount
from .network import NetworkSpec, connect_network

PIPE_SHARE = 4  # what is in pipes may take a quarter of the memory
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
STRICT_GRANTS = shared.GRANT_IDENTITY | shared.GRANT_MEMORY | shared.GRANT_FUTEX
ALL_GRANTS = STRICT_GRANTS | shared.GRANT_SLEEP


class Machine:
    """A booted kernel and the things below it that must be shut down in order."""

    def __init__(self, kernel: Kernel, boundary: Boundary, submissions: Submissions, supervisor: Supervisor) -> None:
        self.kernel = kernel
        self.boundary = boundary
        self.submissions = submissions
        self.supervisor = supervisor

    async def shut_down(self) -> None:
        """End every guest, then what served them."""
        self.supervisor.close()
        self.submissions.close()
        if self.kernel.network is not None:
            await self.kernel.network.outside.drain()
            self.kernel.network.outside.close()
        if self.kernel.mounts is not None:
            await self.kernel.mounts.close()
        self.kernel.shared_memory.close()
        await self.boundary.shutdown()


def declare_syscalls() -> None:
    """Import every module of ``syscalls``, each of which declares its family."""
    for module in pkgutil.iter_modules(syscalls.__path__):
        importlib.import_module(f"{syscalls.__name__}.{module.name}")


def _raise_file_limit() -> None:
    """Every guest costs the kernel some descriptors; the soft limit is often meant for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _keep_heap() -> None:
    """Long buffers come and go with every transfer: let malloc(3) keep their memory, not fault it in each time."""
    with suppress(AttributeError):  # a C library without mallopt(3)
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 4 << 20)
        mallopt(M_TRIM_THRESHOLD, 64 << 20)


async def boot(config: Config, spec: rootfs.RootSpec, network: NetworkSpec) -> Machine:
    """Bring a LibOS up. ``HostUnsupported`` and ``ConfigError`` say what is in the way."""
    declare_syscalls()
    _raise_file_limit()
    _keep_heap()
    scheduler = Scheduler(asyncio.get_running_loop())
    config.cpus = len(os.sched_getaffinity(0))
    kernel = Kernel(scheduler, config)
    boundary = open_boundary(config.boundary, scheduler, config.exit_cost, config.ring)
    kernel.boundary = boundary
    kernel.syscall_table = dict(TABLE)
    kernel.calls = compile_calls(TABLE)
    grants = ALL_GRANTS if config.grants else STRICT_GRANTS
    if not any(isinstance(one, DiskMount) for one in spec.mounts):
        grants |= shared.GRANT_FILES
    config.network = network.mode
    submissions = Submissions(scheduler, grants, shim_table(TABLE), config.memory)
    submissions.turn, submissions.brief, submissions.prepare = boundary.turn, boundary.brief, boundary.prepare
    supervisor = Supervisor(scheduler, submissions)
    kernel.supervisor = supervisor
    machine = Machine(kernel, boundary, submissions, supervisor)
    try:
        await supervisor.start()
        kernel.ipc = IpcNamespace(pipe_pages=config.memory // PIPE_SHARE // PAGE)
        kernel.network = make_network(kernel)
        kernel.policy = await connect_network(kernel.network, network, boundary)
        mounts = await rootfs.build(spec, kernel, boundary)
    except BaseException:
        await machine.shut_down()
        raise
    kernel.create_init(FdTable(), FsContext(mounts.root_location()))
    return machine
