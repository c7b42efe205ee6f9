// node `centrifuge` as a client of `loopwire serve`.
//
//     node node.cjs conversation HTTP-URL       each thing that the client can ask for or be told, in both encodings
//     node node.cjs restarts HTTP-URL RATE      publishes and listens until a line comes on stdin, then compares
//
// Prints one JSON line per check: {"check": ..., "error": null or what went wrong}.

"use strict";

const crypto = require("node:crypto");
const http = require("node:http");
const WebSocket = require("ws");
const clients = { json: require("centrifuge").Centrifuge, protobuf: require("centrifuge/build/protobuf").Centrifuge };

const [mode, base, rate] = process.argv.slice(2);
const SECRET = "secret";
const API_KEY = "key of the tests";
const PATIENCE = 20_000;

function report(check, error) {
  console.log(JSON.stringify({ check, error: error ? String(error.stack ?? error.message ?? error) : null }));
}

function token(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const message = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${message}.${crypto.createHmac("sha256", SECRET).update(message).digest("base64url")}`;
}

const now = () => Math.floor(Date.now() / 1000);

function connect(format, options = {}) {
  const url = `${base.replace("http", "ws")}/connection/websocket${format === "protobuf" ? "?format=protobuf" : ""}`;
  const client = new clients[format](url, { websocket: WebSocket, minReconnectDelay: 50, maxReconnectDelay: 500, ...options });
  client.on("error", () => {});
  client.connect();
  return client;
}

/// The next event of a name that passes `filter`.
function event(emitter, name, filter = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name} within ${PATIENCE} ms`)), PATIENCE);
    emitter.on(name, function listener(context) {
      if (!filter(context)) return;
      clearTimeout(timer);
      emitter.off(name, listener);
      resolve(context);
    });
  });
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

/// Calls the server API.
function call(method, body) {
  return new Promise((resolve, reject) => {
    const headers = { "X-API-Key": API_KEY, "Content-Type": "application/json" };
    const request = http.request(`${base}/api/${method}`, { method: "POST", headers, agent, timeout: 5_000 }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (text += chunk));
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode !== 200) return reject(new Error(`${method}: ${response.statusCode} ${text}`));
        const answer = JSON.parse(text);
        return answer.error ? reject(new Error(`${method}: ${text}`)) : resolve(answer.result ?? answer);
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
    request.end(JSON.stringify(body));
  });
}

