"""What terminals must know of processes.

The process model hands a ``JobControl`` over at boot. The protocols here name exactly what is used of it.
"""

from __future__ import annotations

from typing import Any, Protocol


class Group(Protocol):
    """A process group."""

    pgid: int
    session: Any

    def is_orphaned(self) -> bool:
        """Whether no member has a parent in another group of the same session."""
        ...


class Session(Protocol):
    """A session. ``terminal`` and ``foreground`` are set and cleared by the terminal alone.

    ``hung_up`` is the group that was in the foreground when the terminal hung up: it gets its SIGHUP when
    the leader exits.
    """

    sid: int
    leader: Any
    terminal: Any
    foreground: Any
    hung_up: Any


class JobControl(Protocol):
    """The process model, as far as terminals may see it. ``Any`` stands for its threads and processes."""

    def current(self) -> Any:
        """The calling thread; None when the embedder itself calls."""
        ...

    def refuses(self, thread: Any, signo: int) -> bool:
        """Whether ``thread`` blocks or ignores the signal."""
        ...

    def signal_group(self, group: Any, signo: int) -> None:
        """Send a signal of the kernel to every member."""
        ...

    def signal_process(self, process: Any, signo: int) -> None:
        """Send a signal of the kernel to one process."""
        ...

    def find_group(self, thread: Any, pgid: int) -> Any:
        """The process group of that number as ``thread`` sees it; None if there is none."""
        ...
