"""hostfs: what it shows, what it changes, what it remembers."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.credentials import Credentials
from occlum_async.fs.hostfs import DEFAULT_VIEW, HostFs, View
from occlum_async.fs.hostfs.handles import Handles
from occlum_async.fs.inode import Inode
from occlum_async.io.boundary import Boundary

Mount = Callable[..., HostFs]
ROOT = Credentials()


async def at(fs: HostFs, path: str) -> Inode:
    inode: Inode = fs.root
    for name in path.encode().strip(b"/").split(b"/"):
        inode = await inode.lookup(name)
    return inode


async def names(directory: Inode) -> list[bytes]:
    found: list[bytes] = []
    cookie = 0
    while entries := await directory.readdir(cookie):
        cookie = entries[-1].cookie
        found += [entry.name for entry in entries]
    return sorted(found)


def refuses(number: int) -> pytest.RaisesContext[SyscallError]:
    return pytest.raises(SyscallError, match=errno.errorcode[number])


async def test_shows_the_folder(mount: Mount, folder: Path) -> None:
    fs = mount()
    assert await names(fs.root) == [b"dir", b"file", b"link", b"up"]
    file = await at(fs, "file")
    answer, host = await file.getattr(), (folder / "file").stat()
    assert (answer.size, answer.mode, answer.mtime) == (host.st_size, host.st_mode, host.st_mtime_ns)
    assert await file.read(100, 5) == b"file"
    assert await file.read(100, 9) == b""
    assert await (await at(fs, "link")).readlink() == b"/etc/shadow"
    assert await (await at(fs, "dir/a")).read(100, 0) == b"A"
    with refuses(errno.ENOENT):
        await at(fs, "nothing")


async def test_one_inode_for_all_names(mount: Mount, folder: Path) -> None:
    os.link(folder / "file", folder / "dir" / "hard")
    fs = mount()
    assert await at(fs, "file") is await at(fs, "dir/hard")


async def test_read_only_refuses(mount: Mount, folder: Path) -> None:
    fs = mount()
    file = await at(fs, "file")
    operations = [
        fs.root.create(b"x", 0o644, ROOT), fs.root.mkdir(b"x", 0o755, ROOT), fs.root.symlink(b"x", b"y", ROOT),
        fs.root.unlink(b"file", file), fs.root.rename(b"file", file, fs.root, b"y", None),
        fs.root.link(b"x", file), file.write(b"x", 0), file.setattr(mode=0o600), file.setattr(size=0),
        file.setxattr(b"user.x", b"", 0), fs.root.tmpfile(0o600, ROOT),
    ]  # fmt: skip
    for operation in operations:
        with refuses(errno.EROFS):
            await operation
    with refuses(errno.EROFS):
        file.open(os.O_RDWR)
    with refuses(errno.EACCES):
        file.mapping(shared=True, writable=True)


async def test_changes_reach_the_host(mount: Mount, folder: Path) -> None:
    fs = mount(writable=True)
    made = await fs.root.create(b"new", stat.S_IFREG | 0o666, ROOT)
    assert await made.write(b"hello", 0) == 5
    assert await made.write(b"J", 0) == 1
    assert (folder / "new").read_bytes() == b"Jello"
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o666
    await made.setattr(size=2, mode=0o600, mtime=5 * 10**9)
    assert (folder / "new").read_bytes() == b"Je"
    assert (folder / "new").stat().st_mtime == 5
    directory = await fs.root.mkdir(b"d", 0o711, ROOT)
    await fs.root.rename(b"new", made, directory, b"moved", None)
    assert (folder / "d" / "moved").read_bytes() == b"Je"
    await made.write(b"!", 2)
    await directory.link(b"second", made)
    assert (await made.getattr()).nlink == 2
    await directory.unlink(b"moved", made)
    assert await made.read(9, 0) == b"Je!"
    await directory.unlink(b"second", made)
    assert (await made.getattr()).nlink == 0
    assert await made.read(9, 0) == b"Je!"
    await fs.root.rmdir(b"d", directory)
    await fs.root.symlink(b"s", b"target", ROOT)
    assert os.readlink(folder / "s") == "target"
    fifo = await fs.root.create(b"fifo", stat.S_IFIFO | 0o600, ROOT)
    assert fifo.format == stat.S_IFIFO
    await fs.sync()


async def test_exchange(mount: Mount, folder: Path) -> None:
    fs = mount(writable=True)
    file, other = await at(fs, "file"), await at(fs, "dir/a")
    await fs.root.rename(b"file", file, await at(fs, "dir"), b"a", other, exchange=True)
    assert (folder / "file").read_bytes() == b"A"
    assert await file.read(99, 0) == b"host file"
    assert await other.read(99, 0) == b"A"


async def test_tmpfile_gets_a_name(mount: Mount, folder: Path) -> None:
    fs = mount(writable=True)
    try:
        made = await fs.root.tmpfile(0o640, ROOT)
    except SyscallError:
        pytest.skip("the host's file system has no O_TMPFILE")
    await made.write(b"data", 0)
    await fs.root.link(b"named", made)
    assert (folder / "named").read_bytes() == b"data"
    assert (await made.getattr()).nlink == 1


async def test_no_devices_and_no_set_id_programs(mount: Mount, folder: Path) -> None:
    fs = mount(writable=True)
    with refuses(errno.EPERM):
        await fs.root.create(b"null", stat.S_IFCHR | 0o666, ROOT, os.makedev(1, 3))
    program = await fs.root.create(b"program", stat.S_IFREG | 0o4755, ROOT)
    await program.setattr(mode=0o6755)
    assert stat.S_IMODE((folder / "program").stat().st_mode) == 0o755


async def test_changes_of_the_host_are_seen(mount: Mount, folder: Path) -> None:
    fs = mount(validity=0)
    file = await at(fs, "file")
    (folder / "file").write_bytes(b"longer than before")
    assert (await file.getattr()).size == 18
    os.unlink(folder / "file")
    assert (await file.getattr()).nlink == 0
    with refuses(errno.ESTALE):
        await file.read(1, 0)
    (folder / "file").mkdir()
    assert (await at(fs, "file")).is_dir


async def test_attributes_stay_valid_without_an_exit(mount: Mount, boundary: Boundary) -> None:
    fs = mount(validity=None)
    file = await at(fs, "file")
    await file.read(1, 0)
    exits = boundary.counters.exits
    for _ in range(10):
        await file.getattr()
    assert boundary.counters.exits == exits
    await file.read(1, 0)
    assert boundary.counters.exits == exits + 1


async def test_few_descriptors_for_many_files(mount: Mount, folder: Path, boundary: Boundary) -> None:
    deep = folder
    for number in range(60):
        deep = deep / f"d{number}"
        deep.mkdir()
        (deep / "f").write_text(str(number))
    handles = Handles(boundary, limit=4)
    fs = mount(handles=handles)
    before = len(os.listdir("/proc/self/fd"))
    here: Inode = fs.root
    files = []
    for number in range(60):
        here = await here.lookup(b"d%d" % number)
        files.append(await here.lookup(b"f"))
        assert await files[-1].read(9, 0) == b"%d" % number
        assert len(handles) <= 4
    for number in (0, 59, 30, 1):  # closed long ago, opened again through their directories
        assert await files[number].read(9, 0) == b"%d" % number
    assert len(os.listdir("/proc/self/fd")) <= before + 4


async def test_path_deeper_than_the_stack(mount: Mount, folder: Path, boundary: Boundary) -> None:
    handles = Handles(boundary, limit=2)
    fs = mount(writable=True, handles=handles)
    here: Inode = fs.root
    chain = []
    for _ in range(sys.getrecursionlimit() + 100):
        here = await here.mkdir(b"d", 0o755, ROOT)
        chain.append(here)
    handles.close()
    assert await names(here) == []
    await chain[-2].rmdir(b"d", here)
    subprocess.run(["rm", "-rf", folder / "d"], check=True)


async def test_mapping_shares_the_pages(mount: Mount, folder: Path) -> None:
    fs = mount(writable=True)
    file = await at(fs, "file")
    fd, close = file.mapping(shared=True, writable=True)
    assert close
    os.pwrite(fd, b"HOST", 0)
    os.close(fd)
    assert (folder / "file").read_bytes() == b"HOST file"
    fd, close = file.mapping(shared=True, writable=False)
    with pytest.raises(OSError):
        os.write(fd, b"no")
    os.close(fd)


async def test_written_program_can_be_executed_on_the_host(mount: Mount, folder: Path) -> None:
    """A handle for writing does not stay: the host would refuse to execute the file (ETXTBSY)."""
    fs = mount(writable=True)
    made = await fs.root.create(b"program", stat.S_IFREG | 0o755, ROOT)
    await made.write(Path("/bin/true").read_bytes(), 0)
    sweeps = fs.handles
    sweeps._sweep()
    sweeps._sweep()
    process = await asyncio.create_subprocess_exec(folder / "program")
    assert await process.wait() == 0
    assert len(await made.read(4, 0)) == 4


async def test_single_file(boundary: Boundary, folder: Path) -> None:
    fs = HostFs(1, boundary, str(folder / "file"), writable=True)
    assert await fs.root.read(99, 0) == b"host file"
    await fs.root.write(b"HOST", 0)
    assert (folder / "file").read_bytes() == b"HOST file"
    fd, _ = fs.root.mapping(shared=False, writable=False)
    os.close(fd)
    await fs.unmount()


async def test_big_file(mount: Mount, folder: Path) -> None:
    data = os.urandom(3 << 20)
    fs = mount(writable=True)
    made = await fs.root.create(b"big", stat.S_IFREG | 0o644, ROOT)
    assert await made.write(data, 0) == len(data)
    assert await made.read(1 << 40, 0) == data
    assert await made.seek_data(0, hole=True) == len(data)
    await made.fallocate(0, 0, 4 << 20)
    assert (await made.getattr()).size == 4 << 20
    await made.sync(data_only=False)


async def test_owner_mapping(boundary: Boundary, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner or 4242)
    fs = HostFs(1, boundary, str(folder), owner=(77, 77))
    assert fs.user_inside(0) == 0
    assert fs.user_inside(owner or 4242) == 77
    assert fs.user_outside(77) == (owner or 4242)
    assert fs.user_inside(12345) == 12345
    assert fs.user_inside(77) == 65534, "who is 77 outside does not own what 77 owns inside"


async def test_view(mount: Mount) -> None:
    fs = mount(view=View({"dir": View({"s*": View({})}), "nothing": None}))
    assert await names(fs.root) == [b"dir"]
    assert await names(await at(fs, "dir")) == [b"sub"]
    assert await names(await at(fs, "dir/sub")) == []
    for hidden in ("file", "dir/a"):
        with refuses(errno.ENOENT):
            await at(fs, hidden)


async def test_default_view_has_no_secrets(boundary: Boundary) -> None:
    fs = HostFs(1, boundary, "/", view=DEFAULT_VIEW)
    shown = set(await names(fs.root))
    assert shown <= {b"usr", b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32", b"opt", b"etc", b"var"}
    etc = set(await names(await at(fs, "etc")))
    assert b"passwd" in etc
    assert not etc & {b"shadow", b"shadow-", b"gshadow", b"sudoers", b"ssh", b"machine-id", b"environment", b"pip.conf"}
    for hidden in ("etc/shadow", "etc/ssl/private", "root", "home", "proc", "sys", "dev", "tmp", "var/lib/dpkg"):
        with refuses(errno.ENOENT):
            await at(fs, hidden)
    assert set(await names(await at(fs, "var/lib"))) <= {b"nginx"}
    await fs.unmount()
