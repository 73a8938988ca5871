"""Keys and nonces.

Invariant: no key seals twice under one counter. Each time that a disk is opened begins an *epoch* with a random number
of 64 bits and a key derived from it, and within an epoch each counter is given out once. So neither a crash nor a
clone of the image, nor several disks under one root key, repeat a nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import resource
import struct
from collections import OrderedDict
from typing import Any

from ...errors import DiskError
from .cipher import Cipher

# After this many blocks an epoch ends (16 TiB): far below AES-GCM's bound, and a counter has 32 bits.
EPOCH_BLOCKS = (1 << 32) - 1
# Expanded keys that are kept; a disk that was opened more often derives some of them again.
KEPT = 256
MIN_ROOT, MAX_ROOT = 16, 1024


def check_root(key: bytes) -> bytes:
    """The root key, if it may be one."""
    if not isinstance(key, bytes | bytearray | memoryview) or not MIN_ROOT <= len(key) <= MAX_ROOT:
        raise DiskError(f"a key has between {MIN_ROOT} and {MAX_ROOT} bytes", "make one: head -c 32 /dev/urandom > key")
    return bytes(key)


def no_core_dump() -> None:
    """Whoever holds keys leaves no core dump."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


class Keys:
    """The keys of one disk, derived from the root key by HKDF (RFC 5869, SHA-256) with the disk's identity as salt."""

    def __init__(self, cipher: Cipher, root: bytes, identity: bytes, bits: int) -> None:
        self.cipher = cipher
        self._bytes = bits // 8
        self._secret = hmac.digest(identity, check_root(root), hashlib.sha256)
        self._known: OrderedDict[int, Any] = OrderedDict()
        self.epoch = 0
        self._next = EPOCH_BLOCKS
        no_core_dump()

    def __repr__(self) -> str:
        return "Keys(...)"

    def of(self, epoch: int) -> Any:
        """The key of an epoch."""
        key = self._known.get(epoch)
        if key is None:
            name = b"occlum mlsdisk epoch" + struct.pack("<QB", epoch, self._bytes)
            derived = hmac.digest(self._secret, name + b"\1", hashlib.sha256)
            key = self._known[epoch] = self.cipher.new_key(derived[: self._bytes])
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return key

    def take(self, count: int) -> tuple[Any, int, int]:
        """A key, its epoch and the first of ``count`` counters that belong to the caller alone."""
        if self._next + count > EPOCH_BLOCKS:
            self.epoch = struct.unpack("<Q", os.urandom(8))[0] or 1
            self._next = 1
        first = self._next
        self._next += count
        return self.of(self.epoch), self.epoch, first

    @property
    def now(self) -> tuple[int, int]:
        """The epoch, and the counter that comes next: what was sealed before is older than what will be."""
        return self.epoch, self._next

    def forget(self) -> None:
        """Drop everything that is secret."""
        self._known.clear()
        self._secret = b""
