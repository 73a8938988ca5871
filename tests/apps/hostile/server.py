"""A server that runs inside, for peers that behave badly. The first line of a connection says what it is to do.

``hash``: read to the end, and answer how many bytes came and their SHA-256. ``blob N``: send N known bytes.
``echo``: send back what comes, to the end. ``open``: say how many other connections are open.
"""

import asyncio
import hashlib
import random
import resource
import socket
import sys


def blob(size: int) -> bytes:
    """The bytes that everybody knows."""
    return random.Random(size).randbytes(size)


class Server:
    def __init__(self) -> None:
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            await self.answer(reader, writer)
        except (OSError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        what, *argument = (await reader.readline()).split()
        if what == b"hash":
            hashed, count = hashlib.sha256(), 0
            while data := await reader.read(1 << 16):
                hashed.update(data)
                count += len(data)
            writer.write(b"%d %s" % (count, hashed.hexdigest().encode()))
        elif what == b"blob":
            writer.write(blob(int(argument[0])))
        elif what == b"echo":
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        elif what == b"open":
            writer.write(b"%d" % (self.open - 1))
        await writer.drain()


async def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = Server()
    listening = await asyncio.start_server(server.serve, "0.0.0.0", int(sys.argv[1]), backlog=4096)
    assert listening.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    print("ready", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
