"""Terminals: flags, control characters, structs and requests of termios(3) and ioctl_tty(2)."""

from __future__ import annotations

import struct

import msgspec
from msgspec.structs import replace

# c_iflag
BRKINT, IGNPAR, PARMRK, INPCK, ISTRIP = 0x2, 0x4, 0x8, 0x10, 0x20
INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IXOFF, IMAXBEL, IUTF8 = (
    0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000,
)  # fmt: skip
# c_oflag
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, TABDLY, XTABS = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x1800, 0x1800
# c_cflag
CSIZE, CS8, CREAD, PARENB, HUPCL, CLOCAL, CBAUD, B38400 = 0x30, 0x30, 0x80, 0x100, 0x400, 0x800, 0x100F, 0xF
# c_lflag
ISIG, ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP = 0x1, 0x2, 0x8, 0x10, 0x20, 0x40, 0x80, 0x100
ECHOCTL, ECHOPRT, ECHOKE, IEXTEN, EXTPROC = 0x200, 0x400, 0x800, 0x8000, 0x10000
# Indices into c_cc; a control character that is 0 is switched off.
VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP = range(11)
VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT, VEOL2 = range(11, 17)
NCCS = 19

# Requests
TCGETS, TCSETS, TCSETSW, TCSETSF, TCGETA, TCSETA, TCSETAW, TCSETAF = range(0x5401, 0x5409)
TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL, TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCOUTQ, TIOCSTI = range(0x5409, 0x5413)
TIOCGWINSZ, TIOCSWINSZ = 0x5413, 0x5414
TIOCGSOFTCAR, TIOCSSOFTCAR, TIOCINQ, TIOCCONS = 0x5419, 0x541A, 0x541B, 0x541D
TIOCPKT, TIOCNOTTY, TIOCSETD, TIOCGETD, TCSBRKP = 0x5420, 0x5422, 0x5423, 0x5424, 0x5425
TIOCGLCKTRMIOS, TIOCSLCKTRMIOS = 0x5456, 0x5457
TIOCSBRK, TIOCCBRK, TIOCGSID, TIOCVHANGUP = 0x5427, 0x5428, 0x5429, 0x5437
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TIOCGPTN, TIOCSPTLCK, TIOCGDEV, TIOCSIG, TIOCGPTPEER = 0x80045430, 0x40045431, 0x80045432, 0x40045436, 0x5441
TIOCGPKT, TIOCGPTLCK, TIOCGEXCL = 0x80045438, 0x80045439, 0x80045440

# The arguments of tcflow(3) and tcflush(3)
TCOOFF, TCOON, TCIOFF, TCION = range(4)
TCIFLUSH, TCOFLUSH, TCIOFLUSH = range(3)
# The status byte of packet mode
PKT_DATA, PKT_FLUSHREAD, PKT_FLUSHWRITE, PKT_STOP, PKT_START, PKT_NOSTOP, PKT_DOSTOP, PKT_IOCTL = (
    0, 1, 2, 4, 8, 16, 32, 64,
)  # fmt: skip

INT = struct.Struct("<i")
WINSIZE = struct.Struct("<4H")
TERMIOS = struct.Struct("<4IB19s")
TERMIOS2 = struct.Struct("<4IB19s2I")
TERMIO = struct.Struct("<4HB8sx")

DEFAULT_CC = bytes(
    (3, 0x1C, 0x7F, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1A, 0, 0x12, 0x0F, 0x17, 0x16, 0, 0, 0)
)  # ^C ^\ DEL ^U ^D - 1 - ^Q ^S ^Z - ^R ^O ^W ^V -


class Termios(msgspec.Struct, frozen=True):
    """``struct termios``. Immutable: a change makes a new one, so that a snapshot can be kept."""

    iflag: int = ICRNL | IXON
    oflag: int = OPOST | ONLCR
    cflag: int = B38400 | CS8 | CREAD
    lflag: int = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN
    line: int = 0
    cc: bytes = DEFAULT_CC
    ispeed: int = 38400
    ospeed: int = 38400

    def keeping(self, old: Termios, lock: Termios) -> Termios:
        """These settings, except that what has a bit set in ``lock`` stays as it was in ``old``."""

        def merge(new: int, before: int, locked: int) -> int:
            return new & ~locked | before & locked

        return replace(
            self,
            iflag=merge(self.iflag, old.iflag, lock.iflag),
            oflag=merge(self.oflag, old.oflag, lock.oflag),
            cflag=merge(self.cflag, old.cflag, lock.cflag),
            lflag=merge(self.lflag, old.lflag, lock.lflag),
            line=old.line if lock.line else self.line,
            cc=bytes(before if locked else new for new, before, locked in zip(self.cc, old.cc, lock.cc, strict=True)),
        )

    def pack(self) -> bytes:
        """What TCGETS copies out."""
        return TERMIOS.pack(self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc)

    def pack2(self) -> bytes:
        """What TCGETS2 copies out."""
        return TERMIOS2.pack(
            self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc, self.ispeed, self.ospeed
        )

    def pack_old(self) -> bytes:
        """What TCGETA copies out: the low halves of the flags and the first eight control characters."""
        flags = (value & 0xFFFF for value in (self.iflag, self.oflag, self.cflag, self.lflag))
        return TERMIO.pack(*flags, self.line, self.cc[:8])

    @classmethod
    def unpack(cls, data: bytes, old: Termios) -> Termios:
        """From the bytes of TCSETS; the speeds stay those of ``old``."""
        iflag, oflag, cflag, lflag, line, cc = TERMIOS.unpack(data)
        return cls(iflag, oflag, cflag, lflag, line, cc, old.ispeed, old.ospeed)

    @classmethod
    def nothing(cls) -> Termios:
        """No bit set: the lock of a terminal whose every setting may be changed."""
        return cls(0, 0, 0, 0, 0, bytes(len(DEFAULT_CC)), 0, 0)

    @classmethod
    def unpack2(cls, data: bytes) -> Termios:
        """From the bytes of TCSETS2."""
        return cls(*TERMIOS2.unpack(data))

    @classmethod
    def unpack_old(cls, data: bytes, old: Termios) -> Termios:
        """From the bytes of TCSETA; what they do not hold stays that of ``old``."""
        iflag, oflag, cflag, lflag, line, cc = TERMIO.unpack(data)
        high = 0xFFFF0000
        return cls(
            old.iflag & high | iflag, old.oflag & high | oflag, old.cflag & high | cflag, old.lflag & high | lflag,
            line, cc + old.cc[8:], old.ispeed, old.ospeed,
        )  # fmt: skip
