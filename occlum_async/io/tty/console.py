"""The console: a terminal whose other side is outside of the LibOS."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Protocol

from ...abi.errors import SyscallError
from ...sched.waitqueue import WaitQueue
from ..file import POLLIN, POLLOUT
from .terminal import Terminal

log = logging.getLogger(__name__)
SEND_CHUNK = 16384


class ConsoleDriver(Protocol):
    """Where the console's bytes go. Typed bytes come the other way, by ``Console.input``."""

    def write(self, data: bytes) -> Awaitable[None]:
        """Send all of ``data``; a ``SyscallError`` when nobody is there any more."""


class Console:
    """The hardware of the console's terminal: one strand that sends, for as long as there is output.

    No more than a chunk is ever under way; what the driver does not take stays in the terminal, where
    programs wait for room.
    """

    def __init__(self, terminal: Terminal, driver: ConsoleDriver) -> None:
        self.terminal = terminal
        self.driver = driver
        self.sending = False
        self.gone = False
        self.waiters = WaitQueue()  # POLLIN: everything has been sent; POLLOUT: there is room for typed bytes
        terminal.hardware = self

    async def input(self, data: bytes) -> None:
        """Typed bytes: waits until there is room for all of them."""
        while data and not self.gone:
            taken = self.terminal.type(data)
            data = data[taken:]
            if data:
                await self.waiters.wait(self.terminal.scheduler, POLLOUT)

    def resize(self, rows: int, columns: int, width: int = 0, height: int = 0) -> None:
        """The window outside has another size, in characters and in pixels."""
        self.terminal.resize((rows, columns, width, height))

    def disconnect(self) -> None:
        """Nobody is there any more: hang up."""
        if not self.gone:
            self.gone = True
            self.terminal.output.clear()
            self.terminal.hangup()
            self.waiters.wake()

    def changed(self, events: int) -> None:
        if events & POLLIN:
            if self.gone:
                self.terminal.output.clear()
            elif not self.sending:
                self.sending = True
                self.terminal.scheduler.spawn(self._send())
        if events & POLLOUT:
            self.waiters.wake(POLLOUT)

    def packet(self, status: int) -> None:
        """There is no packet mode on a console."""

    async def drain(self) -> None:
        while self.sending:
            await self.waiters.wait(self.terminal.scheduler, POLLIN)

    async def _send(self) -> None:
        try:
            while data := self.terminal.take_output(SEND_CHUNK):
                await self.driver.write(data)
        except (SyscallError, OSError) as error:
            log.info("the console hung up: %s", error)
            self.disconnect()
        finally:
            self.sending = False
            self.waiters.wake(POLLIN)
