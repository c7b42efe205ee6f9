"""Python `websockets` as it comes: `server` echoes and prints its port, `client URL` connects once and takes what comes."""

import asyncio
import json
import logging
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(websocket):
    try:
        async for message in websocket:
            await websocket.send(message)
    except ConnectionClosed:
        pass


async def server():
    async with serve(echo, "127.0.0.1", 0) as listening:
        print(json.dumps({"port": listening.sockets[0].getsockname()[1]}), flush=True)
        await asyncio.Future()


async def client(url):
    async with connect(url, proxy=None) as websocket:
        async for _ in websocket:
            pass


logging.disable(logging.CRITICAL)
mode, *rest = sys.argv[1:]
asyncio.run({"client": client, "server": server}[mode](*rest))
