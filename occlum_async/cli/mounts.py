"""``--mount``: the words of ``docker run --mount``, and those of disks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from ..libos.mounts import Bind, DiskMount, Ext2Mount, Mount, SefsMount, Tmpfs
from ..sizes import parse_size

SYNONYMS = {"src": "source", "dst": "target", "destination": "target", "readonly": "ro", "tmpfs-size": "size"}
SWITCHES = ("ro", "upper", "noauto")
EXAMPLE = "write type=ext2,source=FILE,target=/PATH[,key-file=FILE][,cache=SIZE][,counter=FILE][,ro]"


def parse_mount(text: str) -> Mount:
    """``type=ext2|sefs|bind|tmpfs`` and what belongs to it, with commas between; ``ConfigError``."""
    words = _words(text)
    kind = words.pop("type", "")
    if kind not in _KINDS:
        raise ConfigError(f"--mount: {kind!r} is no type of mount", f"types are {', '.join(_KINDS)}; {EXAMPLE}")
    make, needed, known = _KINDS[kind]
    for name in needed:
        if not words.get(name):
            raise ConfigError(f"--mount: {text!r} has no {name}", EXAMPLE)
    for name in words:
        if name not in needed and name not in known:
            raise ConfigError(f"--mount: {kind} has no option {name!r}", f"it has {', '.join((*needed, *known))}")
    if not words["target"].startswith("/"):
        raise ConfigError(f"--mount: the target {words['target']!r} is not absolute", "start it with a slash")
    return make(words)


def _words(text: str) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        name = SYNONYMS.get(name, name)
        if name in SWITCHES:
            if value not in ("", "true", "1", "false", "0"):
                raise ConfigError(f"--mount: {word!r} is no switch", f"write {name}, or leave it out")
            words[name] = value in ("", "true", "1")
        elif not equals or not value:
            raise ConfigError(f"--mount: {word!r} has no value", EXAMPLE)
        elif name in words:
            raise ConfigError(f"--mount: {name} is there twice", EXAMPLE)
        else:
            words[name] = value
    return words


def _bind(words: dict[str, Any]) -> Mount:
    return Bind(os.path.expanduser(words["source"]), words["target"], words.get("ro", False))


def _tmpfs(words: dict[str, Any]) -> Mount:
    size = words.get("size")
    return Tmpfs(words["target"], None if size is None else parse_size(size, "--mount"))


def _disk(kind: Callable[..., DiskMount], words: dict[str, Any], **more: Any) -> DiskMount:
    counter = None
    if "counter" in words:
        from ..fs.mlsdisk.counter import FileCounter

        counter = FileCounter(os.path.expanduser(words["counter"]))
    key_file = words.get("key-file")
    if counter is not None and key_file is None:
        raise ConfigError("--mount: a plain disk has no counter", "add key-file, or leave the counter out")
    cache = words.get("cache")
    return kind(
        words["target"],
        os.path.expanduser(words["source"]),
        key_file=None if key_file is None else os.path.expanduser(key_file),
        counter=counter,
        cache=None if cache is None else parse_size(cache, "--mount: cache"),
        read_only=words.get("ro", False),
        auto=not words.get("noauto", False),
        **more,
    )


def _ext2(words: dict[str, Any]) -> Mount:
    return _disk(Ext2Mount, words, upper=words.get("upper", False))


def _sefs(words: dict[str, Any]) -> Mount:
    return _disk(SefsMount, words)


_DISK = ("key-file", "cache", "counter", "ro", "noauto")
# By type: what makes it, the words that it needs, and those that it may have.
_KINDS: dict[str, tuple[Callable[[dict[str, Any]], Mount], tuple[str, ...], tuple[str, ...]]] = {
    "ext2": (_ext2, ("source", "target"), (*_DISK, "upper")),
    "sefs": (_sefs, ("source", "target", "key-file"), ("cache", "ro", "noauto")),
    "bind": (_bind, ("source", "target"), ("ro",)),
    "tmpfs": (_tmpfs, ("target",), ("size",)),
}
