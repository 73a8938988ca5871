"""What goes wrong is told in one line that says what to do, with docker's exit statuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Runner

WRONG_OPTIONS = [
    ([], "PROGRAM is missing"),
    (["--nonsense", "true"], "--nonsense not recognized"),
    (["--rw", "true"], "--rw needs --rootfs"),
    (["--rootfs", "/usr", "--rw", "--read-only", "true"], "exclude each other"),
    (["--rootfs", "/does/not/exist", "true"], "/does/not/exist: no such folder"),
    (["--rootfs", "/etc/passwd", "true"], "/etc/passwd: not a folder"),
    (["--bind", "/usr", "true"], "'/usr' is incomplete"),
    (["--bind", "/usr:relative", "true"], "not absolute"),
    (["--bind", "/usr:/x:wx", "true"], "'wx' is not a mode"),
    (["--bind", "/does/not/exist:/x", "true"], "does not exist"),
    (["--bind", "/usr:/x", "--tmpfs", "/x/", "true"], "two mounts at /x"),
    (["--tmpfs", "scratch", "true"], "not absolute"),
    (["--tmpfs", "/x:mode=7", "true"], "'mode=7' is not known"),
    (["--env", "=x", "true"], "has no name"),
    (["--env-file", "/does/not/exist", "true"], "No such file or directory"),
    (["--memory", "lots", "true"], "'lots' is not a size"),
    (["--memory", "1k", "true"], "too few"),
    (["--pids", "0", "true"], "must be at least 1"),
    (["--exit-cost", "-1", "true"], "must be at least 0"),
    (["--exit-cost", "1e9", "true"], "write a number"),
    (["--exit-cost", "99999999", "true"], "an exit can't cost 99999999 cycles"),
    (["--pids", "many", "true"], "write a number"),
    (["--timeout", "-1", "true"], "at least"),
    (["--timeout", "nan", "true"], "at least"),
    (["--ulimit", "nofile=5:3", "true"], "above the hard one"),
    (["--ulimit", "nonsense=3", "true"], "known are"),
    (["--boundary", "magic", "true"], "auto, uring, ocall"),
    (["--ring", "entries=3", "true"], "no power of two"),
    (["--ring", "rings=17", "true"], "choose 1 to 16"),
    (["--ring", "size=3", "true"], "'size=3' is not understood"),
    (["--ring", "rings=2,rings=2", "true"], "given twice"),
    (["--ring", "entries=64,completions=32", "true"], "less than entries"),
    (["--boundary", "ocall", "--ring", "rings=2", "true"], "plain calls use no io_uring"),
    (["--user", "nobody-here", "true"], "no user 'nobody-here'"),
    (["--user", "root:nobody-here", "true"], "no group 'nobody-here'"),
    (["--workdir", "/does/not/exist", "true"], "working directory"),
    (["-it", "true"], "not a terminal"),
]


@pytest.mark.parametrize(("words", "complaint"), WRONG_OPTIONS, ids=[" ".join(words) for words, _ in WRONG_OPTIONS])
def test_wrong_options(run: Runner, words: list[str], complaint: str) -> None:
    done = run(*words)
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("occlum-async: ")
    assert complaint in done.stderr


def test_programs_that_are_not_there_or_no_programs(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a program")
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "script").write_text("#!/does/not/exist\n")
    (tmp_path / "script").chmod(0o755)
    expected = {"/nope": 127, "nope": 127, "/data/script": 127, "/etc": 126, "/etc/passwd": 126, "/data/text": 126}
    for program, status in expected.items():
        done = run("-v", f"{tmp_path}:/data:ro", program)
        assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
        assert done.stderr.startswith(f"occlum-async: {program}: ")


def test_the_commands_and_their_help() -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (sys.executable, "-m", "occlum_async", *words), capture_output=True, text=True, timeout=60
        )

    overview = call("--help")
    assert overview.returncode == 0 and overview.stderr == ""
    for command in ("run", "check", "stats", "syscalls"):
        assert f"\n  {command} " in overview.stdout
        told = call(command, "--help")
        assert told.returncode == 0 and told.stdout.startswith(f"Usage: occlum-async {command} ")
    assert "--rootfs DIR" in call("run", "-h").stdout
    assert call("--version").stdout.startswith("occlum-async ")
    for words in (["nonsense"], ["--nonsense"], ["check", "word"]):
        wrong = call(*words)
        assert wrong.returncode == 125 and wrong.stderr.count("\n") == 1
    assert call().returncode == 125
    missing = call("syscalls", "--missing").stdout.splitlines()
    assert missing[-1].endswith("are not there") and len(missing) - 1 == int(missing[-1].split()[0])
