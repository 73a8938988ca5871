"""The supervisor's beginning and end, seen from the host."""

from __future__ import annotations

import os
import select
from typing import NoReturn

import pytest

from occlum_async.errors import HostUnsupported
from occlum_async.libos import LibOS
from occlum_async.process import supervisor


async def test_a_start_that_fails_leaves_no_host_process(monkeypatch: pytest.MonkeyPatch) -> None:
    zygotes = []

    def refuse(_scheduler: object, pidfd: int, _listener: int) -> NoReturn:
        zygotes.append(os.dup(pidfd))
        raise OSError("this host has no listeners")

    monkeypatch.setattr(supervisor, "CloneListener", refuse)
    with pytest.raises(HostUnsupported, match="no listeners"):
        async with LibOS():
            pass
    assert len(zygotes) == 1
    waiting = select.poll()
    waiting.register(zygotes[0], select.POLLIN)
    ended = waiting.poll(5000)
    os.close(zygotes[0])
    assert ended
