"""Signals as the ABI knows them: numbers, sets, codes, default actions, layouts. See signal(7)."""

from __future__ import annotations

import enum
import signal
import struct

SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE = 1, 2, 3, 4, 5, 6, 7, 8
SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT = 9, 10, 11, 12, 13, 14, 15, 16
SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU = 17, 18, 19, 20, 21, 22, 23, 24
SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS = 25, 26, 27, 28, 29, 30, 31
SIGRTMIN, SIGRTMAX = 32, 64  # the kernel's range; glibc keeps 32 and 33 for itself

SIG_DFL, SIG_IGN = 0, 1
SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2

SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO, SA_RESTORER = 0x1, 0x2, 0x4, 0x04000000
SA_ONSTACK, SA_RESTART, SA_NODEFER, SA_RESETHAND = 0x08000000, 0x10000000, 0x40000000, 0x80000000

SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
MINSIGSTKSZ = 2048

# si_code: who made the signal.
SI_USER, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_MESGQ, SI_ASYNCIO, SI_SIGIO, SI_TKILL = 0, 0x80, -1, -2, -3, -4, -5, -6
ILL_ILLOPN, FPE_INTDIV, FPE_FLTDIV, SEGV_MAPERR, SEGV_ACCERR = 2, 1, 3, 1, 2
BUS_ADRALN, BUS_ADRERR, BUS_OBJERR, TRAP_BRKPT, SYS_SECCOMP = 1, 2, 3, 1, 1
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = 1, 2, 3, 4, 5, 6
POLL_IN, POLL_OUT, POLL_MSG, POLL_ERR, POLL_PRI, POLL_HUP = 1, 2, 3, 4, 5, 6

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4

SIGSET = struct.Struct("<Q")
SIGACTION = struct.Struct("<QQQQ")  # handler, flags, restorer, mask
STACK = struct.Struct("<Qi4xQ")  # ss_sp, ss_flags, ss_size
SIGINFO_SIZE = 128
SIGNALFD_SIGINFO_SIZE = 128


class Restart(enum.Enum):
    """What a system call that a signal interrupted does, see signal(7)."""

    SYS = "restarted if the handler has SA_RESTART, and when no handler runs; EINTR otherwise"
    NOHAND = "restarted only when no handler runs (sigsuspend, pause, poll, select, nanosleep); EINTR otherwise"
    NEVER = "EINTR whenever it was interrupted, handler or not"


class Default(enum.Enum):
    """What a signal does to a process that has no handler for it."""

    TERMINATE = "terminate"
    CORE = "terminate, and dump core where cores are dumped"
    IGNORE = "ignore"
    STOP = "stop"
    CONTINUE = "continue"


def bit(signo: int) -> int:
    """The bit of ``signo`` in a signal set."""
    return 1 << (signo - 1)


def sigset(*signals: int) -> int:
    """The set of ``signals``."""
    result = 0
    for signo in signals:
        result |= bit(signo)
    return result


def members(mask: int) -> list[int]:
    """The signals of a set, lowest first."""
    return [signo for signo in range(1, SIGRTMAX + 1) if mask >> (signo - 1) & 1]


UNBLOCKABLE = sigset(SIGKILL, SIGSTOP)
STOP_SIGNALS = sigset(SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU)
# Signals that an instruction causes: they are delivered before all others.
SYNCHRONOUS = sigset(SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS)
_CORE = sigset(SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS)
_IGNORED = sigset(SIGCHLD, SIGURG, SIGWINCH)


def default_action(signo: int) -> Default:
    """The default action of ``signo``."""
    mask = bit(signo)
    if mask & STOP_SIGNALS:
        return Default.STOP
    if signo == SIGCONT:
        return Default.CONTINUE
    if mask & _IGNORED:
        return Default.IGNORE
    return Default.CORE if mask & _CORE else Default.TERMINATE


def valid_signal(signo: int) -> bool:
    """Whether ``signo`` names a signal; 0 (the existence probe of kill(2)) does not."""
    return 1 <= signo <= SIGRTMAX


def signal_name(signo: int) -> str:
    """``SIGTERM`` and the like; ``SIGRT_n`` for real-time signals."""
    try:
        return signal.Signals(signo).name
    except ValueError:
        return f"SIGRT_{signo - SIGRTMIN}"


# Wait statuses, as wait(2) reports them.


def exited(code: int) -> int:
    """The wait status of exit(2) with ``code``."""
    return (code & 0xFF) << 8


def killed(signo: int, core: bool = False) -> int:
    """The wait status of death by ``signo``."""
    return signo | (0x80 if core else 0)


def stopped(signo: int) -> int:
    """The wait status of a stop by ``signo``."""
    return signo << 8 | 0x7F


CONTINUED = 0xFFFF
