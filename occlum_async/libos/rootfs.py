"""What programs see at /: the root's layers, the pseudo file systems, binds and tmpfs mounts."""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Sequence

import msgspec

from ..abi.errors import SyscallError
from ..errors import ConfigError
from ..fs.access import FileAccess
from ..fs.devfs import DevFs
from ..fs.devpts import DevPts
from ..fs.hostfs import DEFAULT_VIEW, HostFs
from ..fs.inode import FileSystem
from ..fs.mount import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, anonymous_device
from ..fs.namespace import MountNamespace
from ..fs.overlay import OverlayFs
from ..fs.pages import Quota
from ..fs.procfs import make_procfs
from ..fs.ramfs import RamFs, mount_tmpfs
from ..fs.sysfs import CgroupFs, SysFs
from ..io.boundary import Boundary
from ..process.kernel import Kernel
from .accounts import find_user
from .disks import Disks
from .mounts import Bind, DiskMount, Ext2Mount, Mount, Tmpfs

# Directories that a default root has besides what the host's view shows, with their modes.
DIRECTORIES = {
    "/dev": 0o755, "/proc": 0o555, "/sys": 0o555, "/tmp": 0o1777, "/run": 0o755, "/run/lock": 0o1777,
    "/var": 0o755, "/var/tmp": 0o1777, "/var/log": 0o755, "/var/lib": 0o755, "/var/cache": 0o755,
    "/root": 0o700, "/home": 0o755, "/mnt": 0o755, "/srv": 0o755,
}  # fmt: skip
PSEUDO = ("/dev", "/proc", "/sys")
SHARED_MEMORY_SIZE = 64 << 20
HOST_TEXT_MAX = 1 << 20
DEVICE_SIZE, DEVICE_INODES = 1 << 20, 4096  # of /dev itself


class RootSpec(msgspec.Struct, frozen=True):
    """The choices that make the tree.

    ``user`` is whose the files are inside that binds show of the user who runs the LibOS; in the root they are root's.
    """

    rootfs: str | None = None
    rw: bool = False
    read_only: bool = False
    mounts: Sequence[Mount] = ()
    memory: int = 1 << 30
    hostname: str = "libos"
    user: str = "0:0"


async def build(spec: RootSpec, kernel: Kernel, boundary: Boundary) -> MountNamespace:
    """Mount everything; ``ConfigError`` names the option that can't be followed."""
    kernel.disks = disks = Disks(kernel, boundary, [one for one in spec.mounts if isinstance(one, DiskMount)])
    at_root = _root_mount(spec)
    root = await _root(spec, kernel, boundary, disks, at_root)
    own_disk = at_root is not None and not at_root.upper
    source = at_root.name if at_root is not None and own_disk else b"rootfs"
    mounts = MountNamespace(root, source=b"overlay" if isinstance(root, OverlayFs) else source)
    kernel.mounts = mounts
    disks.register(mounts)
    files = FileAccess(mounts, kernel.scheduler)
    own_root = spec.rootfs is not None or own_disk
    await _make_directories(files, own_root)
    await _mount_pseudo(mounts, kernel)
    outside = kernel.config.network == "host"
    if not own_root or (outside and not spec.rw):
        await _network_files(files, spec.hostname, outside)
    await _mount_wanted(files, mounts, kernel, boundary, spec)
    if spec.read_only:
        mounts.root.set_flags(mounts.root.flags | MS_RDONLY)
    return mounts


def _root_mount(spec: RootSpec) -> Ext2Mount | None:
    """The disk that is to be seen at /, if there is one."""
    found = None
    for one in spec.mounts:
        if posixpath.normpath(one.target) == "/" and not (isinstance(one, DiskMount) and not one.auto):
            if not isinstance(one, Ext2Mount):
                raise ConfigError("--mount: only an ext2 disk can be mounted at /", "use --rootfs for a folder")
            if found is not None:
                raise ConfigError("--mount: two disks at /", "mount one thing at a path")
            found = one
    if found is not None and (spec.rw or (spec.rootfs is not None and not found.upper)):
        raise ConfigError("--mount: a disk at / excludes --rootfs", "with upper it keeps what is written over the root")
    return found


