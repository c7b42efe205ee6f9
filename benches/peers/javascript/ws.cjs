// Node's ws, with bufferutil for masks, as it recommends.
'use strict';

const fs = require('node:fs');
const https = require('node:https');
const http = require('node:http');
const { WebSocket, WebSocketServer } = require('ws');

const [port, mode = 'echo'] = process.argv.slice(2);
if (!['echo', 'broadcast', 'deflate', 'tls'].includes(mode)) {
  process.exit(2);
}

const server =
  mode === 'tls'
    ? https.createServer({ cert: fs.readFileSync(process.env.TLS_CERT), key: fs.readFileSync(process.env.TLS_KEY) })
    : http.createServer();
const sockets = new WebSocketServer({
  server,
  // The fastest level, and for every message: by default those below 1 KiB are sent as they are.
  perMessageDeflate: mode === 'deflate' && { threshold: 0, zlibDeflateOptions: { level: 1 } },
});

sockets.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, binary) => {
    if (mode !== 'broadcast') {
      socket.send(data, { binary });
      return;
    }
    for (const client of sockets.clients) {
      if (client.readyState === WebSocket.OPEN) {
        client.send(data, { binary });
      }
    }
  });
});
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
