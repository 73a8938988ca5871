"""The time stamps of SO_TIMESTAMP and SO_TIMESTAMPNS as control messages."""

from __future__ import annotations

import struct
from socket import SOL_SOCKET

from ...abi.socket import (
    SO_TIMESTAMP,
    SO_TIMESTAMP_NEW,
    SO_TIMESTAMPNS,
    SO_TIMESTAMPNS_NEW,
    ControlMessage,
)
from .options import SocketOptions


def stamp_messages(socket: SocketOptions, stamp: int) -> list[ControlMessage]:
    """The message that ``socket`` asked for, of a time in ns since the epoch."""
    seconds, nanos = divmod(stamp, 10**9)
    for name in (SO_TIMESTAMP, SO_TIMESTAMP_NEW):
        if socket.option(name):
            return [ControlMessage(SOL_SOCKET, name, struct.pack("<qq", seconds, nanos // 1000))]
    for name in (SO_TIMESTAMPNS, SO_TIMESTAMPNS_NEW):
        if socket.option(name):
            return [ControlMessage(SOL_SOCKET, name, struct.pack("<qq", seconds, nanos))]
    return []
