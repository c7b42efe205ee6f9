// The page: what its parts show, and what they ask of the client. What goes over the wire is client.js's.

import { Client, ServerError } from "/page/client.js";

const CHAT = "chat";
const WALL = "images:wall";
const LOG_LENGTH = 500;
const PICTURES = 12;
const LARGEST_PICTURE = 8 << 20;

const at = (id) => document.getElementById(id);
const base = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`;
const unique = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** What survives closing the tab's connection, but is this tab's alone: two tabs can be two users. */
const remembered = {
  get name() {
    try { return sessionStorage.getItem("loopwire-name"); } catch { return null; }
  },
  set name(name) {
    try { sessionStorage.setItem("loopwire-name", name); } catch { /* storage is switched off */ }
  },
};

// Which user this is: the server gives a token for any name, in development.

async function token() {
  const response = await fetch(`/dev/token?user=${encodeURIComponent(user)}`);
  // Elsewhere an application issues tokens; this page then is an anonymous client.
  return response.ok ? (await response.text()).trim() : "";
}

let user = remembered.name ?? `guest-${unique().slice(0, 4)}`;
remembered.name = user;

// The connection.

const client = new Client(`${base}/connection/websocket`, {
  token,
  onState: showState,
  onMessage: (data) => note(at("notices"), [bold(data.from ?? "server"), data.text ?? JSON.stringify(data)]),
});

let countdown;
function showState(state, detail) {
  clearInterval(countdown);
  const label = at("state");
  label.dataset.state = state;
  const texts = {
    connecting: () => "connecting",
    open: () => `connected as ${user}`,
    waiting: () => `no connection, again in ${Math.max(0, Math.ceil((detail - Date.now()) / 1000))} s`,
    closed: () => (detail.code === 1000 ? "disconnected" : `refused: ${detail.reason || detail.code}`),
  };
  const show = () => { label.textContent = texts[state](); };
  show();
  if (state === "waiting") countdown = setInterval(show, 500);
  if (state === "open") joinGroups();
  if (state !== "open") people.clear();
  at("toggle").textContent = state === "closed" ? "Connect" : "Disconnect";
}

// Chat: a message has an id of its page's own, so that one which is sent again after a lost connection shows once.

const shown = new Map();

client.subscribe(CHAT, {
  subscribed(result, isFirst) {
    if (isFirst) fillHistory(result);
    else if (result.was_recovering && !result.recovered) {
      note(at("messages"), ["Some messages may be missing here."], "note bad");
      fillHistory(result);
    }
    people.load();
  },
  publication: showMessage,
  join(info) {
    people.add(info);
    note(at("messages"), [`${info.user || "somebody"} came.`], "note");
  },
  leave(info) {
    people.remove(info);
    note(at("messages"), [`${info.user || "somebody"} left.`], "note");
  },
  failed: (error) => note(at("messages"), [`The server says: ${error.message}.`], "note bad"),
});

async function fillHistory({ offset = 0, epoch }) {
  if (epoch === undefined) return;
  // Backwards from where the subscription begins, so that nothing comes twice.
  const history = { channel: CHAT, limit: 100, reverse: true, since: { offset: offset + 1, epoch } };
  try {
    const { publications = [] } = await client.command({ history });
    const before = at("messages").firstElementChild;
    for (const publication of publications.reverse()) showMessage(publication, before);
    at("messages").scrollTop = at("messages").scrollHeight;
  } catch { /* without a history there is none to show; a lost connection tries again */ }
}

function showMessage(publication, before = null) {
  const { data, info } = publication;
  const id = data?.id ?? `${publication.offset}`;
  const pending = shown.get(id);
  if (pending) {
    pending.classList.remove("pending");
    return;
  }
  const text = typeof data === "string" ? data : data?.text ?? JSON.stringify(data);
  shown.set(id, entry(at("messages"), "", [bold(info?.user || data?.from || "server"), text], before, id));
}

at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text) return;
  at("text").value = "";
  say(text);
});

function say(text) {
  const id = unique();
  const item = entry(at("messages"), "pending", [bold(user), text], null, id);
  shown.set(id, item);
  client.publish(CHAT, { id, from: user, text }).then(
    () => item.classList.remove("pending"),
    (error) => note(at("messages"), [`Not sent: ${error.message}.`], "note bad"),
  );
}

// Presence.

const people = {
  clients: new Map(),
  async load() {
    try {
      const { presence = {} } = await client.command({ presence: { channel: CHAT } });
      this.clients = new Map(Object.entries(presence).map(([id, info]) => [id, info.user]));
      this.show();
    } catch (error) {
      if (error instanceof ServerError) at("count").textContent = error.message;
    }
  },
  add(info) { this.clients.set(info.client, info.user); this.show(); },
  remove(info) { this.clients.delete(info.client); this.show(); },
  clear() { this.clients.clear(); this.show(); },
  show() {
    const users = new Map();
    for (const name of this.clients.values()) users.set(name, (users.get(name) ?? 0) + 1);
    const names = [...users.keys()].sort();
    at("count").textContent = client.isOpen ? `${names.length} ${names.length === 1 ? "user" : "users"}, ${this.clients.size} connections` : "–";
    at("people").replaceChildren(...names.map((name) => {
      const item = document.createElement("li");
      const times = users.get(name) > 1 ? ` ×${users.get(name)}` : "";
      item.textContent = `${name || "anonymous"}${times}${name === user ? " (you)" : ""}`;
      item.classList.toggle("me", name === user);
      return item;
    }));
    targets(names);
  },
};

// Notifications go by the server API, as an application's own would.

async function api(method, params) {
  const response = await fetch(`/api/${method}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(params),
  });
  if (response.status === 401) throw new Error("the server API wants its key, which a page must not have");
  const { result, error } = await response.json();
  if (error) throw new ServerError(error);
  return result;
}

