"""Where the host lets a user make namespaces, guests live in their own: no network, no files, no rights."""

from __future__ import annotations

import os

import pytest

from occlum_async.libos import LibOS
from occlum_async.process.hostcheck import namespaces

NAMESPACES = ("net", "ipc", "uts", "mnt", "user")


@pytest.mark.skipif(not namespaces().present, reason="this host allows no namespaces")
async def test_guests_are_apart() -> None:
    async with LibOS() as libos:
        process = await libos.spawn("/bin/sleep", "100")
        host = libos.kernel.processes.by_pid[process.pid].memory.host_pid
        for name in NAMESPACES:
            assert os.readlink(f"/proc/{host}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name
        assert os.readlink(f"/proc/{host}/root").endswith("/fdinfo")
        process.kill()
        assert await process.wait() == -9
