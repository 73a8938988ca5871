"""Job control: who may read, write and change a terminal, and whose it is."""

from __future__ import annotations

import errno
import os

import pytest

from occlum_async.abi import termios as tc
from occlum_async.abi.errors import Interrupted, SyscallError
from occlum_async.abi.signals import SIGCONT, SIGHUP, SIGTTIN, SIGTTOU
from occlum_async.io.file import POLLHUP
from occlum_async.io.tty.registry import Terminals

from .conftest import FakeJobs, FakeProcess, FakeThread, Pair, ask, tell


def background(pair: Pair, pgid: int = 11) -> FakeThread:
    """A thread of another group of the same session, which now calls."""
    thread = FakeThread(FakeProcess(pgid, pair.jobs.group(pgid, pair.leader.process.session)))
    pair.jobs.thread = thread
    return thread


async def error_of(attempt: object) -> int:
    with pytest.raises(SyscallError) as caught:
        await attempt  # type: ignore[misc]
    return caught.value.errno


async def test_reading_from_the_background_stops_the_group(pair: Pair) -> None:
    background(pair)
    await pair.master.write(b"line\r")
    with pytest.raises(Interrupted):
        await pair.slave.read(10)
    assert pair.jobs.sent == [("group", 11, SIGTTIN)]
    pair.jobs.refused.add(SIGTTIN)
    assert await error_of(pair.slave.read(10)) == errno.EIO
    pair.jobs.thread = pair.leader
    assert await pair.slave.read(10) == b"line\n"


async def test_an_orphaned_group_gets_an_error_instead(pair: Pair) -> None:
    thread = background(pair)
    thread.process.group.orphaned = True
    assert await error_of(pair.slave.read(10)) == errno.EIO
    assert pair.jobs.sent == []


async def test_writing_stops_only_with_tostop(pair: Pair) -> None:
    background(pair)
    assert await pair.slave.write(b"x") == 1
    pair.slave.terminal.configure(tc.Termios(lflag=tc.TOSTOP))
    with pytest.raises(Interrupted):
        await pair.slave.write(b"x")
    assert pair.jobs.sent == [("group", 11, SIGTTOU)]
    pair.jobs.refused.add(SIGTTOU)
    assert await pair.slave.write(b"x") == 1


async def test_changing_the_mode_from_the_background_stops(pair: Pair) -> None:
    thread = background(pair)
    with pytest.raises(Interrupted):
        await tell(pair.slave, thread, tc.TCSETS, tc.Termios(lflag=0).pack())
    assert pair.slave.terminal.termios == tc.Termios()
    assert await ask(pair.slave, tc.TCGETS, 36) == tc.Termios().pack()


async def test_a_terminal_of_no_session_of_ours_never_stops(pair: Pair) -> None:
    pair.jobs.thread = pair.jobs.leader(30)
    await pair.master.write(b"line\r")
    assert await pair.slave.read(10) == b"line\n"


async def test_the_foreground_moves_between_groups_of_the_session(pair: Pair) -> None:
    pair.jobs.group(12, pair.leader.process.session)
    stranger = pair.jobs.leader(40)
    assert await tell(pair.slave, pair.leader, tc.TIOCSPGRP, tc.INT.pack(12)) == 0
    assert pair.leader.process.session.foreground.pgid == 12
    pair.jobs.refused.add(SIGTTOU)  # the leader is in the background now
    for pgid, number in ((-1, errno.EINVAL), (999, errno.ESRCH), (40, errno.EPERM)):
        assert await error_of(tell(pair.slave, pair.leader, tc.TIOCSPGRP, tc.INT.pack(pgid))) == number
    assert await error_of(tell(pair.slave, stranger, tc.TIOCSPGRP, tc.INT.pack(40))) == errno.ENOTTY
    assert await error_of(tell(pair.slave, stranger, tc.TIOCGPGRP, bytes(4))) == errno.ENOTTY


async def test_only_a_leader_without_a_terminal_takes_one(terminals: Terminals, jobs: FakeJobs) -> None:
    master = terminals.open_master(os.O_RDWR).acquire()
    master.terminal.locked = False
    leader = jobs.leader(10)
    member = FakeThread(FakeProcess(11, jobs.group(11, leader.process.session)))
    slave = terminals.open_slave(0, os.O_RDWR, member).acquire()
    assert master.terminal.session is None
    assert await error_of(tell(slave, member, tc.TIOCSCTTY, 0)) == errno.EPERM
    await tell(slave, leader, tc.TIOCSCTTY, 0)
    assert leader.process.session.terminal is master.terminal
    await tell(slave, leader, tc.TIOCSCTTY, 0)  # it has it already
    thief = jobs.leader(20)
    assert await error_of(tell(slave, thief, tc.TIOCSCTTY, 0)) == errno.EPERM
    await tell(slave, thief, tc.TIOCSCTTY, 1)
    assert leader.process.session.terminal is None and master.terminal.session is thief.process.session
    assert await error_of(tell(master, leader, tc.TIOCSCTTY, 0)) == errno.ENOTTY


async def test_opening_takes_control_unless_told_not_to(terminals: Terminals, jobs: FakeJobs) -> None:
    master = terminals.open_master(os.O_RDWR).acquire()
    master.terminal.locked = False
    leader = jobs.leader(10)
    terminals.open_slave(0, os.O_RDWR | os.O_NOCTTY, leader).acquire()
    assert leader.process.session.terminal is None
    terminals.open_slave(0, os.O_WRONLY, leader).acquire()
    assert leader.process.session.terminal is None
    with pytest.raises(SyscallError) as caught:
        terminals.open_current(os.O_RDWR, leader)
    assert caught.value.errno == errno.ENXIO
    terminals.open_slave(0, os.O_RDWR, leader).acquire()
    assert leader.process.session.terminal is master.terminal
    current = terminals.open_current(os.O_RDWR, leader).acquire()
    assert current.terminal is master.terminal


async def test_giving_the_terminal_up(pair: Pair) -> None:
    await tell(pair.slave, pair.leader, tc.TIOCNOTTY, 0)
    assert pair.jobs.sent == [("group", 10, SIGHUP), ("group", 10, SIGCONT)]
    assert pair.leader.process.session.terminal is None
    assert await pair.slave.write(b"still open") == 10
    assert await error_of(tell(pair.slave, pair.leader, tc.TIOCNOTTY, 0)) == errno.ENOTTY


async def test_the_leaders_exit_hangs_up(pair: Pair) -> None:
    pair.leader.process.session.foreground = pair.jobs.group(12, pair.leader.process.session)
    pair.leader.process.session.leader = None
    pair.slave.terminal.hangup(leader_exits=True)
    assert pair.jobs.sent == [("group", 12, SIGHUP), ("group", 12, SIGCONT)]
    assert await pair.slave.read(10) == b""
    assert not pair.master.poll() & POLLHUP  # the slave is still open, dead as it is
    pair.slave.release()
    assert await error_of(pair.master.read(10)) == errno.EIO
