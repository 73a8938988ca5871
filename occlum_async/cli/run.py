"""``run``: one LibOS, one program, and everything that a terminal, a pipe or a signal brings meanwhile."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..sizes import parse_size
from . import EXIT_TIMEOUT
from .hostsignals import HostSignals
from .options import parse_bind, parse_env, parse_tmpfs, parse_ulimit
from .parsing import at_least, choice, option
from .terminal import RawTerminal, follow_window_size, pump_input, pump_output, window_size

if TYPE_CHECKING:
    from ..libos import LibOS, Process

log = logging.getLogger(__name__)

GRACE = 2.0  # seconds between SIGTERM and SIGKILL after --timeout


@dataclass(frozen=True, slots=True)
class Options:
    """Run PROGRAM with ARGS in a fresh LibOS; the exit status is the program's.

    Without --rootfs the host's /usr, /bin, /sbin, /lib*, /opt and harmless parts of /etc are there,
    read-only under a layer in memory. Nothing else of the host is visible inside.
    """

    program: str
    arguments: tuple[str, ...] = ()
    interactive: bool = option("-i", "--interactive", help="Pass our stdin on.")
    tty: bool = option("-t", "--tty", help="Give the program a terminal.")
    rootfs: str | None = option("--rootfs", metavar="DIR", help="Root file system (default: the host's programs).")
    rw: bool = option("--rw", help="Write to --rootfs itself, not to a layer in memory.")
    read_only: bool = option("--read-only", help="Mount the root file system read-only.")
    bind: tuple[str, ...] = option(
        "-v", "--bind", "--volume", metavar="SRC:DST[:ro]", many=True, help="Show a host path inside."
    )
    tmpfs: tuple[str, ...] = option(
        "--tmpfs", metavar="PATH[:size=N]", many=True, help="Mount an empty folder in memory."
    )
    mount: tuple[str, ...] = option(
        "--mount", metavar="type=TYPE,...", many=True, help="Mount an ext2 disk, a host path (bind) or a tmpfs."
    )
    env: tuple[str, ...] = option(
        "-e", "--env", metavar="NAME[=VALUE]", many=True, help="Set a variable, or pass it on."
    )
    env_file: tuple[str, ...] = option("--env-file", metavar="FILE", many=True, help="Read variables from a file.")
    workdir: str | None = option("-w", "--workdir", metavar="DIR", help="Working directory inside.")
    user: str | None = option("-u", "--user", metavar="USER[:GROUP]", help="Name or number (default: root).")
    hostname: str | None = option("--hostname", metavar="NAME", help="Host name inside (default: libos).")
    memory: str | None = option("-m", "--memory", metavar="SIZE", help="Limit of memory, like 512m (default: 1g).")
    pids: int | None = option("--pids", "--pids-limit", metavar="N", convert=at_least(1, int), help="Limit of threads.")
    ulimit: tuple[str, ...] = option("--ulimit", metavar="NAME=SOFT[:HARD]", many=True, help="Limit of each process.")
    timeout: float | None = option(
        "--timeout", metavar="SECONDS", convert=at_least(0.001, float), help="End it after this (status 124)."
    )
    network: str = option(
        "--network", metavar="MODE", default="private", convert=choice("none", "private", "host"),
        help="private (loopback inside and published ports; the default), none or host.",
    )  # fmt: skip
    publish: tuple[str, ...] = option(
        "-p", "--publish", metavar="HOST:PORT[/udp]", many=True, help="Let a port of the host lead to a port inside."
    )
    allow: tuple[str, ...] = option(
        "--allow", metavar="RULE", many=True, help="Allow this network peer, and others only if allowed too."
    )
    deny: tuple[str, ...] = option("--deny", metavar="RULE", many=True, help="Deny this network peer.")
    boundary: str = option(
        "--boundary", metavar="KIND", default="auto", convert=choice("auto", "uring", "ocall"),
        help="How the kernel reaches the host: uring, ocall or auto (the default).",
    )  # fmt: skip
    exit_cost: int = option(
        "--exit-cost", metavar="CYCLES", default=0, convert=at_least(0, int),
        help="Spend so much at each exit, as an enclave would (SGX: 8000; default: 0).",
    )  # fmt: skip
    ring: str = option(
        "--ring", metavar="NAME=N,...", default="",
        help="Sizes and number of io_urings: entries, completions, buffers, rings, poll.",
    )  # fmt: skip
    grants: bool = option(
        "--grants", "--strict", default=True, values={"--strict": False}, help="Strict: Python decides each call."
    )
    uvloop: bool | None = option(
        "--uvloop", "--no-uvloop", values={"--no-uvloop": False}, help="Event loop; uvloop where installed."
    )
    stats: bool = option("--stats", help="Print the kernel's counters at the end.")
    log_level: str = option(
        "--log-level", metavar="LEVEL", default="warning", convert=choice("error", "warning", "info", "debug"),
        help="What is told on stderr: error, warning (the default), info or debug.",
    )  # fmt: skip

    def libos(self) -> dict[str, Any]:
        """The arguments of ``LibOS``; raises ``ConfigError`` on the first mistake."""
        from ..io.boundary.options import parse_ring_options
        from ..libos import Bind
        from .mounts import parse_mount

        if self.rw and self.read_only:
            raise ConfigError("--rw and --read-only exclude each other", "choose one")
        if self.rw and self.rootfs is None:
            raise ConfigError("--rw needs --rootfs", "name the folder that may be written to")
        env = parse_env(self.env, self.env_file)
        if self.tty and "TERM" in os.environ:
            env.setdefault("TERM", os.environ["TERM"])
        made: dict[str, Any] = {
            "rw": self.rw,
            "binds": [Bind(*parse_bind(text)) for text in self.bind],
            "tmpfs": dict(parse_tmpfs(text) for text in self.tmpfs),
            "mounts": [parse_mount(text) for text in self.mount],
            "env": env,
            "boundary": self.boundary,
            "exit_cost": self.exit_cost,
            "ring": parse_ring_options(self.ring),
            "grants": self.grants,
            "network": self.network,
            "publish": self.publish,
            "allow": self.allow,
            "deny": self.deny,
        }
        if self.rootfs is not None:
            made["rootfs"] = os.path.expanduser(self.rootfs)
        if self.memory is not None:
            made["memory"] = parse_size(self.memory, "--memory")
        if self.ulimit:
            made["limits"] = dict(parse_ulimit(text) for text in self.ulimit)
        if self.read_only:
            made["read_only"] = True
        for name in ("pids", "user", "hostname"):
            if (value := getattr(self, name)) is not None:
                made[name] = value
        return made


def command(options: Options) -> int:
    """Run it; the exit status as a shell would report it."""
    logging.basicConfig(
        stream=sys.stderr, level=options.log_level.upper(), format="occlum-async: %(levelname)s: %(message)s"
    )
    if options.tty and options.interactive and not os.isatty(0):
        raise ConfigError("-it: the input is not a terminal", "leave out -t")
    arguments = options.libos()
    signals = HostSignals()
    with asyncio.Runner(loop_factory=_loop_factory(options.uvloop)) as runner:
        try:
            return runner.run(_run(options, arguments, signals))
        except asyncio.CancelledError:
            return 128 + signals.received


def _loop_factory(uvloop_wanted: bool | None) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if uvloop_wanted is False:
        return None
    try:
        import uvloop
    except ImportError:
        if uvloop_wanted:
            raise ConfigError("--uvloop: uvloop is not installed", "pip install uvloop, or leave it out") from None
        return None
    return uvloop.new_event_loop


async def _run(options: Options, arguments: dict[str, Any], signals: HostSignals) -> int:
    from ..libos import LibOS

    with signals:
        async with LibOS(**arguments) as libos:
            # What the boot has made stays to the end: it is nothing to look for garbage in.
            gc.freeze()
            gc.enable()
            try:
                return await (_run_on_terminal if options.tty else _run_on_pipes)(libos, options, signals)
            finally:
                signals.ending = True
                if options.stats:
                    from .counters import print_stats

                    print_stats(libos.stats())


async def _run_on_pipes(libos: LibOS, options: Options, signals: HostSignals) -> int:
    stdin = None if options.interactive else DEVNULL
    process = await libos.spawn(options.program, *options.arguments, stdin=stdin, cwd=options.workdir)
    with signals.sent_to(process, process.send_signal):
        return await _status(process, options.timeout)


async def _run_on_terminal(libos: LibOS, options: Options, signals: HostSignals) -> int:
    process = await libos.spawn(options.program, *options.arguments, cwd=options.workdir, tty=window_size())
    assert process.stdin is not None and process.stdout is not None
    terminal = process.stdin

    def signaled(number: int) -> None:
        """A hangup of ours is one of the program's terminal."""
        if number == signal.SIGHUP:
            terminal.close()
        else:
            process.send_signal(number)

    follow_window_size(asyncio.get_running_loop(), process)
    with RawTerminal(0) if options.interactive else nullcontext():
        output = asyncio.ensure_future(pump_output(process.stdout, 1))
        typing = asyncio.ensure_future(pump_input(0, terminal)) if options.interactive else None
        try:
            with signals.sent_to(process, signaled):
                status = await _status(process, options.timeout)
            # The terminal ends with the program that leads its session, and its output when it is all out.
            await output
            return status
        finally:
            for pump in filter(None, (output, typing)):
                pump.cancel()


async def _status(process: Process, timeout: float | None) -> int:
    try:
        status = await asyncio.wait_for(process.wait(), timeout)
    except TimeoutError:
        log.warning("the program was still running after %g seconds: it is ended", timeout)
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            process.kill()
        return EXIT_TIMEOUT
    return 128 - status if status < 0 else status
