"""Output processing: what OPOST does to bytes on their way to the screen, and where the cursor stands."""

from __future__ import annotations

from ...abi import termios as tc
from ...abi.termios import Termios

# With none of these set, output processing is at most the mapping of NL to CR NL.
SLOW = tc.OCRNL | tc.OLCUC | tc.ONOCR
TAB = 8
# Bytes that do not move the cursor: control characters but tab and backspace, and UTF-8 continuations.
STILL = bytes([*range(8), *range(10, 32), 127, *range(0x80, 0xC0)])


class OutputProcessor:
    """Maps written bytes to sent bytes; ``column`` is the cursor's, counted from 0."""

    __slots__ = ("column",)

    def __init__(self) -> None:
        self.column = 0

    def process(self, data: bytes, termios: Termios) -> bytes:
        """The bytes that the screen gets for ``data``: at most ``TAB`` times as many."""
        flags = termios.oflag
        if not flags & tc.OPOST:
            self._advance(data, False)
            return data
        if flags & SLOW or (flags & tc.TABDLY == tc.XTABS and b"\t" in data):
            return self._process_slowly(data, flags)
        self._advance(data, bool(flags & (tc.ONLCR | tc.ONLRET)))
        return data.replace(b"\n", b"\r\n") if flags & tc.ONLCR else data

    def _advance(self, data: bytes, newline_returns: bool) -> None:
        """Move ``column`` over ``data``."""
        start = data.rfind(b"\r") + 1
        if newline_returns:
            start = max(start, data.rfind(b"\n") + 1)
        if start:
            self.column = 0
        tail = data[start:]
        if b"\t" not in tail and b"\b" not in tail:
            self.column += len(tail.translate(None, STILL))
            return
        for byte in tail.translate(None, STILL):
            self._step(byte)

    def _step(self, byte: int) -> None:
        if byte == 9:
            self.column += TAB - self.column % TAB
        elif byte == 8:
            self.column = max(0, self.column - 1)
        else:
            self.column += 1

    def _process_slowly(self, data: bytes, flags: int) -> bytes:
        sent = bytearray()
        for byte in data:
            if byte == 10:
                if flags & (tc.ONLCR | tc.ONLRET):
                    self.column = 0
                sent += b"\r\n" if flags & tc.ONLCR else b"\n"
            elif byte == 13:
                if flags & tc.ONOCR and self.column == 0:
                    continue
                if flags & tc.OCRNL:
                    sent += b"\n"
                    if flags & tc.ONLRET:
                        self.column = 0
                else:
                    sent += b"\r"
                    self.column = 0
            elif byte == 9 and flags & tc.TABDLY == tc.XTABS:
                width = TAB - self.column % TAB
                sent += b" " * width
                self.column += width
            else:
                if flags & tc.OLCUC and 97 <= byte <= 122:
                    byte -= 32
                sent.append(byte)
                if byte not in STILL:
                    self._step(byte)
        return bytes(sent)
