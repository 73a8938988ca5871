"""/proc's files about the system, /proc/sys, /proc/net, /sys."""

from __future__ import annotations

import errno
import os
import uuid

import pytest

from occlum_async.abi.errors import SyscallError
from occlum_async.abi.socket import InetAddress
from occlum_async.fs.synthetic import Folder
from occlum_async.process.kernel import RELEASE
from occlum_async.process.network import make_network

from .conftest import Machine


def fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def test_memory_is_the_liboss(machine: Machine) -> None:
    thread = machine.spawn()
    info = {name: value.split() for name, value in fields(await machine.read(thread, "/proc/meminfo")).items()}
    assert info["MemTotal"] == ["1048576", "kB"]
    assert info["MemFree"] == info["MemAvailable"] == [str(1048576 - 8192), "kB"]
    assert await machine.read(thread, "/sys/fs/cgroup/memory.max") == f"{1 << 30}\n"
    assert await machine.read(thread, "/sys/fs/cgroup/memory.current") == f"{8 << 20}\n"


async def test_time_since_boot(machine: Machine) -> None:
    machine.clock.advance(90 * 10**9)
    thread = machine.spawn()
    up, idle = (await machine.read(thread, "/proc/uptime")).split()
    assert up == "90.00"
    assert idle == f"{2 * 90 - 1.68:.2f}"
    stat = (await machine.read(thread, "/proc/stat")).splitlines()
    assert stat[0] == "cpu  123 0 45 17832 0 0 0 0 0 0"
    assert [line.split()[0] for line in stat[:3]] == ["cpu", "cpu0", "cpu1"]
    facts = {line.split()[0]: line.split()[1] for line in stat}
    assert facts["btime"] == str(machine.kernel.clock.realtime() // 10**9 - 90)
    assert facts["processes"] == "2"


async def test_cpuinfo_keeps_facts_and_counts_its_own_cpus(machine: Machine) -> None:
    thread = machine.spawn()
    first, second, rest = (await machine.read(thread, "/proc/cpuinfo")).split("\n\n")
    assert rest == ""
    assert first.startswith("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: A CPU\n")
    assert "flags\t\t: fpu sse2 avx2" in second and "core id\t\t: 1" in second
    assert "cpu cores\t: 2\n" in first


async def test_names_and_versions(machine: Machine) -> None:
    thread = machine.spawn()
    assert (await machine.read(thread, "/proc/version")).startswith(f"Linux version {RELEASE} ")
    assert await machine.read(thread, "/proc/sys/kernel/osrelease") == RELEASE + "\n"
    await machine.write(thread, "/proc/sys/kernel/hostname", "other\n")
    assert machine.kernel.hostname == b"other"
    user = machine.spawn(uid=1000)
    with pytest.raises(SyscallError) as caught:
        await machine.write(user, "/proc/sys/kernel/hostname", "mine")
    assert caught.value.errno == errno.EACCES
    first, second = [await machine.read(thread, "/proc/sys/kernel/random/uuid") for _ in range(2)]
    assert first != second and uuid.UUID(first.strip()).version == 4
    boot, again = [await machine.read(thread, "/proc/sys/kernel/random/boot_id") for _ in range(2)]
    assert boot == again


async def test_nothing_can_be_made_or_changed(machine: Machine) -> None:
    thread = machine.spawn()
    for path in ("/proc/meminfo", "/proc/sys/kernel/osrelease", "/proc/self/stat"):
        with pytest.raises(SyscallError) as caught:
            await machine.write(thread, path, "x")
        assert caught.value.errno == errno.EIO
    with pytest.raises(SyscallError) as caught:
        await machine.open(thread, "/proc/new", os.O_CREAT | os.O_WRONLY)
    assert caught.value.errno in (errno.EROFS, errno.EACCES, errno.ENOENT)
    with pytest.raises(SyscallError) as caught:
        await machine.write(thread, "/proc/sys/kernel/hostname", "x" * 5000)
    assert caught.value.errno == errno.EINVAL


async def test_every_file_has_its_listing_and_can_be_read(machine: Machine) -> None:
    thread = machine.spawn()
    machine.kernel.network = make_network(machine.kernel)
    seen = set()

    async def visit(folder: Folder, path: str) -> None:
        for name, inode in folder.children.items():
            where = f"{path}/{name.decode()}"
            key = (inode.fs.device, inode.ino)
            assert key not in seen, where
            seen.add(key)
            if isinstance(inode, Folder):
                await visit(inode, where)
            elif not inode.is_symlink:
                await machine.read(thread, where)

    for mount in machine.kernel.mounts:
        if isinstance(mount.fs.root, Folder):
            await visit(mount.fs.root, mount.location().path().decode())
    assert len(seen) > 200
    names = await machine.listdir(thread, "/proc")
    assert len(names) == len(set(names)) and {"self", "thread-self", "sys", "net", "1"} <= set(names)


async def test_sockets_are_listed(machine: Machine) -> None:
    thread = machine.spawn(uid=7)
    network = machine.kernel.network = make_network(machine.kernel)
    machine.become(thread)
    tcp = network.create(2, 1, 0)
    tcp.bind(InetAddress(b"\x7f\0\0\1", 8080))
    tcp.listen(5)
    lines = (await machine.read(thread, "/proc/net/tcp")).splitlines()
    assert len(lines) == 2 and {len(line) for line in lines} == {149}
    row = lines[1].split()
    assert row[:4] == ["0:", "0100007F:1F90", "00000000:0000", "0A"]
    assert (row[7], row[9]) == ("7", str(tcp.ino))
    left, right = network.pair(1, 1, 0)
    unix = (await machine.read(thread, "/proc/net/unix")).splitlines()
    assert unix[0].split() == ["Num", "RefCount", "Protocol", "Flags", "Type", "St", "Inode", "Path"]
    assert {line.split()[6] for line in unix[1:]} == {str(left.ino), str(right.ino)}


async def test_network_tables(machine: Machine) -> None:
    """As programs parse them: of netlink sockets, of multicast groups, and the numbers of protocols."""
    thread = machine.spawn()
    network = machine.kernel.network = make_network(machine.kernel)
    machine.become(thread)
    netlink = network.create(16, 3, 0)
    netlink.autobind()
    head, row = (await machine.read(thread, "/proc/net/netlink")).splitlines()
    columns = dict(zip(head.split(), row.split(), strict=True))
    assert (columns["Eth"], columns["Pid"], columns["Inode"]) == ("0", str(thread.process.pid), str(netlink.ino))
    udp = network.create(2, 2, 0)
    udp.bind(InetAddress(bytes(4), 5000))
    udp.setsockopt(0, 35, bytes((239, 1, 2, 3)) + bytes(4))  # IP_ADD_MEMBERSHIP
    groups = [line.split()[0] for line in (await machine.read(thread, "/proc/net/igmp")).splitlines()[2:]]
    assert groups == ["030201EF", "010000E0"]
    listener, client = network.create(2, 1, 0), network.create(2, 1, 0)
    listener.bind(InetAddress(b"\x7f\0\0\1", 8080))
    listener.listen(5)
    await client.connect(InetAddress(b"\x7f\0\0\1", 8080))
    lines = [line.split() for line in (await machine.read(thread, "/proc/net/snmp")).splitlines()]
    tcp = dict(zip(*(line for line in lines if line[0] == "Tcp:"), strict=True))
    assert tcp["CurrEstab"] == "2"
    inodes = [line.split()[9] for line in (await machine.read(thread, "/proc/net/tcp")).splitlines()[1:]]
    assert inodes == [str(listener.ino), str(client.ino), "0"], "who was not accepted yet has no file"


async def test_cpus_in_sysfs(machine: Machine) -> None:
    thread = machine.spawn()
    assert await machine.read(thread, "/sys/devices/system/cpu/online") == "0-1\n"
    assert await machine.read(thread, "/sys/devices/system/cpu/cpu1/topology/core_id") == "1\n"
    assert await machine.read(thread, "/sys/class/net/lo/mtu") == "65536\n"
    assert await machine.readlink(thread, "/sys/class/net/lo") == "../../devices/virtual/net/lo"
    assert await machine.listdir(thread, "/sys/block") == []
    assert await machine.read(thread, "/sys/fs/cgroup/pids.max") == "64\n"
