"""The host's signals that reach ``run``: the program's while it runs, otherwise the order to end in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..libos import Process

# They go to the program.
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class HostSignals:
    """Before and after the program's run a signal cancels the task that entered this: disks are unmounted cleanly.

    ``received`` is the signal that did so. While the LibOS ends (``ending``) signals are ignored.
    """

    def __init__(self) -> None:
        self.received = 0
        self.ending = False
        self._send: Callable[[int], None] | None = None
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> HostSignals:
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.add_signal_handler(number, self._arrived, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.remove_signal_handler(number)

    @contextmanager
    def sent_to(self, process: Process, send: Callable[[int], None]) -> Iterator[None]:
        """Pass them to the program while it runs."""

        def pass_on(number: int) -> None:
            if process.returncode is None:
                send(number)

        self._send = pass_on
        try:
            yield
        finally:
            self._send = None

    def _arrived(self, number: int) -> None:
        if self._send is not None:
            self._send(number)
        elif not self.ending and self._task is not None:
            self.received, self.ending = number, True
            self._task.cancel()
