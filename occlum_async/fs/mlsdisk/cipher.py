"""AES-GCM over one block or many: the native module, or the package ``cryptography`` with the same interface.

Invariant: a key never seals twice under one counter; who calls gives counters out once (``keys.py``).
"""

from __future__ import annotations

import functools
import importlib
import logging
import struct
from abc import ABC, abstractmethod
from array import array
from typing import Any

from ...errors import DiskError
from ..block.device import BLOCK
from .layout import ENTRY, ENTRY_SIZE

log = logging.getLogger(__name__)

TAG = 16
Buffer = bytes | bytearray | memoryview
_PURPOSE = struct.Struct("<II")


def purpose(kind: int, address: int) -> bytes:
    """What a block is sealed for: one of one kind and number opens as no other."""
    return _PURPOSE.pack(kind, address)


class Cipher(ABC):
    """A way to seal. ``key`` is what ``new_key`` made."""

    @abstractmethod
    def new_key(self, key: bytes) -> Any:
        """Expand 16 or 32 bytes."""

    @abstractmethod
    def seal(self, key: Any, counter: int, extra: bytes, data: Buffer) -> tuple[bytes, bytes]:
        """The ciphertext of ``data`` and its tag, which covers ``extra`` too."""

    @abstractmethod
    def open(self, key: Any, counter: int, extra: bytes, data: Buffer, tag: Buffer) -> bytearray | None:
        """What was sealed; None when it does not verify."""

    @abstractmethod
    def seal_blocks(
        self, key: Any, epoch: int, counter: int, kind: int, addresses: Any, source: Any, positions: Any, places: Any,
        target: Any, entries: Any,
    ) -> None:  # fmt: skip
        """Seal ``len(addresses)`` blocks of ``source`` (those at ``positions``, or the first ones) into ``target``.

        ``entries`` gets where each will lie and how it was sealed. Addresses, positions and places are arrays of
        32-bit numbers. May be called from any thread.
        """

    @abstractmethod
    def open_blocks(
        self, key: Any, epoch: int, kind: int, addresses: Any, entries: Any, source: Any, target: Any, bad: Any
    ) -> None:
        """Open those of the blocks that were sealed in ``epoch``; ``bad`` gets 0 or 1 for each of them."""


class NativeCipher(Cipher):
    """libcrypto, without Python's lock."""

    def __init__(self, module: Any) -> None:
        self._ffi, self._lib = module.ffi, module.lib

    def new_key(self, key: bytes) -> Any:
        made = self._lib.seal_key_new(key, len(key))
        if made == self._ffi.NULL:
            raise DiskError("libcrypto refuses AES-GCM")
        return self._ffi.gc(made, self._lib.seal_key_free)

    def _bytes(self, buffer: Any) -> Any:
        return self._ffi.from_buffer("uint8_t[]", buffer)

    def _numbers(self, buffer: Any) -> Any:
        return self._ffi.from_buffer("uint32_t[]", buffer)

    def seal(self, key: Any, counter: int, extra: bytes, data: Buffer) -> tuple[bytes, bytes]:
        target, tag = bytearray(len(data)), bytearray(TAG)
        good = self._lib.seal_bytes(
            key, counter, extra, len(extra), self._bytes(data), len(data), self._bytes(target), self._bytes(tag)
        )
        if not good:
            raise DiskError("libcrypto can't seal")
        return bytes(target), bytes(tag)

    def open(self, key: Any, counter: int, extra: bytes, data: Buffer, tag: Buffer) -> bytearray | None:
        target = bytearray(len(data))
        good = self._lib.open_bytes(
            key, counter, extra, len(extra), self._bytes(data), len(data), self._bytes(target), self._bytes(tag)
        )
        return target if good else None

    def seal_blocks(
        self, key: Any, epoch: int, counter: int, kind: int, addresses: Any, source: Any, positions: Any, places: Any,
        target: Any, entries: Any,
    ) -> None:  # fmt: skip
        good = self._lib.seal_blocks(
            key, epoch, counter, kind, self._numbers(addresses), self._bytes(source),
            self._ffi.NULL if positions is None else self._numbers(positions), self._numbers(places), len(addresses),
            self._bytes(target), self._ffi.from_buffer(entries),
        )  # fmt: skip
        if not good:
            raise DiskError("libcrypto can't seal")

    def open_blocks(
        self, key: Any, epoch: int, kind: int, addresses: Any, entries: Any, source: Any, target: Any, bad: Any
    ) -> None:
        self._lib.open_blocks(
            key, epoch, kind, self._numbers(addresses), self._ffi.from_buffer(entries), len(addresses),
            self._bytes(source), self._bytes(target), self._bytes(bad),
        )  # fmt: skip


