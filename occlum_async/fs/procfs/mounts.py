"""/proc/PID/mounts, mountinfo, mountstats: the mounts that a process can reach from its root."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...abi.stat import split_device
from .views import KernelView, ThreadView, escape


def _reachable(kernel: KernelView, thread: ThreadView) -> Iterator[tuple[Any, bytes]]:
    """Mounts with the paths at which ``thread`` sees them."""
    if kernel.mounts is None or thread.exited:
        return
    root = thread.fs.root
    for mount in kernel.mounts:
        place = mount.location()
        if place.reachable(root):
            yield mount, place.path(root)


def _merge(mount_options: str, fs_options: str) -> str:
    return f"{mount_options},{fs_options}" if fs_options else mount_options


def mounts(kernel: KernelView, thread: ThreadView) -> bytes:
    """The format of fstab(5)."""
    return b"".join(
        b"%b %b %b %b 0 0\n"
        % (
            escape(mount.source), escape(path), mount.fs.name.encode(),
            _merge(mount.options(), mount.fs.options()).encode(),
        )
        for mount, path in _reachable(kernel, thread)
    )  # fmt: skip


def mountinfo(kernel: KernelView, thread: ThreadView) -> bytes:
    """The format of proc_pid_mountinfo(5)."""
    lines = []
    for mount, path in _reachable(kernel, thread):
        major, minor = split_device(mount.fs.device)
        parent = mount.parent.id if mount.parent is not None else mount.id
        super_options = _merge("ro" if mount.readonly else "rw", mount.fs.options())
        lines.append(
            b"%d %d %d:%d %b %b %b - %b %b %b\n"
            % (
                mount.id, parent, major, minor, escape(_path_in_fs(mount.root)), escape(path),
                mount.options().encode(), mount.fs.name.encode(), escape(mount.source), super_options.encode(),
            )
        )  # fmt: skip
    return b"".join(lines)


def mountstats(kernel: KernelView, thread: ThreadView) -> bytes:
    """One line for each mount, without statistics."""
    return b"".join(
        b"device %b mounted on %b with fstype %b\n" % (escape(mount.source), escape(path), mount.fs.name.encode())
        for mount, path in _reachable(kernel, thread)
    )


def _path_in_fs(dentry: Any) -> bytes:
    names = []
    while dentry.parent is not None:
        names.append(dentry.name)
        dentry = dentry.parent
    return b"/" + b"/".join(reversed(names))
