"""PostgreSQL, unmodified: a cluster made, filled, asked from both sides, killed and recovered."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from occlum_async.libos import LibOS
from tests.apps.servers import PATH, booted, digest, inside, native, needs, run, server

PORT = 5432
BIN = str(max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default="/none"))
SETTINGS = ("-k", "/tmp", "-c", "listen_addresses=*", "-c", "fsync=on", "-c", "max_connections=30")
POSTGRES = (f"{BIN}/postgres", "-D", "/tmp/data", *SETTINGS)
INITDB = (f"{BIN}/initdb", "-D", "/tmp/data", "-A", "trust", "-E", "UTF8", "--no-locale", "-U", "me")
USER = "65534:65534"  # it refuses to run as root
pytestmark = [pytest.mark.timeout(240), needs(f"{BIN}/postgres", f"{BIN}/pgbench", "psql")]


@contextlib.asynccontextmanager
async def cluster(**options: Any) -> AsyncIterator[tuple[LibOS, int]]:
    """A LibOS with a fresh cluster, nothing of which runs yet, and the host's port that leads to its own."""
    env = {"PATH": f"{BIN}:{PATH}", "PGHOST": "/tmp", "PGUSER": "me", "PGDATABASE": "postgres"}
    async with booted(user=USER, env=env, publish=[f"127.0.0.1:0:{PORT}"], memory="2g", **options) as libos:
        assert "Success." in await run(libos, *INITDB)
        trust = await libos.fs.read_text("/tmp/data/pg_hba.conf")
        await libos.fs.write_text("/tmp/data/pg_hba.conf", trust + "host all all 0.0.0.0/0 trust\n")
        yield libos, libos.published[0][0]


def psql(port: int) -> tuple[str, ...]:
    """psql on the host: rows only, and the first error ends it."""
    return ("psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", f"postgresql://me@127.0.0.1:{port}/postgres")


async def ask(port: int, query: str, status: int = 0) -> str:
    return (await native(*psql(port), stdin=query.encode(), status=status)).decode()


ROWS = 20_000
WORK = f"""
CREATE TABLE item (id int PRIMARY KEY, kind text, price numeric(10,2), made timestamptz DEFAULT now());
INSERT INTO item SELECT n, 'kind ' || n % 7, n * 1.25 FROM generate_series(1, {ROWS}) n;
CREATE INDEX ON item (kind, price);
ANALYZE item;
SELECT count(*), sum(price) FROM item WHERE kind = 'kind 3';
BEGIN; UPDATE item SET price = 0; ROLLBACK;
BEGIN; DELETE FROM item WHERE id % 2 = 0; SAVEPOINT s; DELETE FROM item; ROLLBACK TO s; COMMIT;
SELECT count(*), sum(price) FROM item;
SELECT kind, rank() OVER (ORDER BY count(*) DESC, kind) FROM item GROUP BY kind ORDER BY 2 LIMIT 2;
VACUUM FULL item; CHECKPOINT;
CREATE FUNCTION double(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n * 2; END';
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT sum(double(id)) FROM item;
SET work_mem = '64kB';
SELECT count(*), md5(string_agg(x, ',')) FROM (SELECT DISTINCT lpad(id::text, 5, '0') x FROM item ORDER BY 1) y;
"""
# What pgbench keeps true: every transaction adds one number to an account, a teller and a branch, and notes it.
BALANCES = """
SELECT (SELECT sum(abalance) FROM pgbench_accounts) = delta, (SELECT sum(tbalance) FROM pgbench_tellers) = delta,
       (SELECT sum(bbalance) FROM pgbench_branches) = delta, notes
FROM (SELECT sum(delta) delta, count(*) notes FROM pgbench_history) x
"""


def results() -> str:
    """What the queries of ``WORK`` must answer."""
    odd = range(1, ROWS + 1, 2)
    third = range(3, ROWS + 1, 7)
    listed = ",".join(f"{number:05}" for number in odd).encode()
    lines = (
        f"{len(third)}|{sum(third) * 1.25:.2f}", f"{len(odd)}|{sum(odd) * 1.25:.2f}", "kind 0|1", "kind 1|2",
        f"{2 * sum(odd)}", f"{len(odd)}|{hashlib.md5(listed).hexdigest()}",
    )  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