function targets(names) {
  const chosen = at("target").value;
  const options = [["all", "everyone"], ["group red", "group red"], ["group blue", "group blue"]];
  for (const name of names) if (name) options.push([`user ${name}`, name === user ? `${name} (you)` : name]);
  at("target").replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

at("notify").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [kind, name] = at("target").value.split(/ (.*)/s);
  const to = kind === "all" ? { all: true } : { [kind]: name };
  try {
    const { receivers } = await api("send", { ...to, data: { from: user, text: at("notice").value } });
    note(at("notices"), [`Sent to ${receivers} ${receivers === 1 ? "connection" : "connections"}.`], "note");
  } catch (error) {
    note(at("notices"), [`Not sent: ${error.message}.`], "note bad");
  }
});

const boxes = [...document.querySelectorAll(".groups input")];
for (const box of boxes) {
  box.addEventListener("change", () => setGroup(box));
}

async function setGroup(box) {
  if (!client.id) return;
  try {
    await api(box.checked ? "group_join" : "group_leave", { group: box.value, client: client.id });
  } catch (error) {
    box.checked = false;
    note(at("notices"), [`No groups: ${error.message}.`], "note bad");
  }
}

/** A group is of connections: a new one has to be put into it again. */
function joinGroups() {
  for (const box of boxes) if (box.checked) setGroup(box);
}

// Pictures: a raw channel, whose binary messages are a line of JSON (id, user, type) and then the picture's bytes.

