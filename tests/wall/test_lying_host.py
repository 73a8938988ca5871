"""A host that lies while programs run: their files and connections may fail, the kernel does not."""

from __future__ import annotations

import asyncio
import socket
import threading
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from contextlib import suppress
from pathlib import Path

import pytest

from occlum_async.io.boundary import choose
from occlum_async.libos import Bind, LibOS
from tests.apps.servers import listening, needs
from tests.faults import Liar, faulty_boundary
from tests.harness import ENVIRONMENT

TIME = 60.0
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4)))

FILES = """
echo ready; read go
i=0
while [ $i -lt 12 ]; do
    i=$((i + 1)); copy=/data/copy
    cat /data/file* /data/missing; ls -l /data /data/folder; echo text > /data/new$i; cat /data/new$i
    mv /data/new$i /data/folder/
    ln -s file /data/link$i; readlink /data/link$i; mkdir /data/folder$i; cp /data/file $copy
    rm -r /data/folder$i /data/link$i; truncate -s 100000 $copy; dd if=$copy of=/data/other bs=1000 conv=fsync
done
"""


@pytest.fixture(params=["uring", "ocall"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def liar(kind: str, monkeypatch: pytest.MonkeyPatch) -> Liar:
    """A host for every LibOS that the test makes: honest until its ``rate`` is set."""
    liar = Liar()
    monkeypatch.setattr(choose, f"{kind.capitalize()}Boundary", faulty_boundary(kind, liar))
    return liar


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    for number in range(5):
        (tmp_path / f"file{number}").write_bytes(bytes([65 + number]) * 5000)
    (tmp_path / "file").write_text("text")
    return tmp_path


async def healthy(libos: LibOS) -> None:
    """With an honest host everything works, and the kernel has made no mistake of its own."""
    process = await libos.spawn("sh", "-c", "echo alive; cat /etc/hostname", stdin=DEVNULL, stdout=PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), TIME)
    assert output == b"alive\nlibos\n"
    assert libos.stats()["oopses"] == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", SEEDS)
async def test_files(kind: str, liar: Liar, folder: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    liar.random.seed(seed)
    async with LibOS(boundary=kind, binds=[Bind(str(folder), "/data")]) as libos:
        process = await libos.spawn("sh", "-c", FILES, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
        assert process.stdout is not None
        await process.stdout.readline()
        liar.rate = 0.05
        try:
            await asyncio.wait_for(process.communicate(b"go\n"), 10)
        except TimeoutError:  # what is never answered is waited for
            process.kill()
        liar.rate = 0.0
        await healthy(libos)
    assert "oops" not in caplog.text
    assert liar.told


def _talk(port: int) -> None:
    """A client that hopes for the best."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
        client.settimeout(0.2)
        client.sendall(bytes(200_000))
        while client.recv(65536):
            pass


@needs("socat")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", SEEDS)
async def test_connections(kind: str, liar: Liar, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    liar.random.seed(seed)
    async with LibOS(boundary=kind, publish=["127.0.0.1:0:5000"], env=ENVIRONMENT) as libos:
        server = await libos.spawn("socat", "TCP-LISTEN:5000,fork,reuseaddr", "PIPE", stdin=DEVNULL, stdout=DEVNULL)
        await listening(libos, 5000)
        port = libos.published[0][0]
        loop = asyncio.get_running_loop()
        liar.rate = 0.05
        await asyncio.gather(*(loop.run_in_executor(None, _talk, port) for _ in range(12)))
        liar.rate = 0.0
        await healthy(libos)
        assert liar.told
        with suppress(ProcessLookupError):  # an error of accept(2) ends it
            server.kill()
    assert "oops" not in caplog.text


COPY = "cp /data/blob /data/copy; cat /data/copy | tee /data/again | cksum; cksum /data/copy; truncate -s 0 /data/copy"


@needs("socat")
async def test_short_transfers_are_no_loss(kind: str, liar: Liar, tmp_path: Path) -> None:
    """A host that reads, writes and sends less than it was asked to has not lied: nothing is missing in the end."""
    blob = liar.random.randbytes(300_000)
    (tmp_path / "blob").write_bytes(blob)
    liar.lazy = True
    async with LibOS(boundary=kind, binds=[Bind(str(tmp_path), "/data")], publish=["127.0.0.1:0:5000"]) as libos:
        process = await libos.spawn("sh", "-c", COPY, stdin=DEVNULL, stdout=PIPE)
        output, _ = await asyncio.wait_for(process.communicate(), TIME)
        sums = [line.split()[:2] for line in output.decode().splitlines()]
        assert len(sums) == 2 and sums[0] == sums[1] and sums[0][1] == "300000"
        assert (tmp_path / "again").read_bytes() == blob
        server = await libos.spawn("socat", "TCP-LISTEN:5000", "PIPE", stdin=DEVNULL, stdout=DEVNULL)
        await listening(libos, 5000)
        port = libos.published[0][0]
        assert await asyncio.get_running_loop().run_in_executor(None, _echoed, port, blob) == blob
        assert await asyncio.wait_for(server.wait(), TIME) == 0
        assert libos.stats()["boundary"]["refused"] == libos.stats()["oopses"] == 0


def _echoed(port: int, blob: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), TIME) as client:
        client.settimeout(TIME)
        sender = threading.Thread(target=lambda: (client.sendall(blob), client.shutdown(socket.SHUT_WR)))
        sender.start()
        data = b""
        while piece := client.recv(1 << 16):
            data += piece
        sender.join()
        return data
