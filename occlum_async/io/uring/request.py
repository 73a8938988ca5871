"""One request: a copy of the guest's entry, and where it stands in its life."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ...abi.uring import IOSQE_FIXED_FILE, SQE

if TYPE_CHECKING:
    from ...sched.strand import CoroutineStrand
    from ..file import File
    from .ring import Uring
    from .submitter import Submitter

# What a request does: its result, negative for an error, at once or when it has been awaited. Raises nothing.
Work = Callable[["Request"], "int | Awaitable[int]"]

UPDATED = "updated"  # what a waiting request is resumed with when another one has changed it


class Request:
    """The fields of ``struct io_uring_sqe``, read once, and the request's state.

    Life: prepared (``work`` is set, or ``failure``) -> maybe queued behind others -> begun (``strand`` is set)
    -> finished. ``following`` is the next one of its chain; ``guard`` the linked time-out that watches it.
    """

    __slots__ = (
        "addr", "addr3", "buf_index", "deadline", "events", "failure", "fd", "file", "file_index",
        "finished", "flags", "following", "guard", "guarded", "ioprio", "length", "more_flags", "off", "op",
        "op_flags", "owner", "personality", "ring", "sequence", "silent", "strand", "submitter", "succeeded",
        "tolerated", "user_data", "work",
    )  # fmt: skip

    def __init__(self, ring: Uring, submitter: Submitter, owner: Any, entry: bytes, sequence: int) -> None:
        (
            self.op, self.flags, self.ioprio, self.fd, self.off, self.addr, self.length, self.op_flags,
            self.user_data, self.buf_index, self.personality, self.file_index, self.addr3,
        ) = SQE.unpack(entry)  # fmt: skip
        self.ring = ring
        self.submitter = submitter
        self.owner = owner  # the thread that submitted it
        self.sequence = sequence
        self.work: Work | None = None
        self.failure = 0  # the result, when it is known to fail before it begins
        self.strand: CoroutineStrand | None = None
        self.file: File | None = None  # held from the beginning to the end
        self.following: Request | None = None
        self.guard: Request | None = None
        self.guarded: Request | None = None
        self.finished = False
        self.succeeded = True  # whether its chain goes on: an operation may say no in spite of its result
        self.tolerated = False  # ... or yes in spite of an error
        self.silent = False  # nobody is told of its completion
        self.more_flags = 0  # of its completion: the buffer that was selected
        self.events = 0  # of POLL_ADD; may be changed meanwhile
        self.deadline: Any = None  # of TIMEOUT and LINK_TIMEOUT, monotonic ns; may be changed meanwhile

    @property
    def fixed(self) -> bool:
        """Whether ``fd`` is an index of the registered files."""
        return bool(self.flags & IOSQE_FIXED_FILE)

    @property
    def begun(self) -> bool:
        """Whether it is at work: only then it can be found and cancelled."""
        return self.strand is not None and not self.finished

    def last(self) -> Request:
        """The last one of its chain."""
        request = self
        while request.following is not None:
            request = request.following
        return request

    def hold(self, file: File) -> File:
        """Keep ``file`` open until the end of this request."""
        if self.file is None:
            self.file = file.acquire()
        return file

    def cancel(self) -> bool:
        """Ask it to end. False when it is where it can't: it will complete by itself."""
        strand = self.strand
        assert strand is not None, "only what has begun is cancelled"
        stoppable = not strand.parked or strand.interruptible
        strand.interrupt()
        return stoppable

    def update(self, what: object = UPDATED) -> None:
        """Its ``events`` or ``deadline`` have been changed, or something else it waits for: have it look."""
        if self.strand is not None:
            self.strand.resume(self.strand.ticket, what)

    def fail(self, result: int) -> None:
        """It will fail with ``result`` as soon as it begins."""
        self.failure = result
        self.work = None
