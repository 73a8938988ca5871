"""Executable files: what execve(2) reads of an ELF file, through pyelftools, and ``#!`` lines."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from elftools.construct import ConstructError
from elftools.elf.structs import ELFStructs

from ..abi.errors import SyscallError

HEAD_SIZE = 4096  # where Linux, too, expects the header, a #! line and mostly the program headers
MAX_SEGMENTS = 64
MAX_HEADERS_SIZE = 65536
MAX_INTERPRETER = 4096
PAGE = 4096
USER_END = 0x7FFF_FFFF_F000
PF_X, PF_W, PF_R = 1, 2, 4
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_MAGIC = b"\x7fELF"
_STRUCTS = ELFStructs(little_endian=True, elfclass=64)
_STRUCTS.create_basic_structs()
_STRUCTS.create_advanced_structs("ET_DYN", "EM_X86_64", "ELFOSABI_SYSV")


class Segment(msgspec.Struct, frozen=True):
    """A PT_LOAD header."""

    address: int
    file_size: int
    memory_size: int
    offset: int
    flags: int


class Image(msgspec.Struct, frozen=True):
    """What the loader needs to know of an ELF file. Addresses are the file's own, before the load bias."""

    position_independent: bool
    entry: int
    header_address: int  # where the program headers lie once loaded
    header_count: int
    header_size: int
    segments: tuple[Segment, ...]
    interpreter: bytes | None
    executable_stack: bool
    alignment: int

    @property
    def start(self) -> int:
        """The lowest page."""
        return self.segments[0].address & -PAGE

    @property
    def end(self) -> int:
        """The end of the highest page."""
        return -(-max(s.address + s.memory_size for s in self.segments) // PAGE) * PAGE


def headers_end(head: bytes) -> int:
    """How many bytes from the file's start ``parse`` needs to see. ENOEXEC for what is no ELF of this machine."""
    if len(head) < _EHDR.size or not head.startswith(_MAGIC):
        raise SyscallError(errno.ENOEXEC)
    fields = _EHDR.unpack_from(head)
    identity, kind, machine, phoff, phentsize, phnum = fields[0], fields[1], fields[2], fields[5], fields[9], fields[10]
    if identity[4:6] != b"\x02\x01" or machine != 62 or kind not in (2, 3) or phentsize != 56:
        raise SyscallError(errno.ENOEXEC)
    if not 0 < phnum <= MAX_HEADERS_SIZE // 56 or phoff > 1 << 40:
        raise SyscallError(errno.ENOEXEC)
    return int(phoff) + int(phnum) * 56


def interpreter_range(head: bytes) -> tuple[int, int] | None:
    """Offset and length of the interpreter's name in the file, if there is one. ENOEXEC when absurd."""
    for kind, offset, size in _raw_headers(head):
        if kind == 3:
            if not 2 <= size <= MAX_INTERPRETER:
                raise SyscallError(errno.ENOEXEC)
            return offset, size
    return None


def _header_offsets(start: int, count: int) -> range:
    return range(start, start + count * 56, 56)


def _raw_headers(head: bytes) -> list[tuple[int, int, int]]:
    fields = _EHDR.unpack_from(head)
    result = []
    for at in _header_offsets(fields[5], fields[10]):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", head, at)
        result.append((kind, offset, size))
    return result


def parse(head: bytes, interpreter: bytes | None, file_size: int) -> Image:
    """Check and digest an ELF file whose first bytes are ``head``. ENOEXEC when it can't be run.

    ``interpreter`` is the content of its PT_INTERP.
    """
    try:
        elf = _STRUCTS.Elf_Ehdr.parse(head)
        headers = [_STRUCTS.Elf_Phdr.parse(head[at : at + 56]) for at in _header_offsets(elf.e_phoff, elf.e_phnum)]
    except (ConstructError, ValueError, KeyError):
        raise SyscallError(errno.ENOEXEC) from None
    loads = [h for h in headers if h.p_type == "PT_LOAD"]
    segments = tuple(Segment(h.p_vaddr, h.p_filesz, h.p_memsz, h.p_offset, h.p_flags) for h in loads)
    _check(segments, file_size)
    stack = [h for h in headers if h.p_type == "PT_GNU_STACK"]
    return Image(
        position_independent=elf.e_type == "ET_DYN",
        entry=elf.e_entry,
        header_address=_header_address(elf.e_phoff, headers, segments),
        header_count=elf.e_phnum,
        header_size=56,
        segments=segments,
        interpreter=_interpreter_name(interpreter),
        executable_stack=bool(stack and stack[0].p_flags & PF_X),
        alignment=max([PAGE, *(h.p_align for h in loads if h.p_align & (h.p_align - 1) == 0 and h.p_align <= 1 << 30)]),
    )


def _check(segments: tuple[Segment, ...], file_size: int) -> None:
    if not segments or len(segments) > MAX_SEGMENTS:
        raise SyscallError(errno.ENOEXEC)
    end = 0
    for segment in segments:
        last = segment.address + segment.memory_size
        if segment.address < end or last > USER_END or segment.file_size > segment.memory_size:
            raise SyscallError(errno.ENOEXEC)
        if segment.address % PAGE != segment.offset % PAGE or segment.offset + segment.file_size > file_size:
            raise SyscallError(errno.ENOEXEC)
        end = last


def _header_address(offset: int, headers: Sequence[Any], segments: tuple[Segment, ...]) -> int:
    for header in headers:
        if header.p_type == "PT_PHDR":
            return int(header.p_vaddr)
    for segment in segments:
        if segment.offset <= offset < segment.offset + segment.file_size:
            return segment.address + offset - segment.offset
    return 0


def _interpreter_name(raw: bytes | None) -> bytes | None:
    if raw is None:
        return None
    if not raw.endswith(b"\0"):
        raise SyscallError(errno.ENOEXEC)
    return raw.partition(b"\0")[0]


def parse_script(head: bytes) -> tuple[bytes, list[bytes]]:
    """Interpreter and its optional one argument of a ``#!`` line; ENOEXEC when there is none."""
    line, newline, _ = head[2:256].partition(b"\n")
    if not newline and len(head) >= 256 and not any(c in line.strip(b" \t") for c in b" \t"):
        raise SyscallError(errno.ENOEXEC)  # the interpreter's name may be cut off
    words = line.strip(b" \t").split(None, 1)
    if not words:
        raise SyscallError(errno.ENOEXEC)
    name = words[0].partition(b"\0")[0]
    if not name:
        raise SyscallError(errno.EACCES)  # the empty name is the current folder's
    return name, [words[1].rstrip(b" \t")] if len(words) > 1 else []
