"""Pipes, files, closed descriptors, signals and exit statuses of ``run``."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import RUN, Runner

MIB = 1 << 20


@pytest.mark.parametrize("status", [0, 1, 2, 125, 126, 127, 128, 200, 255])
def test_exit_statuses(run: Runner, status: int) -> None:
    assert run("sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE])
def test_a_signals_death_is_128_and_its_number(run: Runner, signo: signal.Signals) -> None:
    assert run("sh", "-c", f"kill -{signo.value} $$").returncode == 128 + signo


def test_a_hundred_megabytes_through_pipes() -> None:
    source = subprocess.Popen(["head", "-c", str(100 * MIB), "/dev/zero"], stdout=subprocess.PIPE)
    ours = subprocess.Popen((*RUN, "-i", "sh", "-c", "tr '\\0' x | cat"), stdin=source.stdout, stdout=subprocess.PIPE)
    assert source.stdout is not None and ours.stdout is not None
    source.stdout.close()
    digest, size = hashlib.sha256(), 0
    while data := ours.stdout.read(MIB):
        digest.update(data)
        size += len(data)
    assert (ours.wait(), source.wait(), size) == (0, 0, 100 * MIB)
    assert digest.digest() == hashlib.sha256(b"x" * (100 * MIB)).digest()


def test_files_as_streams(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(5 * MIB))
    target.write_bytes(b"before:")
    with source.open("rb") as stdin, target.open("ab") as stdout:
        stdin.seek(100)
        subprocess.run((*RUN, "-i", "cat"), stdin=stdin, stdout=stdout, check=True)
        assert stdin.tell() == 5 * MIB  # the position is shared, as between host processes
    assert target.read_bytes() == b"before:" + source.read_bytes()[100:]


def test_stdin_is_empty_without_i(run: Runner) -> None:
    assert run("cat", input="not passed on").stdout == ""
    assert run("-i", "cat", input="passed on").stdout == "passed on"


def test_who_stops_reading_stops_the_writer() -> None:
    ours = subprocess.Popen((*RUN, "yes"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert ours.stdout is not None
    assert ours.stdout.read(4) == b"y\ny\n"
    ours.stdout.close()
    _, errors = ours.communicate(timeout=30)
    assert (ours.returncode, errors) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_empty_and_swallow(closed: str) -> None:
    command = f"{sys.executable} -m occlum_async run -i sh -c 'cat; echo out; echo err >&2; exit 9' {closed}"
    done = subprocess.run(["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, text=True)
    assert done.returncode == 9
    assert done.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "out\n")
    assert done.stderr == ("" if "2>&-" in closed else "err\n")


def test_a_full_device_is_told(run: Runner) -> None:
    with open("/dev/full", "w") as full:
        done = run("echo", "hi", stdout=full)
    assert (done.returncode, done.stderr) == (1, "echo: write error: No space left on device\n")


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_passed_on(signo: signal.Signals) -> None:
    script = f"trap 'echo caught; exit 7' {signo.name[3:]}; echo ready; while :; do sleep 0.05; done"
    ours = subprocess.Popen((*RUN, "bash", "-c", script), stdout=subprocess.PIPE, text=True)
    assert ours.stdout is not None
    assert ours.stdout.readline() == "ready\n"
    ours.send_signal(signo)
    assert ours.stdout.read() == "caught\n"
    assert ours.wait() == 7


def test_a_timeout_ends_it(run: Runner) -> None:
    done = run("--timeout", "0.3", "sleep", "1000")
    assert done.returncode == 124
    assert done.stderr.count("\n") == 1
    done = run("--timeout", "0.5", "bash", "-c", "trap 'echo not yet' TERM; while :; do sleep 0.05; done")
    assert (done.returncode, done.stdout) == (124, "not yet\n")
    assert run("--timeout", "50", "true").returncode == 0


def test_output_of_a_terminal_without_one_of_ours(run: Runner) -> None:
    done = run("-t", "sh", "-c", "test -t 0 -a -t 1 -a -t 2 && tty; seq 20000")
    assert done.stdout.startswith("/dev/pts/")
    assert done.stdout.split()[1:] == [str(number) for number in range(1, 20001)]


def test_a_killed_kernel_leaves_nothing_behind() -> None:
    ours = subprocess.Popen((*RUN, "sh", "-c", "sleep 1000 & echo $$; wait"), stdout=subprocess.PIPE, text=True)
    assert ours.stdout is not None
    assert ours.stdout.readline()
    ours.kill()
    assert ours.stdout.read() == ""  # the guests held our pipe: its end is their end
    assert ours.wait() == -signal.SIGKILL
