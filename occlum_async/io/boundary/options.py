"""How the boundary's io_urings are laid out: how many, how large, and who looks at them."""

from __future__ import annotations

import msgspec
from msgspec.structs import fields

from ...errors import ConfigError

# Name: (least, most). Each receive buffer is 66 KiB, each entry of a completion queue 16 bytes of the host's memory.
LIMITS = {
    "rings": (1, 16),
    "entries": (2, 32768),
    "completions": (2, 65536),
    "buffers": (1, 4096),
    "poll": (0, 60000),
}
POWERS_OF_TWO = ("entries", "completions", "buffers")


class RingOptions(msgspec.Struct, frozen=True):
    """Sizes and number of the rings. Raises ``ConfigError`` for what no host offers.

    ``rings`` carry the sockets, each socket always the same one; with one ring the files share it. ``entries`` and
    ``completions`` are the sizes of the queues of each, ``buffers`` how many receive buffers it has. ``poll``: for so
    many milliseconds after the last operation of a socket a thread of the host looks at its ring, so that no exit is
    needed to hand operations over; 0 for none. It wants processors to spare.
    """

    rings: int = 1
    entries: int = 256
    completions: int = 4096
    buffers: int = 64
    poll: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            least, most = LIMITS[name]
            if not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(f"io_uring: {name}={value} is out of range", f"choose {least} to {most}")
            if name in POWERS_OF_TWO and value & (value - 1):
                raise ConfigError(f"io_uring: {name}={value} is no power of two", f"try {1 << value.bit_length()}")
        if self.completions < self.entries:
            raise ConfigError(
                f"io_uring: completions={self.completions} is less than entries={self.entries}",
                "completions need at least as many places as submissions",
            )

    @property
    def shared(self) -> bool:
        """Whether files and sockets use the same ring."""
        return self.rings == 1 and not self.poll


DEFAULT = RingOptions()


def parse_ring_options(text: str) -> RingOptions:
    """``entries=256,rings=2`` and so on, as on the command line."""
    values: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, equals, number = part.partition("=")
        if not equals or name not in LIMITS or not number.isascii() or not number.isdigit():
            raise ConfigError(f"io_uring: {part!r} is not understood", f"NAME=NUMBER of {', '.join(LIMITS)}")
        if name in values:
            raise ConfigError(f"io_uring: {name} is given twice", "once is enough")
        values[name] = int(number)
    return RingOptions(**values)
