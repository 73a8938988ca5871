"""/proc/PID."""

from __future__ import annotations

import errno
import os

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.fs.namei import FOLLOW, resolve
from occlum_async.io.pipe import make_pipe
from occlum_async.process.thread import Thread

from .conftest import Machine


async def test_self_is_whoever_looks(machine: Machine) -> None:
    first, second = machine.spawn(b"first"), machine.spawn(b"second")
    assert await machine.read(first, "/proc/self/comm") == "first\n"
    assert await machine.read(second, "/proc/self/comm") == "second\n"
    assert await machine.readlink(second, "/proc/self") == str(second.process.pid)
    assert await machine.readlink(second, "/proc/thread-self") == f"{second.process.pid}/task/{second.tid}"


async def test_stat_has_52_fields_in_their_places(machine: Machine) -> None:
    machine.clock.advance(5 * 10**9)
    thread = machine.spawn(b"a ) b (")
    text = await machine.read(thread, "/proc/self/stat")
    assert text.startswith(f"{thread.process.pid} (a ) b () ")
    fields = ["pid", "comm", *text[text.rindex(")") + 2 :].split()]
    assert len(fields) == 52
    number = {index + 1: field for index, field in enumerate(fields)}
    assert number[4] == "1"  # ppid: init
    assert number[5] == number[6] == str(thread.process.pid)  # group, session
    assert (number[7], number[8]) == ("0", "-1")  # no terminal
    assert (number[14], number[15]) == ("123", "45")  # utime, stime in ticks
    assert (number[20], number[22]) == ("1", "500")  # threads, start in ticks after boot
    assert (number[23], number[24]) == (str(100 << 20), str(2048))  # vsize in bytes, rss in pages
    assert number[38] == "17"


async def test_status_shows_identity_and_signals(machine: Machine) -> None:
    thread = machine.spawn(b"na\\me\n", uid=1000)
    thread.set_blocked(1 << 9)
    lines = dict(line.split(":\t", 1) for line in (await machine.read(thread, "/proc/self/status")).splitlines())
    assert lines["Name"] == "na\\\\me\\n"
    assert lines["Uid"] == "1000\t1000\t1000\t1000"
    assert lines["SigBlk"] == "0000000000000200"
    assert lines["CapEff"] == "0000000000000000"
    assert lines["VmRSS"].split() == ["8192", "kB"]
    assert lines["Cpus_allowed_list"] == "0-1"
    assert lines["Threads"] == "1"


async def test_texts_of_a_process(machine: Machine) -> None:
    thread = machine.spawn(b"prog")
    assert await machine.read(thread, "/proc/self/cmdline") == "prog\0-x\0\0"
    assert await machine.read(thread, "/proc/self/environ") == "A=1\0SECRET=2\0"
    assert await machine.read(thread, "/proc/self/statm") == "25600 2048 512 0 0 25088 0\n"
    limits = (await machine.read(thread, "/proc/self/limits")).splitlines()
    assert limits[8] == f"{'Max open files':<25} {'1024':<20} {'524288':<20} {'files':<10}"
    assert len({len(line) for line in limits}) == 1
    mounts = await machine.read(thread, "/proc/mounts")
    assert "proc /proc proc rw,relatime 0 0\n" in mounts
    assert "devpts /dev/pts devpts rw,relatime,gid=5,mode=620,ptmxmode=666 0 0\n" in mounts
    info = [line.split() for line in (await machine.read(thread, "/proc/self/mountinfo")).splitlines()]
    by_id = {fields[0]: fields for fields in info}
    pts = next(fields for fields in info if fields[4] == "/dev/pts")
    assert by_id[pts[1]][4] == "/dev" and pts[6] == "-" and pts[7] == "devpts"


async def test_maps_is_what_linux_prints(machine: Machine) -> None:
    thread = machine.spawn()
    first, stack = (await machine.read(thread, "/proc/self/maps")).splitlines()
    assert first == "00010000-00011000 r-xp 00001000 08:01 77".ljust(73) + "/bin/with space"
    assert stack == "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0".ljust(73) + "[stack]"
    smaps = (await machine.read(thread, "/proc/self/smaps")).splitlines()
    assert "Size:                  4 kB" in smaps


