"""Whatever lies in the folder, sealed or not: errors of a file system, never an exception of ours, never a hang."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.stat import S_IFREG
from occlum_async.errors import DiskError
from occlum_async.fs.inode import Inode
from occlum_async.fs.pagecache import PAGE
from occlum_async.fs.sefs import Sefs
from occlum_async.fs.sefs.inode import Record, SefsInode

from .test_sefs import ROOT, make, mounted

SECONDS = 20  # that a look at everything may take
FUZZ = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.sampled_from((0, 1, -1, PAGE, 0o100644, 0o040755, 0o120777, 0o170000, 1 << 16, 1 << 31, 1 << 43, 1 << 62)),
)  # fmt: skip
BYTES = st.one_of(st.binary(max_size=300), st.sampled_from((b".", b"..", b"a/b", b"\0", b"x" * 256)))
ANY: Any = st.recursive(
    st.one_of(NUMBERS, BYTES, st.none(), st.booleans(), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=13), st.dictionaries(BYTES, inner, max_size=3)),
    max_leaves=20,
)


async def walk(inode: Inode, depth: int = 0) -> None:
    """Use everything that there is; what fails must fail as a system call does."""
    attributes = await inode.getattr()
    attributes.pack(), attributes.pack_statx()
    for call in (inode.readlink, inode.listxattr, lambda: inode.getxattr(b"user.a"), lambda: inode.read(3 * PAGE, 0)):
        with contextlib.suppress(SyscallError):
            await call()
    for hole in (True, False):
        with contextlib.suppress(SyscallError):
            await inode.seek_data(0, hole)
    with contextlib.suppress(SyscallError):
        await inode.read(PAGE, max(0, attributes.size - PAGE))
    if depth < 3 and inode.is_dir:
        for entry in await inode.readdir(0):
            with contextlib.suppress(SyscallError):
                await walk(await inode.lookup(entry.name), depth + 1)


async def change(inode: Inode) -> None:
    """Change what there is, and store it."""
    for call in (
        lambda: inode.write(b"x" * 5000, 2 * PAGE), lambda: inode.setattr(size=3), lambda: inode.setattr(atime=1 << 90),
        lambda: inode.setxattr(b"user.new", b"value", 0), lambda: inode.create(b"new", S_IFREG, ROOT),
        lambda: inode.sync(False), inode.fs.sync,
    ):  # fmt: skip
        with contextlib.suppress(SyscallError):
            await call()


async def use(folder: Path) -> None:
    """Mount, look at everything, change some, and leave."""
    try:
        async with asyncio.timeout(SECONDS), mounted(folder) as fs:
            await walk(fs.root)
            for entry in await fs.root.readdir(0):
                with contextlib.suppress(SyscallError):
                    await change(await fs.root.lookup(entry.name))
            await change(fs.root)
    except (DiskError, SyscallError):
        pass


async def populate(fs: Sefs) -> SefsInode:
    below = await fs.root.mkdir(b"below", 0o755, ROOT)
    file = await make(below, b"file", random.Random(1).randbytes(130 * PAGE))
    await file.setxattr(b"user.a", b"value", 0)
    await fs.root.symlink(b"link", b"below/file", ROOT)
    await make(fs.root, b"other", b"other" * 3000)
    assert isinstance(file, SefsInode)
    return file


async def a_copy(folder: Path) -> Path:
    """A folder like it, to be spoilt."""
    if not (folder / "sefs").exists():
        async with mounted(folder) as fs:
            await populate(fs)
    shutil.rmtree(folder / "../copy", ignore_errors=True)
    return Path(shutil.copytree(folder, folder / "../copy"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sefs").mkdir()
    return tmp_path / "sefs"


@FUZZ
@given(seed=st.integers(0, 1 << 32), kind=st.sampled_from(("flip", "zero", "cut", "noise", "journal", "swap", "lose")))
def test_what_the_host_may_do(folder: Path, seed: int, kind: str) -> None:
    chance = random.Random(seed)

    async def spoil() -> None:
        copy = await a_copy(folder)
        for path in chance.sample(sorted(copy.iterdir()), chance.randrange(1, 4)):
            data = bytearray(path.read_bytes())
            start, length = chance.randrange(len(data) + 1), chance.choice((1, 16, 512, PAGE))
            if kind == "flip" and start < len(data):
                data[start] ^= 1 << chance.randrange(8)
            elif kind in ("zero", "noise"):
                data[start : start + length] = bytes(length) if kind == "zero" else chance.randbytes(length)
            elif kind == "cut":
                del data[start:]
            elif kind == "swap":
                data = bytearray(chance.choice(sorted(copy.iterdir())).read_bytes())
            elif kind == "journal":
                shape = chance.choice((b"OASEFSJ2", b"OASEFSJ1", b""))
                (copy / f"{path.name}.journal").write_bytes(shape + chance.randbytes(chance.randrange(3 * PAGE)))
            path.write_bytes(data)
            if kind == "lose":
                path.unlink()
        await use(copy)

    asyncio.run(spoil())


@FUZZ
@given(data=st.data())
def test_a_sealed_record_that_is_wrong(folder: Path, data: st.DataObject) -> None:
    fields = [data.draw(NUMBERS) for _ in range(10)] + [data.draw(BYTES), data.draw(ANY), data.draw(NUMBERS)]
    record = data.draw(st.sampled_from(("fields", "some", "any", "bytes")))

    async def spoil() -> None:
        copy = await a_copy(folder)
        async with mounted(copy) as fs:
            below = await fs.root.lookup(b"below")
            inode = await data.draw(st.sampled_from((fs.root, below))).lookup(
                data.draw(st.sampled_from((b"below", b"link", b"other", b"file")))
            )
            assert isinstance(inode, SefsInode)
            if record == "some":
                right = list(msgspec.msgpack.decode(inode._record()))
                at = data.draw(st.integers(0, len(right) - 1))
                content = msgspec.msgpack.encode([*right[:at], fields[at], *right[at + 1 :]])
            elif record == "fields":
                content = msgspec.msgpack.encode(fields)
            else:
                content = msgspec.msgpack.encode(data.draw(ANY)) if record == "any" else data.draw(st.binary())
            inode.tree.record = content[:3000]
            await inode.tree.sync()
        await use(copy)

    with contextlib.suppress(SyscallError):  # such a name is not there
        asyncio.run(spoil())


@FUZZ
@given(names=st.one_of(st.lists(st.tuples(BYTES, NUMBERS, NUMBERS), max_size=20), ANY), root=st.booleans())
def test_sealed_names_that_are_wrong(folder: Path, names: Any, root: bool) -> None:
    async def spoil() -> None:
        copy = await a_copy(folder)
        async with mounted(copy) as fs:
            inode = fs.root if root else await fs.root.lookup(b"below")
            assert isinstance(inode, SefsInode)
            content = msgspec.msgpack.encode(names)
            inode.size = len(content)
            await inode.tree.write([(0, content.ljust(-(-len(content) // PAGE) * PAGE, b"\0"))])
            inode.tree.record = inode._record()
            await inode.tree.sync()
        await use(copy)

    asyncio.run(spoil())


@FUZZ
@given(seed=st.integers(0, 1 << 32))
def test_sealed_nodes_that_are_wrong(folder: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def spoil() -> None:
        copy = await a_copy(folder)
        async with mounted(copy) as fs:
            inode = await (await fs.root.lookup(b"below")).lookup(b"file")
            assert isinstance(inode, SefsInode)
            with contextlib.suppress(SyscallError):  # one that another one leads to
                for number in chance.sample((0, 1, 2, 31, 33), 3):
                    node = await inode.tree._node(number)
                    at = chance.randrange(len(node) // 32) * 32
                    other = chance.randrange(len(node) // 32) * 32
                    node[at : at + 32] = chance.choice((node[other : other + 32], bytes(32), chance.randbytes(32)))
                    inode.tree._changed.add(number)
                await inode.tree.sync()
        await use(copy)

    asyncio.run(spoil())


async def test_directories_in_a_circle(folder: Path) -> None:
    async with mounted(folder) as fs:
        below = await fs.root.mkdir(b"below", 0o755, ROOT)
        assert isinstance(below, SefsInode)
        below.names = {b"up": (fs.root.ino, 0o040000, 1), b"self": (below.ino, 0o040000, 2)}
        fs.changed(below)
        await fs.sync()
    await use(folder)


def test_a_record_is_as_it_was() -> None:
    record = Record(0o100644, 1, 2, 3, 4, 5, 6, 7, 8, 9, b"target", {b"user.a": b"value"})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Record) == record
