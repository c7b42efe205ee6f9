// Bun, whose server is uWebSockets inside: it gathers what one turn sends, publishes by topic and shares its compressor.

const [port, mode = 'echo'] = process.argv.slice(2);
if (!['echo', 'broadcast', 'deflate', 'tls'].includes(mode)) {
  process.exit(2);
}

const ALL = 'all';
const deflate = mode === 'deflate';
const message = {
  echo: (socket, data) => socket.send(data),
  tls: (socket, data) => socket.send(data),
  deflate: (socket, data) => socket.send(data, true),
  broadcast: (socket, data) => server.publish(ALL, data),
};

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  tls: mode === 'tls' ? { cert: Bun.file(process.env.TLS_CERT), key: Bun.file(process.env.TLS_KEY) } : undefined,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response('', { status: 426 })),
  websocket: {
    open: mode === 'broadcast' ? (socket) => socket.subscribe(ALL) : undefined,
    message: message[mode],
    perMessageDeflate: deflate && { compress: 'shared', decompress: 'shared' },
    idleTimeout: 0,
    maxPayloadLength: 4 << 20,
    backpressureLimit: 64 << 20,
  },
});
