"""Sizes as people write them: 512m, 1g."""

from __future__ import annotations

import re

from ..errors import ConfigError

_SIZE = re.compile(r"(\d+)([bkmgt]?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
MINIMUM = 16 << 20


def parse_size(value: int | str, name: str = "memory", minimum: int = MINIMUM) -> int:
    """``value`` in bytes; ``ConfigError``, which names ``name``, when it is no size or below ``minimum``."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ConfigError(f"{name}: {value!r} is not a size", "write a number with b, k, m, g or t: 512m")
        value = int(match[1]) * _UNITS[match[2].lower()]
    if value < minimum:
        raise ConfigError(f"{name}: {value} bytes are too few", f"give at least {minimum >> 20}m")
    return value
