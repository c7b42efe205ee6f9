// node `ws` as a peer of loopwire: `client URL` talks to an echo server, `server` puts an echo client to the test.
// Prints one JSON line per check: {"check": ..., "error": null or what went wrong}.

"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { once } = require("node:events");
const WebSocket = require("ws");

const TEXT = "Grüße, κόσμε, 世界, 🌍 ".repeat(40);
const BYTES = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 7) % 256));

// Each check is a list of fragments. The cuts in a text fall inside characters on purpose.
const CHECKS = {
  "text": { binary: false, fragments: [Buffer.from(TEXT)] },
  "binary": { binary: true, fragments: [BYTES] },
  "empty": { binary: false, fragments: [Buffer.alloc(0)] },
  "1 MiB": { binary: true, fragments: [Buffer.concat(Array(256).fill(BYTES))] },
  "fragmented text": { binary: false, fragments: cut(Buffer.from(TEXT), [1, 3, 100, 0, 7]) },
  "fragmented binary": { binary: true, fragments: cut(BYTES, [125, 126, 0, 2000]) },
};

function cut(bytes, lengths) {
  let at = 0;
  const fragments = lengths.map((length) => bytes.subarray(at, (at += length)));
  return [...fragments, bytes.subarray(at)];
}

async function exchange(socket, { binary, fragments }) {
  const received = once(socket, "message");
  fragments.forEach((fragment, index) => socket.send(fragment, { binary, fin: index + 1 === fragments.length }));
  const [data, isBinary] = await Promise.race([received, once(socket, "close").then(() => { throw new Error("closed"); })]);
  if (isBinary !== binary) throw new Error(`came back as ${isBinary ? "binary" : "text"}`);
  if (!data.equals(Buffer.concat(fragments))) throw new Error("came back changed");
}

function report(check, error) {
  console.log(JSON.stringify({ check, error: error ? String(error.message ?? error) : null }));
}

function checkAgreement(socket, deflate) {
  const agreed = socket.extensions.split(";")[0];
  if (agreed !== (deflate ? "permessage-deflate" : "")) throw new Error(`agreed on '${socket.extensions}'`);
}

const compression = (deflate) => (deflate ? { threshold: 0 } : false);

async function client(url, deflate) {
  const socket = new WebSocket(url, { perMessageDeflate: compression(deflate), rejectUnauthorized: false });
  await once(socket, "open");
  for (const [name, check] of Object.entries(CHECKS)) {
    await Promise.resolve().then(() => checkAgreement(socket, deflate)).then(() => exchange(socket, check))
      .then(() => report(name), (error) => report(name, error));
  }
  const pong = once(socket, "pong");
  socket.ping("are you there");
  const [payload] = await pong;
  report("ping", payload.toString() === "are you there" ? null : `pong said ${payload}`);
  socket.close(4321, "all done");
  const [code] = await once(socket, "close");
  report("close", code === 4321 ? null : `closed with ${code}`);
}

// The part of the Autobahn fuzzing server's interface that an echo client needs: a count, the cases, the end.
async function server(deflate, key, cert) {
  const web = key ? https.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }) : http.createServer();
  const names = Object.keys(CHECKS);
  const sockets = new WebSocket.Server({ server: web, perMessageDeflate: compression(deflate) });
  sockets.on("connection", async (socket, request) => {
    const { pathname, searchParams } = new URL(request.url, "http://localhost");
    if (pathname === "/getCaseCount") {
      socket.send(String(names.length));
      socket.close();
    } else if (pathname === "/runCase") {
      const name = names[Number(searchParams.get("case")) - 1];
      await Promise.resolve().then(() => checkAgreement(socket, deflate)).then(() => exchange(socket, CHECKS[name]))
        .then(() => report(name), (error) => report(name, error));
      socket.close(1000);
    } else {
      socket.close();
      await once(socket, "close");
      process.exit(0);
    }
  });
  web.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: web.address().port })));
}

const [mode, deflate, ...rest] = process.argv.slice(2);
const run = mode === "client" ? client(rest[0], deflate === "deflate") : server(deflate === "deflate", ...rest);
run.catch((error) => { report("run", error); process.exit(1); });
