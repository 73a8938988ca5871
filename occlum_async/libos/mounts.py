"""What can be mounted: host paths, memory, and disks. The names are those of ``docker run --mount``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigError
from ..sizes import parse_size

if TYPE_CHECKING:
    from ..fs.mlsdisk.counter import TrustedCounter

MIN_KEY, MAX_KEY = 16, 1024  # bytes of a root key
CACHE_MINIMUM = 8 << 20


class Bind(msgspec.Struct, frozen=True):
    """A host path shown inside: ``source`` on the host at ``target`` inside, both absolute."""

    source: str
    target: str
    read_only: bool = False


class Tmpfs(msgspec.Struct, frozen=True):
    """An empty file system in memory at ``target``, of ``size`` bytes at most (None: the LibOS's memory limit)."""

    target: str
    size: int | None = None


class DiskMount(msgspec.Struct, frozen=True):
    """A file system in the host's file (or folder) ``source``, at ``target``.

    ``key`` is the root key of a sealed disk, or ``key_file`` the host's file that holds it; without either the disk is
    plain. ``counter`` keeps the host from offering an older state of the disk. ``cache`` gives it a page cache of so
    many bytes (or "256m") of its own; without it all disks share one. With ``auto=False`` nothing is mounted until a
    program inside does so with mount(2), which names the disk as ``name``: the last part of ``source``.
    """

    target: str
    source: str | os.PathLike[str]
    key: bytes | None = None
    key_file: str | os.PathLike[str] | None = None
    counter: TrustedCounter | None = None
    cache: int | str | None = None
    read_only: bool = False
    auto: bool = True

    kind = "none"

    def __post_init__(self) -> None:
        _ = self.cache_size  # a wrong size is told now

    def __repr__(self) -> str:
        return f"{type(self).__name__}(target={self.target!r}, source={self.source!r})"  # and no key

    @property
    def path(self) -> str:
        """The host's file or folder."""
        return os.path.realpath(os.fspath(self.source))

    @property
    def name(self) -> bytes:
        """What programs inside call the disk."""
        return os.fsencode(os.path.basename(self.path))

    @property
    def cache_size(self) -> int | None:
        """Bytes of a page cache of its own; ``ConfigError``."""
        return None if self.cache is None else parse_size(self.cache, "cache", CACHE_MINIMUM)

    def root_key(self) -> bytes | None:
        """The key, None for a plain disk; ``ConfigError`` where its file can't be read."""
        if self.key is not None or self.key_file is None:
            return self.key
        return read_key(self.key_file)


class Ext2Mount(DiskMount, frozen=True):
    """An ext2 file system on a sealed disk (MlsDisk) or, without a key, on a plain image.

    At "/" it is the root file system; with ``upper`` it is the layer that is written to over the root that there
    would be without it.
    """

    upper: bool = False

    kind = "ext2"


class SefsMount(DiskMount, frozen=True):
    """A sefs in the host's folder ``source``: a new one if that is empty. It needs a key, and knows no counter."""

    kind = "sefs"


Mount = Bind | Tmpfs | DiskMount


def read_key(path: str | os.PathLike[str]) -> bytes:
    """The key in a file of the host's, all of its bytes; ``ConfigError``."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            key = file.read(MAX_KEY + 1)
    except OSError as error:
        raise ConfigError(f"key-file: {name}: {error.strerror}", "make one: head -c 32 /dev/urandom > key") from None
    if not MIN_KEY <= len(key) <= MAX_KEY:
        raise ConfigError(f"key-file: {name} is no key", f"a key has between {MIN_KEY} and {MAX_KEY} bytes")
    return key
