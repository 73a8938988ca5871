"""/proc/sys: the settings. Few can be changed; the rest answer what programs ask for."""

from __future__ import annotations

import errno
import os

from ...abi.errors import SyscallError
from ..credentials import CAP_SYS_ADMIN
from ..synthetic import Folder
from .views import KernelView

HOSTNAME_MAX = 64

CONSTANTS = {
    "kernel/ostype": "Linux",
    "kernel/pid_max": "32768",
    "kernel/threads-max": "32768",
    "kernel/cap_last_cap": "40",
    "kernel/ngroups_max": "65536",
    "kernel/core_pattern": "core",
    "kernel/core_uses_pid": "0",
    "kernel/core_pipe_limit": "0",
    "kernel/overflowuid": "65534",
    "kernel/overflowgid": "65534",
    "kernel/shmmax": "18446744073692774399",
    "kernel/shmall": "18446744073692774399",
    "kernel/shmmni": "4096",
    "kernel/shm_rmid_forced": "0",
    "kernel/msgmax": "8192",
    "kernel/msgmnb": "16384",
    "kernel/msgmni": "4096",
    "kernel/sem": "32000\t256000\t500\t4096",
    "kernel/randomize_va_space": "2",
    "kernel/perf_event_paranoid": "4",
    "kernel/perf_event_max_sample_rate": "100000",
    "kernel/kptr_restrict": "2",
    "kernel/dmesg_restrict": "1",
    "kernel/unprivileged_bpf_disabled": "2",
    "kernel/unprivileged_userns_clone": "0",
    "kernel/io_uring_disabled": "0",
    "kernel/tainted": "0",
    "kernel/panic": "0",
    "kernel/printk": "4\t4\t1\t7",
    "kernel/sched_child_runs_first": "0",
    "kernel/sched_rt_period_us": "1000000",
    "kernel/sched_rt_runtime_us": "950000",
    "kernel/sched_rr_timeslice_ms": "100",
    "kernel/sysrq": "0",
    "kernel/numa_balancing": "0",
    "kernel/modules_disabled": "1",
    "kernel/seccomp/actions_avail": "",
    "kernel/random/entropy_avail": "256",
    "kernel/random/poolsize": "256",
    "kernel/random/urandom_min_reseed_secs": "60",
    "kernel/random/write_wakeup_threshold": "256",
    "kernel/pty/max": "4096",
    "kernel/pty/reserve": "1024",
    "kernel/keys/maxkeys": "200",
    "kernel/keys/maxbytes": "20000",
    "vm/overcommit_memory": "0",
    "vm/overcommit_ratio": "50",
    "vm/overcommit_kbytes": "0",
    "vm/max_map_count": "65530",
    "vm/mmap_min_addr": "65536",
    "vm/swappiness": "60",
    "vm/nr_hugepages": "0",
    "vm/nr_overcommit_hugepages": "0",
    "vm/dirty_ratio": "20",
    "vm/dirty_background_ratio": "10",
    "vm/dirty_expire_centisecs": "3000",
    "vm/dirty_writeback_centisecs": "500",
    "vm/drop_caches": "0",
    "vm/legacy_va_layout": "0",
    "vm/min_free_kbytes": "4096",
    "vm/mmap_rnd_bits": "28",
    "vm/oom_kill_allocating_task": "0",
    "vm/panic_on_oom": "0",
    "vm/page-cluster": "3",
    "vm/user_reserve_kbytes": "131072",
    "vm/vfs_cache_pressure": "100",
    "vm/zone_reclaim_mode": "0",
    "fs/file-max": "9223372036854775807",
    "fs/nr_open": "1048576",
    "fs/pipe-max-size": "1048576",
    "fs/pipe-user-pages-soft": "16384",
    "fs/pipe-user-pages-hard": "0",
    "fs/aio-max-nr": "65536",
    "fs/aio-nr": "0",
    "fs/lease-break-time": "45",
    "fs/leases-enable": "0",
    "fs/mount-max": "4096",
    "fs/overflowuid": "65534",
    "fs/overflowgid": "65534",
    "fs/suid_dumpable": "0",
    "fs/protected_fifos": "1",
    "fs/protected_hardlinks": "1",
    "fs/protected_regular": "2",
    "fs/protected_symlinks": "1",
    "fs/inotify/max_queued_events": "16384",
    "fs/inotify/max_user_instances": "128",
    "fs/inotify/max_user_watches": "65536",
    "fs/epoll/max_user_watches": "262144",
    "fs/mqueue/queues_max": "256",
    "fs/mqueue/msg_max": "10",
    "fs/mqueue/msgsize_max": "8192",
    "fs/mqueue/msg_default": "10",
    "fs/mqueue/msgsize_default": "8192",
    "net/core/somaxconn": "4096",
    "net/core/rmem_default": "212992",
    "net/core/rmem_max": "212992",
    "net/core/wmem_default": "212992",
    "net/core/wmem_max": "212992",
    "net/core/netdev_max_backlog": "1000",
    "net/core/optmem_max": "131072",
    "net/unix/max_dgram_qlen": "512",
    "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/ipv4/ip_local_reserved_ports": "",
    "net/ipv4/ip_unprivileged_port_start": "1024",
    "net/ipv4/ip_nonlocal_bind": "0",
    "net/ipv4/ip_forward": "0",
    "net/ipv4/ping_group_range": "1\t0",
    "net/ipv4/tcp_rmem": "4096\t131072\t6291456",
    "net/ipv4/tcp_wmem": "4096\t16384\t4194304",
    "net/ipv4/tcp_max_syn_backlog": "1024",
    "net/ipv4/tcp_syncookies": "1",
    "net/ipv4/tcp_fin_timeout": "60",
    "net/ipv4/tcp_keepalive_time": "7200",
    "net/ipv4/tcp_keepalive_intvl": "75",
    "net/ipv4/tcp_keepalive_probes": "9",
    "net/ipv4/tcp_retries2": "15",
    "net/ipv4/tcp_syn_retries": "6",
    "net/ipv4/tcp_tw_reuse": "2",
    "net/ipv4/tcp_timestamps": "1",
    "net/ipv4/tcp_sack": "1",
    "net/ipv4/tcp_window_scaling": "1",
    "net/ipv4/tcp_fastopen": "1",
    "net/ipv4/tcp_congestion_control": "cubic",
    "net/ipv4/tcp_available_congestion_control": "reno cubic",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/lo/disable_ipv6": "0",
    "net/ipv6/bindv6only": "0",
    "user/max_user_namespaces": "0",
}