class PackageCipher(Cipher):
    """The package ``cryptography``: a call for each block."""

    def __init__(self, aesgcm: Any, invalid: type[Exception]) -> None:
        self._aesgcm, self._invalid = aesgcm, invalid

    def new_key(self, key: bytes) -> Any:
        return self._aesgcm(key)

    @staticmethod
    def _nonce(counter: int) -> bytes:
        return counter.to_bytes(12, "little")

    def seal(self, key: Any, counter: int, extra: bytes, data: Buffer) -> tuple[bytes, bytes]:
        sealed: bytes = key.encrypt(self._nonce(counter), data, extra)
        return sealed[:-TAG], sealed[-TAG:]

    def open(self, key: Any, counter: int, extra: bytes, data: Buffer, tag: Buffer) -> bytearray | None:
        try:
            opened: bytes = key.decrypt(self._nonce(counter), bytes(data) + bytes(tag), extra)
        except self._invalid:
            return None
        return bytearray(opened)

    def seal_blocks(
        self, key: Any, epoch: int, counter: int, kind: int, addresses: Any, source: Any, positions: Any, places: Any,
        target: Any, entries: Any,
    ) -> None:  # fmt: skip
        source, target = memoryview(source), memoryview(target)
        for index, address in enumerate(addresses):
            start = (index if positions is None else positions[index]) * BLOCK
            sealed, tag = self.seal(key, counter + index, purpose(kind, address), source[start : start + BLOCK])
            target[index * BLOCK : (index + 1) * BLOCK] = sealed
            ENTRY.pack_into(entries, index * ENTRY_SIZE, tag, epoch, counter + index, places[index])

    def open_blocks(
        self, key: Any, epoch: int, kind: int, addresses: Any, entries: Any, source: Any, target: Any, bad: Any
    ) -> None:
        source, target = memoryview(source), memoryview(target)
        for index, address in enumerate(addresses):
            tag, sealed_in, counter, _ = ENTRY.unpack_from(entries, index * ENTRY_SIZE)
            if sealed_in != epoch:
                continue
            here = slice(index * BLOCK, (index + 1) * BLOCK)
            opened = self.open(key, counter, purpose(kind, address), source[here], tag)
            target[here] = bytes(BLOCK) if opened is None else opened
            bad[index] = opened is None


def package_cipher() -> Cipher:
    """``cryptography``; ``DiskError`` when it is not there."""
    try:
        aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
        invalid = importlib.import_module("cryptography.exceptions").InvalidTag
    except ImportError:
        hint = "install libssl-dev and build again, or pip install cryptography"
        raise DiskError("there is no AES-GCM: the native module was not built", hint) from None
    return PackageCipher(aead.AESGCM, invalid)


@functools.cache
def best_cipher() -> Cipher:
    """The native one where it was built."""
    try:
        return NativeCipher(importlib.import_module("occlum_async._native._seal"))
    except ImportError as error:
        log.warning("the native sealing module can't be loaded (%s); using the slower package cryptography", error)
        return package_cipher()


def numbers(values: Any = ()) -> array[int]:
    """An array of 32-bit numbers."""
    return array("I", values)
