"""The command line: what options mean, exit statuses, and errors of one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from occlum_async.cli import main
from occlum_async.cli.options import parse_bind, parse_env, parse_tmpfs, parse_ulimit
from occlum_async.errors import ConfigError
from occlum_async.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("1b", 1), ("2k", 2048), ("512m", 512 << 20), ("1g", 1 << 30), ("1.5GiB", 3 << 29)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "0", "99999t", "9" * 400, "1 2"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--memory"):
        parse_size(text, "--memory")


def test_binds(tmp_path: Path) -> None:
    assert parse_bind(f"{tmp_path}:/data:ro") == (str(tmp_path), "/data", True)
    assert parse_bind(f"{tmp_path}:/data") == (str(tmp_path), "/data", False)
    for wrong in ("x", ":/y", f"{tmp_path}:", f"{tmp_path}:data", f"{tmp_path}:/data:rx"):
        with pytest.raises(ConfigError, match="--bind"):
            parse_bind(wrong)


def test_tmpfs() -> None:
    assert parse_tmpfs("/x") == ("/x", None)
    assert parse_tmpfs("/x:size=1m") == ("/x", 1 << 20)
    for wrong in ("x", "/x:mode=7", "/x:size=z"):
        with pytest.raises(ConfigError, match="--tmpfs"):
            parse_tmpfs(wrong)


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HOST", "yes")
    monkeypatch.delenv("NOT_THERE", raising=False)
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=file\nB=file\n")
    assert parse_env(["A=option", "FROM_HOST", "NOT_THERE", "C=a=b"], [str(file)]) == {
        "A": "option", "B": "file", "FROM_HOST": "yes", "C": "a=b",
    }  # fmt: skip
    for items, files in ((["=x"], []), ([], ["/nonexistent-file"])):
        with pytest.raises(ConfigError, match="--env"):
            parse_env(items, files)


def test_ulimits() -> None:
    assert parse_ulimit("nofile=10:20") == (7, (10, 20))
    assert parse_ulimit("core=0") == (4, (0, 0))
    assert parse_ulimit("stack=unlimited") == (3, (2**64 - 1, 2**64 - 1))
    for wrong in ("nonsense=1", "nofile", "nofile=x", "nofile=20:10"):
        with pytest.raises(ConfigError, match="--ulimit"):
            parse_ulimit(wrong)


@pytest.mark.parametrize(
    "words",
    [
        ["--nonsense"], ["nonsense"], ["run"], ["run", "--nonsense", "/bin/true"], ["run", "-m", "x", "/bin/true"],
        ["run", "--boundary", "x", "/bin/true"], ["run", "--timeout", "-1", "/bin/true"], ["run", "--rw", "/bin/true"],
        ["run", "--rootfs", "/nonexistent-folder", "/bin/true"], ["run", "-v", "x", "/bin/true"],
        ["run", "-v", "/nonexistent-folder:/data", "/bin/true"],
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 125
    told = capsys.readouterr().err
    assert told.startswith("occlum-async: ") and told.count("\n") == 1
    assert "internal error" not in told


def run(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "occlum_async", "run", *words]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, env={**os.environ, **(env or {})})


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["/bin/sh", "-c", "exit 7"], 7), (["/bin/sh", "-c", "kill -TERM $$"], 143), (["/nonexistent"], 127),
        (["no-such-name"], 127), (["/etc/passwd"], 126), (["--timeout", "0.3", "/bin/sleep", "30"], 124),
    ],
)  # fmt: skip
def test_exit_statuses(words: list[str], status: int) -> None:
    result = run(*words)
    assert result.returncode == status
    assert b"Traceback" not in result.stderr


def test_options_after_the_program_belong_to_it() -> None:
    assert run("/bin/echo", "-i", "--rw").stdout == b"-i --rw\n"


def test_stdin_is_passed_on_only_when_asked_for() -> None:
    assert run("-i", "/bin/cat", stdin=b"typed").stdout == b"typed"
    assert run("/bin/cat", stdin=b"typed").stdout == b""


def test_only_named_variables_come_in() -> None:
    secret = {"SECRET_OF_HOST": "s", "NAMED": "n"}
    output = run("-e", "NAMED", "-e", "SET=v", "/usr/bin/env", env=secret).stdout.decode().splitlines()
    assert "NAMED=n" in output and "SET=v" in output
    assert not any(line.startswith("SECRET_OF_HOST") for line in output)


def test_binds_tmpfs_and_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    script = "cat file; echo x >file; df /extra | tail -1 | cut -d' ' -f1; pwd"
    result = run("-v", f"{tmp_path}:/data:ro", "--tmpfs", "/extra:size=1m", "-w", "/data", "/bin/bash", "-c", script)
    lines = result.stdout.decode().splitlines()
    assert lines[0] == "bound" and lines[-1] == "/data" and "tmpfs" in lines
    assert b"Read-only file system" in result.stderr
    assert (tmp_path / "file").read_text() == "bound\n"


def test_user_and_host_name() -> None:
    result = run("-u", "1000:1000", "--hostname", "box", "/bin/sh", "-c", "id -u; hostname")
    assert result.stdout == b"1000\nbox\n"