async def _root(spec: RootSpec, kernel: Kernel, boundary: Boundary, disks: Disks, disk: Ext2Mount | None) -> FileSystem:
    owner = (0, 0)
    if disk is not None and not disk.upper:
        return await disks.file_system(disk)
    if spec.rootfs is None:
        lower = HostFs(anonymous_device(), boundary, "/", view=DEFAULT_VIEW, validity=None, owner=owner)
    else:
        folder = check_folder(spec.rootfs, "--rootfs")
        if spec.rw:
            return HostFs(anonymous_device(), boundary, folder, writable=True, owner=owner)
        lower = HostFs(anonymous_device(), boundary, folder, validity=None, owner=owner)
    if disk is not None:
        upper: FileSystem = await disks.file_system(disk)
    else:
        upper = RamFs(quota=Quota(spec.memory, parent=kernel.file_memory))
    return OverlayFs(anonymous_device(), kernel.scheduler, [lower], upper)


def _tmpfs(kernel: Kernel, size: int | None) -> RamFs:
    """A tmpfs of ``size`` bytes (None: whatever the LibOS may have) that everybody may write to."""
    return RamFs(mode=0o1777, quota=Quota(size or kernel.config.memory, parent=kernel.file_memory))


def check_folder(folder: str, option: str) -> str:
    """``folder`` if it can be used; ``ConfigError`` otherwise."""
    if not os.path.isdir(folder):
        reason = "not a folder" if os.path.exists(folder) else "no such folder"
        raise ConfigError(f"{option}: {folder}: {reason}", "name an existing folder of this host")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ConfigError(f"{option}: {folder} can't be read", "give this user the right to read it")
    return os.path.realpath(folder)


async def _make_directories(files: FileAccess, own_root: bool) -> None:
    for path, mode in DIRECTORIES.items():
        if own_root and path not in PSEUDO:
            continue
        try:
            if not await files.exists(path):
                await files.mkdir(path, parents=True)
                await files.chmod(path, mode)
        except OSError as error:
            raise ConfigError(f"{path} is missing in the root and can't be made: {error.strerror}") from None


