"""Runs a program natively and in a LibOS of its own, and tells what came out of each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from occlum_async.libos import Bind, LibOS

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC"}
TIME_LIMIT = 60.0  # seconds that a program may run, natively or inside


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program did: its return code (negative: the signal that killed it) and its output, stderr included."""

    returncode: int
    output: str
    stats: dict[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"{self.output}(returned {self.returncode})"


def _forget_the_runner() -> None:
    """What the test's runner was started with is none of the program's business: ignored signals, a niceness."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


async def run_natively(*argv: str, stdin: bytes = b"", time_limit: float = TIME_LIMIT) -> Outcome:
    """Run on the host, in a session of its own and a fresh working directory; nothing of it survives."""
    with tempfile.TemporaryDirectory(prefix="native-") as folder:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=PIPE, stdout=PIPE, stderr=STDOUT, cwd=folder, env=ENVIRONMENT, start_new_session=True,
            preexec_fn=_forget_the_runner,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(process.communicate(stdin), time_limit)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode is not None
        return Outcome(process.returncode, output.decode(errors="replace"))


async def run_inside(
    *argv: str, stdin: bytes = b"", binds: Sequence[Bind] = (), time_limit: float = TIME_LIMIT, **options: Any
) -> Outcome:
    """Run in a fresh LibOS as a user of the same numbers as ours, so that the same permissions hold."""
    options.setdefault("user", f"{os.getuid()}:{os.getgid()}")
    if os.geteuid() != 0 and (niceness := os.getpriority(os.PRIO_PROCESS, 0)) > 0:
        argv = ("nice", "-n", str(niceness), *argv)  # as natively, where only root can take it back
    async with LibOS(binds=list(binds), env=ENVIRONMENT, **options) as libos:
        process = await libos.spawn(*argv, stdin=PIPE if stdin else DEVNULL, stdout=PIPE, stderr=STDOUT, cwd="/tmp")
        output, _ = await asyncio.wait_for(process.communicate(stdin or None), time_limit)
        assert process.returncode is not None
        return Outcome(process.returncode, (output or b"").decode(errors="replace"), libos.stats())


async def assert_same(*argv: str, **options: Any) -> Outcome:
    """Run both ways and compare; the outcome."""
    stdin = options.get("stdin", b"")
    native = await run_natively(*argv, stdin=stdin)
    inside = await run_inside(*argv, **options)
    assert inside.output == native.output
    assert inside.returncode == native.returncode
    return inside
