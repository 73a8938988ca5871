"""Extended attributes: in the inode's own record as far as they fit, the others in one block.

A block may belong to several inodes (Linux shares equal ones); it is never changed while it does.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from ...abi.errors import SyscallError
from ..inode import check_xattr
from .buffers import Buffer
from .inodetable import BODY

if TYPE_CHECKING:
    from .inode import Ext2Inode

MAGIC = 0xEA020000
REFERENCES_MAX = 1024

# Attributes are known by the number of their name's prefix and the rest of the name.
Key = tuple[int, bytes]
PREFIXES = {1: b"user.", 4: b"trusted.", 6: b"security."}

_HEADER = struct.Struct("<IIIII12x")  # magic, references, blocks, hash, checksum
_ENTRY = struct.Struct("<BBHIII")  # length of the name, prefix, offset of the value, its block, its size, hash
_MAGIC = struct.Struct("<I")


def key_of(name: bytes) -> Key:
    """How the attribute ``name`` is known; EOPNOTSUPP for one that can't be stored."""
    for number, prefix in PREFIXES.items():
        if name.startswith(prefix):
            return number, name[len(prefix) :]
    raise SyscallError(errno.EOPNOTSUPP)


def name_of(key: Key) -> bytes:
    """The name as programs know it; b"" for what they do not see (access control lists)."""
    prefix = PREFIXES.get(key[0])
    return prefix + key[1] if prefix is not None else b""


async def load(inode: Ext2Inode) -> dict[Key, bytes]:
    """All attributes. EIO."""
    found: dict[Key, bytes] = {}
    body = await _body(inode)
    if body is not None:
        buffer, start, end = body
        area = bytes(buffer.data[start:end])
        if _MAGIC.unpack_from(area)[0] == MAGIC:
            found |= _parse(inode, area, 4, 4)
    if inode.file_acl:
        data = bytes((await _block(inode)).data)
        found |= _parse(inode, data, _HEADER.size, 0)
    return found


async def _body(inode: Ext2Inode) -> tuple[Buffer, int, int] | None:
    """Where in its record the inode has room for attributes; None if it has none. EIO."""
    fs = inode.fs
    size = fs.superblock.inode_size
    if size - BODY - inode.extra < 8 or not inode.extra:
        return None
    buffer, offset = await fs.table.record(inode.ino)
    return buffer, offset + BODY + inode.extra, offset + size


async def _block(inode: Ext2Inode) -> Buffer:
    fs = inode.fs
    fs.map.check(inode, inode.file_acl, 1)
    buffer = await fs.buffers.get(inode.file_acl)
    magic, _, blocks, _, _ = _HEADER.unpack_from(buffer.data)
    if magic != MAGIC or blocks != 1:
        raise fs.fault(f"inode {inode.ino}: block {inode.file_acl} holds no attributes")
    return buffer


def _parse(inode: Ext2Inode, area: bytes, position: int, base: int) -> dict[Key, bytes]:
    """The entries from ``position`` on; their values' offsets count from ``base``. EIO."""
    found: dict[Key, bytes] = {}
    while position + 4 <= len(area) and _MAGIC.unpack_from(area, position)[0]:
        if position + _ENTRY.size > len(area):
            raise inode.fs.fault(f"inode {inode.ino}: its attributes are damaged")
        length, prefix, offset, block, size, _ = _ENTRY.unpack_from(area, position)
        start = position + _ENTRY.size
        value = base + offset
        if block or start + length > len(area) or (size and not start + length <= value <= len(area) - size):
            raise inode.fs.fault(f"inode {inode.ino}: its attributes are damaged")
        found[prefix, area[start : start + length]] = area[value : value + size] if size else b""
        position = start + _padded(length)
    return found


# -- changing ------------------------------------------------------------------------------------


async def change(inode: Ext2Inode, name: bytes, value: bytes | None, flags: int) -> None:
    """Set or (None) remove one. EEXIST, ENODATA, ENOSPC, EIO. Inside a change."""
    key = key_of(name)
    async with inode.lock.hold(inode.fs.scheduler):
        found = await load(inode)
        check_xattr(flags, key in found)
        if value is None:
            del found[key]
        else:
            found[key] = value
        await _store(inode, found)
        inode.touch_inode()