async def test_postgresql_from_outside(mode: dict[str, Any]) -> None:
    async with cluster(**mode) as (libos, port), server(libos, PORT, *POSTGRES):
        await run(libos, "sh", "-c", "until pg_isready -q; do sleep 0.05; done")  # it listens before it answers
        assert await ask(port, WORK) == results()
        rows = b"".join(b"%d\t%s\n" % (number, b"%d" % (number * 7919) * 20) for number in range(20_000))
        await ask(port, "CREATE TABLE bulk (id int PRIMARY KEY, data text)")
        await native(*psql(port), "-c", "\\copy bulk from stdin", stdin=rows)
        copied = await native(*psql(port), "-c", "\\copy (select * from bulk order by id) to stdout")
        assert digest(copied) == digest(rows)
        assert "duplicate key" in await ask(port, "INSERT INTO bulk VALUES (1)", status=3)
        bench = (f"{BIN}/pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", "me")
        await native(*bench, "-i", "-q", "postgres")
        output = (await native(*bench, "-c", "8", "-j", "2", "-t", "20", "postgres")).decode()
        assert "actually processed: 160/160" in output
        assert await ask(port, BALANCES) == "t|t|t|160\n"
        client = ("psql", "-X", "-At", f"postgresql://me@127.0.0.1:{port}/postgres", "-c", "select count(*) from bulk")
        assert await inside(*client, allow=[f"127.0.0.1:{port}"], **mode) == (0, "20000\n")


# Everything inside: both kinds of sockets, notifications, locks, a dump, crashes of a backend and of everything.
SCRIPT = f"""
set -e
start() {{ pg_ctl -D data -s -w -l log -o "{" ".join(SETTINGS)}" start; }}
ask() {{ psql -X -q -At "$@"; }}
start
pgbench -i -q 2> /dev/null
pgbench -n -c 4 -j 2 -t 25 | grep processed
pgbench -n -h 127.0.0.1 -S -M prepared -c 4 -j 2 -t 100 | grep processed
ask -c "{BALANCES}"
mkfifo order; ask < order > heard & exec 3> order
echo "LISTEN news; SELECT 'listening';" >&3; until [ -s heard ]; do :; done
ask -c "NOTIFY news, 'hello'"; echo "SELECT 1;" >&3; exec 3>&-; wait $!; grep -o '"news" with payload "hello"' heard
mkfifo hold; ask < hold & exec 3> hold
echo "BEGIN; LOCK pgbench_tellers;" >&3
until [ "$(ask -c "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted")" -gt 0 ]; do :; done
ask -c "SET lock_timeout = '10ms'; SELECT count(*) FROM pgbench_tellers" 2>&1 | grep -o 'lock timeout'
exec 3>&-; wait $!; ask -c "SELECT count(*) FROM pgbench_tellers"
pg_dump -Fc postgres > dump; createdb other; pg_restore -d other -j 2 dump; ask -d other -c "{BALANCES}"
ask -c "SELECT pg_backend_pid(), pg_sleep(100)" > ended 2>&1 &
until victim=$(ask -c "SELECT pid FROM pg_stat_activity WHERE query LIKE '%sleep%' AND pid <> pg_backend_pid()") \
    && [ -n "$victim" ]; do :; done
kill -KILL $victim; wait $! || grep -c terminat ended
until ask -c "SELECT 'up again'" 2> /dev/null; do sleep 0.1; done
pgbench -n -c 2 -t 20 | grep processed
pg_ctl -D data -s -m immediate stop
start
grep -o 'redo done' log | tail -n 1
ask -c "{BALANCES}"
pg_ctl -D data -s -m fast stop
pg_checksums -D data -e 2>&1 | grep enabled; pg_checksums -D data -c 2>&1 | grep 'Bad checksums'
"""
SAID = """number of transactions actually processed: 100/100
number of transactions actually processed: 400/400
t|t|t|100
"news" with payload "hello"
lock timeout
10
t|t|t|100
1
up again
number of transactions actually processed: 40/40
redo done
t|t|t|140
Checksums enabled in cluster
Bad checksums:  0
"""


async def test_postgresql_inside(mode: dict[str, Any]) -> None:
    async with cluster(**mode) as (libos, _):
        assert await run(libos, "bash", "-c", SCRIPT, time=200) == SAID
