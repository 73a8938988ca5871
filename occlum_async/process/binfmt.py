"""Which program execve(2) runs: the path, ``#!`` interpreters, the ELF image and its loader."""

from __future__ import annotations

import errno
from collections import OrderedDict

import msgspec

from ..abi.errors import SyscallError
from ..fs import namei
from ..fs.context import Caller
from ..fs.dentry import Location
from ..fs.inode import Inode
from ..fs.opening import check_execute
from . import elf
from .program import Main

MAX_SCRIPTS = 5  # levels of #! interpreters
IMAGE_CACHE = 256


class Program(msgspec.Struct):
    """A program that can be loaded. ``arguments`` are argv as the program will see it."""

    location: Location
    image: elf.Image
    interpreter: Location | None
    interpreter_image: elf.Image | None
    arguments: list[bytes]
    filename: bytes  # AT_EXECFN


class PythonProgram(msgspec.Struct):
    """A coroutine that was registered at a path, in place of an ELF file."""

    location: Location
    arguments: list[bytes]
    filename: bytes
    main: Main


class ImageCache:
    """Parsed images by file and modification time: parsing costs more than the whole rest of an exec."""

    def __init__(self) -> None:
        self._images: OrderedDict[tuple[int, int, int, int], elf.Image] = OrderedDict()

    async def get(self, inode: Inode) -> elf.Image:
        """The image of an ELF file; ENOEXEC."""
        status = await inode.getattr()
        key = (status.dev, status.ino, status.mtime, status.size)
        image = self._images.get(key)
        if image is None:
            image = await self._parse(inode, status.size)
            self._images[key] = image
            if len(self._images) > IMAGE_CACHE:
                self._images.popitem(last=False)
        else:
            self._images.move_to_end(key)
        return image

    @staticmethod
    async def _parse(inode: Inode, size: int) -> elf.Image:
        head = await inode.read(elf.HEAD_SIZE, 0)
        needed = elf.headers_end(head)
        if needed > len(head):
            head = await inode.read(needed, 0)
            if len(head) < needed:
                raise SyscallError(errno.ENOEXEC)
        where = elf.interpreter_range(head)
        name = await inode.read(where[1], where[0]) if where else None
        if where and name is not None and len(name) < where[1]:
            raise SyscallError(errno.EIO)
        return elf.parse(head, name, size)


async def find(
    caller: Caller, location: Location, filename: bytes, arguments: list[bytes], cache: ImageCache
) -> Program | PythonProgram:
    """Follow ``#!`` lines from ``location`` to an ELF file and its loader.

    EACCES: not executable; ENOEXEC: no known format; ENOENT: an interpreter is missing; ELOOP: too many scripts.
    """
    name = filename
    for _ in range(MAX_SCRIPTS):
        check_execute(location, caller)
        inode = location.inode
        if "program" in inode.attached:
            return PythonProgram(location, arguments, filename, inode.attached["program"])
        head = await inode.read(256, 0)
        if not head.startswith(b"#!"):
            return await _with_loader(caller, location, filename, arguments, cache)
        interpreter, extra = elf.parse_script(head)
        arguments = [interpreter, *extra, name, *arguments[1:]]
        name = interpreter
        filename = interpreter
        location = await namei.resolve(caller, interpreter)
    raise SyscallError(errno.ELOOP)


async def _with_loader(
    caller: Caller, location: Location, filename: bytes, arguments: list[bytes], cache: ImageCache
) -> Program:
    image = await cache.get(location.inode)
    if image.interpreter is None:
        return Program(location, image, None, None, arguments, filename)
    loader = await namei.resolve(caller, image.interpreter)
    check_execute(loader, caller)
    try:
        loader_image = await cache.get(loader.inode)
    except SyscallError as error:
        raise SyscallError(errno.ELIBBAD if error.errno == errno.ENOEXEC else error.errno) from None
    return Program(location, image, loader, loader_image, arguments, filename)