function equal(found, expected) {
  const [one, other] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${one} instead of ${other}`);
}

async function refused(promise, code) {
  const outcome = await promise.then(() => "no error", (error) => error.code);
  equal(outcome, code);
}

// Each gets the format, a name of its own for channels and users, and how data look in this format.
const CONVERSATION = {
  "token": async (format, name) => {
    const client = connect(format, { token: token({ sub: name }) });
    const { client: id } = await event(client, "connected");
    if (!/^[0-9a-f-]{36}$/.test(id)) throw new Error(`called ${id}`);
    client.disconnect();
    const stranger = connect(format, { token: token({ sub: name }).slice(0, -4) + "AAAA" });
    equal((await event(stranger, "disconnected")).code, 3500);
  },

  "expired token": async (format, name) => {
    let asked = 0;
    const getToken = async () => (asked++, token({ sub: name, exp: now() + 60 }));
    const client = connect(format, { token: token({ sub: name, exp: now() - 1 }), getToken });
    await event(client, "connected");
    equal(asked, 1);
    client.disconnect();
  },

  "refresh": async (format, name) => {
    const tokens = [];
    const getToken = async () => {
      tokens.push(token({ sub: name, exp: now() + (tokens.length > 1 ? 60 : 2) }));
      return tokens.at(-1);
    };
    const client = connect(format, { getToken });
    let disconnects = 0;
    client.on("connecting", () => disconnects++);
    client.on("disconnected", () => disconnects++);
    await event(client, "connected");
    const subscription = client.newSubscription(`open:${name}`);
    subscription.subscribe();
    await subscription.ready(PATIENCE);
    while (tokens.length < 3) await new Promise((resolve) => setTimeout(resolve, 50));
    // What the server thinks of the last one shows in the connection's being there still.
    await client.ready(PATIENCE);
    await subscription.presenceStats();
    equal(disconnects, 0);
    client.disconnect();
  },

  "subscription refresh": async (format, name) => {
    let asked = 0;
    const getToken = async ({ channel }) => token({ sub: name, channel, exp: now() + (asked++ > 0 ? 60 : 2) });
    const client = connect(format, { token: token({ sub: name }) });
    const subscription = client.newSubscription(name, { getToken });
    let interruptions = 0;
    subscription.subscribe();
    await subscription.ready(PATIENCE);
    subscription.on("subscribing", () => interruptions++);
    while (asked < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    await subscription.presenceStats();
    equal(interruptions, 0);
    client.disconnect();
  },

  "publication": async (format, name, data) => {
    const client = connect(format, { token: token({ sub: name, info: { name } }) });
    const subscription = client.newSubscription(`open:${name}`);
    subscription.subscribe();
    await subscription.ready(PATIENCE);
    const next = event(subscription, "publication");
    await subscription.publish(data.write({ text: "Grüße\n" }));
    const publication = await next;
    equal(data.read(publication.data), { text: "Grüße\n" });
    equal([publication.offset, publication.info.user], [1, name]);
    equal(data.read(publication.info.connInfo), { name });
    const fromServer = event(subscription, "publication");
    await call("publish", { channel: `open:${name}`, data: [1, "two"], tags: { kind: "list" } });
    const { data: list, tags, info } = await fromServer;
    equal([data.read(list), tags, info ?? null], [[1, "two"], { kind: "list" }, null]);
    client.disconnect();
  },

  "history": async (format, name, data) => {
    const client = connect(format, { token: token({ sub: name }) });
    const subscription = client.newSubscription(`open:${name}`);
    subscription.subscribe();
    await subscription.ready(PATIENCE);
    for (let count = 1; count <= 5; count++) await call("publish", { channel: `open:${name}`, data: count });
    const offsets = async (options) => (await subscription.history(options)).publications.map((one) => one.offset);
    const { epoch, offset, publications } = await subscription.history({ limit: -1 });
    equal([offset, publications.map((one) => data.read(one.data))], [5, [1, 2, 3, 4, 5]]);
    equal(await offsets({ limit: 2, since: { offset: 1, epoch } }), [2, 3]);
    equal(await offsets({ limit: 2, reverse: true }), [5, 4]);
    equal(await offsets({ limit: 0 }), []);
    await refused(subscription.history({ limit: 1, since: { offset: 1, epoch: "other" } }), 112);
    client.disconnect();
  },

  "presence": async (format, name) => {
    const options = { joinLeave: true };
    const [one, other] = [1, 2].map((number) => connect(format, { token: token({ sub: `${name}-${number}` }) }));
    const [first, second] = [one, other].map((client) => client.newSubscription(`open:${name}`, options));
    first.subscribe();
    await first.ready(PATIENCE);
    const join = event(first, "join", ({ info }) => info.user === `${name}-2`);
    second.subscribe();
    await join;
    const { clients: present } = await first.presence();
    equal(Object.values(present).map(({ user }) => user).sort(), [`${name}-1`, `${name}-2`]);
    const { numClients, numUsers } = await first.presenceStats();
    equal([numClients, numUsers], [2, 2]);
    const leave = event(first, "leave", ({ info }) => info.user === `${name}-2`);
    other.disconnect();
    await leave;
    one.disconnect();
  },

  "recovery": async (format, name, data) => {
    const client = connect(format, { token: token({ sub: name }) });
    const subscription = client.newSubscription(`log:${name}`);
    const received = [];
    subscription.on("publication", (publication) => received.push(data.read(publication.data)));
    subscription.subscribe();
    await subscription.ready(PATIENCE);
    await call("publish", { channel: `log:${name}`, data: 1 });
    while (received.length < 1) await event(subscription, "publication");
    client.disconnect();
    await call("publish", { channel: `log:${name}`, data: 2 });
    await call("publish", { channel: `log:${name}`, data: 3 });
    const again = event(subscription, "subscribed");
    client.connect();
    const { wasRecovering, recovered } = await again;
    equal([wasRecovering, recovered], [true, true]);
    while (received.length < 3) await event(subscription, "publication");
    equal(received, [1, 2, 3]);
    client.disconnect();
  },

  "failed recovery": async (format, name) => {
    const client = connect(format, { token: token({ sub: name }) });
    const since = { offset: 0, epoch: "of another life" };
    await call("publish", { channel: `log:${name}`, data: 1 });
    const subscription = client.newSubscription(`log:${name}`, { since });
    const subscribed = event(subscription, "subscribed");
    subscription.subscribe();
    const { wasRecovering, recovered, streamPosition } = await subscribed;
    equal([wasRecovering, recovered, streamPosition.offset], [true, false, 1]);
    client.disconnect();
  },

  "refusals": async (format, name, data) => {
    const client = connect(format, { token: token({ sub: name }) });
    await event(client, "connected");
    for (const [channel, code] of [["nowhere:x", 102], [name, 103], ["x".repeat(256), 107]]) {
      const subscription = client.newSubscription(channel);
      const end = event(subscription, "unsubscribed");
      subscription.subscribe();
      equal((await end).code, code);
    }
    await refused(client.rpc("method", data.write({})), 108);
    await refused(client.publish(`open:${name}`, data.write({})), 103);
    client.disconnect();
  },

  "what the server says": async (format, name, data) => {
    const client = connect(format, { token: token({ sub: name }) });
    const personal = event(client, "subscribed", ({ channel }) => channel === `#${name}`);
    await event(client, "connected");
    await personal;
    const publication = event(client, "publication");
    await call("publish", { channel: `#${name}`, data: "for you" });
    equal(data.read((await publication).data), "for you");
    const message = event(client, "message");
    await call("send", { user: name, data: { hello: name } });
    equal(data.read((await message).data), { hello: name });
    const subscribed = event(client, "subscribed", ({ channel }) => channel === `log:${name}`);
    await call("subscribe", { user: name, channel: `log:${name}` });
    await subscribed;
    const unsubscribed = event(client, "unsubscribed", ({ channel }) => channel === `log:${name}`);
    await call("unsubscribe", { user: name, channel: `log:${name}` });
    await unsubscribed;
    const subscription = client.newSubscription(`open:${name}`);
    subscription.subscribe();
    await subscription.ready(PATIENCE);
    const end = event(subscription, "unsubscribed");
    await call("unsubscribe", { user: name, channel: `open:${name}` });
    equal((await end).code, 2000);
    const disconnected = event(client, "disconnected");
    await call("disconnect", { user: name });
    equal((await disconnected).code, 3503);
  },
};