def _uuid() -> bytes:
    """A random UUID (version 4, RFC 9562) as a line."""
    number = int.from_bytes(os.urandom(16), "big") & ~(0xF << 76 | 3 << 62) | 4 << 76 | 2 << 62
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode() + b"\n"


def fill_sysctl(folder: Folder, kernel: KernelView) -> None:
    """Add the settings to /proc/sys."""
    boot_id = _uuid()
    for name, value in CONSTANTS.items():
        folder.add(name.encode(), value.encode() + b"\n")
    folder.add(b"kernel/hostname", lambda: kernel.hostname + b"\n", lambda data: _set_hostname(kernel, data))
    folder.add(b"kernel/domainname", lambda: kernel.domainname + b"\n", lambda data: _set_domainname(kernel, data))
    folder.add(b"kernel/osrelease", lambda: kernel.release.encode() + b"\n")
    folder.add(b"kernel/version", lambda: kernel.version.encode() + b"\n")
    folder.add(b"kernel/ns_last_pid", lambda: b"%d\n" % kernel.processes.last_pid)
    folder.add(b"kernel/random/boot_id", boot_id)
    folder.add(b"kernel/random/uuid", _uuid)
    folder.add(b"fs/file-nr", lambda: b"%d\t0\t9223372036854775807\n" % _open_files(kernel))
    folder.add(b"fs/inode-nr", b"0\t0\n")
    folder.add(b"fs/dentry-state", b"0\t0\t45\t0\t0\t0\n")


def _name(kernel: KernelView, data: bytes) -> bytes:
    """A name that somebody with the right to writes; EPERM, EINVAL."""
    thread = kernel.current_thread()
    if thread is not None and not thread.credentials.capable(CAP_SYS_ADMIN):
        raise SyscallError(errno.EPERM)
    name = data.partition(b"\n")[0]
    if len(name) > HOSTNAME_MAX or b"\0" in name:
        raise SyscallError(errno.EINVAL)
    return name


def _set_hostname(kernel: KernelView, data: bytes) -> None:
    kernel.hostname = _name(kernel, data)


def _set_domainname(kernel: KernelView, data: bytes) -> None:
    kernel.domainname = _name(kernel, data)


def _open_files(kernel: KernelView) -> int:
    """Descriptors of all processes: an upper bound of the open files."""
    tables = {id(thread.files): len(thread.files) for thread in kernel.processes.threads.values()}
    return sum(tables.values())