async def test_memory_can_be_read_and_written_at_its_addresses(machine: Machine) -> None:
    thread = machine.spawn()
    file = await machine.open(thread, "/proc/self/mem", os.O_RDWR)
    assert await file.pwrite(b"hello", 0x10010) == 5
    assert await file.pread(5, 0x10010) == b"hello"
    assert len(await file.pread(100, 0x10FF0)) == 16
    with pytest.raises(SyscallError) as caught:
        await file.pread(8, 0x20000)
    assert caught.value.errno == errno.EIO
    file.release()


async def test_comm_can_be_set_by_its_own_process_only(machine: Machine) -> None:
    thread, other = machine.spawn(b"one"), machine.spawn(b"two")
    await machine.write(thread, "/proc/self/comm", "a name that is too long\n")
    assert thread.name == b"a name that is "
    with pytest.raises(SyscallError) as caught:
        await machine.write(other, f"/proc/{thread.process.pid}/comm", "x")
    assert caught.value.errno == errno.EINVAL


SECRETS = ("environ", "maps", "mem", "auxv", "fd", "cwd", "exe", "io", "smaps")


@pytest.mark.parametrize("name", SECRETS)
async def test_secrets_are_for_the_owner_and_root(machine: Machine, name: str) -> None:
    owner, stranger, root = machine.spawn(uid=1000), machine.spawn(uid=1001), machine.spawn(uid=0)

    async def look(reader: Thread) -> None:
        path = f"/proc/{owner.process.pid}/{name}"
        if name == "fd":
            machine.become(reader)
            file = await machine.open(reader, path, os.O_RDONLY | os.O_DIRECTORY)
            file.release()
        elif name in ("cwd", "exe"):
            await machine.readlink(reader, path)
        else:
            (await machine.open(reader, path)).release()

    place = await resolve(machine.kernel.mounts.boot_caller(machine.kernel.scheduler), b"/bin/prog", None, FOLLOW)
    owner.process.executable = place
    await look(owner)
    await look(root)
    with pytest.raises(SyscallError) as caught:
        await look(stranger)
    assert caught.value.errno == errno.EACCES
    owner.process.dumpable = False
    await look(root)
    other_of_same_user = machine.spawn(uid=1000)
    with pytest.raises(SyscallError):
        await look(other_of_same_user)


async def test_descriptors_lead_to_their_files(machine: Machine) -> None:
    thread = machine.spawn()
    reader, writer = make_pipe(machine.kernel.scheduler, 0)
    thread.files.install(reader)
    thread.files.install(writer, cloexec=True)
    regular = await machine.open(thread, "/bin/prog", os.O_RDONLY)
    thread.files.install(regular)
    assert await machine.listdir(thread, "/proc/self/fd") == ["0", "1", "2"]
    assert (await machine.readlink(thread, "/proc/self/fd/0")).startswith("pipe:[")
    assert await machine.readlink(thread, "/proc/self/fd/2") == "/bin/prog"
    info = (await machine.read(thread, "/proc/self/fdinfo/1")).splitlines()
    assert info[:2] == ["pos:\t0", "flags:\t02100001"]
    again = await machine.open(thread, "/proc/self/fd/2")
    assert again is not regular and again.location == regular.location
    with pytest.raises(SyscallError) as caught:
        await machine.open(thread, "/proc/self/fd/7")
    assert caught.value.errno == errno.ENOENT
    again.release()


async def test_cwd_is_seen_from_the_readers_root(machine: Machine) -> None:
    thread = machine.spawn()
    caller = machine.kernel.mounts.boot_caller(machine.kernel.scheduler)
    thread.fs.cwd = await resolve(caller, b"/tmp", None, FOLLOW)
    assert await machine.readlink(thread, "/proc/self/cwd") == "/tmp"
    assert await machine.listdir(thread, "/proc/self/cwd/../bin") == ["prog"]
    with pytest.raises(SyscallError) as caught:
        await machine.readlink(thread, "/proc/self/exe")
    assert caught.value.errno == errno.ENOENT


