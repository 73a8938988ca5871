"""What travels with a signal: ``siginfo_t``, and how it is laid out for handlers and for signalfd(2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Protocol

from ..abi import signals as abi

HEAD = struct.Struct("<iii4x")  # si_signo, si_errno, si_code; the union begins at 16
PAYLOAD_SIZE = abi.SIGINFO_SIZE - HEAD.size

_USER = struct.Struct("<iIQ")  # si_pid, si_uid, si_value
_TIMER = struct.Struct("<iiQ")  # si_tid, si_overrun, si_value
_CHILD = struct.Struct("<iIi4xQQ")  # si_pid, si_uid, si_status, si_utime, si_stime
_FAULT = struct.Struct("<Qh")  # si_addr, si_addr_lsb
_POLL = struct.Struct("<qi")  # si_band, si_fd
_SYSCALL = struct.Struct("<QiI")  # si_call_addr, si_syscall, si_arch

# struct signalfd_siginfo, without its padding to 128 bytes.
_SIGNALFD = struct.Struct("<IiiIIiIIIIiiQQQQHHiQI")


class SignalSource(Protocol):
    """Something that wants to know when its queued signal is taken off the queue (a timer)."""

    def dequeued(self, info: SigInfo) -> None:
        """``info`` is about to be delivered; the source may complete its fields (the overrun count)."""
        ...


@dataclass(slots=True)
class SigInfo:
    """A signal and what is known of its origin. ``payload`` is the union of ``siginfo_t``, from byte 16 on."""

    signo: int
    code: int = abi.SI_USER
    errno: int = 0
    payload: bytes = b""
    source: SignalSource | None = field(default=None, compare=False, repr=False)

    # -- makers ----------------------------------------------------------------

    @classmethod
    def user(cls, signo: int, pid: int, uid: int, code: int = abi.SI_USER, value: int = 0) -> SigInfo:
        """From kill(2), tgkill(2) (SI_TKILL), sigqueue(3) (SI_QUEUE) or mq_notify(3) (SI_MESGQ)."""
        return cls(signo, code, 0, _USER.pack(pid, uid, value & 0xFFFFFFFFFFFFFFFF))

    @classmethod
    def kernel(cls, signo: int) -> SigInfo:
        """From the kernel itself: terminals, limits, dying parents."""
        return cls(signo, abi.SI_KERNEL, 0, _USER.pack(0, 0, 0))

    @classmethod
    def child(cls, signo: int, code: int, pid: int, uid: int, status: int, utime: int = 0, stime: int = 0) -> SigInfo:
        """A child's change of state. ``status`` is the exit code or the signal, times are clock ticks."""
        return cls(signo, code, 0, _CHILD.pack(pid, uid, status, utime, stime))

    @classmethod
    def fault(cls, signo: int, code: int, address: int, trapno: int = 0) -> SigInfo:
        """An instruction's fault at ``address``."""
        return cls(signo, code, 0, _FAULT.pack(address & 0xFFFFFFFFFFFFFFFF, trapno))

    @classmethod
    def timer(cls, signo: int, timer_id: int, overrun: int, value: int) -> SigInfo:
        """A POSIX timer's expiry."""
        return cls(signo, abi.SI_TIMER, 0, _TIMER.pack(timer_id, overrun, value & 0xFFFFFFFFFFFFFFFF))

    @classmethod
    def poll(cls, signo: int, code: int, band: int, fd: int) -> SigInfo:
        """An fd's readiness (F_SETSIG)."""
        return cls(signo, code, 0, _POLL.pack(band, fd))

    @classmethod
    def unpack(cls, data: bytes) -> SigInfo:
        """From a guest's ``siginfo_t`` (rt_sigqueueinfo(2)). Only the first 48 bytes are the kernel's."""
        signo, errno, code = HEAD.unpack_from(data)
        return cls(signo, code, errno, bytes(data[HEAD.size : 48]))

    # -- layouts ----------------------------------------------------------------

    def pack(self) -> bytes:
        """``siginfo_t``: 128 bytes."""
        return (HEAD.pack(self.signo, self.errno, self.code) + self.payload).ljust(abi.SIGINFO_SIZE, b"\0")

    @property
    def pid(self) -> int:
        """The sender's or the child's pid."""
        return int.from_bytes(self.payload[:4], "little", signed=True)

    @property
    def status(self) -> int:
        """A child's exit code or signal."""
        return int(_CHILD.unpack(self._union(_CHILD))[2])

    def _union(self, layout: struct.Struct) -> bytes:
        return self.payload[: layout.size].ljust(layout.size, b"\0")

    def pack_signalfd(self) -> bytes:
        """``struct signalfd_siginfo``: 128 bytes."""
        pid = uid = fd = tid = band = overrun = trapno = status = integer = number = arch = lsb = 0
        pointer = utime = stime = address = call = 0
        if self.code == abi.SI_TIMER:
            tid, overrun, pointer = _TIMER.unpack(self._union(_TIMER))
        elif self.signo == abi.SIGCHLD and self.code > 0:
            pid, uid, status, utime, stime = _CHILD.unpack(self._union(_CHILD))
        elif abi.bit(self.signo) & abi.SYNCHRONOUS and 0 < self.code < abi.SI_KERNEL:
            if self.signo == abi.SIGSYS:
                call, number, arch = _SYSCALL.unpack(self._union(_SYSCALL))
            else:
                address, lsb = _FAULT.unpack(self._union(_FAULT))
        elif self.code == abi.SI_SIGIO or (self.signo == abi.SIGIO and 0 < self.code < abi.SI_KERNEL):
            band, fd = _POLL.unpack(self._union(_POLL))
        else:
            pid, uid, pointer = _USER.unpack(self._union(_USER))
        if pointer:
            integer = pointer & 0xFFFFFFFF
            integer -= (integer & 0x80000000) << 1
        return _SIGNALFD.pack(
            self.signo, self.errno, self.code, pid & 0xFFFFFFFF, uid, fd, tid & 0xFFFFFFFF, band & 0xFFFFFFFF,
            overrun & 0xFFFFFFFF, trapno, status, integer, pointer, utime, stime, address, lsb & 0xFFFF, 0,
            number, call, arch,
        ).ljust(abi.SIGNALFD_SIGINFO_SIZE, b"\0")  # fmt: skip
