"""Consoles: terminals whose other side is outside of the LibOS."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from ...abi.errors import SyscallError
from ...sched.waitqueue import WaitQueue
from ..file import POLLHUP, POLLIN, POLLOUT
from .terminal import Terminal

log = logging.getLogger(__name__)
SEND_CHUNK = 16384


class ConsoleDriver(Protocol):
    """Where the console's bytes go. Typed bytes come the other way, by ``Console.input``."""

    def write(self, data: bytes) -> Awaitable[None]:
        """Send all of ``data``; a ``SyscallError`` when nobody is there any more."""
        ...

    def close(self) -> None:
        """There will be no more output."""


class Console:
    """The hardware of a terminal that ``driver`` shows outside: one strand that sends, while there is output.

    No more than a chunk is ever under way; what the driver does not take stays in the terminal, where
    programs wait for room. Life: from its creation until nobody has the terminal open any more (or the
    driver's side is gone); then the last output is sent, the driver closed and the terminal forgotten.
    """

    def __init__(self, terminal: Terminal, driver: ConsoleDriver, forget: Callable[[Terminal], None]) -> None:
        self.terminal = terminal
        self.driver = driver
        self.forget = forget
        self.sending = False
        self.ending = False
        self.closed = False
        self.waiters = WaitQueue()  # POLLIN: everything has been sent; POLLOUT: there is room for typed bytes
        terminal.hardware = self

    async def input(self, data: bytes) -> None:
        """Typed bytes: waits until there is room for all of them. What comes too late is dropped."""
        while data and not self.ending:
            taken = self.terminal.type(data)
            data = data[taken:]
            if data:
                await self.waiters.wait(self.terminal.scheduler, POLLOUT)

    def resize(self, rows: int, columns: int, width: int = 0, height: int = 0) -> None:
        """The window outside has another size, in characters and in pixels."""
        self.terminal.resize((rows, columns, width, height))

    def disconnect(self) -> None:
        """Nobody is there any more: hang up."""
        if not self.ending:
            self.terminal.output.clear()
            self.terminal.hangup()

    def changed(self, events: int) -> None:
        if events & POLLHUP:
            self.hung_up()
        if self.terminal.output and not self.sending and not self.closed:
            self.sending = True
            self.terminal.scheduler.spawn(self._send())
        if events & POLLOUT:
            self.waiters.wake(POLLOUT)

    def hung_up(self) -> None:
        if not self.ending:
            self.ending = True
            self.waiters.wake(POLLOUT)
            if not self.terminal.output and not self.sending:
                self._close()

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
        if self.ending:
            self._close()

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self.terminal.output.clear()
            self.forget(self.terminal)
            self.driver.close()
