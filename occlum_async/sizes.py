"""Sizes as people write them: 512m, 1g, 1.5GiB."""

from __future__ import annotations

import re

from .errors import ConfigError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
MAXIMUM = 64 << 40  # more than any machine has


def parse_size(value: int | str, name: str, minimum: int = 1) -> int:
    """``value`` in bytes; ``ConfigError``, which names ``name``, when it is no size, below ``minimum`` or too large."""
    text = value
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ConfigError(f"{name}: {value!r} is not a size", "write a number with b, k, m, g or t, like 512m")
        value = int(min(float(match[1]) * _UNITS[match[2].lower()], MAXIMUM + 1))
    if value < minimum:
        least = f"{minimum >> 20}m" if minimum >> 20 else f"{minimum}"
        raise ConfigError(f"{name}: {value} bytes are too few", f"give at least {least}")
    if value > MAXIMUM:
        raise ConfigError(f"{name}: {text} is too much", "a size is at most 64t")
    return value