async def test_listing_survives_births_and_deaths(machine: Machine) -> None:
    threads = [machine.spawn() for _ in range(5)]
    reader = threads[0]
    machine.become(reader)
    root = (await resolve(reader, b"/proc", None, FOLLOW)).inode
    entries = await root.readdir(0)
    half = next(index for index, entry in enumerate(entries) if entry.name == str(threads[2].tid).encode())
    threads[1].exit(0)
    threads[3].exit(0)
    newcomer = machine.spawn()
    rest = [entry.name for entry in await root.readdir(entries[half].cookie)]
    assert rest == [str(number).encode() for number in (threads[4].tid, newcomer.tid)]


async def test_tasks_of_a_process(machine: Machine) -> None:
    thread = machine.spawn()
    tid = machine.kernel.processes.allocate()
    second = Thread(thread.process, tid, thread.credentials, thread.files, thread.fs)
    second.set_name(b"worker")
    machine.kernel.add_thread(second)
    assert await machine.listdir(thread, "/proc/self/task") == [str(thread.tid), str(tid)]
    assert await machine.read(thread, f"/proc/self/task/{tid}/comm") == "worker\n"
    assert await machine.read(thread, f"/proc/{tid}/comm") != ""
    assert str(tid) not in await machine.listdir(thread, "/proc")


async def test_a_zombie_shows_its_state_and_nothing_else(machine: Machine) -> None:
    watcher = machine.spawn()
    parent = machine.spawn()
    child = machine.spawn(b"gone")
    del machine.kernel.init.children[child.process.pid]
    child.process.parent = parent.process
    parent.process.children[child.process.pid] = child.process
    child.exit(7 << 8)
    path = f"/proc/{child.process.pid}"
    assert ") Z " in await machine.read(watcher, path + "/stat")
    assert await machine.read(watcher, path + "/cmdline") == ""
    assert await machine.read(watcher, path + "/maps") == ""
    assert "State:\tZ (zombie)" in await machine.read(watcher, path + "/status")
    assert await machine.listdir(watcher, path + "/fd") == []
    with pytest.raises(SyscallError) as caught:
        await machine.readlink(watcher, path + "/cwd")
    assert caught.value.errno == errno.ENOENT
    assert await machine.listdir(watcher, path + "/task") == [str(child.tid)]


async def test_oom_score_adj_needs_a_right_to_sink(machine: Machine) -> None:
    user = machine.spawn(uid=1000)
    await machine.write(user, "/proc/self/oom_score_adj", "500\n")
    assert await machine.read(user, "/proc/self/oom_score_adj") == "500\n"
    for text, number in (("400", errno.EACCES), ("2000", errno.EINVAL), ("x", errno.EINVAL)):
        with pytest.raises(SyscallError) as caught:
            await machine.write(user, "/proc/self/oom_score_adj", text)
        assert caught.value.errno == number
    root = machine.spawn()
    await machine.write(root, "/proc/self/oom_adj", "-17")
    assert root.process.oom_score_adj == -1000


async def test_every_file_of_a_process_can_be_read(machine: Machine) -> None:
    thread = machine.spawn()
    for name in await machine.listdir(thread, "/proc/self"):
        if name not in ("fd", "fdinfo", "task", "net", "mem", "cwd", "exe", "root"):
            await machine.read(thread, f"/proc/self/{name}")
    for name in await machine.listdir(thread, f"/proc/self/task/{thread.tid}"):
        if name not in ("fd", "fdinfo", "net", "mem", "cwd", "exe", "root"):
            await machine.read(thread, f"/proc/self/task/{thread.tid}/{name}")


async def test_a_snapshot_stays_what_it_was_until_it_is_read_from_the_start(machine: Machine) -> None:
    thread = machine.spawn(b"before")
    file = await machine.open(thread, "/proc/self/comm")
    assert await file.read(3) == b"bef"
    thread.set_name(b"after it")
    assert await file.read(100) == b"ore\n"
    assert await file.seek(0, os.SEEK_SET) == 0
    assert await file.read(100) == b"after it\n"
    file.release()


async def test_names_that_are_no_numbers_do_not_exist(machine: Machine) -> None:
    thread = machine.spawn()
    for name in ("0", "01", f"0{thread.process.pid}", "99999999999999999999", "-1", "1x"):
        with pytest.raises(SyscallError) as caught:
            await machine.open(thread, f"/proc/{name}/stat")
        assert caught.value.errno == errno.ENOENT
