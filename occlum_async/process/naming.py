"""What a guest's mappings are called: from the host's device and inode back to paths inside the LibOS."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .hoststat import Mapping

if TYPE_CHECKING:
    from ..fs.dentry import Location
    from .loading import Layout

LIMIT = 4096
_SPECIAL = (b"[vdso]", b"[vvar]", b"[vvar_vclock]", b"[vsyscall]")


class MappedFiles:
    """Where the host files that guests have mapped stand in the LibOS. The oldest is forgotten above a limit."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[int, int], Location] = OrderedDict()

    def note(self, fd: int, location: Location) -> None:
        """The host's ``fd`` is the file at ``location``."""
        status = os.fstat(fd)
        key = (status.st_dev, status.st_ino)
        self._places[key] = location
        self._places.move_to_end(key)
        if len(self._places) > LIMIT:
            self._places.popitem(last=False)

    def find(self, mapping: Mapping) -> Location | None:
        """The place of a mapping's file, if it is known."""
        return self._places.get((mapping.device, mapping.inode))


def name_mappings(mappings: list[Mapping], layout: Layout | None, files: MappedFiles) -> list[Mapping]:
    """The guest's view: paths of the LibOS, [heap] and [stack] where they are; what is ours left out."""
    result: list[Mapping] = []
    heap_end = layout.start_brk if layout is not None else 0
    for mapping in mappings:
        if layout is not None and layout.gap_low <= mapping.start < layout.stack_low:
            continue
        above = layout is not None and mapping.start >= layout.stack_high
        if (above and mapping.path not in _SPECIAL) or mapping.path == b"[stack]":
            continue  # the host's own stack of the zygote
        named = _named(mapping, layout, files)
        if not named.path and named.start == heap_end:
            named = replace(named, path=b"[heap]")
            heap_end = named.end
        result.append(named)
    return result


def _named(mapping: Mapping, layout: Layout | None, files: MappedFiles) -> Mapping:
    if mapping.path in _SPECIAL:
        return mapping
    place = files.find(mapping) if mapping.inode else None
    if place is not None:
        inode = place.inode
        return replace(mapping, path=place.path(), inode=inode.ino, device=inode.fs.device)
    if mapping.inode:
        return replace(mapping, path=b"/dev/zero (deleted)")
    if layout is None:
        return replace(mapping, path=b"")
    if layout.stack_low <= mapping.start < layout.stack_high:
        return replace(mapping, path=b"[stack]")
    return replace(mapping, path=b"")
