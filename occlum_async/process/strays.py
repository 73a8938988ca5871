"""Host processes that guests have made and that never said who they are.

Each host clone is agreed to beforehand, but a guest that runs its own code may keep the child from its hello, or
say hello in its child's name. Such a child is no LibOS process: no limit binds it and no signal finds it. So whoever
is a child of the supervisor's and still a stranger after ``HELLO_TIMEOUT`` is killed, and whoever waits for a hello
that long is told that none will come.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from . import hoststat

if TYPE_CHECKING:
    from .supervisor import Supervisor

log = logging.getLogger(__name__)

HELLO_TIMEOUT = 10.0  # seconds


class Strays:
    """Looks for strays, only while something could have become one."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._timeout = HELLO_TIMEOUT
        self._timer: asyncio.TimerHandle | None = None
        self.killed = 0

    def expect_hello(self) -> None:
        """A guest is about to clone: look after everybody has had the time to say hello."""
        if self._timer is None:
            loop = self._supervisor.scheduler.loop
            self._timer = loop.call_later(self._timeout + 1, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        supervisor = self._supervisor
        known = {host.pid for host in supervisor.hosts}
        young = False
        for pid in hoststat.children_of(supervisor.pid):
            if pid not in known:
                if hoststat.age(pid) > self._timeout:
                    self._end(pid)
                else:
                    young = True
        for host in tuple(supervisor.hosts):
            if not host.pid and time.monotonic() - host.born > self._timeout:
                host.vanish()
            young = young or not host.pid
        if young:
            self.expect_hello()

    def _end(self, pid: int) -> None:
        """Kill a child of the supervisor's. It can't have been reaped, so the number is still its own."""
        with suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                self._supervisor.reap(pidfd)
                self.killed += 1
            finally:
                os.close(pidfd)
        log.warning("host process %d never said hello: killed", pid)