async def _store(inode: Ext2Inode, attributes: dict[Key, bytes]) -> None:
    """Write all attributes anew: the record takes the small ones. ENOSPC if they don't fit into both."""
    body = await _body(inode)
    room = body[2] - body[1] - 8 if body is not None else 0  # without the two words around the entries
    inside: dict[Key, bytes] = {}
    for key, value in sorted(attributes.items(), key=lambda item: _space(*item)):
        if (needed := _space(key, value)) <= room:
            inside[key] = value
            room -= needed
    outside = {key: value for key, value in attributes.items() if key not in inside}
    size = inode.fs.superblock.block_size
    if sum(_space(key, value) for key, value in outside.items()) > size - _HEADER.size - 4:
        raise SyscallError(errno.ENOSPC)
    await _store_block(inode, outside)
    if body is not None:
        buffer, start, end = body
        packed = _MAGIC.pack(MAGIC) + _pack(inside, end - start - 4, 0)[0] if inside else bytes(end - start)
        buffer.data[start:end] = packed
        inode.fs.buffers.mark(buffer)


async def _store_block(inode: Ext2Inode, attributes: dict[Key, bytes]) -> None:
    fs = inode.fs
    if not attributes:
        await release(inode)
        return
    entries, checksum = _pack(attributes, fs.superblock.block_size - _HEADER.size, _HEADER.size)
    data = _HEADER.pack(MAGIC, 1, 1, checksum, 0) + entries
    buffer = await _block(inode) if inode.file_acl else None
    if buffer is None or _HEADER.unpack_from(buffer.data)[1] > 1:
        place, _ = await fs.blocks.allocate(0, fs.first_block_near(inode.ino), 1)
        if buffer is not None:
            await release(inode)
        inode.file_acl = place
        fs.map.account(inode, 1)
        buffer = fs.buffers.fresh(place)
    buffer.data[:] = data
    fs.buffers.mark(buffer)


async def release(inode: Ext2Inode) -> None:
    """Give up the inode's share of its block. Inside a change; damage is reported and left alone."""
    fs = inode.fs
    if not inode.file_acl:
        return
    try:
        buffer = await _block(inode)
        magic, references, blocks, checksum, unused = _HEADER.unpack_from(buffer.data)
        if not 1 <= references <= REFERENCES_MAX:
            raise fs.fault(f"inode {inode.ino}: block {inode.file_acl} is shared by {references}")
        if references > 1:
            _HEADER.pack_into(buffer.data, 0, magic, references - 1, blocks, checksum, unused)
            fs.buffers.mark(buffer)
        else:
            fs.buffers.forget(inode.file_acl)
            await fs.blocks.give_back(inode.file_acl, 1)
    except SyscallError:
        fs.fault(f"inode {inode.ino}: its block of attributes {inode.file_acl} can't be freed")
    inode.file_acl = 0
    fs.map.account(inode, -1)
    fs.table.mark(inode)


def _padded(size: int) -> int:
    return size + 3 & ~3


def _space(key: Key, value: bytes) -> int:
    return _ENTRY.size + _padded(len(key[1])) + _padded(len(value))


def _pack(attributes: dict[Key, bytes], size: int, base: int) -> tuple[bytes, int]:
    """``size`` bytes of entries, sorted, and values from the end down; and the hash of all entries.

    The offsets of values count from ``base`` bytes before.
    """
    area = bytearray(size)
    position, end, total = 0, size, 0
    for (prefix, name), value in sorted(
        attributes.items(), key=lambda item: (item[0][0], len(item[0][1]), item[0][1])
    ):  # fmt: skip
        end -= _padded(len(value))
        area[end : end + len(value)] = value
        number = _hash(name, value)
        _ENTRY.pack_into(
            area, position, len(name), prefix, base + end if value else 0, 0, len(value), number
        )  # fmt: skip
        area[position + _ENTRY.size : position + _ENTRY.size + len(name)] = name
        position += _ENTRY.size + _padded(len(name))
        total = (total << 16 ^ total >> 16 ^ number) & 0xFFFFFFFF
    return bytes(area), total


def _hash(name: bytes, value: bytes) -> int:
    """An entry's hash, over its name's bytes and its value's words."""
    number = 0
    for byte in name:
        number = (number << 5 ^ number >> 27 ^ byte) & 0xFFFFFFFF
    for (word,) in struct.iter_unpack("<I", value.ljust(_padded(len(value)), b"\0")):
        number = (number << 16 ^ number >> 16 ^ word) & 0xFFFFFFFF
    return number