const wall = {
  seen: new Set(),
  position: "",
  attempts: 0,
  waiting: [],

  async open() {
    clearTimeout(this.retry);
    const query = new URLSearchParams({ hello: "1", ...(this.position && { since: this.position }) });
    const given = await token().catch(() => "");
    if (given) query.set("token", given);
    const socket = (this.socket = new WebSocket(`${base}/channel/${WALL}?${query}`));
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.hello(JSON.parse(data));
      // What is text from here on is a notification, which the other connection gets, too.
      socket.onmessage = ({ data }) => {
        if (data instanceof ArrayBuffer) this.received(new Uint8Array(data));
      };
    };
    socket.onclose = ({ code }) => {
      this.isOpen = false;
      if (code >= 3500 && code < 4000) return;
      this.retry = setTimeout(() => this.open(), Math.random() * Math.min(20_000, 500 * 2 ** this.attempts++));
    };
  },

  hello({ epoch, offset, recovered }) {
    this.attempts = 0;
    this.isOpen = true;
    const isNew = !this.position || recovered === false;
    if (epoch !== undefined) this.position = `${epoch}:${offset ?? 0}`;
    if (isNew) this.load();
    for (const message of this.waiting) this.socket.send(message);
    this.waiting = [];
  },

  /** Each message is the next one of its stream, so counting them is knowing the position. */
  received(bytes) {
    const [epoch, offset] = this.position.split(/:(?=\d+$)/);
    if (this.position) this.position = `${epoch}:${Number(offset) + 1}`;
    this.show(bytes);
  },

  /** What was there before this page; in JSON, bytes are base64. */
  async load() {
    const response = await api("history", { channel: WALL, limit: PICTURES, reverse: true }).catch(() => ({}));
    for (const { b64data } of (response.publications ?? []).reverse()) {
      if (b64data) this.show(Uint8Array.from(atob(b64data), (letter) => letter.charCodeAt(0)));
    }
  },

  show(bytes) {
    const end = bytes.indexOf(10);
    if (end < 0) return;
    const { id, from, type } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
    if (this.seen.has(id) || !/^image\//.test(type)) return;
    this.seen.add(id);
    const item = document.createElement("li");
    item.dataset.id = id;
    const figure = item.appendChild(document.createElement("figure"));
    const image = figure.appendChild(document.createElement("img"));
    image.src = URL.createObjectURL(new Blob([bytes.subarray(end + 1)], { type }));
    image.alt = `A picture from ${from}`;
    const caption = figure.appendChild(document.createElement("figcaption"));
    caption.textContent = `${from}, ${size(bytes.length - end - 1)}`;
    at("pictures").prepend(item);
    while (at("pictures").childElementCount > PICTURES) {
      const last = at("pictures").lastElementChild;
      URL.revokeObjectURL(last.querySelector("img").src);
      last.remove();
    }
  },

  async send(file) {
    if (!file.type.startsWith("image/")) return note(at("messages"), [`${file.name} is no picture.`], "note bad");
    if (file.size > LARGEST_PICTURE) {
      return note(at("messages"), [`${file.name} has ${size(file.size)}; up to ${size(LARGEST_PICTURE)} are sent.`], "note bad");
    }
    const head = JSON.stringify({ id: unique(), from: user, type: file.type });
    const message = new Blob([`${head}\n`, file]);
    if (this.isOpen) this.socket.send(message);
    else this.waiting.push(message);
  },
};

const size = (bytes) =>
  bytes < 1024 ? `${bytes} bytes` : bytes < 1 << 20 ? `${(bytes / 1024).toFixed(0)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;

at("file").addEventListener("change", () => {
  for (const file of at("file").files) wall.send(file);
  at("file").value = "";
});
for (const [event, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
  at("drop").addEventListener(event, (dragged) => {
    dragged.preventDefault();
    at("drop").classList.toggle("over", over);
    if (event === "drop") for (const file of dragged.dataTransfer.files) wall.send(file);
  });
}

// Who this is, and whether it is connected.

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("name").value.trim();
  if (!name || name === user) return;
  remembered.name = name;
  // A user is who the token says: another one is another connection.
  location.reload();
});
at("toggle").addEventListener("click", () => (client.wanted ? client.disconnect() : client.connect()));
addEventListener("online", () => client.wanted && client.connect());

// Lists.

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function note(list, parts, kind = "") {
  entry(list, kind, parts);
}

function entry(list, kind, parts, before = null, id = "") {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const item = document.createElement("li");
  item.className = kind;
  if (id) item.dataset.id = id;
  const what = item.appendChild(document.createElement("span"));
  what.className = "what";
  what.append(...parts);
  const when = item.appendChild(document.createElement("span"));
  when.className = "when";
  when.textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  list.insertBefore(item, before);
  while (list.childElementCount > LOG_LENGTH) {
    shown.delete(list.firstElementChild.dataset.id);
    list.firstElementChild.remove();
  }
  if (atEnd) list.scrollTop = list.scrollHeight;
  return item;
}

at("name").value = user;
at("terminal").textContent = [
  `loopwire subscribe ${CHAT}`,
  `curl ${location.origin}/api/publish -d '{"channel": "${CHAT}", "data": {"from": "curl", "text": "Hello"}}'`,
].join("\n");
targets([]);
client.connect();
wall.open();
