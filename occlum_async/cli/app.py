"""The subcommands and their options."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from .. import __version__

app = typer.Typer(
    name="occlum-async",
    help="Run unmodified Linux programs in a library OS whose kernel is an asyncio program.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Opt = typer.Option
Text = str | None
Strings = list[str] | None

# Options after PROGRAM belong to the program.
PASS_THROUGH = {"allow_interspersed_args": False}


class Boundary(enum.StrEnum):
    """How the kernel reaches the host."""

    AUTO = "auto"
    URING = "uring"
    OCALL = "ocall"


class LogLevel(enum.StrEnum):
    """What is told on stderr."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"occlum-async {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, Opt("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run unmodified Linux programs in a library OS whose kernel is an asyncio program."""


Program = Annotated[str, typer.Argument(metavar="PROGRAM", help="Path inside, or a name looked up in PATH.")]
Arguments = Annotated[list[str] | None, typer.Argument(metavar="ARGS...", help="Arguments of the program.")]


@app.command(context_settings=PASS_THROUGH)
def run(
    program: Program,
    arguments: Arguments = None,
    interactive: Annotated[bool, Opt("-i", "--interactive", help="Pass our stdin on.")] = False,
    tty: Annotated[bool, Opt("-t", "--tty", help="Give the program a terminal.")] = False,
    rootfs: Annotated[Text, Opt(metavar="DIR", help="Root file system (default: the host's programs).")] = None,
    rw: Annotated[bool, Opt("--rw", help="Write to --rootfs itself, not to a layer in memory.")] = False,
    read_only: Annotated[bool, Opt("--read-only", help="Mount the root file system read-only.")] = False,
    bind: Annotated[Strings, Opt("-v", "--bind", "--volume", metavar="SRC:DST[:ro]", help="Show a host path.")] = None,
    tmpfs: Annotated[Strings, Opt(metavar="PATH[:size=N]", help="Mount an empty folder in memory.")] = None,
    env: Annotated[Strings, Opt("-e", "--env", metavar="NAME[=VALUE]", help="Set a variable, or pass it on.")] = None,
    env_file: Annotated[Strings, Opt(metavar="FILE", help="Read variables from a file.")] = None,
    workdir: Annotated[Text, Opt("-w", "--workdir", metavar="DIR", help="Working directory inside.")] = None,
    user: Annotated[Text, Opt("-u", "--user", metavar="USER[:GROUP]", help="Name or number (default: root).")] = None,
    hostname: Annotated[Text, Opt(metavar="NAME", help="Host name inside.")] = None,
    memory: Annotated[Text, Opt("-m", "--memory", metavar="SIZE", help="Limit of memory, like 512m.")] = None,
    pids: Annotated[int | None, Opt("--pids", "--pids-limit", min=1, metavar="N", help="Limit of threads.")] = None,
    ulimit: Annotated[Strings, Opt(metavar="NAME=SOFT[:HARD]", help="Limit of each process.")] = None,
    timeout: Annotated[float | None, Opt(min=0.001, metavar="SECONDS", help="End it after this (status 124).")] = None,
    boundary: Annotated[Boundary, Opt(help="How the kernel reaches the host.")] = Boundary.AUTO,
    grants: Annotated[bool, Opt("--grants/--strict", help="Strict: Python decides each call.")] = True,
    uvloop: Annotated[bool | None, Opt("--uvloop/--no-uvloop", help="Event loop; uvloop where installed.")] = None,
    stats: Annotated[bool, Opt("--stats", help="Print the kernel's counters at the end.")] = False,
    log_level: Annotated[LogLevel, Opt(help="What is told on stderr.")] = LogLevel.WARNING,
) -> int:  # fmt: skip
    """Run PROGRAM with ARGS in a fresh LibOS; the exit status is the program's.

    Without --rootfs the host's /usr, /bin, /sbin, /lib*, /opt and harmless parts of /etc are there,
    read-only under a layer in memory. Nothing else of the host is visible inside.
    """
    given = dict(locals())
    from .run import RunOptions, run_program

    return run_program(RunOptions.of(**given))


@app.command(context_settings=PASS_THROUGH)
def stats(program: Program, arguments: Arguments = None) -> int:
    """Run PROGRAM as `run --stats` does, with every other option at its default."""
    from .run import RunOptions, run_program

    return run_program(RunOptions.of(program=program, arguments=arguments, stats=True))


@app.command()
def check(json: Annotated[bool, Opt("--json", help="Print it for machines.")] = False) -> int:
    """Tell whether this host can run the LibOS, what it lacks, and which fallbacks apply."""
    from .check import check_host

    return check_host(json)


@app.command()
def syscalls(missing: Annotated[bool, Opt("--missing", help="Those that are not declared.")] = False) -> int:
    """List the system calls that are declared."""
    from .syscalls import list_syscalls

    return list_syscalls(missing)

