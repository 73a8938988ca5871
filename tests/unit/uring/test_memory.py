"""The shared memory of a ring: whatever the guest writes there, the kernel stays within it and within its limits."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.uring import OFF_CQ_RING, OFF_SQ_RING, OFF_SQES
from occlum_async.io.uring.memory import RingMemory

from .conftest import Guest

WORD = st.integers(0, 0xFFFFFFFF)


def test_a_guest_sees_what_the_kernel_puts() -> None:
    memory = RingMemory(4, 8)
    user = Guest(memory)
    for number in range(8):
        assert memory.put(number, -number, 3)
    assert not memory.put(9, 0, 0)
    assert memory.completed() == 8
    assert user.results() == [(number, -number, 3) for number in range(8)]
    assert memory.completed() == 0
    assert memory.put(10, 5, 0)
    assert user.results() == [(10, 5, 0)]


def test_the_kernel_sees_what_a_guest_submits() -> None:
    memory = RingMemory(4, 8)
    user = Guest(memory)
    for number in range(3):
        user.put(number, op=number)
    assert memory.submitted() == 3
    entries = [memory.take() for _ in range(3)]
    assert [entry[0] for entry in entries if entry] == [0, 1, 2]
    assert user.word(user.sq[0]) == 3


@given(st.lists(st.tuples(WORD, WORD, st.lists(WORD, min_size=4, max_size=4)), max_size=20))
def test_no_index_leads_out_of_the_rings(rounds: list[tuple[int, int, list[int]]]) -> None:
    memory = RingMemory(4, 4)
    user = Guest(memory)
    for tail, head, array in rounds:
        user.set_word(user.sq[1], tail)
        user.set_word(user.cq[0], head)
        user.set_word(user.sq[2], tail)  # what the guest does to the masks counts for nobody
        user.set_word(user.cq[2], head)
        for position, index in enumerate(array):
            user.set_word(user.sq[6] + 4 * position, index)
        assert memory.submitted() <= 4
        assert memory.completed() <= 4
        for _ in range(memory.submitted()):
            entry = memory.take()
            assert entry is None or len(entry) == 64
        memory.put(1, 2, 3)
    memory.close()


def test_the_memory_can_not_be_taken_from_under_the_kernel() -> None:
    memory = RingMemory(4, 8)
    for size in (0, memory.size * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.fd, size)


def test_only_the_rings_and_the_entries_are_mapped() -> None:
    memory = RingMemory(64, 128)
    assert memory.place(OFF_SQ_RING, 4096) == memory.place(OFF_CQ_RING, 4096) == 0
    assert memory.place(OFF_SQES, 4096) > 0
    for offset, length in ((0x4000000, 4096), (OFF_SQES, 1 << 20), (OFF_SQ_RING, 1 << 20)):
        with pytest.raises(SyscallError):
            memory.place(offset, length)
