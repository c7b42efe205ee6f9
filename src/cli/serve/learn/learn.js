// The page: one WebSocket that is watched, one on which the server tells what it has seen of the first, and what there is
// to do with them. `draw.js` draws.

import { bytesOf, drawFrame, drawHandshake, make } from "/learn/draw.js";

const KEPT = 300;
/** The RFC's own example of a client's frame. */
const EXAMPLE = {
  from: "client", offset: 0, header: "818537fa213d", length: 5, wire: "7f9f4d5158", plain: "48656c6c6f", pending: "",
  opcode: 1, text: true,
};

const at = (id) => document.getElementById(id);
const address = (path) => `${location.protocol.replace("http", "ws")}//${location.host}${path}`;

let watching = null; // the server's greeting: the id to be watched by, and its limits
let watcher = null;
let echo = null;
let handshake = {};
let parts = {}; // of each end: the message that it is in the middle of
let chosen = null;
let isFollowing = true;
let waiting = []; // what is to be drawn next, one after the other
let timer = null;
let retry = 500;
let agreed = { fragment: 0, wake: [] };

watch();
at("detail").append(drawFrame(EXAMPLE, "Nothing has passed yet. This is the RFC’s own example, “Hello” from a client [RFC 6455 §5.7]: point at a field, or at a byte.").view);
// There is room for everything beside a figure.
at("more").open = innerWidth > 960;

/** Opens the connection on which the server tells what it sees; comes back to it by itself. */
function watch() {
  watcher = new WebSocket(address("/learn/watch"));
  watcher.onmessage = ({ data }) => take(JSON.parse(data));
  watcher.onclose = () => {
    watching = null;
    show();
    trouble("The server has gone, or too many pages are open; this one tries again.");
    setTimeout(watch, retry = Math.min(2 * retry, 20_000));
  };
}

/** Something was seen. */
function take(seen) {
  const { from } = seen;
  switch (seen.seen) {
    case "watching":
      [watching, retry] = [seen, 500];
      agreed.fragment = 0;
      trouble("");
      show();
      order({ fragment: Number(at("fragment").value) });
      break;
    case "request":
      handshake = { request: seen };
      parts = {};
      add(seen, "GET … Upgrade: websocket");
      break;
    case "answer":
      handshake.answer = seen;
      seen.request = handshake.request;
      add(seen, seen.head.slice(9, seen.head.indexOf("\r")));
      break;
    case "frame":
      complete(seen);
      add(seen, (seen.header + seen.wire.slice(0, 12)).replace(/../g, "$& ") + (seen.length > 6 ? "…" : ""));
      break;
    case "message": {
      const frame = [...at("log").children].map((item) => item.seen).findLast((other) => other.seen === "frame" && other.from === from);
      if (!frame) break;
      frame.message = seen;
      if (seen.frames > 1 || seen.compressed) atEnd(() => frame.line.append(make("span", { className: "what soft" }, seen.sentence)));
      if (chosen === frame) draw(frame);
      break;
    }
    case "states":
      state("client", seen.client);
      state("server", seen.server);
      break;
    case "violation":
      add(seen);
      break;
    case "closed":
      state("client", "closed");
      state("server", "closed");
      add({ ...seen, sentence: `the connection is over: ${seen.code}${seen.reason && ` “${seen.reason}”`}, ${seen.clean ? "cleanly" : "not cleanly"}, by the ${seen.by}` });
      break;
    case "missed":
      add({ ...seen, sentence: `${seen.count} more passed than this page could be shown` });
      break;
    case "fragment":
      agreed.fragment = seen.fragment;
      agreed.wake.splice(0).forEach((wake) => wake());
      break;
    case "refusal":
      trouble(`The server says: ${seen.sentence}`);
      break;
    default:
  }
}

/** Gives a frame what it has from those before it: whether it is of a text, compressed, or begins inside a character. */
function complete(frame) {
  const [first] = bytesOf(frame.header);
  frame.opcode = first & 15;
  if (frame.opcode > 7) return;
  const message = frame.opcode === 0 ? parts[frame.from] ?? {} : { text: frame.opcode === 1, compressed: (first & 64) > 0, pending: "" };
  Object.assign(frame, { text: message.text, compressed: message.compressed, before: message.pending });
  parts[frame.from] = { ...message, pending: frame.pending };
}

/** Puts a line into the log; `bytes` are seen on their way. */
function add(seen, bytes) {
  const arrow = { client: "→", server: "←" }[seen.from] ?? "•";
  const line = make("span", { className: "text" }, make("span", { className: "what" }, seen.sentence));
  const button = make("button", { type: "button", className: `entry ${seen.seen} ${seen.from ?? ""}` },
    make("span", { className: "arrow", "aria-hidden": "true" }, arrow), line, make("span", { className: "when" }, `${(seen.at / 1000).toFixed(3)} s`));
  const item = make("li", {}, button);
  Object.assign(seen, { line, button, bytes });
  item.seen = seen;
  button.onclick = () => {
    follow(false);
    draw(seen);
  };
  button.onkeydown = (event) => {
    const to = { ArrowDown: item.nextElementSibling, ArrowUp: item.previousElementSibling }[event.key];
    if (to) { event.preventDefault(); to.firstChild.focus(); to.firstChild.click(); }
  };
  const log = at("log");
  atEnd(() => log.append(item));
  while (log.childElementCount > KEPT) log.firstChild.remove();
  at("count").textContent = `${log.childElementCount}${log.childElementCount === KEPT ? " kept" : ""}`;
  if (bytes && isFollowing) {
    waiting.push(seen);
    drawNext();
  } else if (bytes) pass(seen);
}

