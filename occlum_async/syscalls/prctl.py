"""prctl(2) and personality(2): the odds and ends of a process."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from ..abi.errors import SyscallError
from ..abi.marshal import Int, Pointer, Size, UInt
from ..abi.signals import valid_signal
from ..abi.user import UserPointer
from ..fs.credentials import CAP_SETPCAP
from ..process import identity
from ..process.thread import DEFAULT_TIMER_SLACK, Thread
from .table import syscall

Option = Callable[[Thread, UserPointer, int, int, int], int]
OPTIONS: dict[int, Option] = {}
LAST_CAPABILITY = 40
INT = struct.Struct("<i")
PR_TSC_ENABLE = 1
PR_MCE_KILL_DEFAULT = 2
PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_CLEAR_ALL = 1, 2, 3, 4
KNOWN_SECUREBITS = 0xFF


def option(number: int) -> Callable[[Option], Option]:
    """Declare what PR_* ``number`` does. The first argument is a pointer, or an integer by its ``address``."""

    def declare(handler: Option) -> Option:
        OPTIONS[number] = handler
        return handler

    return declare


@syscall(157)
def prctl(thread: Thread, number: Int, argument: Pointer, third: Size, fourth: Size, fifth: Size) -> int:
    handler = OPTIONS.get(number)
    if handler is None:
        raise SyscallError(errno.EINVAL)
    return handler(thread, argument, third, fourth, fifth)


def _flag(value: int, *unused: int) -> bool:
    """A boolean argument; EINVAL for other numbers, and for what should be 0."""
    if value not in (0, 1) or any(unused):
        raise SyscallError(errno.EINVAL)
    return bool(value)


def _need_zero(*unused: int) -> None:
    if any(unused):
        raise SyscallError(errno.EINVAL)


@option(1)
def set_pdeathsig(thread: Thread, argument: UserPointer, *_: int) -> int:
    if argument.address and not valid_signal(argument.address):
        raise SyscallError(errno.EINVAL)
    thread.parent_death_signal = argument.address
    return 0


@option(2)
def get_pdeathsig(thread: Thread, argument: UserPointer, *_: int) -> int:
    argument.pack(INT, thread.parent_death_signal)
    return 0


@option(3)
def get_dumpable(thread: Thread, *_: object) -> int:
    return int(thread.process.dumpable)


@option(4)
def set_dumpable(thread: Thread, argument: UserPointer, *_: int) -> int:
    thread.process.dumpable = _flag(argument.address)
    return 0


@option(7)
def get_keepcaps(thread: Thread, *_: object) -> int:
    return int(bool(thread.credentials.securebits & identity.SECBIT_KEEP_CAPS))


@option(8)
def set_keepcaps(thread: Thread, argument: UserPointer, *_: int) -> int:
    keep = _flag(argument.address)
    bits = thread.credentials.securebits
    if bits & identity.SECBIT_KEEP_CAPS_LOCKED:
        raise SyscallError(errno.EPERM)
    bits = bits | identity.SECBIT_KEEP_CAPS if keep else bits & ~identity.SECBIT_KEEP_CAPS
    thread.set_credentials(thread.credentials.with_(securebits=bits))
    return 0


@option(13)
def get_timing(thread: Thread, *_: object) -> int:
    return 0


@option(14)
def set_timing(thread: Thread, argument: UserPointer, *_: int) -> int:
    _need_zero(argument.address)
    return 0


@option(15)
def set_name(thread: Thread, argument: UserPointer, *_: int) -> int:
    try:
        name = argument.string(16)
    except SyscallError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = argument.read(15)
    thread.set_name(name)
    return 0


@option(16)
def get_name(thread: Thread, argument: UserPointer, *_: int) -> int:
    argument.write(thread.name.ljust(16, b"\0"))
    return 0


@option(21)
def get_seccomp(thread: Thread, *_: object) -> int:
    return 0


@option(25)
def get_tsc(thread: Thread, argument: UserPointer, *_: int) -> int:
    argument.pack(INT, PR_TSC_ENABLE)
    return 0


@option(26)
def set_tsc(thread: Thread, argument: UserPointer, *_: int) -> int:
    if argument.address != PR_TSC_ENABLE:
        raise SyscallError(errno.EINVAL)
    return 0


@option(29)
def set_timerslack(thread: Thread, argument: UserPointer, *_: int) -> int:
    slack = argument.address
    thread.scheduling.timer_slack = slack if 0 < slack < 1 << 63 else DEFAULT_TIMER_SLACK
    return 0


@option(30)
def get_timerslack(thread: Thread, *_: object) -> int:
    return min(thread.scheduling.timer_slack, 0x7FFFFFFF)


@option(33)
def mce_kill(thread: Thread, argument: UserPointer, third: int, *unused: int) -> int:
    _need_zero(*unused)
    if argument.address not in (0, 1) or third > 2:
        raise SyscallError(errno.EINVAL)
    return 0


@option(34)
def mce_kill_get(thread: Thread, argument: UserPointer, *unused: int) -> int:
    _need_zero(argument.address, *unused)
    return PR_MCE_KILL_DEFAULT


@option(36)
def set_child_subreaper(thread: Thread, argument: UserPointer, *_: int) -> int:
    thread.process.child_subreaper = bool(argument.address)
    return 0


@option(37)
def get_child_subreaper(thread: Thread, argument: UserPointer, *_: int) -> int:
    argument.pack(INT, int(thread.process.child_subreaper))
    return 0


@option(38)
def set_no_new_privs(thread: Thread, argument: UserPointer, *unused: int) -> int:
    _need_zero(argument.address - 1, *unused)
    thread.no_new_privs = True
    return 0


@option(39)
def get_no_new_privs(thread: Thread, argument: UserPointer, *unused: int) -> int:
    _need_zero(argument.address, *unused)
    return int(thread.no_new_privs)


@option(40)
def get_tid_address(thread: Thread, argument: UserPointer, *_: int) -> int:
    argument.write(thread.clear_child_tid.to_bytes(8, "little"))
    return 0


@option(41)
def set_thp_disable(thread: Thread, argument: UserPointer, *unused: int) -> int:
    _need_zero(*unused)
    thread.process.huge_pages_disabled = bool(argument.address)
    return 0


@option(42)
def get_thp_disable(thread: Thread, argument: UserPointer, *unused: int) -> int:
    _need_zero(argument.address, *unused)
    return int(thread.process.huge_pages_disabled)


# -- capabilities ------------------------------------------------------------


def _capability(number: int) -> int:
    if number > LAST_CAPABILITY:
        raise SyscallError(errno.EINVAL)
    return 1 << number


@option(23)
def capbset_read(thread: Thread, argument: UserPointer, *_: int) -> int:
    return int(bool(thread.credentials.bounding & _capability(argument.address)))


@option(24)
def capbset_drop(thread: Thread, argument: UserPointer, *_: int) -> int:
    who = thread.credentials
    if not who.capable(CAP_SETPCAP):
        raise SyscallError(errno.EPERM)
    thread.set_credentials(who.with_(bounding=who.bounding & ~_capability(argument.address)))
    return 0


@option(27)
def get_securebits(thread: Thread, *_: object) -> int:
    return thread.credentials.securebits


@option(28)
def set_securebits(thread: Thread, argument: UserPointer, *_: int) -> int:
    who, wanted = thread.credentials, argument.address
    # Each odd bit locks itself and the even one below it.
    locked = who.securebits & 0xAA
    changed = who.securebits ^ wanted
    if changed & (locked | locked >> 1) or wanted & ~KNOWN_SECUREBITS or not who.capable(CAP_SETPCAP):
        raise SyscallError(errno.EPERM)
    thread.set_credentials(who.with_(securebits=wanted))
    return 0


@option(47)
def cap_ambient(thread: Thread, argument: UserPointer, number: int, *unused: int) -> int:
    _need_zero(*unused)
    who, action = thread.credentials, argument.address
    if action == PR_CAP_AMBIENT_CLEAR_ALL:
        _need_zero(number)
        thread.set_credentials(who.with_(ambient=0))
        return 0
    capability = _capability(number)
    if action == PR_CAP_AMBIENT_IS_SET:
        return int(bool(who.ambient & capability))
    if action == PR_CAP_AMBIENT_RAISE:
        if not who.permitted & who.inheritable & capability or who.securebits & identity.SECBIT_NO_CAP_AMBIENT_RAISE:
            raise SyscallError(errno.EPERM)
        thread.set_credentials(who.with_(ambient=who.ambient | capability))
    elif action == PR_CAP_AMBIENT_LOWER:
        thread.set_credentials(who.with_(ambient=who.ambient & ~capability))
    else:
        raise SyscallError(errno.EINVAL)
    return 0


@syscall(135)
def personality(thread: Thread, persona: UInt) -> int:
    process = thread.process
    before = process.personality
    if persona != 0xFFFFFFFF:
        process.personality = persona
    return before
