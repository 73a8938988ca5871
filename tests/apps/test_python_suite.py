"""CPython's own tests of what touches the kernel, run by Debian's python3 inside (package libpython3.11-testsuite).

Each names what may not pass, and why; everything else must.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.harness import run_inside

# Not configured here, so that programs see what a kernel without it says: directory notification by signal.
NOTIFY = ("test_fcntl_64_bit",)
# UDP-Lite is not configured; a datagram's hop limit can't be chosen message by message, as nothing routes it.
SOCKET = ("*UDPLITE*", "testSetHopLimit", "testSetTrafficClassAndHopLimit", "testOddCmsgSize")

QUICK = [
    "test_os", "test_posix", "test_fcntl", "test_mmap", "test_select", "test_epoll", "test_pty", "test_tempfile",
    "test_shutil", "test_glob", "test_posixpath", "test_pipes", "test_popen", "test_resource", "test_time", "test_dbm",
    "test_fileio", "test_file", "test_largefile", "test_grp", "test_pwd", "test_openpty", "test_mailbox", "test_syslog",
]  # fmt: skip
LONG = [
    "test_subprocess", "test_threading", "test_signal", "test_asyncio", "test_socket", "test_io", "test_pathlib",
    "test_selectors", "test_poll", "test_tarfile", "test_multiprocessing_fork", "test_multiprocessing_spawn",
    "test_multiprocessing_forkserver", "test_concurrent_futures", "test_httpservers",
    "test_eintr", "test_faulthandler", "test_venv", "test_thread", "test_queue", "test_logging", "test_cmd_line",
    "test_site", "test_zipfile", "test_gc", "test_compileall",
]  # fmt: skip
EXCEPT = {"test_fcntl": NOTIFY, "test_socket": SOCKET}


def _has_suite() -> bool:
    command = ["/usr/bin/python3", "-c", "import test.test_os"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _has_suite(), reason="/usr/bin/python3 has no test package here")


async def _run(*modules: str, time_limit: float) -> None:
    left_out = [word for module in modules for name in EXCEPT.get(module, ()) for word in ("-i", name)]
    inside = await run_inside(
        "/usr/bin/python3", "-m", "test", "-W", *left_out, *modules, memory="2g", time_limit=time_limit
    )
    assert inside.returncode == 0, inside.output[-10000:]
    assert inside.stats["oopses"] == 0


@pytest.mark.timeout(400)
@pytest.mark.parametrize("start", range(0, len(QUICK), 8))
async def test_quick_modules(start: int) -> None:
    await _run(*QUICK[start : start + 8], time_limit=300)


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("module", LONG)
async def test_long_module(module: str) -> None:
    await _run(module, time_limit=900)
