"""Disks as a user has them: ``disk create``, ``run --mount``, and what is said to wrong words."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from occlum_async.cli.disk import resize
from occlum_async.errors import DiskError
from tests.run.conftest import RUN, TIME_LIMIT, Finished, Runner

DISK = (sys.executable, "-m", "occlum_async", "disk")


def disk(*words: str | Path) -> Finished:
    return subprocess.run(
        (*DISK, *map(str, words)), text=True, capture_output=True, timeout=TIME_LIMIT, check=False
    )  # fmt: skip


@pytest.fixture(params=("sealed", "plain"))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """An empty disk of 64 MiB, and the words by which it is opened."""
    image, key = tmp_path / "data.img", tmp_path / "key"
    how = ["--key-file", str(key)] if request.param == "sealed" else ["--plain"]
    finished = disk("create", "--size", "64m", *how, image)
    assert (finished.returncode, finished.stderr) == (0, "")
    return image, how if request.param == "sealed" else []


def mount_of(made: tuple[Path, list[str]], target: str, *more: str) -> str:
    image, how = made
    key = [f"key-file={how[1]}"] if how else []
    return ",".join(["type=ext2", f"source={image}", f"target={target}", *key, *more])


def test_what_is_written_is_there_the_next_time(run: Runner, made: tuple[Path, list[str]]) -> None:
    words = "echo kept > /data/file; head -c 3000000 /dev/zero > /data/big; umount /data; ls /data"
    written = run("--mount", mount_of(made, "/data"), "/bin/sh", "-c", words)
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    words = "cat /data/file; wc -c < /data/big; touch /data/x"
    read = run("--mount", mount_of(made, "/data", "ro"), "/bin/sh", "-c", words)
    assert read.stdout == "kept\n3000000\n" and "Read-only file system" in read.stderr
    image, how = made
    checked = disk("check", *how, image)
    assert checked.returncode == 0 and "no fault found" in checked.stdout
    if not how:
        assert subprocess.run(["e2fsck", "-fn", image], capture_output=True, check=False).returncode == 0


def test_mount_from_inside(run: Runner, made: tuple[Path, list[str]]) -> None:
    words = """
        ls /data; mount -t ext2 data.img /data && echo made > /data/file && umount /data
        mount -t ext2 data.img /mnt && cat /mnt/file
        mount -t ext2 /etc/passwd /mnt || mount -t ext2 other.img /mnt || echo refused
    """
    finished = run("--mount", mount_of(made, "/data", "noauto"), "--tmpfs", "/data", "/bin/sh", "-c", words)
    assert finished.stdout == "made\nrefused\n"


def test_below_and_at_the_root(run: Runner, made: tuple[Path, list[str]]) -> None:
    upper = mount_of(made, "/", "upper")
    words = "echo kept > /srv/file; rm -r /usr/share/doc; mount"
    assert run("--mount", upper, "/bin/sh", "-c", words).stdout.count("ext2")
    again = run("--mount", upper, "/bin/sh", "-c", "cat /srv/file; ls -d /usr/share/doc 2>/dev/null; uname")
    assert again.stdout == "kept\nLinux\n"


def test_a_disk_as_root(run: Runner, rootfs: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.img"
    assert disk("create", "--plain", "--size", "32m", image).returncode == 0
    copied = disk("copy-in", image, *(str(one) for one in sorted(rootfs.iterdir())), "/")
    assert copied.returncode == 0, copied.stderr
    words = "cat /srv/data; echo new > /srv/new; mount | grep ' / '"
    finished = run("--mount", f"type=ext2,source={image},target=/", "/bin/sh", "-c", words)
    assert finished.stdout == "from the host\nroot.img on / type ext2 (rw,relatime)\n"
    out = tmp_path / "out"
    out.mkdir()
    assert disk("copy-out", image, "/srv", out).returncode == 0
    assert (out / "srv/new").read_text() == "new\n"


def test_other_types_of_mount(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("shown\n")
    finished = run(
        "--mount", f"type=bind,src={tmp_path},dst=/data,readonly", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m",
        "/bin/sh", "-c", "cat /data/file; touch /data/x; df -k /t | tail -n 1",
    )  # fmt: skip
    assert finished.stdout.startswith("shown\n") and " 1024 " in finished.stdout
    assert "Read-only file system" in finished.stderr


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_a_signal_unmounts(made: tuple[Path, list[str]], number: int) -> None:
    words = "echo unsynced > /data/file; echo ready; exec sleep 60"
    command = (*RUN, "--mount", mount_of(made, "/data"), "/bin/sh", "-c", words)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(TIME_LIMIT) == 128 + number
    image, how = made
    out = image.parent / "out"
    assert disk("copy-out", *how, image, "/file", out).returncode == 0
    assert out.read_text() == "unsynced\n"


def test_resize_and_stats(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    image, how = made
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(os.urandom(2_000_000))
    os.link(tmp_path / "source/file", tmp_path / "source/link")
    assert disk("copy-in", *how, image, tmp_path / "source", "/there").returncode == 0
    assert disk("resize", *how, "--size", "128m", image).returncode == 0
    assert '"label"' in disk("stats", "--json", *how, image).stdout
    assert disk("copy-out", *how, image, "/there", tmp_path / "back").returncode == 0
    assert (tmp_path / "back/file").read_bytes() == (tmp_path / "source/file").read_bytes()
    assert (tmp_path / "back/file").stat().st_nlink == 2
    before = image.stat().st_size
    assert disk("resize", *how, "--size", "32m", image).returncode == 0
    assert image.stat().st_size < before / 2
    assert disk("copy-out", *how, image, "/there", tmp_path / "again").returncode == 0
    assert (tmp_path / "again/file").read_bytes() == (tmp_path / "source/file").read_bytes()
    refused = disk("resize", *how, "--size", "1m", image)
    assert refused.returncode == 125 and "no room for" in refused.stderr and "choose a larger one" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "resize" in path.name) == []


def test_a_label_in_another_encoding_stays(made: tuple[Path, list[str]]) -> None:
    image, how = made
    image.unlink()
    label = b"caf\xe9 in Latin-1!"
    assert len(label) == 16  # the longest there is
    how_made = how or ["--plain"]
    assert disk("create", "--size", "64m", *how_made, "--label", os.fsdecode(label), image).returncode == 0
    for size in ("128m", "32m"):  # in its place, and by a copy
        finished = disk("resize", *how, "--size", size, image)
        assert (finished.returncode, finished.stderr) == (0, "")
        if not how:
            assert image.read_bytes()[1024 + 120 :][:16] == label
        assert "caf\\xe9 in Latin-1!" in disk("stats", *how, image).stdout


def test_a_host_without_room_for_a_copy(made: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    image, how = made
    assert disk("copy-in", *how, image, __file__, "/file").returncode == 0
    options = resize.Options(str(image), "32m", *how[1:])
    with monkeypatch.context() as host:
        full = os.statvfs_result((4096, 4096, 1000, 100, 0, 100, 100, 100, 0, 255))
        host.setattr(os, "statvfs", lambda path: full)
        with pytest.raises(DiskError, match="the host has no room"):
            resize.command(options)
    assert [path.name for path in image.parent.iterdir() if "resize" in path.name] == []
    assert resize.command(options) == 0


def test_a_mounted_disk_is_not_resized(made: tuple[Path, list[str]]) -> None:
    image, how = made
    command = (*RUN, "-i", "--mount", mount_of(made, "/data"), "/bin/sh", "-c", "echo ready; read line; df -k /data")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for size in ("128m", "8m"):
            refused = disk("resize", *how, "--size", size, image)
            assert refused.returncode == 125 and "in use" in refused.stderr
        assert process.communicate("\n")[0].count("/data") == 1
        assert process.returncode == 0
    assert disk("resize", *how, "--size", "128m", image).returncode == 0


def test_a_damaged_disk_is_told(tmp_path: Path) -> None:
    image, key = tmp_path / "d.mls", tmp_path / "key"
    assert disk("create", "--size", "16m", "--key-file", key, image).returncode == 0
    (tmp_path / "file").write_bytes(os.urandom(1_000_000))
    assert disk("copy-in", "--key-file", key, image, tmp_path / "file", "/file").returncode == 0
    data = bytearray(image.read_bytes())
    for place in range(len(data) // 2, len(data), 4096):
        data[place] ^= 1
    for place in range(200 * 4096, len(data) // 2, 4096):
        data[place] ^= 1
    image.write_bytes(data)
    finished = disk("check", "--key-file", key, image)
    assert finished.returncode in (1, 125)
    assert len(finished.stdout + finished.stderr) > 0 and "Traceback" not in finished.stderr


@pytest.mark.skipif(shutil.which("debugfs") is None, reason="e2fsprogs is not installed")
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path) -> None:
    image = tmp_path / "plain.img"
    source = tmp_path / os.fsdecode(b"caf\xe9\n\x1b[2J")
    source.write_bytes(bytes(5000))
    assert disk("create", "--size", "16m", "--plain", image).returncode == 0
    assert disk("copy-in", image, source, "/").returncode == 0
    subprocess.run(("debugfs", "-w", "-R", "sif <12> block[0] 0xfffffff0", image), check=True, capture_output=True)
    finished = disk("check", image)
    assert finished.returncode == 1
    assert "/caf\\xe9\\n\\x1b[2J: Input/output error" in finished.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "told"),
    (
        ("type=ext2,source=/nothing,target=/x", "No such file or directory"),
        ("type=ext2,source={small},target=/x", "too small for a file system"),
        ("type=ext2,source=x,target=/x,key-file=/nothing", "key-file: /nothing"),
    ),
)
def test_wrong_words(run: Runner, words: str, told: str, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"root:x:0:0:root:/root:/bin/bash\n")
    finished = run("--mount", words.format(small=small), "/bin/true")
    assert finished.returncode == 125 and told in finished.stderr and finished.stderr.count("\n") == 1


def test_mistakes_with_disks(tmp_path: Path) -> None:
    image, key = tmp_path / "d.mls", tmp_path / "key"
    assert disk("create", "--size", "16m", "--key-file", key, image).returncode == 0
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 32
    other = tmp_path / "other"
    other.write_bytes(bytes(32))
    for words, told in (
        (("create", "--size", "16m", "--plain", image), "exists already"),
        (("create", "--size", "1k", "--plain", tmp_path / "n"), "do not fit"),
        (("create", "--size", "16m", tmp_path / "n"), "sealed or plain"),
        (("check", image), "wants its --key-file"),
        (("check", "--key-file", other, image), "the key is wrong"),
        (("stats", tmp_path / "nothing"), "No such file"),
        (("check", tmp_path), "Is a directory"),
        (("copy-out", "--key-file", key, image, "/nothing", tmp_path / "n"), "/nothing"),
        (("copy-in", "--key-file", key, image, tmp_path / "nothing", "/"), "nothing"),
        (("resize", "--key-file", key, "--size", "1k", image), ""),
        (("melt", image), "there is no command 'melt'"),
    ):
        finished = disk(*words)
        assert finished.returncode == 125 and told in finished.stderr, (words, finished.stderr)
        assert finished.stderr.count("\n") == 1
    assert not (tmp_path / "n").exists()
