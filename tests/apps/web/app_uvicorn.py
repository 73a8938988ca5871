"""The contract of test_web.py as a plain ASGI application, two processes of which uvicorn runs."""

import asyncio
import hashlib
import sys
import urllib.request

import uvicorn


async def body(receive):
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def get(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


async def answer(scope, receive):
    """The parts of the answer, or None."""
    _, name, *rest = scope["path"].split("/")
    if name == "blob":
        size = int(rest[0])
        return [bytes(i % 251 for i in range(251)) * (size // 251) + bytes(range(size % 251))]
    if name == "chunks":
        return [b"%d\n" % number for number in range(int(rest[0]))]
    if name == "digest":
        return [hashlib.sha256(await body(receive)).hexdigest().encode()]
    if name == "fetch":
        data = await asyncio.get_running_loop().run_in_executor(None, get, (await body(receive)).decode())
        return [hashlib.sha256(data).hexdigest().encode()]
    return None


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    parts = await answer(scope, receive)
    status = 404 if parts is None else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    for part in parts or ():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    host, port = sys.argv[1:]
    uvicorn.run("app_uvicorn:app", host=host, port=int(port), workers=2, log_level="warning", lifespan="off")
