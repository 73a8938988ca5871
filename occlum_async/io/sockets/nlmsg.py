"""What all messages of netlink(7) have in common: their headers, and the attributes behind their bodies.

Messages come from guests and from the host: what can't be ends the walk over the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = struct.Struct("<IHHII")  # length, type, flags, sequence, port
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSG_MIN_TYPE = 16  # types below are netlink's own
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x300
ATTRIBUTE_MASK = 0x3FFF  # without the marks for nesting and byte order


def attribute(kind: int, data: bytes) -> bytes:
    """One ``struct rtattr`` with its padding."""
    return struct.pack("<HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes, at: int) -> dict[int, bytes]:
    """The attributes behind ``at``, up to the first that can't be."""
    found = {}
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4 or at + length > len(data):
            break
        found[kind & ATTRIBUTE_MASK] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of a datagram as (type, flags, sequence, whole message), up to the first that can't be."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            return
        yield kind, flags, sequence, data[at : at + length]
        at += (length + 3) & ~3
