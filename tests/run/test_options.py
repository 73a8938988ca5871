"""The options of ``run``, each seen from inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import Runner


def test_a_root_file_system_of_ones_own(run: Runner, rootfs: Path) -> None:
    done = run(
        "--rootfs", str(rootfs), "sh", "-c", "cat /srv/data; ls /; echo new > /srv/new; cat /srv/new; rm /srv/data"
    )
    assert done.stdout.split("\n")[0] == "from the host"
    assert set(done.stdout.split()) >= {"bin", "dev", "etc", "proc", "srv", "sys", "tmp", "new"}
    assert done.returncode == 0
    assert not (rootfs / "srv/new").exists() and (rootfs / "srv/data").exists()


def test_rw_writes_to_the_root_itself(run: Runner, rootfs: Path) -> None:
    done = run("--rootfs", str(rootfs), "--rw", "sh", "-c", "echo kept > /srv/kept; ln -s kept /srv/link")
    assert (done.returncode, done.stderr) == (0, "")
    assert (rootfs / "srv/kept").read_text() == "kept\n"
    assert (rootfs / "srv/link").is_symlink()


def test_a_link_out_of_the_root_stays_inside(run: Runner, rootfs: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = rootfs / "srv/out"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    done = run("--rootfs", str(rootfs), "cat", "/srv/out")
    assert done.returncode == 1
    assert "secret" not in done.stdout


def test_read_only(run: Runner, rootfs: Path) -> None:
    done = run("--rootfs", str(rootfs), "--read-only", "--tmpfs", "/tmp", "sh", "-c", "touch /tmp/x; touch /srv/x")
    assert done.returncode == 1
    assert done.stderr.strip() == "touch: /srv/x: Read-only file system"
    assert run("--read-only", "touch", "/tmp/x").stderr.endswith("Read-only file system\n")


def test_binds(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("shown")
    command = "cat /data/in; echo made > /data/made; rm /data/in; ls /data"
    done = run("-v", f"{tmp_path}:/data", "sh", "-c", command)
    assert done.stdout == "shownmade\n"
    assert (tmp_path / "made").read_text() == "made\n" and not (tmp_path / "in").exists()
    done = run("--bind", f"{tmp_path}:/data:ro", "sh", "-c", "cat /data/made; touch /data/x")
    assert done.stdout == "made\n"
    assert "Read-only file system" in done.stderr


def test_binds_belong_to_the_user(run: Runner, tmp_path: Path) -> None:
    if os.getuid() == 0:
        os.chown(tmp_path, 700, 701)  # run by root, numbers stay what they are, as docker's do
    script = "touch /data/made; chmod 600 /data/made; stat -c %u:%g:%a /data/made; stat -c %u:%g /data /usr"
    done = run("-v", f"{tmp_path}:/data", "--user", "700:701", "sh", "-c", script)
    assert done.stdout == "700:701:600\n700:701\n0:0\n"
    made = (tmp_path / "made").stat()
    assert (made.st_uid, made.st_gid) == ((os.getuid(), os.getgid()) if os.getuid() else (700, 701))


def test_a_bind_of_a_file_and_one_within_another(run: Runner, tmp_path: Path) -> None:
    outer, inner, file = tmp_path / "outer", tmp_path / "inner", tmp_path / "file"
    (outer / "sub").mkdir(parents=True)
    inner.mkdir()
    (inner / "deep").write_text("")
    file.write_text("just me\n")
    words = ["-v", f"{inner}:/data/sub", "-v", f"{outer}:/data", "-v", f"{file}:/etc/file:ro"]
    done = run(*words, "sh", "-c", "ls /data/sub; cat /etc/file")
    assert done.stdout == "deep\njust me\n"


def test_nothing_else_of_the_host_is_there(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("")
    done = run(
        "sh", "-c", f"ls {tmp_path} /etc/shadow /root/* 2>&1; ls /home /tmp; env; ps -e | wc -l", env={"SECRET": "1"}
    )
    assert "private" not in done.stdout and "SECRET" not in done.stdout
    assert done.stdout.count("No such file or directory") == 3
    assert int(done.stdout.split()[-1]) <= 6  # the heading, init, and what the command itself starts


def test_tmpfs_with_a_size(run: Runner) -> None:
    done = run("--tmpfs", "/scratch:size=1m", "sh", "-c", "head -c 2m /dev/zero > /scratch/f; stat -c %s /scratch/f")
    assert done.stdout == "1048576\n"
    assert "No space left on device" in done.stderr


def test_environment(run: Runner, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# ours\nA=file\nB=file\n\nFROM_HOST\nNOT_THERE\n")
    words = ["--env-file", str(file), "-e", "A=given", "--env=C=x=y", "-e", "NOT_THERE"]
    done = run(*words, "env", env={"FROM_HOST": "passed", "OTHER": "hidden"})
    assert set(done.stdout.split()) == {
        "A=given", "B=file", "C=x=y", "FROM_HOST=passed", "HOME=/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }  # fmt: skip


def test_workdir_and_hostname(run: Runner) -> None:
    assert run("--workdir", "/usr/lib", "pwd").stdout == "/usr/lib\n"
    assert (
        run("-w", "/usr", "--hostname", "box", "sh", "-c", "hostname; cat /etc/hostname; uname -n").stdout
        == "box\n" * 3
    )


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("guest", "uid=700(guest) gid=701(guest) groups=701(guest),702(extra) /home/guest"),
        ("700", "uid=700(guest) gid=701(guest) groups=701(guest),702(extra) /home/guest"),
        ("guest:0", "uid=700(guest) gid=0(root) groups=0(root) /home/guest"),
        ("5000:6000", "uid=5000 gid=6000 groups=6000 /"),
    ],
)
def test_user(run: Runner, rootfs: Path, user: str, ids: str) -> None:
    assert run("--rootfs", str(rootfs), "--user", user, "sh", "-c", "echo $(id) $HOME").stdout.strip() == ids


def test_memory(run: Runner) -> None:
    script = "import time; x = [bytearray(30 << 20) for _ in range(10)]; time.sleep(100)"
    done = run("--memory", "100m", "python3", "-c", script)
    assert done.returncode == 137
    assert "out of memory" in done.stderr
    done = run("-m", "100m", "sh", "-c", "head -c 200m /dev/zero > /tmp/x; free -b | grep -o 'Mem: *[0-9]*'")
    assert "No space left on device" in done.stderr
    assert int(done.stdout.split()[1]) == 100 << 20


def test_more_than_all_memory_is_refused_at_once(run: Runner) -> None:
    script = "import mmap; mmap.mmap(-1, 300 << 20, mmap.MAP_PRIVATE | {})"
    assert run("-m", "100m", "python3", "-c", script.format("0x20")).stderr.endswith("Cannot allocate memory\n")
    assert run("-m", "100m", "python3", "-c", script.format("0x20 | 0x4000")).returncode == 0, "MAP_NORESERVE"


def test_pids(run: Runner) -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 0 & done; wait; echo not reached"
    done = run("--pids", "4", "dash", "-c", script)
    assert done.returncode == 2
    assert done.stderr == "dash: 0: Cannot fork\n"


def test_ulimits(run: Runner) -> None:
    words = ["--ulimit", "nofile=20:30", "--ulimit", "fsize=1024", "--ulimit", "core=unlimited"]
    done = run(*words, "bash", "-c", "ulimit -n; ulimit -Hn; ulimit -f; ulimit -c; head -c 5k /dev/zero > /tmp/x")
    assert done.stdout.split() == ["20", "30", "1", "unlimited"]
    assert done.returncode == 128 + 25


WAYS = ("--strict", "--grants", "--boundary=ocall", "--boundary=auto", "--ring=rings=2,entries=8,poll=1", "--no-uvloop")


@pytest.mark.parametrize("option", WAYS)
def test_ways_to_run_it_make_no_difference(run: Runner, option: str) -> None:
    done = run(option, "-i", "sh", "-c", "sort -r | tail -2; exit 3", input="a\nc\nb\n")
    assert (done.stdout, done.stderr, done.returncode) == ("b\na\n", "", 3)


def test_stats_are_told_at_the_end(run: Runner) -> None:
    done = run("--stats", "--boundary", "ocall", "echo", "hi")
    assert done.stdout == "hi\n"
    assert "syscalls.write" in done.stderr and "ocall" in done.stderr


def test_what_stands_after_the_program_is_the_programs(run: Runner) -> None:
    assert run("echo", "--help", "-t", "--", "-x").stdout == "--help -t -- -x\n"
    assert run("--", "echo", "--", "-x").stdout == "-- -x\n"
