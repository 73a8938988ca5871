"""Consoles: terminals whose hardware is a driver."""

from __future__ import annotations

import asyncio
import errno
import os

from occlum_async.abi import termios as tc
from occlum_async.abi.errors import SyscallError
from occlum_async.io.tty.registry import Terminals

from ..conftest import settle
from .conftest import FakeJobs, blocked, tell


class Driver:
    """Keeps what is shown; sends only while ``gate`` is open."""

    def __init__(self) -> None:
        self.shown = b""
        self.gate = asyncio.Event()
        self.gate.set()
        self.terminals: Terminals
        self.closed = False
        self.broken = False

    async def write(self, data: bytes) -> None:
        await self.terminals.scheduler.bridge(self.gate.wait())
        if self.broken:
            raise SyscallError(errno.EPIPE)
        self.shown += data

    def close(self) -> None:
        self.closed = True


async def test_what_is_typed_and_shown_passes_the_line_discipline(terminals: Terminals, jobs: FakeJobs) -> None:
    driver = Driver()
    driver.terminals = terminals
    console = terminals.create_console(driver)
    file = terminals.open_console(os.O_RDWR, jobs.leader(5)).acquire()
    await console.input(b"hi\r")
    assert await file.read(10) == b"hi\n"
    await file.write(b"answer\n")
    await settle()
    assert driver.shown == b"hi\r\nanswer\r\n"


async def test_drain_waits_for_the_driver(terminals: Terminals, jobs: FakeJobs) -> None:
    driver = Driver()
    driver.terminals = terminals
    terminals.create_console(driver)
    leader = jobs.leader(5)
    file = terminals.open_console(os.O_RDWR, leader).acquire()
    driver.gate.clear()
    await file.write(b"slow")
    draining = await blocked(tell(file, leader, tc.TCSBRK, 1))
    driver.gate.set()
    await draining
    assert driver.shown == b"slow"


async def test_the_last_close_sends_the_rest_and_frees_the_number(terminals: Terminals, jobs: FakeJobs) -> None:
    driver = Driver()
    driver.terminals = terminals
    terminals.create_console(driver)
    file = terminals.open_console(os.O_RDWR, jobs.leader(5)).acquire()
    driver.gate.clear()
    await file.write(b"bye")
    file.release()
    await settle()
    assert not driver.closed and 0 in terminals.by_index
    driver.gate.set()
    await settle()
    assert driver.closed and driver.shown == b"bye"
    assert terminals.console is None and not terminals.by_index


async def test_two_consoles_at_once(terminals: Terminals, jobs: FakeJobs) -> None:
    drivers = [Driver(), Driver()]
    files = []
    for driver in drivers:
        driver.terminals = terminals
        console = terminals.create_console(driver)
        files.append(terminals.open(console.terminal, os.O_RDWR, jobs.leader(5)).acquire())
    for number, file in enumerate(files):
        await file.write(b"%d" % number)
    await settle()
    assert [driver.shown for driver in drivers] == [b"0", b"1"]
    files[0].release()
    await settle()
    assert drivers[0].closed and not drivers[1].closed


async def test_a_broken_driver_hangs_up(terminals: Terminals, jobs: FakeJobs) -> None:
    driver = Driver()
    driver.terminals = terminals
    driver.broken = True
    console = terminals.create_console(driver)
    leader = jobs.leader(5)
    file = terminals.open(console.terminal, os.O_RDWR, leader).acquire()
    await file.write(b"lost")
    await settle()
    assert file.ended and driver.closed
    assert ("process", 5, 1) in jobs.sent
    await console.input(b"typed too late")