const DATA = {
  json: { write: (value) => value, read: (value) => value },
  protobuf: {
    write: (value) => new TextEncoder().encode(JSON.stringify(value)),
    read: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
  },
};

async function conversation() {
  const all = Object.keys(clients).flatMap((format) =>
    Object.entries(CONVERSATION).map(async ([check, talk]) => {
      const name = `${check.replaceAll(" ", "-")}-${format}-${process.pid}`;
      await talk(format, name, DATA[format]).then(() => report(`${check}, ${format}`), (error) => report(`${check}, ${format}`, error));
    }));
  await Promise.all(all);
  process.exit(0);
}

// Subscribers of one channel, and one publisher who repeats what was not acknowledged under the same idempotency key. Every
// message has to reach every subscriber once, at the same offset, and no subscriber may be told of a gap.
async function restarts() {
  const channel = `log:restarts-${process.pid}`;
  const subscribers = Object.keys(clients).flatMap((format) => [1, 2, 3].map((number) => new Subscriber(format, number, channel)));
  await Promise.all(subscribers.map((subscriber) => subscriber.ready()));
  report("ready");
  let isOver = false;
  process.stdin.once("data", () => (isOver = true));
  const began = performance.now();
  let [published, retries, batches] = [0, 0, 0];
  for (;;) {
    const due = isOver ? published : Math.min(Math.floor((performance.now() - began) * rate / 1000), published + 100);
    if (isOver) break;
    if (due === published) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      continue;
    }
    let waiting = [];
    while (published < due) waiting.push(++published);
    for (let attempt = 0; waiting.length > 0; attempt++) {
      const commands = waiting.map((number) => ({ publish: { channel, data: { number }, idempotency_key: `${number}` } }));
      try {
        const { replies } = await call("batch", { commands });
        waiting = waiting.filter((_, index) => !replies[index].publish);
      } catch {
        // The server is away; each message is tried until it is acknowledged.
      }
      if (waiting.length > 0) {
        retries++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    batches++;
  }
  const seconds = (performance.now() - began) / 1000;
  const deadline = Date.now() + PATIENCE;
  while (Date.now() < deadline && subscribers.some(({ received }) => received.length < published)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const order = subscribers[0].received.join();
  for (const subscriber of subscribers) report(subscriber.name, subscriber.fault(published, order));
  console.log(JSON.stringify({ published, retries, batches, seconds, subscribers: subscribers.length }));
  process.exit(0);
}

class Subscriber {
  constructor(format, number, channel) {
    this.name = `subscriber ${number}, ${format}`;
    this.received = [];
    this.faults = [];
    this.recoveries = 0;
    this.client = connect(format, { token: token({ sub: `${format}-${number}` }) });
    this.subscription = this.client.newSubscription(channel);
    let latest = 0;
    this.subscription.on("publication", ({ data, offset }) => {
      if (offset !== latest + 1) this.faults.push(`offset ${offset} after ${latest}`);
      latest = offset;
      this.received.push(DATA[format].read(data).number);
    });
    this.subscription.on("subscribed", ({ wasRecovering, recovered }) => {
      this.recoveries += wasRecovering ? 1 : 0;
      if (wasRecovering && !recovered) this.faults.push("a recovery that failed");
    });
    this.subscription.on("unsubscribed", ({ code, reason }) => this.faults.push(`unsubscribed: ${code} ${reason}`));
    this.client.on("disconnected", ({ code, reason }) => this.faults.push(`disconnected: ${code} ${reason}`));
    this.subscription.subscribe();
  }

  ready() {
    return this.subscription.ready(PATIENCE);
  }

  fault(published, order) {
    const once = new Set(this.received);
    if (this.received.length !== once.size) this.faults.push(`${this.received.length - once.size} came twice`);
    if (once.size !== published) this.faults.push(`${once.size} of ${published} came`);
    if (this.received.join() !== order) this.faults.push("another order than the first subscriber's");
    return this.faults.slice(0, 5).join("; ") || null;
  }
}

({ conversation, restarts })[mode]().catch((error) => {
  report("run", error);
  process.exit(1);
});
