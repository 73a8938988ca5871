"""Output processing: what OPOST does to bytes on their way to the screen, and where the cursor stands."""

from __future__ import annotations

from ...abi import termios as tc
from ...abi.termios import Termios

# With none of these set, output processing is at most the mapping of NL to CR NL.
SLOW = tc.OCRNL | tc.OLCUC | tc.ONOCR
TAB = 8
# Bytes that do not move the cursor: control characters but tab and backspace; and UTF-8's continuations.
STILL = bytes([*range(8), *range(10, 32), 127])
STILL_UTF8 = STILL + bytes(range(0x80, 0xC0))


class OutputProcessor:
    """Maps written bytes to sent bytes; ``column`` is the cursor's, counted from 0.

    ``line_start`` is the column where the line being typed began; a newline or return begins it anew.
    """

    __slots__ = ("column", "line_start")

    def __init__(self) -> None:
        self.column = 0
        self.line_start = 0

    def process(self, data: bytes, termios: Termios) -> bytes:
        """The bytes that the screen gets for ``data``: at most ``TAB`` times as many."""
        flags = termios.oflag
        if not flags & tc.OPOST:
            return data
        still = STILL_UTF8 if termios.iflag & tc.IUTF8 else STILL
        if flags & SLOW or (flags & tc.TABDLY == tc.XTABS and b"\t" in data):
            return self._process_slowly(data, flags, still)
        self._advance(data, bool(flags & (tc.ONLCR | tc.ONLRET)), still)
        return data.replace(b"\n", b"\r\n") if flags & tc.ONLCR else data

    def _advance(self, data: bytes, newline_returns: bool, still: bytes) -> None:
        """Move ``column`` over ``data``."""
        start = data.rfind(b"\r") + 1
        newline = data.rfind(b"\n") + 1
        if newline_returns:
            start = max(start, newline)
        if start:
            self.column = self.line_start = 0
        if newline > start:
            self._move(data[start:newline], still)
            self.line_start = self.column
            start = newline
        self._move(data[start:], still)

    def _move(self, tail: bytes, still: bytes) -> None:
        """Move ``column`` over bytes without a return."""
        if b"\t" not in tail and b"\b" not in tail:
            self.column += len(tail.translate(None, still))
            return
        for byte in tail.translate(None, still):
            self._step(byte)

    def _step(self, byte: int) -> None:
        if byte == 9:
            self.column += TAB - self.column % TAB
        elif byte == 8:
            self.column = max(0, self.column - 1)
        else:
            self.column += 1

    def _process_slowly(self, data: bytes, flags: int, still: bytes) -> bytes:
        sent = bytearray()
        for byte in data:
            if byte == 10:
                if flags & (tc.ONLCR | tc.ONLRET):
                    self.column = 0
                self.line_start = self.column
                sent += b"\r\n" if flags & tc.ONLCR else b"\n"
            elif byte == 13:
                if flags & tc.ONOCR and self.column == 0:
                    continue
                if flags & tc.OCRNL:
                    sent += b"\n"
                    if flags & tc.ONLRET:
                        self.column = self.line_start = 0
                else:
                    sent += b"\r"
                    self.column = self.line_start = 0
            elif byte == 9 and flags & tc.TABDLY == tc.XTABS:
                width = TAB - self.column % TAB
                sent += b" " * width
                self.column += width
            else:
                sent.append(to_upper(byte) if flags & tc.OLCUC else byte)
                if byte not in still:
                    self._step(byte)
        return bytes(sent)


# Linux's terminals take letters to be Latin-1's, whatever the locale.


def to_upper(byte: int) -> int:
    """The capital of a small letter (of which sharp s and y with dots have none: they come out as they do)."""
    return byte - 32 if 97 <= byte <= 122 or (byte >= 0xDF and byte != 0xF7) else byte


def to_lower(byte: int) -> int:
    """The small letter of a capital."""
    return byte + 32 if 65 <= byte <= 90 or (0xC0 <= byte <= 0xDE and byte != 0xD7) else byte


def is_word(byte: int) -> bool:
    """Letters, digits and the underscore."""
    return byte == 0x5F or 48 <= byte <= 57 or to_lower(byte) != byte or to_upper(byte) != byte
