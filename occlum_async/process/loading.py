"""Loading a program into a fresh host process: segments, stack, auxiliary vector, start."""

from __future__ import annotations

import errno
import functools
import os
import random
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from ..abi import shared
from ..abi.errors import SyscallError
from ..fs.dentry import Location
from . import elf
from .binfmt import Program

if TYPE_CHECKING:
    from ..fs.credentials import Credentials
    from .guest import GuestThread
    from .sharedmemory import SharedMemory
    from .supervisor import Supervisor

PAGE = elf.PAGE
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_STACK = 0x2, 0x10, 0x20, 0x4000, 0x20000
SYS_MMAP = 9
PIE_BASE = 0x5555_5555_4000
RANDOM_PAGES = 1 << 28  # as Linux on x86-64: 28 bits for mmap and PIE
BRK_RANDOM_PAGES = 1 << 13
MAX_STACK = 1 << 30
MAX_ARGUMENTS = 2 << 20  # bytes of argv and envp with their pointers
MAX_STRING = 128 << 10
AT_NULL, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = 0, 3, 4, 5, 6, 7, 8, 9
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE = 11, 12, 13, 14, 15, 16, 17, 23
AT_RANDOM, AT_HWCAP2, AT_EXECFN, AT_SYSINFO_EHDR, AT_MINSIGSTKSZ = 25, 26, 31, 33, 51

_random = random.SystemRandom()


class Layout(msgspec.Struct, frozen=True):
    """Where things went: what /proc/PID/maps and stat want to know."""

    start_code: int
    end_code: int
    start_data: int
    end_data: int
    start_brk: int
    start_stack: int
    stack_low: int
    stack_high: int
    gap_low: int
    vdso: int
    argument_range: tuple[int, int]
    environment_range: tuple[int, int]
    auxiliary: bytes


def check_arguments(arguments: list[bytes], environment: list[bytes]) -> None:
    """E2BIG for what execve(2) refuses."""
    strings = [*arguments, *environment]
    if sum(len(s) + 9 for s in strings) > MAX_ARGUMENTS or any(len(s) >= MAX_STRING for s in strings):
        raise SyscallError(errno.E2BIG)


async def load(
    supervisor: Supervisor, program: Program, environment: list[bytes], credentials: Credentials, stack_limit: int,
    secure: bool, sharing: SharedMemory, randomize: bool = True,
) -> tuple[GuestThread, Layout]:  # fmt: skip
    """A fresh host process with ``program`` in it; complete its pending entry to let it run."""
    check_arguments(program.arguments, environment)
    places = [program.location] if program.interpreter is None else [program.location, program.interpreter]
    fds: list[int] = []
    with ExitStack() as on_the_way:
        for place in places:
            fds.append(await _descriptor(supervisor, place))
            on_the_way.callback(os.close, fds[-1])
            on_the_way.enter_context(sharing.in_flight(fds[-1]))
        stub = await supervisor.take_stub()
        try:
            return stub, await _Loader(supervisor, stub, program, randomize).run(
                fds, environment, credentials, stack_limit, secure
            )
        except BaseException:
            stub.host.kill()
            raise


async def _descriptor(supervisor: Supervisor, location: Location) -> int:
    """A read-only host descriptor of a file's pages, which the caller closes."""
    inode = location.inode
    if (wait := inode.before_mapping(0, inode.size, False)) is not None:
        await wait
    fd, ours = inode.mapping(False, False)
    supervisor.names.note(fd, location)
    return fd if ours else os.dup(fd)


