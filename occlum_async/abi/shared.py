"""The memory that the kernel shares with guests: numbers read from the one header, and struct layouts.

The header (``native/include/occlum_abi.h``) is installed beside the shim that was built from it, so the two
can't disagree.
"""

from __future__ import annotations

import re
import struct

from .._native import header_path

_DEFINE = re.compile(r"^#define OA_(\w+) (0x[0-9a-fA-F]+|\d+)\b", re.MULTILINE)


def _read_header() -> dict[str, int]:
    try:
        with open(header_path(), encoding="utf-8") as header:
            text = header.read()
    except FileNotFoundError:
        raise ImportError("occlum_async was not built: run `pip install .` in its source tree") from None
    return {name: int(value, 0) for name, value in _DEFINE.findall(text)}


_OA = _read_header()

SHIM_BASE, SHIM_END = _OA["SHIM_BASE"], _OA["END"]
CHANNEL_BASE, SLOT_SIZE, SLOTS = _OA["CHANNEL_BASE"], _OA["SLOT_SIZE"], _OA["SLOTS"]
CHANNEL_SIZE = SLOT_SIZE * SLOTS
PAGE_SIZE = _OA["PAGE_SIZE"]
# Address space that is the shim's, not the guest's.
SHIM_ROOM = CHANNEL_SIZE + _OA["AREA_SIZE"] * SLOTS + (1 << 20)

SLOT_KICK, SLOT_HOST_TID, SLOT_IDENTITY = _OA["SLOT_KICK"], _OA["SLOT_HOST_TID"], _OA["SLOT_IDENTITY"]
SLOT_ENTRY, SLOT_PLACES, SLOT_RIP = _OA["SLOT_ENTRY"], _OA["SLOT_PLACES"], _OA["SLOT_RIP"]
SLOT_PATIENCE, SLOT_WAITING = _OA["SLOT_PATIENCE"], _OA["SLOT_WAITING"]
SLEEP, BRIEF = _OA["SLEEP"], _OA["BRIEF"]
SLOT_OPERATIONS, SLOT_WINDOW = _OA["SLOT_OPERATIONS"], _OA["SLOT_WINDOW"]
OPERATIONS, WINDOW_SIZE, WINDOW_COPY_MAX = _OA["OPERATIONS"], _OA["WINDOW_SIZE"], _OA["WINDOW_COPY_MAX"]

PLACE_NONE, PLACE_FAULT, PLACE_LONG = _OA["PLACE_NONE"], _OA["PLACE_FAULT"], _OA["PLACE_LONG"]

NR_HELLO, NR_DONE, NR_KICK, NR_FAULT = _OA["NR_HELLO"], _OA["NR_DONE"], _OA["NR_KICK"], _OA["NR_FAULT"]
CQ_CONTINUE, CQ_RESULT, CQ_RETRY = _OA["CQ_CONTINUE"], _OA["CQ_RESULT"], _OA["CQ_RETRY"]

OP_COPY, OP_CALL, OP_MAP, OP_RECEIVE = _OA["OP_COPY"], _OA["OP_CALL"], _OA["OP_MAP"], _OA["OP_RECEIVE"]
OP_DROP, OP_CLONE, OP_SIGNAL, OP_START = _OA["OP_DROP"], _OA["OP_CLONE"], _OA["OP_SIGNAL"], _OA["OP_START"]
OP_EXIT, OP_ZERO = _OA["OP_EXIT"], _OA["OP_ZERO"]

EXIT_THREAD, EXIT_GROUP, EXIT_LEADER = _OA["EXIT_THREAD"], _OA["EXIT_GROUP"], _OA["EXIT_LEADER"]

SIGNAL_BYTES = _OA["SIGNAL_SIZE"]
SIGNAL_RESTART = _OA["SIGNAL_RESTART"]
GRANT_IDENTITY, GRANT_MEMORY = _OA["GRANT_IDENTITY"], _OA["GRANT_MEMORY"]
GRANT_FUTEX, GRANT_SLEEP, GRANT_FILES = _OA["GRANT_FUTEX"], _OA["GRANT_SLEEP"], _OA["GRANT_FILES"]

PAGE_SPIN, PAGE_GRANTS, PAGE_TABLE = _OA["PAGE_SPIN"], _OA["PAGE_GRANTS"], _OA["PAGE_TABLE"]
PAGE_MEMORY = _OA["PAGE_MEMORY"]
TABLE_CALLS = _OA["TABLE_CALLS"]

ENTRY = struct.Struct("<II7Q")  # number, bytes used in the window, user_data, six arguments
PLACE = struct.Struct("<II")  # offset, length in the window
STACK_POINTER = struct.Struct("<8xQ")  # rip, rsp
OPERATION = struct.Struct("<II7Q")
COPY = struct.Struct("<II3Q")  # an operation of three arguments
WORD = struct.Struct("<I")
IDENTITY = struct.Struct("<7I")
# struct oa_signal without its 128 bytes of siginfo
SIGNAL = struct.Struct("<QQQIIQQI4xQQ")

assert SLOT_RIP == SLOT_ENTRY + 64 + 48, "the entry and its places are read in one piece"
assert SIGNAL.size + 128 == _OA["SIGNAL_SIZE"], "struct oa_signal"
