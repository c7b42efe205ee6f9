// node `ws` as it comes: `server` echoes and prints its port, `client URL` connects once and takes what comes.

"use strict";

const { WebSocket, WebSocketServer } = require("ws");

const [mode, url] = process.argv.slice(2);
if (mode === "server") {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true });
  server.on("listening", () => console.log(JSON.stringify({ port: server.address().port })));
  server.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  });
} else {
  new WebSocket(url).on("error", () => {}).on("message", () => {});
}
