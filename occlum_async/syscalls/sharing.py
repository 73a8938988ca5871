"""unshare(2): a thread no longer shares what clone(2) let it share. Namespaces are not configured here."""

from __future__ import annotations

import errno

from ..abi.errors import SyscallError
from ..abi.marshal import Fd, Int, Size
from ..process.cloning import CLONE_FILES, CLONE_FS, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM
from ..process.thread import Thread
from .table import syscall

_WHOLE_PROCESS = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM
_KNOWN = _WHOLE_PROCESS | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM


@syscall(272)
def unshare(thread: Thread, flags: Size) -> None:
    if flags & ~_KNOWN:
        raise SyscallError(errno.EINVAL)
    if flags & _WHOLE_PROCESS and len(thread.process.threads) > 1:
        raise SyscallError(errno.EINVAL)
    if flags & CLONE_FS and thread.fs.users > 1:
        places = thread.fs
        thread.fs = places.copy().acquire()
        places.release()
    if flags & CLONE_FILES and thread.files.users > 1:
        files = thread.files
        thread.files = files.copy().acquire()
        files.release()


@syscall(308)
def setns(thread: Thread, fd: Fd, kind: Int) -> None:
    thread.files.get(fd)
    raise SyscallError(errno.EINVAL)
