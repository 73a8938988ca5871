"""Data of regular files: offsets, appending, holes, limits, seals."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import os
import resource
import struct
from collections.abc import Awaitable

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.user import PythonBuffer, PythonPointer, VectorBuffer
from occlum_async.fs.mount import anonymous_device
from occlum_async.fs.pages import SMALL, Quota
from occlum_async.fs.ramfs import RamFs, mount_tmpfs

from .conftest import AT_FDCWD, User

PAGE = 4096


async def test_position_is_shared_by_dup_and_not_by_open(root: User) -> None:
    await root.put(b"/f", b"abcdef")
    one = await root.open(b"/f")
    other = await root.open(b"/f")
    twin = await root.call("dup", one)
    assert await root.read(one, 2) == b"ab"
    assert await root.read(twin, 2) == b"cd"
    assert await root.read(other, 2) == b"ab"
    assert await root.pread(one, 3, 3) == b"def"
    assert await root.read(one) == b"ef"
    assert await root.read(one) == b""


async def test_append_wins_over_offsets(root: User) -> None:
    await root.put(b"/f", b"123")
    fd = await root.open(b"/f", os.O_RDWR | os.O_APPEND)
    await root.call("lseek", fd, 0, os.SEEK_SET)
    await root.write(fd, b"4")
    await root.pwrite(fd, b"5", 0)
    assert await root.get(b"/f") == b"12345"
    assert await root.call("lseek", fd, 0, os.SEEK_CUR) == 4


async def test_access_modes(root: User, alice: User) -> None:
    await root.put(b"/f", b"x", 0o644)
    fd = await root.open(b"/f", os.O_WRONLY)
    await root.fails(errno.EBADF, "read", fd, PythonBuffer(bytearray(1)), 1)
    fd = await root.open(b"/f")
    await root.fails(errno.EBADF, "write", fd, PythonBuffer(b"x"), 1)
    await root.fails(errno.EINVAL, "ftruncate", fd, 0)
    await alice.fails(errno.EACCES, "openat", AT_FDCWD, b"/f", os.O_WRONLY, 0)
    await alice.fails(errno.EACCES, "openat", AT_FDCWD, b"/f", os.O_RDONLY | os.O_TRUNC, 0)
    await alice.fails(errno.EPERM, "openat", AT_FDCWD, b"/f", os.O_RDONLY | os.O_NOATIME, 0)
    fd = await root.open(b"/", os.O_RDONLY)
    await root.fails(errno.EISDIR, "read", fd, PythonBuffer(bytearray(1)), 1)
    await root.fails(errno.EISDIR, "openat", AT_FDCWD, b"/", os.O_RDWR, 0)


async def test_a_created_file_is_writable_whatever_its_mode(alice: User, root: User) -> None:
    await root.call("chmod", b"/", 0o777)
    fd = await alice.open(b"/f", os.O_CREAT | os.O_RDWR, 0o000)
    assert await alice.write(fd, b"x") == 1
    await alice.fails(errno.EACCES, "openat", AT_FDCWD, b"/f", os.O_RDONLY, 0)


async def test_path_descriptors_do_nothing_but_point(root: User) -> None:
    await root.put(b"/f", b"x")
    fd = await root.open(b"/f", os.O_PATH)
    for name, *args in (
        ("read", PythonBuffer(bytearray(1)), 1), ("write", PythonBuffer(b"x"), 1), ("lseek", 0, 0),
        ("ftruncate", 0), ("fchmod", 0o600), ("fsync",), ("flock", fcntl.LOCK_SH), ("ioctl", 0x541B, PythonPointer()),
    ):  # fmt: skip
        await root.fails(errno.EBADF, name, fd, *args)
    assert await root.fcntl(fd, fcntl.F_GETFL) == os.O_PATH
    assert (await root.fstat(fd)).st_size == 1


@pytest.mark.parametrize("size", [0, 10 * PAGE, SMALL + PAGE], ids=["empty", "small", "large"])
async def test_holes(root: User, size: int) -> None:
    await root.put(b"/f", b"d" * size)
    fd = await root.open(b"/f", os.O_RDWR)
    data = size // PAGE * PAGE
    await root.pwrite(fd, b"end", data + 100 * PAGE)
    assert await root.call("lseek", fd, data, os.SEEK_DATA) == data + 100 * PAGE
    assert await root.call("lseek", fd, 0, os.SEEK_HOLE) == data
    assert await root.pread(fd, 4, data + PAGE) == b"\0" * 4
    assert (await root.fstat(fd)).st_blocks == (data // PAGE + 1) * 8
    await root.fails(errno.ENXIO, "lseek", fd, data + 101 * PAGE, os.SEEK_DATA)


async def test_fallocate(root: User) -> None:
    fd = await root.open(b"/f", os.O_RDWR | os.O_CREAT)
    await root.call("fallocate", fd, 1, 0, 3 * PAGE)
    info = await root.fstat(fd)
    assert (info.st_size, info.st_blocks) == (0, 24)
    await root.call("fallocate", fd, 0, 0, 2 * PAGE)
    assert (await root.fstat(fd)).st_size == 2 * PAGE
    await root.write(fd, b"x" * 2 * PAGE)
    await root.call("fallocate", fd, 3, 0, PAGE)
    assert await root.pread(fd, 2, PAGE - 1) == b"\0x"
    await root.fails(errno.EOPNOTSUPP, "fallocate", fd, 2, 0, PAGE)
    await root.fails(errno.EOPNOTSUPP, "fallocate", fd, 8, 0, PAGE)
    await root.fails(errno.EINVAL, "fallocate", fd, 0, 0, 0)


async def test_truncate_across_representations(root: User) -> None:
    await root.put(b"/f", b"abc")
    fd = await root.open(b"/f", os.O_RDWR)
    for size in (10, 5000, SMALL * 2, 2, 0):
        await root.call("truncate", b"/f", size)
        assert (await root.fstat(fd)).st_size == size
        assert await root.pread(fd, 8192, 0) == b"abc"[:size].ljust(min(size, 8192), b"\0")
    await root.fails(errno.EINVAL, "truncate", b"/f", -1)
    await root.fails(errno.EISDIR, "truncate", b"/", 0)


async def test_absurd_lengths_cost_nothing(root: User) -> None:
    await root.put(b"/f", b"abc")
    fd = await root.open(b"/f")
    target = PythonBuffer(bytearray(10))
    target.size = 1 << 40
    assert await root.call("read", fd, target, 1 << 40) == 3
    assert await root.call("pread64", fd, target, 1 << 40, 1) == 2


async def test_large_reads_and_writes_go_through_whole(root: User) -> None:
    data = os.urandom(3 * SMALL + 17)
    await root.put(b"/f", data)
    fd = await root.open(b"/f")
    assert await root.read(fd, len(data) + 5) == data


async def test_long_transfers_let_others_have_a_turn(root: User) -> None:
    """And whoever transfers much has the position, and the end, for himself meanwhile."""
    size = 4 << 20
    await root.put(b"/long")
    append = await root.open(b"/long", os.O_RDWR | os.O_APPEND)
    other = await root.open(b"/long", os.O_WRONLY | os.O_APPEND)
    order = []

    async def note(what: str, work: Awaitable[object]) -> None:
        await work
        order.append(what)

    await asyncio.gather(
        note("long", root.write(append, b"a" * size)), note("short", root.write(other, b"b")),
        note("elsewhere", root.put(b"/elsewhere")),
    )  # fmt: skip
    assert order == ["elsewhere", "long", "short"]
    await root.call("lseek", append, 0, os.SEEK_SET)
    first, second = await asyncio.gather(root.read(append, size), root.read(append, 10))
    assert first == b"a" * size and second == b"b"

    order.clear()
    target = await root.open(b"/copy", os.O_RDWR | os.O_CREAT)
    copy = root.call(
        "copy_file_range", append, PythonPointer(bytearray(8)), target, PythonPointer(bytearray(8)), size, 0
    )
    await asyncio.gather(note("copy", copy), note("elsewhere", root.put(b"/elsewhere")))
    assert order == ["elsewhere", "copy"]
    order.clear()
    allocation = root.call("fallocate", target, 0, 0, 9 << 20)
    await asyncio.gather(note("allocation", allocation), note("elsewhere", root.put(b"/elsewhere")))
    assert order == ["elsewhere", "allocation"]
    assert (await root.stat(b"/copy")).st_size == 9 << 20


async def test_file_size_limit(root: User) -> None:
    root.thread.process.limits.set(resource.RLIMIT_FSIZE, 10, 10, True)
    fd = await root.open(b"/f", os.O_RDWR | os.O_CREAT)
    assert await root.write(fd, b"x" * 20) == 10
    with pytest.raises(OSError) as caught:
        await root.write(fd, b"x")
    cause = caught.value.__cause__
    assert isinstance(cause, SyscallError)
    assert (cause.errno, cause.signal) == (errno.EFBIG, 25)
    await root.fails(errno.EFBIG, "ftruncate", fd, 11)


async def test_set_id_bits_are_lost_by_writing_and_chown(root: User, alice: User) -> None:
    await root.call("chmod", b"/", 0o777)
    await alice.put(b"/f", b"x", 0o777)
    await alice.call("chmod", b"/f", 0o6777)
    fd = await alice.open(b"/f", os.O_WRONLY)
    await alice.write(fd, b"y")
    assert (await alice.stat(b"/f")).st_mode & 0o7777 == 0o777
    await root.call("chmod", b"/f", 0o6775)
    await root.call("chown", b"/f", 0, 0xFFFFFFFF)
    assert (await root.stat(b"/f")).st_mode & 0o7777 == 0o775
    await alice.fails(errno.EPERM, "chown", b"/f", 1000, 0xFFFFFFFF)


async def test_vectors_and_their_flags(root: User) -> None:
    fd = await root.open(b"/f", os.O_RDWR | os.O_CREAT)
    parts = VectorBuffer([PythonBuffer(b"ab"), PythonBuffer(b""), PythonBuffer(b"cde")])
    assert await root.call("writev", fd, parts, 3) == 5
    assert await root.call("pwritev2", fd, VectorBuffer([PythonBuffer(b"!")]), 1, 0, 0, 0x10) == 1
    assert await root.get(b"/f") == b"abcde!"
    target = [bytearray(2), bytearray(3)]
    assert await root.call("preadv", fd, VectorBuffer([PythonBuffer(item) for item in target]), 2, 1, 0) == 5
    assert target == [b"bc", b"de!"]
    await root.fails(errno.EOPNOTSUPP, "preadv2", fd, parts, 3, 0, 0, 0x80)


async def test_sendfile_and_copy_file_range(root: User) -> None:
    await root.put(b"/a", b"0123456789")
    source = await root.open(b"/a", os.O_RDWR)
    target = await root.open(b"/b", os.O_RDWR | os.O_CREAT)
    assert await root.call("sendfile", target, source, PythonPointer(), 4) == 4
    offset = PythonPointer(bytearray(struct.pack("<q", 8)))
    assert await root.call("sendfile", target, source, offset, 100) == 2
    assert struct.unpack("<q", offset.data)[0] == 10
    assert await root.call("lseek", source, 0, os.SEEK_CUR) == 4
    assert await root.get(b"/b") == b"012389"
    nowhere = PythonPointer()
    assert await root.call("copy_file_range", source, nowhere, target, nowhere, 3, 0) == 3
    assert await root.get(b"/b") == b"012389456"
    start = PythonPointer(bytearray(8))
    await root.fails(errno.EINVAL, "copy_file_range", source, start, source, nowhere, 100, 0)


async def test_tmpfs_size_limit_gives_short_writes_then_enospc(root: User) -> None:
    await root.call("mkdir", b"/t", 0o755)
    await root.call("mount", b"none", b"/t", b"tmpfs", 0, b"size=40k,nr_inodes=4,mode=700")
    fd = await root.open(b"/t/f", os.O_RDWR | os.O_CREAT)
    assert await root.write(fd, b"x" * 50000) == 40960
    await root.fails(errno.ENOSPC, "write", fd, PythonBuffer(b"y"), 1)
    assert await root.pwrite(fd, b"z" * 10, 5) == 10
    await root.put(b"/t/g")
    await root.put(b"/t/h")
    await root.fails(errno.ENOSPC, "mkdir", b"/t/i", 0o755)
    await root.call("ftruncate", fd, 4096)
    assert await root.pwrite(fd, b"q" * PAGE, 200 * PAGE) == PAGE
    await root.close(fd)
    await root.call("unlink", b"/t/f")
    gc.collect()  # the exceptions that this test caught still hold frames of the kernel
    numbers = PythonPointer(bytearray(120))
    await root.call("statfs", b"/t", numbers)
    kind, _, blocks, free, *_ = struct.unpack_from("<qqQQQQQ", numbers.data)
    assert (kind, blocks, free) == (0x01021994, 10, 10)
    assert (await root.stat(b"/t")).st_mode & 0o7777 == 0o700


async def test_quota_is_given_back_when_a_file_system_is_dropped() -> None:
    quota = Quota(1 << 20, 10)
    fs = RamFs(anonymous_device(), quota=quota)
    credentials = type("C", (), {"fsuid": 0, "fsgid": 0})()
    inode = await fs.root.create(b"f", 0o100644, credentials)
    await inode.write(b"x" * 10000, 0)
    assert (quota.pages_used, quota.inodes_used) == (3, 2)
    await fs.root.unlink(b"f", inode)
    del inode
    assert (quota.pages_used, quota.inodes_used) == (0, 1)


@pytest.mark.parametrize("data", [b"size=x", b"size=", b"nonsense=1", b"mode=9x"])
def test_wrong_tmpfs_options(data: bytes) -> None:
    with pytest.raises(SyscallError) as caught:
        mount_tmpfs(anonymous_device(), b"", data)
    assert caught.value.errno == errno.EINVAL


async def test_mapping_shares_the_file_and_no_more_rights_than_needed(root: User) -> None:
    await root.put(b"/f", b"abc")
    fd = await root.open(b"/f", os.O_RDWR)
    file = root.thread.files.get(fd)
    readonly, close = file.mapping(shared=False, writable=True)
    assert close
    assert os.pread(readonly, 10, 0) == b"abc"
    with pytest.raises(OSError):
        os.pwrite(readonly, b"x", 0)
    writable, _ = file.mapping(shared=True, writable=True)
    os.pwrite(writable, b"X", 0)
    assert await root.get(b"/f") == b"Xbc"
    await root.pwrite(fd, b"Y", 1)
    assert os.pread(readonly, 10, 0) == b"XYc"
    os.close(readonly)


async def test_memfd_seals(root: User) -> None:
    fd = await root.call("memfd_create", b"name", 2)
    assert root.thread.files.get(fd).describe() == "/memfd:name (deleted)"
    await root.write(fd, b"abc")
    assert await root.fcntl(fd, 1034) == 0
    await root.fcntl(fd, 1033, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    await root.fails(errno.EPERM, "ftruncate", fd, 1)
    await root.fails(errno.EPERM, "pwrite64", fd, PythonBuffer(b"x"), 1, 3)
    await root.fcntl(fd, 1033, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
    await root.fails(errno.EPERM, "pwrite64", fd, PythonBuffer(b"x"), 1, 0)
    await root.fails(errno.EPERM, "fcntl", fd, 1033, PythonPointer(None, fcntl.F_SEAL_GROW))
    assert await root.fcntl(fd, 1034) == 15
    unsealable = await root.call("memfd_create", b"", 0)
    await root.fails(errno.EPERM, "fcntl", unsealable, 1033, PythonPointer(None, fcntl.F_SEAL_GROW))
    plain = await root.open(b"/f", os.O_CREAT | os.O_RDWR)
    await root.fails(errno.EINVAL, "fcntl", plain, 1034, PythonPointer())


async def test_text_file_busy(root: User) -> None:
    from occlum_async.fs.opening import check_execute, start_executing, stop_executing

    await root.put(b"/prog", b"#!", 0o755)
    fd = await root.open(b"/prog", os.O_WRONLY)
    location = root.thread.files.get(fd).location
    with pytest.raises(SyscallError) as caught:
        check_execute(location, root.thread)
    assert caught.value.errno == errno.ETXTBSY
    await root.close(fd)
    check_execute(location, root.thread)
    start_executing(location.inode)
    await root.fails(errno.ETXTBSY, "openat", AT_FDCWD, b"/prog", os.O_WRONLY, 0)
    await root.fails(errno.ETXTBSY, "truncate", b"/prog", 0)
    stop_executing(location.inode)
    await root.put(b"/prog", b"new")


async def test_times(root: User, alice: User) -> None:
    await root.put(b"/f", b"x", 0o666)
    times = PythonPointer(bytearray(struct.pack("<4q", 5, 7, -3, 999999999)))
    await root.call("utimensat", AT_FDCWD, b"/f", times, 0)
    info = await root.stat(b"/f")
    assert (info.st_atime_ns, info.st_mtime_ns) == (5_000_000_007, -3 * 10**9 + 999999999)
    omit = PythonPointer(bytearray(struct.pack("<4q", 9, 0, 0, (1 << 30) - 2)))
    await root.call("utimensat", AT_FDCWD, b"/f", omit, 0)
    assert (await root.stat(b"/f")).st_atime_ns == 9 * 10**9
    assert (await root.stat(b"/f")).st_mtime_ns == info.st_mtime_ns
    await alice.fails(errno.EPERM, "utimensat", AT_FDCWD, b"/f", times, 0)
    bad = PythonPointer(bytearray(struct.pack("<4q", 0, 10**9, 0, 0)))
    await root.fails(errno.EINVAL, "utimensat", AT_FDCWD, b"/f", bad, 0)


async def test_reading_a_changed_file_updates_its_access_time_once(root: User) -> None:
    await root.put(b"/f", b"x")
    before = (await root.stat(b"/f")).st_atime_ns
    await root.get(b"/f")
    first = (await root.stat(b"/f")).st_atime_ns
    assert first > before
    await root.get(b"/f")
    assert (await root.stat(b"/f")).st_atime_ns == first


async def test_directory_listing_survives_changes(root: User) -> None:
    await root.call("mkdir", b"/d", 0o755)
    names = {b"%03d" % number for number in range(200)}
    for name in names:
        await root.put(b"/d/" + name)
    fd = await root.open(b"/d")
    seen = await root.dents(fd, 512, once=True)
    stay = sorted(names)[::2]
    for name in sorted(names)[1::2]:
        await root.call("unlink", b"/d/" + name)
    await root.put(b"/d/new")
    seen += await root.dents(fd, 512)
    assert len(seen) == len(set(seen))
    assert set(stay) <= set(seen)
    await root.call("lseek", fd, 0, os.SEEK_SET)
    assert set(await root.dents(fd)) == {b".", b"..", b"new", *stay}
    await root.call("lseek", fd, 0, os.SEEK_SET)
    await root.fails(errno.EINVAL, "getdents64", fd, PythonBuffer(bytearray(8)), 8)


async def test_xattrs(root: User, alice: User) -> None:
    await root.put(b"/f", b"", 0o644)

    def text(name: bytes) -> PythonPointer:
        return PythonPointer(bytearray(name + b"\0"))

    async def store(user: User, name: bytes, value: bytes, flags: int = 0) -> None:
        await user.call("setxattr", b"/f", text(name), PythonPointer(bytearray(value)), len(value), flags)

    await store(root, b"user.a", b"1")
    await store(root, b"trusted.t", b"2")
    target = PythonPointer(bytearray(64))
    assert await root.call("getxattr", b"/f", text(b"user.a"), target, 64) == 1
    assert await root.call("getxattr", b"/f", text(b"user.a"), target, 0) == 1
    assert await root.call("listxattr", b"/f", target, 64) == len(b"user.a\0trusted.t\0")
    assert await alice.call("listxattr", b"/f", target, 64) == len(b"user.a\0")
    await alice.fails(errno.ENODATA, "getxattr", b"/f", text(b"trusted.t"), target, 64)
    for user, name, flags, number in (
        (root, b"user.a", 1, errno.EEXIST), (root, b"user.b", 2, errno.ENODATA), (root, b"bad", 0, errno.EOPNOTSUPP),
        (root, b"system.x", 0, errno.EOPNOTSUPP), (root, b"user.", 0, errno.EINVAL), (root, b"", 0, errno.ERANGE),
        (root, b"user." + b"n" * 251, 0, errno.ERANGE), (alice, b"user.c", 0, errno.EACCES),
        (alice, b"trusted.c", 0, errno.EPERM), (alice, b"security.c", 0, errno.EPERM),
    ):  # fmt: skip
        with pytest.raises(OSError) as caught:
            await store(user, name, b"x", flags)
        assert caught.value.errno == number, name
    await root.call("removexattr", b"/f", text(b"user.a"))
    await root.fails(errno.ENODATA, "removexattr", b"/f", text(b"user.a"))
    await root.call("symlink", b"f", b"/l")
    await root.fails(errno.EPERM, "lsetxattr", b"/l", text(b"user.a"), PythonPointer(bytearray(b"1")), 1, 0)


async def test_access_uses_real_ids(root: User, alice: User) -> None:
    await root.put(b"/f", b"", 0o640)
    await alice.fails(errno.EACCES, "access", b"/f", 4)
    await alice.call("access", b"/f", 0)
    await root.fails(errno.EACCES, "access", b"/f", 1)
    await root.fails(errno.EINVAL, "access", b"/f", 8)
    alice.thread.credentials = alice.thread.credentials.with_(euid=0, fsuid=0, effective=(1 << 41) - 1)
    await alice.fails(errno.EACCES, "access", b"/f", 4)
    await alice.call("faccessat2", AT_FDCWD, b"/f", 4, 0x200)
