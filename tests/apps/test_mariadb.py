"""MariaDB, unmodified: its storage engines over io_uring and Linux AIO, asked from both sides, killed and recovered."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from typing import Any

import pytest

from occlum_async.libos import LibOS
from tests.apps.servers import TIME, booted, digest, inside, listening, native, needs, run

PORT = 3306
DATA = "/tmp/data"
MARIADBD = (
    "mariadbd", "--no-defaults", f"--datadir={DATA}", "--socket=/tmp/socket", "--pid-file=/tmp/pid", f"--port={PORT}",
    "--bind-address=0.0.0.0", "--innodb-buffer-pool-size=32M", "--key-buffer-size=1M",
)  # fmt: skip
INSTALL = (
    "mariadb-install-db", "--no-defaults", f"--datadir={DATA}", "--auth-root-authentication-method=normal",
    "--skip-test-db", "--skip-name-resolve",
)  # fmt: skip
USER = "65534:65534"
ADMIN = ("mariadb", "--no-defaults", "-S", "/tmp/socket", "-u", "root", "-N", "-B")
ROWS = 20_000
pytestmark = [pytest.mark.timeout(240), needs("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")]


@contextlib.asynccontextmanager
async def installed(**options: Any) -> AsyncIterator[LibOS]:
    """A LibOS with a fresh data directory, nothing of which runs yet."""
    async with booted(user=USER, publish=[f"127.0.0.1:0:{PORT}"], memory="2g", **options) as libos:
        await run(libos, *INSTALL)
        yield libos


@contextlib.asynccontextmanager
async def mariadbd(libos: LibOS, *more: str) -> AsyncIterator[Any]:
    """The server; what it logs is in ``/tmp/log``. At the end it is asked to shut down."""
    start = ("sh", "-c", 'exec "$@" > /tmp/log 2>&1', "sh", *MARIADBD, *more)
    process = await libos.spawn(*start, stdin=DEVNULL, cwd="/tmp")
    try:
        await listening(libos, PORT, process)
        yield process
        if process.returncode is None:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), TIME) == 0
    except BaseException:
        print(await libos.fs.read_text("/tmp/log"))
        raise


WORK = f"""
CREATE DATABASE d; USE d;
CREATE TABLE item (id INT PRIMARY KEY AUTO_INCREMENT, kind VARCHAR(20), price DECIMAL(10,2), KEY (kind)) ENGINE=InnoDB;
INSERT INTO item (kind, price) SELECT CONCAT('kind ', seq % 7), seq * 1.25 FROM seq_1_to_{ROWS};
SELECT COUNT(*), SUM(price) FROM item WHERE kind = 'kind 3';
START TRANSACTION; UPDATE item SET price = 0; ROLLBACK;
START TRANSACTION; DELETE FROM item WHERE id % 2 = 0; COMMIT;
SELECT COUNT(*), SUM(price) FROM item;
ALTER TABLE item ADD COLUMN made INT DEFAULT 5; OPTIMIZE TABLE item;
CREATE TABLE plain ENGINE=Aria SELECT * FROM item; CREATE TABLE old ENGINE=MyISAM SELECT * FROM item;
SELECT SUM(p.id), SUM(o.made) FROM plain p JOIN old o USING (id) WHERE p.kind <> 'kind 1';
CREATE TABLE bulk (id INT PRIMARY KEY, data LONGBLOB);
CREATE USER 'me'@'%' IDENTIFIED BY 'word'; GRANT ALL ON d.* TO 'me'@'%';
"""


def results() -> list[str]:
    """What the queries of ``WORK`` must answer."""
    odd, third = range(1, ROWS + 1, 2), range(3, ROWS + 1, 7)
    others = [number for number in odd if number % 7 != 1]
    return [
        f"{len(third)}\t{sum(third) * 1.25:.2f}", f"{len(odd)}\t{sum(odd) * 1.25:.2f}",
        "d.item\toptimize\tnote\tTable does not support optimize, doing recreate + analyze instead",
        "d.item\toptimize\tstatus\tOK", f"{sum(others)}\t{5 * len(others)}",
    ]  # fmt: skip


def client(port: int) -> tuple[str, ...]:
    """The client of a user with a password, over TCP."""
    return ("mariadb", "--no-defaults", "-h", "127.0.0.1", "-P", str(port), "-u", "me", "-pword", "-N", "-B", "d")


def asynchronous(libos: LibOS) -> int:
    """How often programs have submitted to an io_uring or to Linux AIO."""
    calls: dict[str, int] = libos.stats()["syscalls"]
    return calls.get("io_uring_enter", 0) + calls.get("io_submit", 0)


@pytest.mark.parametrize("aio", [1, pytest.param(0, marks=pytest.mark.slow)], ids=["aio", "threads"])
async def test_mariadb(mode: dict[str, Any], aio: int) -> None:
    async with installed(**mode) as libos:
        port, before = libos.published[0][0], asynchronous(libos)
        async with mariadbd(libos, f"--innodb-use-native-aio={aio}") as process:
            assert (await run(libos, *ADMIN, "-e", WORK)).splitlines() == results()
            assert (asynchronous(libos) > before) == bool(aio)
            assert "memory-mapped" not in await libos.fs.read_text("/tmp/log")  # its log is not in persistent memory
            parts = [hashlib.sha256(b"%d" % number).digest() * 8192 for number in range(8)]
            inserts = [
                native(*client(port), stdin=b"INSERT INTO bulk VALUES (%d, x'%s')" % (number, part.hex().encode()))
                for number, part in enumerate(parts)
            ]
            await asyncio.gather(*inserts)
            query = "SELECT id, SHA2(data, 256) FROM bulk ORDER BY id"
            wanted = "".join(f"{number}\t{digest(part)}\n" for number, part in enumerate(parts))
            assert (await native(*client(port), "-e", query)).decode() == wanted
            allowed = {"network": "host", "allow": [f"127.0.0.1:{port}"]}
            assert await inside(*client(port), "-e", query, **allowed, **mode) == (0, wanted)
            assert b"Access denied" in await native(*client(port), "-pwrong", "-e", query, status=1)
            dump = "mariadb-dump --no-defaults -S /tmp/socket -u root --hex-blob d"
            copy = f"{dump} > a; {' '.join(ADMIN)} -e 'create database e'; {' '.join(ADMIN)} e < a; {dump[:-1]}e > b"
            await run(libos, "bash", "-c", f"{copy}; diff <(grep INSERT a) <(grep INSERT b)")
            process.kill()
            await process.wait()
        async with mariadbd(libos, f"--innodb-use-native-aio={aio}"):
            assert "crash recovery" in await libos.fs.read_text("/tmp/log")
            assert (await native(*client(port), "-e", query)).decode() == wanted
            assert await run(libos, *ADMIN, "-e", "CHECK TABLE d.item, d.bulk, e.item") == "".join(
                f"{table}\tcheck\tstatus\tOK\n" for table in ("d.item", "d.bulk", "e.item")
            )
