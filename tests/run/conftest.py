"""``run`` as a user starts it: a process of its own, with pipes, files and signals of the host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUN = (sys.executable, "-m", "occlum_async", "run")
TIME_LIMIT = 60.0
Finished = subprocess.CompletedProcess[str]
Runner = Callable[..., Finished]


@pytest.fixture
def run() -> Runner:
    """``run(*words, **options of subprocess.run)``; the output is text, stderr apart."""

    def start(*words: str, **options: Any) -> Finished:
        streams = {"stdin": subprocess.DEVNULL} if "input" not in options else {}
        streams |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.run((*RUN, *words), text=True, timeout=TIME_LIMIT, **{**streams, **options})

    return start


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small root file system: busybox, and what makes a user."""
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        pytest.skip("busybox is not installed")
    root = tmp_path_factory.mktemp("rootfs")
    for folder in ("bin", "etc", "proc", "sys", "dev", "tmp", "home/guest", "srv"):
        (root / folder).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for name in ("sh", "ls", "cat", "id", "echo", "touch", "mount", "env", "rm", "ln"):
        os.symlink("busybox", root / "bin" / name)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nguest:x:700:701::/home/guest:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nguest:x:701:\nextra:x:702:guest\n")
    (root / "srv/data").write_text("from the host\n")
    return root
