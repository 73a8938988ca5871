"""The contract of test_web.py in aiohttp, with a client session and a web socket."""

import hashlib
import sys

from aiohttp import ClientSession, WSMsgType, web


async def blob(request):
    size = int(request.match_info["size"])
    return web.Response(body=bytes(i % 251 for i in range(251)) * (size // 251) + bytes(range(size % 251)))


async def chunks(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for number in range(int(request.match_info["count"])):
        await response.write(b"%d\n" % number)
    return response


async def digest(request):
    total = hashlib.sha256()
    async for part in request.content.iter_any():
        total.update(part)
    return web.Response(text=total.hexdigest())


async def fetch(request):
    async with ClientSession() as session, session.get(await request.text()) as answer:
        return web.Response(text=hashlib.sha256(await answer.read()).hexdigest())


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


app = web.Application(client_max_size=64 << 20)
app.add_routes(
    [
        web.get("/blob/{size}", blob),
        web.get("/chunks/{count}", chunks),
        web.post("/digest", digest),
        web.post("/fetch", fetch),
        web.get("/echo", echo),
    ]
)
web.run_app(app, host=sys.argv[1], port=int(sys.argv[2]), print=None)
