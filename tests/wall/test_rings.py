"""Guests that abuse io_uring and Linux AIO: nonsense in shared memory, random requests, requests without end."""

from __future__ import annotations

import pytest

from .wall import Wall


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("how", ("fuzz", "aio", "race"))
async def test_random_requests_hurt_nobody_else(wall: Wall, how: str, seed: int) -> None:
    attack = await wall.attack("rings", how, str(seed))
    output = await wall.output(attack)
    # What is random may well close the output. That the kernel made no mistake of its own is checked by ``finish``.
    assert output in ("done\n", "")


async def test_requests_without_end_are_bounded(wall: Wall) -> None:
    attack = await wall.attack("rings", "hoard")
    assert (await wall.output(attack)).splitlines()[0].endswith("many requests: EBUSY")
