"""OpenSSH, unmodified: commands, terminals, copies, forwarded ports; from outside, inside, and between two LibOSes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from occlum_async.libos import Bind, LibOS
from tests.apps.servers import TIME, booted, digest, free_port, native, needs, run, server
from tests.terminal import Terminal

PORT = 2222
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
SSHD = ("/usr/sbin/sshd", "-D", "-e", "-f", "/ssh/sshd_config")
CONFIG = f"""
Port {PORT}
HostKey /ssh/host
AuthorizedKeysFile /ssh/user.pub
PidFile none
StrictModes no
PermitRootLogin prohibit-password
UsePAM no
PrintMotd no
PrintLastLog no
Subsystem sftp {SFTP_SERVER}
"""
# sshd takes an account without a line in shadow(5) for a locked one; "*" is one without a password.
SHADOW = "".join(f"{name}:*:19000:0:99999:7:::\n" for name in ("root", "sshd"))
SIZE = 2_000_000
pytestmark = [pytest.mark.timeout(180), needs("ssh", "scp", "sftp", "ssh-keygen", SSHD[0], SFTP_SERVER)]


@pytest.fixture
async def keys(tmp_path: Path) -> Path:
    """A folder with the keys of the host and of a user, the server's configuration, and some data."""
    for name in ("host", "user"):
        await native("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name))
    (tmp_path / "sshd_config").write_text(CONFIG)
    (tmp_path / "shadow").write_text(SHADOW)
    (tmp_path / "known").write_text(f"* {(tmp_path / 'host.pub').read_text()}")
    (tmp_path / "blob").write_bytes(os.urandom(SIZE))
    return tmp_path


def client(program: str, port: int | str, *more: str, keys: str | Path = "/ssh") -> list[str]:
    """The command line of ssh, scp or sftp: the host must prove who it is, and nobody is asked for anything."""
    options = (
        f"IdentityFile={keys}/user", f"UserKnownHostsFile={keys}/known", "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes", "BatchMode=yes", "LogLevel=ERROR", f"Port={port}",
    )  # fmt: skip
    return [program, "-F", "/dev/null", *(word for option in options for word in ("-o", option)), *more]


@contextlib.asynccontextmanager
async def sshd(keys: Path, **options: Any) -> AsyncIterator[tuple[LibOS, int]]:
    """A LibOS with a server whose port is published; it and the host's port."""
    binds = [Bind(str(keys), "/ssh", True), Bind(str(keys / "shadow"), "/etc/shadow", True)]
    async with booted(binds=binds, publish=[f"127.0.0.1:0:{PORT}"], **options) as libos:
        await libos.fs.mkdir("/run/sshd")  # systemd makes it elsewhere
        async with server(libos, PORT, *SSHD):
            yield libos, libos.published[0][0]


async def test_ssh_from_outside(keys: Path, mode: dict[str, Any]) -> None:
    data = (keys / "blob").read_bytes()
    async with sshd(keys, **mode) as (_, port):
        ssh = client("ssh", port, "root@127.0.0.1", keys=keys)
        assert await native(*ssh, "id -u; tty; exit 3", status=3) == b"0\nnot a tty\n"
        assert digest(await native(*ssh, "cat", stdin=data)) == digest(data)
        assert await native(*ssh, "kill -TERM $$", status=255) == b""
        several = await asyncio.gather(*(native(*ssh, f"echo {number}; sha256sum", stdin=data) for number in range(4)))
        assert [text.split()[:2] for text in several] == [
            [b"%d" % number, digest(data).encode()] for number in range(4)
        ]
        await native(*client("scp", port, str(keys / "blob"), "root@127.0.0.1:/tmp/there", keys=keys))
        await native(*client("scp", port, "root@127.0.0.1:/tmp/there", str(keys / "back"), keys=keys))
        assert digest((keys / "back").read_bytes()) == digest(data)
        batch = "mkdir d\nput {0}/blob d/x\nrename d/x d/y\nln -s y d/z\nget d/z {0}/again"
        await native(*client("sftp", port, "-b", "-", "root@127.0.0.1", keys=keys), stdin=batch.format(keys).encode())
        assert digest((keys / "again").read_bytes()) == digest(data)
        assert await native(*ssh, "readlink d/z; stat -c %s d/y") == b"y\n%d\n" % SIZE


async def test_a_terminal_over_ssh(keys: Path, mode: dict[str, Any]) -> None:
    def session(port: int) -> int:
        with Terminal(*client("ssh", port, "-tt", "root@127.0.0.1", keys=keys), rows=30, columns=90) as terminal:
            terminal.expect(r"# ")
            terminal.line("tty; stty size")
            # Before each prompt readline asks for the size and sets it again: a change in between is lost.
            terminal.expect(r"/dev/pts/\d+\r\n30 90\r\n[^#]*# ")
            terminal.resize(40, 100)
            terminal.line("trap 'stty size' WINCH; until [ \"$(stty size)\" = '40 100' ]; do :; done; echo res''ized")
            terminal.expect("resized\r\n")
            terminal.line("sh -c 'echo run''ning; exec sleep 100'")  # before that the shell itself would be interrupted
            terminal.expect("running\r\n")
            terminal.type("\x03")
            terminal.expect(r"\^C[^#]*# ")
            terminal.line("exit 5")
            return terminal.status()

    async with sshd(keys, **mode) as (_, port):
        assert await asyncio.to_thread(session, port) == 5


async def test_ssh_inside(keys: Path, mode: dict[str, Any]) -> None:
    data = (keys / "blob").read_bytes()
    script = f"""
    ssh() {{ command {" ".join(client("ssh", "$port"))} "$@"; }}
    port={PORT}
    ssh root@127.0.0.1 'sha256sum; exit 4' < /ssh/blob; echo $?
    {" ".join(client("scp", PORT))} -q /ssh/blob root@127.0.0.1:/tmp/copy; sha256sum < /tmp/copy
    ssh -f -N -L 7000:127.0.0.1:{PORT} -R 7001:127.0.0.1:{PORT} root@localhost
    for port in {PORT} 7000 7001; do ssh root@localhost 'echo ${{SSH_CONNECTION%% *}}'; done
    port={PORT}
    tar -C /usr/include -c asm-generic | ssh root@127.0.0.1 'tar -C /tmp -x; ls /tmp/asm-generic | wc -l' > got
    [ $(cat got) = $(ls /usr/include/asm-generic | wc -l) ] && echo same
    """
    async with sshd(keys, **mode) as (libos, _):
        output = await run(libos, "bash", "-c", script)
    summed = f"{digest(data)}  -\n"
    assert output == f"{summed}4\n{summed}::1\n127.0.0.1\n127.0.0.1\nsame\n"


async def test_ssh_from_one_libos_into_another(keys: Path, mode: dict[str, Any]) -> None:
    data = (keys / "blob").read_bytes()
    async with sshd(keys, **mode) as (_, port):
        options = {"binds": [Bind(str(keys), "/ssh", True)], "network": "host", "allow": [f"127.0.0.1:{port}"]}
        async with booted(**options, **mode) as other:
            ssh = client("ssh", port, "root@127.0.0.1", "tee /tmp/copy | sha256sum; exit 6")
            assert await run(other, *ssh, stdin=data, status=6) == f"{digest(data)}  -\n"
            copy = " ".join(client("scp", port, "root@127.0.0.1:/tmp/copy", "/tmp/copy"))
            assert await run(other, "sh", "-c", f"{copy}; sha256sum < /tmp/copy") == f"{digest(data)}  -\n"
            forward = " ".join(client("ssh", port, "-f", "-N", f"-L 7000:127.0.0.1:{PORT}", "root@127.0.0.1"))
            banner = f"{forward}; exec 3<>/dev/tcp/127.0.0.1/7000; read -r line <&3; echo ${{line%%_*}}"
            assert await run(other, "bash", "-c", banner) == "SSH-2.0-OpenSSH\n"


async def test_a_stranger_is_refused(keys: Path, boundary: str) -> None:
    stranger = keys / "stranger"
    stranger.mkdir()
    await native("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger / "user"))
    (stranger / "known").write_text((keys / "known").read_text())
    async with sshd(keys, boundary=boundary) as (_, port):
        output = await native(*client("ssh", port, "root@127.0.0.1", "id", keys=stranger), status=255)
        assert b"Permission denied (publickey" in output
        (stranger / "known").write_text(f"* {(stranger / 'user.pub').read_text()}")
        output = await native(*client("ssh", port, "root@127.0.0.1", "id", keys=keys / "stranger"), status=255)
        assert b"Host key verification failed" in output
    refused = client("ssh", free_port(), "root@127.0.0.1", "id", keys=keys)
    assert b"Connection refused" in await asyncio.wait_for(native(*refused, status=255), TIME)


REGRESS = "/usr/lib/openssh/regress"
REGRESSIONS = [
    "connect", "proxy-connect", "connect-uri", "proto-version", "yes-head", "stderr-data", "stderr-after-eof",
    "broken-pipe", "transfer", "banner", "multiplex", "forwarding", "dynamic-forward", "sftp-batch", "sftp-cmds",
    "sftp-glob", "scp", "scp-uri", "agent", "agent-timeout", "reexec", "reconfigure", "login-timeout", "keyscan",
]  # fmt: skip


@pytest.mark.slow
@needs(f"{REGRESS}/Makefile")
@pytest.mark.parametrize("name", REGRESSIONS)
async def test_openssh_regression(name: str, tmp_path: Path) -> None:
    """OpenSSH's own tests (package openssh-tests), whose sshd lets users in by PAM."""
    (tmp_path / "shadow").write_text(SHADOW)
    binds = [Bind(path, path, True) for path in ("/etc/pam.d", "/etc/security")]
    settings = {
        "SUDO": "", "TEST_SHELL": "sh", "TEST_SSH_SSH": "/usr/bin/ssh", "TEST_SSH_SSHD": SSHD[0],
        "TEST_SSH_SFTPSERVER": SFTP_SERVER, "TEST_SSH_ECC": "yes", "TEST_SSH_IPV6": "yes",
        "TEST_SSH_UNSAFE_PERMISSIONS": "1", "LTESTS": name,
        **dict.fromkeys((".OBJDIR", ".CURDIR", "BUILDDIR", "OBJ"), "/tmp/regress"),
    }  # fmt: skip
    async with booted(binds=[*binds, Bind(str(tmp_path / "shadow"), "/etc/shadow", True)], memory="2g") as libos:
        await libos.fs.mkdir("/run/sshd")
        await run(libos, "cp", "-a", REGRESS, "/tmp/regress")
        command = ("make", "-C", "/tmp/regress", *(f"{key}={value}" for key, value in settings.items()), "t-exec")
        assert "\nok " in await run(libos, *command, time=170)
