"""Pty pairs: data, modes, flow, packet mode, poll, hangup."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from msgspec.structs import replace

from occlum_async.abi import termios as tc
from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.io.file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI
from occlum_async.io.tty.registry import Terminals
from occlum_async.io.tty.terminal import OUTPUT_LIMIT

from .conftest import FakeJobs, Pair, ask, blocked, tell


def raw(minimum: int = 1, tenths: int = 0) -> tc.Termios:
    cc = bytearray(tc.DEFAULT_CC)
    cc[tc.VMIN], cc[tc.VTIME] = minimum, tenths
    return tc.Termios(iflag=0, oflag=0, lflag=0, cc=bytes(cc))


async def test_a_line_arrives_whole_and_in_parts(pair: Pair) -> None:
    await pair.master.write(b"first\rsecond\r")
    assert await pair.slave.read(3) == b"fir"
    assert await pair.slave.read(100) == b"st\n"
    assert await ask(pair.slave, tc.TIOCINQ) == tc.INT.pack(7)
    assert await pair.slave.read(100) == b"second\n"


async def test_a_reader_waits_for_the_end_of_the_line(pair: Pair) -> None:
    reading = await blocked(pair.slave.read(100))
    await pair.master.write(b"abc")
    assert not pair.slave.poll() & POLLIN
    assert not reading.done()
    await pair.master.write(b"\n")
    assert await reading == b"abc\n"


async def test_end_of_file_ends_one_read(pair: Pair) -> None:
    await pair.master.write(b"\x04rest\x04")
    assert await pair.slave.read(100) == b""
    assert await pair.slave.read(100) == b"rest"


async def test_a_line_that_is_too_long_keeps_its_end(pair: Pair) -> None:
    pair.slave.terminal.configure(replace(tc.Termios(), lflag=tc.ICANON))
    await pair.master.write(b"x" * 5000 + b"\r")
    line = await pair.slave.read(10000)
    assert line == b"x" * 4095 + b"\n"


async def test_raw_reads_follow_vmin(pair: Pair) -> None:
    pair.slave.terminal.configure(raw(minimum=3))
    reading = await blocked(pair.slave.read(10))
    await pair.master.write(b"ab")
    assert not reading.done() and not pair.slave.poll() & POLLIN
    await pair.master.write(b"cd")
    assert await reading == b"abcd"
    pair.slave.terminal.configure(raw(minimum=0))
    assert await pair.slave.read(10) == b""
    await pair.master.write(b"x")
    assert await pair.slave.read(10) == b"x"


async def test_raw_reads_follow_vtime(pair: Pair) -> None:
    pair.slave.terminal.configure(raw(minimum=0, tenths=1))
    assert await pair.slave.read(10) == b""
    pair.slave.terminal.configure(raw(minimum=5, tenths=1))
    reading = await blocked(pair.slave.read(10))
    await pair.master.write(b"ab")
    assert await reading == b"ab"


async def test_what_was_typed_survives_a_change_of_mode(pair: Pair) -> None:
    await pair.master.write(b"line\rpart")
    pair.slave.terminal.configure(raw())
    assert await pair.slave.read(100) == b"line\npart"
    await pair.master.write(b"more")
    pair.slave.terminal.configure(tc.Termios())
    assert await pair.slave.read(100) == b"more"


async def test_nonblocking_and_interrupted_reads(pair: Pair) -> None:
    pair.slave.flags |= os.O_NONBLOCK
    with pytest.raises(SyscallError) as caught:
        await pair.slave.read(1)
    assert caught.value.errno == errno.EAGAIN
    pair.slave.flags &= ~os.O_NONBLOCK
    pair.slave.terminal.configure(raw(minimum=5))

    async def read_until_signalled() -> bytes:
        asyncio.get_running_loop().call_soon(pair.slave.scheduler.current().interrupt)
        return await pair.slave.read(10)

    await pair.master.write(b"ab")
    assert await asyncio.create_task(read_until_signalled()) == b"ab"
    with pytest.raises(Interrupted):
        await asyncio.create_task(read_until_signalled())


async def test_a_writer_waits_for_the_screen(pair: Pair) -> None:
    pair.slave.terminal.configure(raw())
    writing = await blocked(pair.slave.write(bytes(OUTPUT_LIMIT + 10)))
    assert not pair.slave.poll() & POLLOUT
    shown = len(await pair.master.read(OUTPUT_LIMIT))
    assert await writing == OUTPUT_LIMIT + 10
    shown += len(await pair.master.read(OUTPUT_LIMIT))
    assert shown == OUTPUT_LIMIT + 10


async def test_a_typist_waits_for_the_reader(pair: Pair) -> None:
    pair.slave.terminal.configure(raw())
    typing = await blocked(pair.master.write(bytes(20000)))
    assert not pair.master.poll() & POLLOUT
    taken = 0
    while taken < 20000:
        taken += len(await pair.slave.read(3000))
    assert await typing == 20000


async def test_echo_never_blocks_and_is_bounded(pair: Pair) -> None:
    for _ in range(200):
        await pair.master.write(b"x" * 500 + b"\r")
        await pair.slave.read(1000)
    assert len(pair.slave.terminal.output) <= OUTPUT_LIMIT + 4096


async def test_stop_and_start(pair: Pair) -> None:
    await pair.master.write(b"\x13")
    writing = await blocked(pair.slave.write(b"held"))
    await pair.master.write(b"\x11")
    assert await writing == 4
    assert await pair.master.read(10) == b"held"
    await tell(pair.slave, pair.leader, tc.TCXONC, tc.TCOOFF)
    assert not pair.slave.poll() & POLLOUT
    await tell(pair.slave, pair.leader, tc.TCXONC, tc.TCOON)
    assert pair.slave.poll() & POLLOUT


async def test_signals_flush_and_show_themselves(pair: Pair) -> None:
    await pair.master.write(b"typed\x03")
    assert pair.jobs.sent == [("group", 10, 2)]
    assert await pair.master.read(100) == b"^C"
    pair.slave.terminal.configure(replace(tc.Termios(), lflag=tc.Termios().lflag | tc.NOFLSH))
    await pair.master.write(b"kept\x1c\r")
    assert pair.jobs.sent[-1] == ("group", 10, 3)
    assert await pair.slave.read(100) == b"kept\n"


async def test_packet_mode_tells_of_changes(pair: Pair) -> None:
    await tell(pair.master, None, tc.TIOCPKT, tc.INT.pack(1))
    await pair.slave.write(b"out")
    assert await pair.master.read(100) == b"\0out"
    await pair.master.write(b"\x13")
    assert pair.master.poll() & POLLPRI
    assert await pair.master.read(100) == bytes((tc.PKT_STOP,))
    await pair.master.write(b"\x11")
    assert await pair.master.read(100) == bytes((tc.PKT_START,))
    pair.slave.terminal.configure(raw())
    assert await pair.master.read(100) == bytes((tc.PKT_NOSTOP,))
    await tell(pair.slave, pair.leader, tc.TCFLSH, tc.TCIFLUSH)
    assert await pair.master.read(100) == bytes((tc.PKT_FLUSHREAD,))
    assert not pair.master.poll() & POLLPRI


async def test_the_master_sees_the_slave_go_and_come(pair: Pair) -> None:
    await pair.slave.write(b"last words")
    reading_is_possible = pair.master.poll()
    assert reading_is_possible & POLLIN and not reading_is_possible & POLLHUP
    pair.slave.release()
    assert pair.master.poll() & POLLHUP
    assert await pair.master.read(100) == b"last words"
    with pytest.raises(SyscallError) as caught:
        await pair.master.read(100)
    assert caught.value.errno == errno.EIO
    again = pair.terminals.open_slave(0, os.O_RDWR | os.O_NOCTTY, pair.leader).acquire()
    assert not pair.master.poll() & POLLHUP
    again.release()


async def test_closing_the_master_ends_everything(pair: Pair) -> None:
    reading = await blocked(pair.slave.read(100))
    pair.master.release()
    assert await reading == b""
    assert pair.slave.poll() & (POLLHUP | POLLERR | POLLIN) == POLLHUP | POLLERR | POLLIN
    for attempt in (pair.slave.write(b"x"), ask(pair.slave, tc.TCGETS, 36)):
        with pytest.raises(SyscallError) as caught:
            await attempt
        assert caught.value.errno == errno.EIO
    assert pair.jobs.sent == [("process", 10, 1), ("process", 10, 18)]
    assert pair.leader.process.session.terminal is None
    assert pair.leader.process.session.hung_up is pair.leader.process.group
    with pytest.raises(SyscallError) as caught:
        pair.terminals.open_slave(0, os.O_RDWR, pair.leader)
    assert caught.value.errno == errno.ENXIO


async def test_the_masters_requests_are_about_the_slave(pair: Pair) -> None:
    assert await ask(pair.master, tc.TIOCGPTN) == tc.INT.pack(0)
    await tell(pair.master, None, tc.TIOCSWINSZ, tc.WINSIZE.pack(24, 80, 0, 0))
    assert await ask(pair.slave, tc.TIOCGWINSZ, 8) == tc.WINSIZE.pack(24, 80, 0, 0)
    assert pair.jobs.sent == [("group", 10, 28)]
    await tell(pair.master, None, tc.TIOCSWINSZ, tc.WINSIZE.pack(24, 80, 0, 0))
    assert len(pair.jobs.sent) == 1  # nothing has changed
    await tell(pair.master, None, tc.TCSETS, replace(tc.Termios(), lflag=0).pack())
    assert pair.slave.terminal.termios.lflag == 0
    assert await ask(pair.master, tc.TIOCGPGRP) == tc.INT.pack(10)
    await tell(pair.master, None, tc.TIOCSIG, 15)
    assert pair.jobs.sent[-1] == ("group", 10, 15)


async def test_peers_are_opened_without_a_path(pair: Pair) -> None:
    fd = await tell(pair.master, pair.leader, tc.TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    peer = pair.leader.files.installed[fd]
    await peer.write(b"hi")
    assert await pair.master.read(10) == b"hi"
    assert peer.describe() == "/dev/pts/0"


async def test_locks_exclusiveness_and_limits(terminals: Terminals, jobs: FakeJobs) -> None:
    master = terminals.open_master(os.O_RDWR).acquire()
    user = jobs.leader(20)
    user.credentials = user.credentials.of(1000, 1000)
    with pytest.raises(SyscallError) as caught:
        terminals.open_slave(0, os.O_RDWR, user)
    assert caught.value.errno == errno.EIO
    await tell(master, None, tc.TIOCSPTLCK, tc.INT.pack(0))
    slave = terminals.open_slave(0, os.O_RDWR, user).acquire()
    await tell(slave, user, tc.TIOCEXCL, 0)
    with pytest.raises(SyscallError) as caught:
        terminals.open_slave(0, os.O_RDWR, user)
    assert caught.value.errno == errno.EBUSY
    others = [terminals.open_master(os.O_RDWR).acquire() for _ in range(7)]
    with pytest.raises(SyscallError) as caught:
        terminals.open_master(os.O_RDWR)
    assert caught.value.errno == errno.ENOSPC
    others[2].release()
    assert terminals.open_master(os.O_RDWR).terminal.index == 3


async def test_pushing_input_is_refused(pair: Pair) -> None:
    with pytest.raises(SyscallError) as caught:
        await tell(pair.slave, pair.leader, tc.TIOCSTI, b"x")
    assert caught.value.errno == errno.EIO
    with pytest.raises(SyscallError) as caught:
        await tell(pair.slave, pair.leader, 0x1234, b"x")
    assert caught.value.errno == errno.ENOTTY
