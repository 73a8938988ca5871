"""A server in a LibOS in a process of its own, as ``python -m occlum_async run`` has it: the other half of ``network``.

Its only argument is a ``Task`` as JSON. It prints the port that leads to the server as soon as that listens, then, for
each line that it reads, how many exits its kernel has made; at the end of its input it ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import report

from occlum_async.libos import Bind, LibOS

_LISTEN = 10  # a socket's state


class Task(msgspec.Struct, frozen=True):
    """Run ``argv``, which listens on ``port``, behind a boundary, beside ``files`` in memory and ``folders``."""

    boundary: str
    exit_cost: int
    port: int
    argv: list[str]
    files: dict[str, bytes]
    folders: list[str]


def _states(table: Callable[[int, int], list[dict[str, Any]]]) -> set[tuple[int, int]]:
    """The ports and states of all TCP sockets inside."""
    rows = table(socket.AF_INET, socket.SOCK_STREAM) + table(socket.AF_INET6, socket.SOCK_STREAM)
    return {(row["local"][1], row["state"]) for row in rows}


async def _questions() -> Callable[[], Awaitable[bytes]]:
    """What reads the next line of the input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader.readline


async def serve(task: Task) -> None:
    """Run the server until the input ends."""
    question = await _questions()
    binds = [Bind(folder, folder, True) for folder in task.folders]
    publish = [f"127.0.0.1:0:{task.port}"]
    async with LibOS(boundary=task.boundary, exit_cost=task.exit_cost, publish=publish, binds=binds) as libos:
        for path, data in task.files.items():
            await libos.fs.mkdir(os.path.dirname(path), parents=True, exist_ok=True)
            await libos.fs.write_bytes(path, data)
        process = await libos.spawn(*task.argv, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
        while (task.port, _LISTEN) not in _states(libos.kernel.network.table):
            if process.returncode is not None:
                raise SystemExit(f"{task.argv[0]} ended with {process.returncode}")
            await asyncio.sleep(0.01)
        print(libos.published[0][0], flush=True)
        while await question():
            print(libos.stats()["boundary"]["exits"], flush=True)


if __name__ == "__main__":
    report.run(serve(msgspec.json.decode(sys.argv[1], type=Task)))
