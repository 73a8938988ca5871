"""execve(2): a fresh host process takes over the LibOS process, and the old one ends, so that no state leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..fs.credentials import ALL_CAPS, Credentials
from ..fs.dentry import Location
from ..fs.mount import MS_NOSUID
from . import binfmt, cloning, loading
from .dispatch import Departed
from .forking import dying_kick, publish_identity
from .guest import GuestThread
from .limits import RLIMIT_STACK
from .program import start_program

if TYPE_CHECKING:
    from .supervisor import Supervisor
    from .thread import Thread

S_ISUID, S_ISGID, S_IXGRP = 0o4000, 0o2000, 0o010
ADDR_NO_RANDOMIZE = 0x0040000


async def execute(
    thread: Thread, supervisor: Supervisor, location: Location, filename: bytes, arguments: list[bytes],
    environment: list[bytes],
) -> None:  # fmt: skip
    """Replace the program of ``thread``'s process. ``SyscallError`` as execve(2); the old program then goes on.

    On return ``thread.guest`` is the new host thread, whose pending entry starts the program when answered.
    """
    loading.check_arguments(arguments, environment)
    program = await binfmt.find(thread, location, filename, arguments or [b""], thread.kernel.images)
    credentials = _credentials(thread, program.location)
    secure = (credentials.euid, credentials.egid) != (credentials.uid, credentials.gid)
    process = thread.process
    old = thread.guest
    if isinstance(program, binfmt.PythonProgram):
        await _become_python(thread, old, program, environment, credentials)
        raise Departed
    guest, layout = await loading.load(
        supervisor, program, environment, credentials, process.limits.soft(RLIMIT_STACK), secure,
        thread.kernel.shared_memory, not process.personality & ADDR_NO_RANDOMIZE,
    )  # fmt: skip
    thread.guest = guest
    guest.strand = thread.strand
    guest.on_kick = dying_kick(thread, guest)
    if isinstance(old, GuestThread):
        old.host.kill()
    await process.become_single_threaded(thread)
    guest.host.layout = layout
    process.replace_memory(guest.host)
    _enter(thread, program, environment, credentials)
    apply_limits(thread)
    publish_identity(thread)


async def _become_python(
    thread: Thread, old: object, program: binfmt.PythonProgram, environment: list[bytes], credentials: Credentials
) -> None:
    if isinstance(old, GuestThread):
        old.host.kill()
    await thread.process.become_single_threaded(thread)
    thread.process.replace_memory(None)
    _enter(thread, program, environment, credentials)
    variables = dict(text.split(b"=", 1) for text in environment if b"=" in text)
    start_program(thread, program.main, program.arguments, variables)


def _enter(
    thread: Thread, program: binfmt.Program | binfmt.PythonProgram, environment: list[bytes], credentials: Credentials
) -> None:
    process = thread.process
    process.run_file(program.location)
    name = program.filename.rpartition(b"/")[2]
    cloning.enter_program(thread, name, credentials)
    process.arguments = program.arguments
    process.environment = environment


def apply_limits(thread: Thread) -> None:
    """Have the host enforce the limits on memory: it alone sees every mapping."""
    host = thread.process.memory
    if host is not None:
        host.apply_limits(thread.process.limits)


def _credentials(thread: Thread, location: Location) -> Credentials:
    """What a set-user-ID or set-group-ID program makes of the caller's credentials, and of his capabilities."""
    old = thread.credentials
    inode = location.inode
    uid, gid = old.euid, old.egid
    if not thread.no_new_privs and not location.mount.flags & MS_NOSUID:
        if inode.mode & S_ISUID:
            uid = inode.uid
        if inode.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP:
            gid = inode.gid
    permitted = effective = old.ambient
    if 0 in (old.uid, uid):
        permitted = (old.inheritable | old.bounding) & ALL_CAPS
        effective = permitted if uid == 0 else effective
    return old.with_(
        euid=uid, egid=gid, suid=uid, sgid=gid, fsuid=uid, fsgid=gid, permitted=permitted, effective=effective,
        securebits=old.securebits & ~(1 << 4),
    )  # fmt: skip
