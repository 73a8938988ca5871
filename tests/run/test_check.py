"""``check`` tells what this host has, for people and for machines."""

from __future__ import annotations

import json
import subprocess
import sys


def check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "occlum_async", "check", *words), capture_output=True, text=True, timeout=60
    )


def test_a_table_and_a_sentence() -> None:
    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("This host can run Occlum Async, with ")
    for feature in ("Linux", "Python", "shim", "seccomp", "memfd", "pidfd", "process_vm_readv", "io_uring"):
        assert any(line.startswith(f"{feature} ") and ("ok" in line or "fallback" in line) for line in lines), feature


def test_json() -> None:
    done = check("--json")
    probes = {probe["name"]: probe for probe in json.loads(done.stdout)}
    assert done.returncode == 0
    assert all(probe["present"] or not probe["required"] for probe in probes.values())
    assert probes["seccomp"]["required"] and not probes["io_uring"]["required"]
