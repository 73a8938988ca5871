"""Random sequences on our pipes and on Linux': the same bytes, counts, errors and poll masks."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import select
import signal

from hypothesis import given, settings
from hypothesis import strategies as st

from occlum_async.abi.user import PythonPointer
from occlum_async.io.pipe import FIONREAD, make_pipe
from occlum_async.sched.strand import Scheduler

from .conftest import at_once, outcome

F_SETPIPE_SZ, F_GETPIPE_SZ = 1031, 1032
ALL = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM


class Linux:
    """Non-blocking calls on a pipe of the host."""

    def __init__(self) -> None:
        self.ends = list(os.pipe2(os.O_NONBLOCK))

    def read(self, size):
        return os.read(self.ends[0], size)

    def write(self, data):
        return os.write(self.ends[1], data)

    def packets(self, on):
        fcntl.fcntl(self.ends[1], fcntl.F_SETFL, os.O_NONBLOCK | (os.O_DIRECT if on else 0))

    def resize(self, size):
        return fcntl.fcntl(self.ends[0], F_SETPIPE_SZ, size)

    def state(self, end):
        poll = select.poll()
        poll.register(self.ends[end], ALL)
        found = array.array("i", [0])
        fcntl.ioctl(self.ends[end], FIONREAD, found)
        return poll.poll(0) and poll.poll(0)[0][1], found[0], fcntl.fcntl(self.ends[end], F_GETPIPE_SZ)

    def close(self, end):
        os.close(self.ends[end])


class Ours:
    """The same on ours."""

    def __init__(self, scheduler) -> None:
        self.ends = make_pipe(scheduler, os.O_NONBLOCK)

    def read(self, size):
        return at_once(self.ends[0].read(size))

    def write(self, data):
        return at_once(self.ends[1].write(data))

    def packets(self, on):
        self.ends[1].flags = self.ends[1].flags & ~os.O_DIRECT | (os.O_DIRECT if on else 0)

    def resize(self, size):
        return self.ends[0].set_pipe_size(size, privileged=False)

    def state(self, end):
        target = PythonPointer(bytearray(4))
        at_once(self.ends[end].ioctl(None, FIONREAD, target))
        return self.ends[end].poll() or [], int.from_bytes(target.data, "little"), self.ends[end].pipe_size

    def close(self, end):
        self.ends[end].close()


SIZES = st.one_of(st.integers(0, 300), st.sampled_from([4095, 4096, 4097, 8192, 10_000, 70_000]))
STEP = st.one_of(
    st.tuples(st.just("write"), SIZES),
    st.tuples(st.just("read"), SIZES),
    st.tuples(st.just("packets"), st.booleans()),
    st.tuples(st.just("resize"), st.sampled_from([0, 1, 4096, 5000, 20_000, 65536, 1 << 20])),
    st.tuples(st.just("close"), st.integers(0, 1)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, max_size=30))
def test_pipe_behaves_as_linux(steps) -> None:
    loop = asyncio.new_event_loop()
    linux, ours = Linux(), Ours(Scheduler(loop))
    opened = {0, 1}
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    counter = 0
    with contextlib.closing(loop):
        try:
            for name, argument in steps:
                end = {"read": 0, "resize": 0, "write": 1, "packets": 1}.get(name, argument)
                if end not in opened:
                    continue
                if name == "write":
                    argument = bytes((counter + index) % 251 for index in range(argument))
                    counter += len(argument)
                expected, found = outcome(getattr(linux, name), argument), outcome(getattr(ours, name), argument)
                assert found == expected, name
                if name == "close":
                    opened.discard(end)
                for end in opened:
                    assert ours.state(end) == linux.state(end)
        finally:
            signal.signal(signal.SIGPIPE, before)
            for end in opened:
                linux.close(end)
