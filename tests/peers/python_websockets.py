"""Python `websockets` as a peer of loopwire: `client` talks to an echo server, `server` puts an echo client to the test.

Prints one JSON line per check: {"check": ..., "error": null or what went wrong}.
"""

import asyncio
import json
import ssl
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

TEXT = "Grüße, κόσμε, 世界, 🌍 " * 40
BYTES = bytes(index * 7 % 256 for index in range(4096))
CHECKS = {
    "text": TEXT,
    "binary": BYTES,
    "empty": "",
    "1 MiB": BYTES * 256,
    # A list goes out as one fragment each.
    "fragmented text": [TEXT[:1], TEXT[1:4], "", TEXT[4:]],
    "fragmented binary": [BYTES[:125], BYTES[125:251], b"", BYTES[251:]],
}


def report(check, error=None):
    print(json.dumps({"check": check, "error": error}), flush=True)


async def exchange(name, websocket, deflate):
    sent = CHECKS[name]
    whole = sent if not isinstance(sent, list) else type(sent[0])().join(sent)
    try:
        agreed = [extension.name for extension in websocket.protocol.extensions]
        if agreed != (["permessage-deflate"] if deflate else []):
            return report(name, f"agreed on {agreed}")
        await websocket.send(sent)
        received = await websocket.recv()
        report(name, None if received == whole and type(received) is type(whole) else "came back changed")
    except Exception as error:
        report(name, repr(error))


async def client(deflate, url):
    context = None
    if url.startswith("wss:"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    async with connect(url, ssl=context, compression=deflate, max_size=1 << 24) as websocket:
        for name in CHECKS:
            await exchange(name, websocket, deflate)
        await (await websocket.ping(b"are you there"))
        report("ping")
        await websocket.close(4321, "all done")
        code = websocket.close_code
        report("close", None if code == 4321 else f"closed with {code}")


async def server(deflate, key=None, certificate=None):
    """The part of the Autobahn fuzzing server's interface that an echo client needs: a count, the cases, the end."""
    done = asyncio.Event()
    names = list(CHECKS)

    async def handle(websocket):
        url = urlsplit(websocket.request.path)
        if url.path == "/getCaseCount":
            await websocket.send(str(len(names)))
        elif url.path == "/runCase":
            await exchange(names[int(parse_qs(url.query)["case"][0]) - 1], websocket, deflate)
        else:
            done.set()

    context = None
    if key is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    async with serve(handle, "127.0.0.1", 0, ssl=context, compression=deflate, max_size=1 << 24) as listening:
        print(json.dumps({"port": listening.sockets[0].getsockname()[1]}), flush=True)
        await done.wait()


mode, compression, *rest = sys.argv[1:]
asyncio.run({"client": client, "server": server}[mode]("deflate" if compression == "deflate" else None, *rest))