async def _mount_pseudo(mounts: MountNamespace, kernel: Kernel) -> None:
    harmless = MS_NOSUID | MS_NODEV | MS_NOEXEC
    scheduler = kernel.scheduler
    dev = await DevFs.create(console=True, quota=Quota(DEVICE_SIZE, DEVICE_INODES, kernel.file_memory))
    await mounts.mount_at("/dev", dev, MS_NOSUID, b"devtmpfs", scheduler)
    await mounts.mount_at("/dev/pts", DevPts(kernel.terminals), MS_NOSUID | MS_NOEXEC, b"devpts", scheduler)
    shm = _tmpfs(kernel, SHARED_MEMORY_SIZE)
    await mounts.mount_at("/dev/shm", shm, MS_NOSUID | MS_NODEV, b"shm", scheduler)
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        cpuinfo = file.read()
    tmpfs = functools.partial(mount_tmpfs, default=kernel.config.memory // 2, parent=kernel.file_memory)
    mounts.factories["tmpfs"] = mounts.factories["ramfs"] = tmpfs
    mounts.factories["proc"] = lambda _device, _source, _data: make_procfs(kernel, cpuinfo)
    mounts.factories["sysfs"] = lambda _device, _source, _data: SysFs(kernel)
    mounts.factories["devpts"] = lambda _device, _source, _data: DevPts(kernel.terminals)
    await mounts.mount_at("/proc", make_procfs(kernel, cpuinfo), harmless, b"proc", scheduler)
    await mounts.mount_at("/sys", SysFs(kernel), harmless | MS_RDONLY, b"sysfs", scheduler)
    await mounts.mount_at("/sys/fs/cgroup", CgroupFs(kernel), harmless | MS_RDONLY, b"cgroup2", scheduler)


async def _network_files(files: FileAccess, hostname: str, outside: bool) -> None:
    """What a container engine writes: a name of its own; the host's resolver and names where they can be reached."""
    hosts = f"127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    resolver = "# no name server is reachable\n"
    if outside:
        hosts += _host_text("/etc/hosts")
        resolver = _host_text("/etc/resolv.conf")
    await files.mkdir("/etc", parents=True, exist_ok=True)
    await files.write_text("/etc/hostname", hostname + "\n")
    await files.write_text("/etc/hosts", hosts)
    await files.write_text("/etc/resolv.conf", resolver)


def _host_text(path: str) -> str:
    """A small text file of the host's; nothing where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(HOST_TEXT_MAX)
    except OSError:
        return ""


def _depth(path: str) -> int:
    return posixpath.normpath(path).count("/")


async def _mount_wanted(
    files: FileAccess, mounts: MountNamespace, kernel: Kernel, boundary: Boundary, spec: RootSpec
) -> None:
    """Everything but the root: what lies deeper comes later, so that nothing is hidden by their order."""
    seen: set[str] = set()
    owner = await _owner(files, spec.user) if any(isinstance(one, Bind) for one in spec.mounts) else (0, 0)
    for one in sorted(spec.mounts, key=lambda item: posixpath.normpath(item.target).count("/")):
        target = posixpath.normpath(one.target)
        if isinstance(one, DiskMount) and (not one.auto or target == "/"):
            continue
        if target in seen:
            raise ConfigError(f"two mounts at {one.target}", "mount one thing at a path")
        seen.add(target)
        if isinstance(one, Tmpfs):
            await _mount(files, mounts, kernel, target, _tmpfs(kernel, one.size), b"tmpfs", 0)
        elif isinstance(one, Bind):
            await _bind(files, mounts, kernel, boundary, one, owner)
        else:
            fs = await kernel.disks.file_system(one)
            await _mount(files, mounts, kernel, target, fs, one.name, MS_RDONLY if one.read_only else 0)


async def _owner(files: FileAccess, user: str) -> tuple[int, int]:
    """The ids of ``user`` in the root's own /etc/passwd; root's where it is not (the LibOS then has its say)."""
    try:
        credentials = (await find_user(files, user)).credentials
    except ConfigError:
        return 0, 0
    return credentials.uid, credentials.gid


async def _bind(
    files: FileAccess, mounts: MountNamespace, kernel: Kernel, boundary: Boundary, bind: Bind, owner: tuple[int, int]
) -> None:
    if not os.path.exists(bind.source):
        raise ConfigError(f"--bind: {bind.source} does not exist", "make it first: a bind never does")
    try:
        source = os.path.realpath(bind.source)
        fs = HostFs(anonymous_device(), boundary, source, writable=not bind.read_only, owner=owner)
    except (SyscallError, OSError) as error:
        raise ConfigError(f"--bind: {bind.source} can't be opened: {error}", "give this user the right to") from None
    flags = MS_RDONLY if bind.read_only else 0
    await _mount(files, mounts, kernel, bind.target, fs, os.fsencode(bind.source), flags)


async def _mount(
    files: FileAccess, mounts: MountNamespace, kernel: Kernel, target: str, fs: FileSystem, source: bytes, flags: int
) -> None:
    """Mount at ``target``, which is made when it is missing, as docker does."""
    target = posixpath.normpath(target)
    if not target.startswith("/") or target == "/":
        raise ConfigError(f"mount point {target!r}: must be an absolute path below /")
    try:
        if not await files.exists(target):
            if fs.root.is_dir:
                await files.mkdir(target, parents=True)
            else:
                await files.mkdir(posixpath.dirname(target), parents=True, exist_ok=True)
                await files.write_bytes(target, b"")
        await mounts.mount_at(target, fs, flags, source, kernel.scheduler)
    except (SyscallError, OSError) as error:
        raise ConfigError(f"can't mount at {target}: {error}") from None
