"""The line discipline against Linux's own: the same keys into a pty of the host and into one of ours."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from occlum_async.abi import termios as tc
from occlum_async.abi.termios import Termios
from occlum_async.io.tty.discipline import LineDiscipline
from occlum_async.io.tty.output import OutputProcessor

PATIENCE = 2.0  # seconds that the host may take to process keys


class Screen:
    """The discipline's other side: keeps what is shown."""

    def __init__(self) -> None:
        self.cursor = OutputProcessor()
        self.stopped = False
        self.shown = bytearray()
        self.discipline = LineDiscipline(self)

    def echo(self, data: bytes) -> None:
        self.shown += self.cursor.process(data, self.discipline.termios)

    def signal(self, number: int) -> None:
        pass

    def flow(self, stop: bool) -> None:
        self.stopped = stop

    def flush_output(self) -> None:
        self.shown.clear()

    def input_flushed(self) -> None:
        pass


class HostPty:
    """A pty of the host."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        os.set_blocking(self.slave, False)

    def configure(self, mode: Termios) -> None:
        fcntl.ioctl(self.slave, tc.TCSETSF2, mode.pack2())

    def wait_for(self, fd: int, count: int) -> bytes:
        """Bytes of ``fd``, until there are ``count`` or patience ends; then whatever else is there."""
        data = b""
        deadline = time.monotonic() + PATIENCE
        while len(data) < count and select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data += os.read(fd, 65536)
        while select.select([fd], [], [], 0)[0]:
            data += os.read(fd, 65536)
        return data

    def lines(self, expected: list[bytes]) -> list[bytes]:
        """As many reads as there are expected ones."""
        found = []
        for _ in expected:
            if not select.select([self.slave], [], [], PATIENCE)[0]:
                break
            found.append(os.read(self.slave, 65536))
        if select.select([self.slave], [], [], 0)[0]:
            found.append(b"more than expected")
        return found

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@contextmanager
def host_pty(mode: Termios) -> Iterator[HostPty]:
    pty = HostPty()
    try:
        pty.configure(mode)
        yield pty
    finally:
        pty.close()


# Signals are left out (the host would send them), flow control too (it would stop the host's echo).
KEYS = b"abz _9\x7f\x15\x17\x16\x12\x04\r\n\t\x01\x1b\b\xc3\xa9\xe2\x82\xac\xff#@"
IFLAGS = (tc.ICRNL, tc.INLCR, tc.IGNCR, tc.ISTRIP, tc.IUCLC, tc.IUTF8, tc.PARMRK)
OFLAGS = (tc.OPOST, tc.ONLCR, tc.OCRNL, tc.ONOCR, tc.ONLRET, tc.OLCUC, tc.XTABS)
# Not shared: on Linux, echo moves the cursor's column a little even without OPOST, and 0xff has no capital.
ECHO_OFLAGS = (tc.ONLCR, tc.OCRNL, tc.ONOCR, tc.ONLRET, tc.XTABS)
LFLAGS = (
    tc.ICANON, tc.ECHO, tc.ECHOE, tc.ECHOK, tc.ECHONL, tc.ECHOCTL, tc.ECHOPRT, tc.ECHOKE, tc.IEXTEN,
)  # fmt: skip


def flags(choices: tuple[int, ...], usual: int) -> st.SearchStrategy[int]:
    """The usual flags, a few of them changed."""
    return st.lists(st.sampled_from(choices), max_size=3).map(lambda some: _toggle(usual, some))


def _toggle(value: int, some: list[int]) -> int:
    for flag in some:
        value ^= flag
    return value


USUAL = Termios()
MODES = st.builds(
    lambda i, o, local, eol: replace(
        USUAL, iflag=i, oflag=o, lflag=local, cc=USUAL.cc[: tc.VEOL] + bytes((eol,)) + USUAL.cc[tc.VEOL + 1 :]
    ),
    flags(IFLAGS, tc.ICRNL),
    flags(ECHO_OFLAGS, USUAL.oflag),
    flags(LFLAGS, USUAL.lflag & ~tc.ISIG),
    st.sampled_from([0, ord("#")]),
)


@settings(max_examples=150, deadline=None)
@given(mode=MODES, keys=st.lists(st.sampled_from([bytes((key,)) for key in KEYS]), max_size=24).map(b"".join))
def test_the_same_keys_have_the_same_effect(mode: Termios, keys: bytes) -> None:
    ours = Screen()
    ours.discipline.configure(mode)
    ours.discipline.receive(keys)
    with host_pty(mode) as host:
        if keys:
            os.write(host.master, keys)
        assert host.wait_for(host.master, len(ours.shown)) == bytes(ours.shown)
        if ours.discipline.canonical:
            expected = []
            while ours.discipline.available():
                expected.append(ours.discipline.take(65536))
            assert host.lines(expected) == expected
        else:
            data = ours.discipline.take(65536)
            assert host.wait_for(host.slave, len(data)) == data


@settings(max_examples=80, deadline=None)
@given(oflag=flags(OFLAGS, USUAL.oflag), text=st.binary(max_size=60))
def test_output_is_processed_alike(oflag: int, text: bytes) -> None:
    mode = replace(USUAL, oflag=oflag)
    expected = OutputProcessor().process(text, mode)
    with host_pty(mode) as host:
        if text:
            os.write(host.slave, text)
        assert host.wait_for(host.master, len(expected)) == expected


def test_the_structs_are_the_hosts() -> None:
    master, slave = os.openpty()
    data = fcntl.ioctl(slave, termios.TCGETS, bytes(36))
    assert Termios.unpack(data, USUAL).pack() == data
    assert struct.unpack("<4I", data[:16]) == struct.unpack("<4I", USUAL.pack()[:16])
    assert data[17:] == USUAL.pack()[17:]
    os.close(master)
    os.close(slave)
