"""What the options of ``run`` mean: text to values. Every mistake is a ``ConfigError`` of one line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import ConfigError
from ..sizes import parse_size

MAX_ENV_FILE = 2**20

# Names of --ulimit, as in docker-run(1), and the numbers of getrlimit(2). Sizes are in bytes.
ULIMITS = {
    "cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7,
    "memlock": 8, "as": 9, "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}  # fmt: skip
INFINITY = 2**64 - 1


class BindSpec(NamedTuple):
    """One ``--bind``: a host folder or file, where it appears inside, and whether it is read-only."""

    source: str
    target: str
    read_only: bool


def parse_bind(text: str) -> BindSpec:
    """``SRC:DST[:ro|rw]``; the target must be absolute."""
    source, colon, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not source or not colon or not target:
        raise ConfigError(f"--bind: {text!r} is incomplete", "write SOURCE:TARGET or SOURCE:TARGET:ro")
    if mode not in ("", "ro", "rw"):
        raise ConfigError(f"--bind: {mode!r} is not a mode", "write ro or rw")
    if not target.startswith("/"):
        raise ConfigError(f"--bind: the target {target!r} is not absolute", "start it with a slash")
    return BindSpec(os.path.expanduser(source), target, mode == "ro")


def parse_tmpfs(text: str) -> tuple[str, int | None]:
    """``PATH[:size=SIZE]``: where, and how large at most (None: bounded by ``--memory`` only)."""
    path, _, options = text.partition(":")
    if not path.startswith("/"):
        raise ConfigError(f"--tmpfs: {path!r} is not absolute", "write PATH or PATH:size=64m")
    size = None
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        if name != "size":
            raise ConfigError(f"--tmpfs: {option!r} is not known", "write PATH or PATH:size=64m")
        size = parse_size(value, "--tmpfs")
    return path, size


def parse_env(items: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE``, or ``NAME`` for the host's value (nothing when the host has none). Later ones win."""
    env: dict[str, str] = {}
    for item in [line for name in files for line in _env_file(name)] + list(items):
        name, equals, value = item.partition("=")
        if not name:
            raise ConfigError(f"--env: {item!r} has no name", "write NAME=VALUE, or NAME for the host's value")
        if equals:
            env[name] = value
        elif name in os.environ:
            env[name] = os.environ[name]
    return env


def _env_file(name: str) -> list[str]:
    try:
        with open(name, encoding="utf-8") as file:
            text = file.read(MAX_ENV_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"--env-file: {name}: {reason}", "name a file with one NAME=VALUE per line") from None
    if len(text) > MAX_ENV_FILE:
        raise ConfigError(f"--env-file: {name} is larger than 1 MiB", "an environment that large can't be passed on")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def parse_ulimit(text: str) -> tuple[int, tuple[int, int]]:
    """``NAME=SOFT[:HARD]``: the number of the resource, and its limits (``unlimited`` and -1: none)."""
    name, _, values = text.partition("=")
    if name not in ULIMITS:
        raise ConfigError(f"--ulimit: {name!r} is not known", f"known are {', '.join(ULIMITS)}")
    soft, _, hard = values.partition(":")
    limits = _limit(soft, text), _limit(hard or soft, text)
    if limits[0] > limits[1]:
        raise ConfigError(f"--ulimit: {text!r}: the soft limit is above the hard one", "write NAME=SOFT:HARD")
    return ULIMITS[name], limits


def _limit(text: str, whole: str) -> int:
    if text in ("unlimited", "-1"):
        return INFINITY
    if not text.isascii() or not text.isdigit() or int(text) > INFINITY:
        raise ConfigError(f"--ulimit: {whole!r} has no number", "write NAME=SOFT[:HARD], like nofile=1024:4096")
    return int(text)
