"""Redis, unmodified: pipelines, subscriptions, scripts, snapshots and logs that survive a kill, and a replica."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.apps.servers import TIME, booted, digest, needs, run, server, serving

PORT = 6379
QUIET = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
pytestmark = [pytest.mark.timeout(180), needs("redis-server", "redis-cli")]


class Connection:
    """A client that speaks the protocol by itself, so that what is on its way is in the test's hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    def send(self, *words: bytes | str) -> None:
        parts = [word if isinstance(word, bytes) else word.encode() for word in words]
        self.writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))

    async def answer(self) -> Any:
        """The next answer: bytes, a number, None, or a list of them. An error is its text."""
        line = (await asyncio.wait_for(self.reader.readuntil(b"\r\n"), TIME))[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else (await self.reader.readexactly(int(rest) + 2))[:-2]
        if kind == b"*":
            return [await self.answer() for _ in range(int(rest))]
        return rest

    async def ask(self, *words: bytes | str) -> Any:
        self.send(*words)
        return await self.answer()


async def test_pipelines_subscriptions_and_scripts(mode: dict[str, Any]) -> None:
    async with (
        serving(PORT, "redis-server", *QUIET, **mode) as port,
        Connection.to(port) as one, Connection.to(port) as two, Connection.to(port) as three,
    ):  # fmt: skip
        count = 5000
        values = [os.urandom(number % 300) for number in range(count)]
        for number, value in enumerate(values):
            one.send("SET", f"key:{number}", value)
        for number in range(count):
            one.send("GET", f"key:{number}")
        answers = [await one.answer() for _ in range(2 * count)]
        assert answers == [b"OK"] * count + values
        for number in range(10):
            assert await two.ask("SUBSCRIBE", f"channel:{number}") == [b"subscribe", b"channel:%d" % number, number + 1]
        assert await three.ask("PSUBSCRIBE", "channel:*") == [b"psubscribe", b"channel:*", 1]
        for number in range(500):
            assert await one.ask("PUBLISH", f"channel:{number % 10}", f"message {number}") == 2
        for number in range(500):
            rest = [b"channel:%d" % (number % 10), b"message %d" % number]
            assert await two.answer() == [b"message", *rest]
            assert await three.answer() == [b"pmessage", b"channel:*", *rest]
        script = "local s = 0 for i = 1, ARGV[1] do s = s + i end redis.call('SET', KEYS[1], s) return s"
        assert await one.ask("EVAL", script, "1", "sum", "1000") == 500500
        assert await two.ask("QUIT") == b"OK"
        async with Connection.to(port) as four:
            four.send("BLPOP", "queue", "0")
            assert await one.ask("LPUSH", "queue", "item") == 1
            assert await four.answer() == [b"queue", b"item"]
        assert await one.ask("MULTI") == b"OK"
        assert [await one.ask("INCR", "n") for _ in range(3)] == [b"QUEUED"] * 3
        assert await one.ask("EXEC") == [1, 2, 3]
        assert await one.ask("DBSIZE") == count + 2


async def test_what_was_stored_survives_a_kill(mode: dict[str, Any]) -> None:
    persistent = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--dir", "/tmp")
    value = os.urandom(1 << 20)
    async with booted(publish=[f"127.0.0.1:0:{PORT}"], **mode) as libos:
        port = libos.published[0][0]
        async with server(libos, PORT, "redis-server", *persistent) as process, Connection.to(port) as client:
            assert await client.ask("SET", "value", value) == b"OK"
            for number in range(3000):
                client.send("RPUSH", "list", str(number))
            assert [await client.answer() for _ in range(3000)] == list(range(1, 3001))
            for command in ("BGREWRITEAOF", "BGSAVE"):
                assert b"started" in await client.ask(command)
                async with asyncio.timeout(TIME):
                    while b"in_progress:1" in await client.ask("INFO", "persistence"):
                        await asyncio.sleep(0.01)
            info = (await client.ask("INFO", "persistence")).decode()
            assert "rdb_last_bgsave_status:ok" in info
            assert "aof_last_bgrewrite_status:ok" in info
            assert await client.ask("RPUSH", "list", "after") == 3001
            process.kill()
            await process.wait()
        async with server(libos, PORT, "redis-server", *persistent), Connection.to(port) as client:
            async with asyncio.timeout(TIME):
                while b"loading:1" in await client.ask("INFO", "persistence"):
                    await asyncio.sleep(0.01)
            assert digest(await client.ask("GET", "value")) == digest(value)
            assert await client.ask("LRANGE", "list", "-2", "-1") == [b"2999", b"after"]
        assert "RDB looks OK" in await run(libos, "redis-check-rdb", "/tmp/dump.rdb")


async def test_replicas_inside_and_in_another_libos(mode: dict[str, Any]) -> None:
    async with booted(publish=[f"127.0.0.1:0:{PORT}"], **mode) as libos:
        port, second = libos.published[0][0], PORT + 1
        replica = ("redis-server", *QUIET, "--replicaof", "127.0.0.1")
        allowed = {"network": "host", "allow": [f"127.0.0.1:{port}"]}
        async with (
            server(libos, PORT, "redis-server", *QUIET, "--unixsocket", "/tmp/socket"),
            Connection.to(port) as client,
            server(libos, second, *replica, str(PORT), "--port", str(second)),
            booted(**allowed, **mode) as other,
            server(other, PORT, *replica, str(port), "--port", str(PORT), "--bind", "127.0.0.1"),
        ):
            value = os.urandom(3 << 20)
            assert await client.ask("SET", "value", value) == b"OK"
            async with asyncio.timeout(TIME):
                while await client.ask("WAIT", "2", "1000") < 2:
                    pass
            copies = [
                await run(libos, "sh", "-c", f"redis-cli -p {second} --raw get value | head -c -1 | sha256sum"),
                await run(other, "sh", "-c", "redis-cli --raw get value | head -c -1 | sha256sum"),
            ]
            assert copies == [f"{digest(value)}  -\n"] * 2
            assert "READONLY" in await run(libos, "redis-cli", "-p", str(second), "set", "value", "1")
            for way in (("-s", "/tmp/socket"), ("-h", "127.0.0.1"), ("-h", "::1")):
                benchmark = ("redis-benchmark", *way, "-t", "set,lpush", "-n", "200", "-c", "20", "-q")
                assert "LPUSH" in await run(libos, *benchmark)
            assert await client.ask("LLEN", "mylist") == 600