/** Adds to the log; whoever has read to its end still does. */
function atEnd(write) {
  const log = at("log");
  const wasThere = log.scrollTop + log.clientHeight > log.scrollHeight - 40;
  write();
  if (wasThere) log.scrollTop = log.scrollHeight;
}

/** Whether what passes is drawn as it comes: not while somebody looks at something else. */
function follow(yes) {
  isFollowing = yes;
  clearTimeout(timer);
  [timer, waiting] = [null, []];
}

/** Draws what has passed one after the other, each for long enough to be seen; of very much, the last. */
function drawNext() {
  if (timer !== null || waiting.length === 0) return;
  if (waiting.length > 8) waiting.splice(0, waiting.length - 2).forEach(pass);
  const seen = waiting.shift();
  pass(seen);
  timer = setTimeout(() => { timer = null; drawNext(); }, draw(seen) + 600);
}

/** Draws one line of the log in full; how many milliseconds that takes. */
function draw(seen) {
  chosen?.button.removeAttribute("aria-current");
  chosen = seen;
  seen.button.setAttribute("aria-current", "true");
  const [title, { view, takes }] = {
    request: () => ["The opening handshake", drawHandshake(seen)],
    answer: () => ["The opening handshake", drawHandshake(seen.request, seen)],
    frame: () => [`A frame that the ${seen.from === "client" ? "browser" : "server"} sent`, drawFrame(seen)],
  }[seen.seen]?.() ?? ["What has passed", { view: make("p", {}, `${seen.sentence}.`), takes: 0 }];
  at("detail-title").textContent = title;
  if (seen.detail) {
    const text = [seen.detail, seen.message?.compressed && seen.message.detail].filter(Boolean).join("\n");
    view.append(make("details", {}, make("summary", {}, "The same as loopwire explain tells it"), make("pre", { className: "explained", tabIndex: 0 }, text)));
  }
  at("detail").replaceChildren(view);
  return takes;
}

/** Shows bytes on their way. */
function pass({ from, bytes }) {
  const token = make("span", { className: `token ${from}` }, bytes.trim());
  token.onanimationend = () => token.remove();
  at("wire").append(token);
  while (at("wire").childElementCount > 12) at("wire").firstChild.remove();
}

function state(of, what) {
  at(`${of}-state`).textContent = what;
  at(`${of}-state`).dataset.state = what.split(":")[0];
}

function trouble(what) {
  at("trouble").textContent = what;
  at("trouble").hidden = !what;
}

function show() {
  at("connect").disabled = !watching || echo !== null;
  at("deflate").disabled = echo !== null;
  for (const button of document.querySelectorAll("#say button, [data-text], [data-binary], [data-text-of], #ping, #close button")) {
    button.disabled = echo?.readyState !== WebSocket.OPEN;
  }
}

const order = (what) => { if (watching) watcher.send(JSON.stringify(what)); };

/** Sends, once the server knows how it is to answer. */
async function send(data) {
  trouble("");
  follow(true);
  while (watching && agreed.fragment !== Number(at("fragment").value)) await new Promise((wake) => agreed.wake.push(wake));
  echo?.send(data);
}

at("connect").onclick = () => {
  trouble("");
  follow(true);
  echo = new WebSocket(address(`/learn/echo?watch=${watching.id}&deflate=${at("deflate").checked ? "yes" : "no"}`));
  echo.binaryType = "arraybuffer";
  echo.onopen = show;
  echo.onclose = ({ code, wasClean }) => {
    echo = null;
    if (!wasClean) trouble(`The connection broke off: ${code}.`);
    show();
  };
  show();
};
at("say").onsubmit = (event) => {
  event.preventDefault();
  if (echo?.readyState === WebSocket.OPEN) send(at("text").value);
};
for (const button of document.querySelectorAll("[data-text]")) button.onclick = () => send(button.dataset.text);
for (const button of document.querySelectorAll("[data-binary]")) {
  button.onclick = () => send(Uint8Array.from({ length: Number(button.dataset.binary) }, (_, number) => number * 17));
}
for (const button of document.querySelectorAll("[data-text-of]")) {
  button.onclick = () => send("The quick brown fox jumps over the lazy dog. ".repeat(2000).slice(0, Number(button.dataset.textOf)));
}
at("ping").onclick = () => {
  trouble("");
  follow(true);
  order({ ping: "are you there?" });
};
at("fragment").onchange = () => order({ fragment: Number(at("fragment").value) });
at("close").onsubmit = (event) => {
  event.preventDefault();
  trouble("");
  follow(true);
  const [code, reason] = [Number(at("code").value), at("reason").value];
  if (at("closer").value === "server") order({ close: code, reason });
  else {
    try { echo?.close(code, reason); } catch (error) {
      trouble(error.name === "InvalidAccessError" ? `Browsers let pages say 1000, or 3000 to 4999, and nothing else; not ${code}.` : error.message);
    }
  }
};
show();