class _Loader:
    """One program's way into one stub."""

    def __init__(self, supervisor: Supervisor, stub: GuestThread, program: Program, randomize: bool) -> None:
        self.supervisor = supervisor
        self.stub = stub
        self.program = program
        self.randomize = randomize

    def _pages(self, limit: int) -> int:
        return _random.randrange(limit) * PAGE if self.randomize else 0

    async def run(
        self, fds: list[int], environment: list[bytes], credentials: Credentials, stack_limit: int, secure: bool
    ) -> Layout:
        stub, program, image = self.stub, self.program, self.program.image
        stub.channel.send_descriptors(fds)
        stub.operation(shared.OP_RECEIVE, len(fds))
        bias = self._bias(image)
        loader_bias, stack_low, stack_high, gap_low = self._place_top(stack_limit)
        self._map_image(image, bias, 0)
        if program.interpreter_image is not None:
            self._map_image(program.interpreter_image, loader_bias, 1)
        protection = PROT_READ | PROT_WRITE | (PROT_EXEC if image.executable_stack else 0)
        flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK
        stub.operation(shared.OP_CALL, SYS_MMAP, stack_low, stack_high - stack_low, protection, flags, -1, 0)
        stub.operation(shared.OP_DROP)
        result = await stub.operate()
        if result < 0:
            raise SyscallError(-result)
        auxiliary = self._auxiliary(bias, loader_bias, credentials, secure)
        stack = _StackBuilder(stack_high - self._pages(1 << 8) // PAGE * 16)
        stack.build(program.arguments, environment, program.filename, auxiliary)
        stub.host.write(stack.pointer, stack.data)
        brk = bias + image.end + self._pages(BRK_RANDOM_PAGES)
        entry_image = program.interpreter_image
        entry = entry_image.entry + loader_bias if entry_image is not None else image.entry + bias
        stub.operation(shared.OP_START, entry, stack.pointer, brk)
        code, data = image.segments[0], image.segments[-1]
        return Layout(
            code.address + bias, bias + max(s.address + s.file_size for s in image.segments if s.flags & elf.PF_X),
            data.address + bias, data.address + data.file_size + bias, brk, stack.pointer, stack_low, stack_high,
            gap_low, self.supervisor.vdso, stack.argument_range, stack.environment_range, stack.auxiliary,
        )  # fmt: skip

    def _bias(self, image: elf.Image) -> int:
        if not image.position_independent:
            return 0
        return (PIE_BASE + self._pages(RANDOM_PAGES)) // image.alignment * image.alignment - image.start

    def _place_top(self, stack_limit: int) -> tuple[int, int, int, int]:
        """Stack at the top, below it a gap of random size that nothing may use, below that the loader.

        The host puts what it maps below the gap: that is how guests, all forks of one zygote, differ in layout.
        """
        stack_high = self.supervisor.map_top - self._pages(1 << 10)
        stack_low = stack_high - min(max(stack_limit, 1 << 17), MAX_STACK) // PAGE * PAGE
        gap_low = stack_low - (256 + self._pages(RANDOM_PAGES) // PAGE) * PAGE
        self.stub.operation(
            shared.OP_CALL, SYS_MMAP, gap_low, self.supervisor.map_top - gap_low, 0,
            MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
        )  # fmt: skip
        loader = self.program.interpreter_image
        loader_bias = gap_low - (loader.end - loader.start) - loader.start if loader is not None else 0
        return loader_bias, stack_low, stack_high, gap_low

    def _map_image(self, image: elf.Image, bias: int, fd_index: int) -> None:
        if bias + image.start < shared.SHIM_END and bias + image.end > shared.SHIM_BASE:
            raise SyscallError(errno.ENOMEM)
        for segment in image.segments:
            self._map_segment(segment, bias, fd_index)

    def _map_segment(self, segment: elf.Segment, bias: int, fd_index: int) -> None:
        stub = self.stub
        start = (segment.address & -PAGE) + bias
        file_end = segment.address + bias + segment.file_size
        file_pages_end = -(-file_end // PAGE) * PAGE
        end = -(-(segment.address + bias + segment.memory_size) // PAGE) * PAGE
        protection = (
            (PROT_READ if segment.flags & elf.PF_R else 0)
            | (PROT_WRITE if segment.flags & elf.PF_W else 0)
            | (PROT_EXEC if segment.flags & elf.PF_X else 0)
        )
        if segment.file_size:
            stub.operation(
                shared.OP_MAP, SYS_MMAP, start, file_pages_end - start, protection, MAP_PRIVATE | MAP_FIXED, fd_index,
                segment.offset & -PAGE,
            )  # fmt: skip
            if segment.memory_size > segment.file_size and segment.flags & elf.PF_W and file_end % PAGE:
                stub.operation(shared.OP_ZERO, file_end, file_pages_end - file_end)
            start = file_pages_end
        if end > start:
            flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
            stub.operation(shared.OP_CALL, SYS_MMAP, start, end - start, protection, flags, -1, 0)

    def _auxiliary(self, bias: int, loader_bias: int, credentials: Credentials, secure: bool) -> dict[int, int]:
        image = self.program.image
        loader = self.program.interpreter_image
        host = host_auxiliary()
        vector = {
            AT_SYSINFO_EHDR: self.supervisor.vdso,
            AT_HWCAP: host.get(AT_HWCAP, 0),
            AT_PAGESZ: PAGE,
            AT_CLKTCK: 100,
            AT_PHDR: image.header_address + bias,
            AT_PHENT: image.header_size,
            AT_PHNUM: image.header_count,
            AT_BASE: loader_bias + loader.start if loader is not None else 0,
            AT_FLAGS: 0,
            AT_ENTRY: image.entry + bias,
            AT_UID: credentials.uid,
            AT_EUID: credentials.euid,
            AT_GID: credentials.gid,
            AT_EGID: credentials.egid,
            AT_SECURE: int(secure),
            AT_HWCAP2: host.get(AT_HWCAP2, 0),
            AT_MINSIGSTKSZ: host.get(AT_MINSIGSTKSZ, 2048),
        }
        if not vector[AT_SYSINFO_EHDR]:
            del vector[AT_SYSINFO_EHDR]
        return vector


class _StackBuilder:
    """The initial stack, from high to low: strings, random bytes, auxiliary vector, envp, argv, argc."""

    def __init__(self, top: int) -> None:
        self.top = top & -16
        self.pointer = self.top
        self.data = b""
        self.argument_range = self.environment_range = (0, 0)
        self.auxiliary = b""

    def build(
        self, arguments: list[bytes], environment: list[bytes], filename: bytes, auxiliary: dict[int, int]
    ) -> None:
        strings = bytearray()
        all_strings = [*arguments, *environment, filename, b"x86_64"]
        total = sum(len(text) + 1 for text in all_strings) + 16
        base = (self.top - 8 - total) & -16
        addresses = []
        for text in all_strings:
            addresses.append(base + len(strings))
            strings += text + b"\0"
        random_address = base + len(strings)
        strings += os.urandom(16)
        count = len(arguments)
        argv, envp = addresses[:count], addresses[count:-2]
        vector = dict(auxiliary)
        vector[AT_EXECFN], vector[AT_PLATFORM], vector[AT_RANDOM] = addresses[-2], addresses[-1], random_address
        self.auxiliary = b"".join(struct.pack("<QQ", *item) for item in vector.items()) + bytes(16)
        words = struct.pack(f"<Q{count}QQ{len(envp)}QQ", count, *argv, 0, *envp, 0) + self.auxiliary
        self.pointer = (base - len(words)) & -16
        padding = base - self.pointer - len(words)
        self.data = words + bytes(padding) + bytes(strings)
        end_of_arguments = envp[0] if envp else addresses[-2]
        self.argument_range = (argv[0] if argv else end_of_arguments, end_of_arguments)
        self.environment_range = (end_of_arguments, addresses[-2])


@functools.cache
def host_auxiliary() -> dict[int, int]:
    """The kernel process' own auxiliary vector: what the host says of its processor."""
    with open("/proc/self/auxv", "rb") as file:
        raw = file.read()
    return dict(struct.iter_unpack("<QQ", raw[: len(raw) // 16 * 16]))
