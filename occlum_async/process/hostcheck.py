"""What this host offers: one probe per feature, each harmless, none needing a privilege.

``probe_all`` is what ``python -m occlum_async check`` prints; the LibOS itself asks for ``required_missing``
when it starts.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

SYS_PROCESS_VM_READV, SYS_SECCOMP, SYS_MEMFD_CREATE, SYS_IO_URING_SETUP, SYS_PIDFD_OPEN = 310, 317, 319, 425, 434
SECCOMP_GET_ACTION_AVAIL, SECCOMP_RET_TRAP = 2, 0x00030000
HWCAP2_FSGSBASE = 1 << 1
AT_HWCAP2 = 26
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x40000000,
)  # fmt: skip
MIN_KERNEL = (5, 4)
MIN_FILES = 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """One feature of the host: whether it is there, what was found, and what follows from it."""

    name: str
    present: bool
    found: str
    required: bool
    otherwise: str  # what to do about a missing required feature, or what is used in place of an optional one


def _syscall(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | bytes | None) -> tuple[int, int]:
    """(result, errno) of a raw system call."""
    ctypes.set_errno(0)
    _libc.syscall.restype = ctypes.c_long
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = _libc.syscall(ctypes.c_long(number), *words)
    return result, ctypes.get_errno()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _machine() -> Probe:
    machine = platform.machine()
    return Probe("architecture", machine == "x86_64", machine, True, "use an x86-64 machine")


def _kernel() -> Probe:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    return Probe("Linux", numbers >= MIN_KERNEL, release, True, "use Linux 5.4 or later")


def _python() -> Probe:
    return Probe("Python", sys.version_info >= (3, 11), platform.python_version(), True, "use Python 3.11 or later")


def _uvloop() -> Probe:
    try:
        import uvloop
    except ImportError:
        return Probe("uvloop", False, "not installed", False, "asyncio's own event loop, which is slower")
    return Probe("uvloop", True, str(getattr(uvloop, "__version__", "yes")), False, "")


def _shim() -> Probe:
    from .._native import shim_path

    path = shim_path()
    built = os.access(path, os.X_OK)
    return Probe("shim", built, path if built else "not built", True, "pip install .")


def _seccomp() -> Probe:
    action = ctypes.c_uint32(SECCOMP_RET_TRAP)
    result, error = _syscall(SYS_SECCOMP, SECCOMP_GET_ACTION_AVAIL, 0, ctypes.addressof(action))
    found = "filters with SECCOMP_RET_TRAP" if result == 0 else os.strerror(error)
    return Probe("seccomp", result == 0, found, True, "run where seccomp filters are allowed")


def _memfd() -> Probe:
    fd, error = _syscall(SYS_MEMFD_CREATE, b"occlum-check", 3)
    if fd >= 0:
        os.close(fd)
    return Probe("memfd", fd >= 0, "yes" if fd >= 0 else os.strerror(error), True, "use a kernel with memfd_create(2)")


def _pidfd() -> Probe:
    fd, error = _syscall(SYS_PIDFD_OPEN, os.getpid(), 0)
    if fd >= 0:
        os.close(fd)
    return Probe("pidfd", fd >= 0, "yes" if fd >= 0 else os.strerror(error), True, "use Linux 5.3 or later")


def _child_memory() -> Probe:
    """Whether a child's memory can be read, as the kernel reads its guests'."""
    secret = ctypes.create_string_buffer(b"guest memory")
    copy = ctypes.create_string_buffer(len(secret))
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    local = Vector(ctypes.addressof(copy), len(copy))
    remote = Vector(ctypes.addressof(secret), len(secret))
    try:
        result, error = _syscall(
            SYS_PROCESS_VM_READV, child, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0
        )  # fmt: skip
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    works = result == len(copy) and copy.raw == secret.raw
    hint = "allow process_vm_readv(2) on children (seccomp profile, yama's ptrace_scope below 2)"
    return Probe("process_vm_readv", works, "yes" if works else os.strerror(error or errno.EIO), True, hint)


def namespaces() -> Probe:
    """Whether a child may make the namespaces that the supervisor makes, see native/shim/supervisor.c."""
    child = os.fork()
    if child == 0:
        flags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS
        os._exit(ctypes.get_errno() or 1 if _libc.unshare(flags) else 0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    reason = "yes" if code == 0 else os.strerror(code) if code > 0 else "killed"
    return Probe("namespaces", code == 0, reason, False, "seccomp and the missing fds are the wall by themselves")


def _io_uring() -> Probe:
    otherwise = "the ocall boundary: plain non-blocking calls"
    if find_spec("occlum_async._native._uring") is None:
        return Probe("io_uring", False, "not built, for want of liburing 2.3 or later", False, otherwise)
    disabled = _read("/proc/sys/kernel/io_uring_disabled")
    parameters = ctypes.create_string_buffer(120)
    fd, error = _syscall(SYS_IO_URING_SETUP, 4, parameters)
    if fd >= 0:
        os.close(fd)
        return Probe("io_uring", True, "yes", False, otherwise)
    reason = f"sysctl kernel.io_uring_disabled is {disabled}" if disabled in ("1", "2") else os.strerror(error)
    return Probe("io_uring", False, reason, False, otherwise)


def _fsgsbase() -> Probe:
    _libc.getauxval.restype = ctypes.c_ulong
    present = bool(_libc.getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)
    return Probe("FSGSBASE", present, "yes" if present else "no", False, "arch_prctl(2): a host call per thread")


def _processor() -> Probe:
    info = _read("/proc/cpuinfo") or ""
    flags: set[str] = set()
    for line in info.splitlines():
        if line.startswith("flags"):
            flags = set(line.split(":", 1)[1].split())
            break
    wanted = [name for name in ("xsave", "avx", "avx2", "avx512f", "aes", "sha_ni") if name in flags]
    return Probe("CPU features", "xsave" in flags, " ".join(wanted) or "unknown", True, "use a CPU with XSAVE")


def _cores() -> Probe:
    count = len(os.sched_getaffinity(0))
    return Probe("cores", count > 1, str(count), False, "no polling: guest and kernel take turns on one core")


def _files() -> Probe:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= MIN_FILES
    limit = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    hint = "fewer guests at a time: raise the hard limit (ulimit -Hn)"
    return Probe("open files", enough, f"{soft}, at most {limit}", False, hint)


PROBES: tuple[Callable[[], Probe], ...] = (
    _machine, _kernel, _python, _shim, _seccomp, _memfd, _pidfd, _child_memory, _processor, _uvloop, _io_uring,
    namespaces, _fsgsbase, _cores, _files,
)  # fmt: skip


def probe_all() -> list[Probe]:
    """Every probe's result, the required ones first."""
    return [probe() for probe in PROBES]


def required_missing(probes: list[Probe]) -> list[Probe]:
    """What the LibOS can't do without and this host does not have."""
    return [probe for probe in probes if probe.required and not probe.present]
