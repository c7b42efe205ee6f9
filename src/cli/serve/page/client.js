// A client of the push server in plain JavaScript: it connects, subscribes, comes back by itself, and recovers what was
// published meanwhile. It speaks the Centrifugo client protocol (JSON); any client of that protocol can do the same.

const FIRST_DELAY = 500;
const LONGEST_DELAY = 20_000;
const PING_GRACE = 10_000;

/** These codes say that coming back is of no use. */
const isFinal = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);

/** An error reply of the server. */
export class ServerError extends Error {
  constructor({ code, message, temporary = false }) {
    super(message);
    this.code = code;
    this.temporary = temporary;
  }
}

/** The connection was lost before the answer came: whether the command was carried out is not known. */
export class Lost extends Error {}

/**
 * One connection to the server, for as long as it is wanted.
 *
 * `token()` gives a connection token, or nothing. `onState(state, detail)` hears "connecting", "open", "waiting" (detail:
 * when it tries again, as `Date.now()` counts) and "closed" (detail: code and reason). `onMessage(data)` gets what belongs
 * to no channel.
 */
export class Client {
  constructor(url, { token = async () => "", onState = () => {}, onMessage = () => {} } = {}) {
    Object.assign(this, { url, token, onState, onMessage });
    this.subscriptions = new Map();
    this.outbox = [];
    this.replies = new Map();
    this.lastId = 0;
    this.attempts = 0;
    this.wanted = false;
    this.isOpen = false;
    this.id = null;
  }

  connect() {
    this.wanted = true;
    clearTimeout(this.retry);
    if (!this.socket) this.#open();
  }

  disconnect() {
    this.wanted = false;
    clearTimeout(this.retry);
    if (this.socket) this.socket.close(1000, "");
    else this.onState("closed", { code: 1000, reason: "" });
  }

  /**
   * Subscribes now and after each reconnection. `handlers.subscribed(result, isFirst)` comes first, then what was missed and
   * what is published, each by `handlers.publication(publication)`; `handlers.failed(error)` says that it is not allowed.
   */
  subscribe(channel, handlers) {
    const subscription = { channel, handlers, position: null, active: false };
    this.subscriptions.set(channel, subscription);
    if (this.isOpen) this.#subscribe(subscription);
  }

  /** Ends a subscription. */
  unsubscribe(channel) {
    if (this.subscriptions.delete(channel) && this.isOpen) this.command({ unsubscribe: { channel } }).catch(() => {});
  }

  /**
   * Publishes, now or once there is a connection, in order. What was sent and not answered when a connection was lost is
   * sent again: give data an id of their own if seeing them twice would matter.
   */
  publish(channel, data) {
    return new Promise((resolve, reject) => {
      const item = { channel, data, resolve, reject };
      this.outbox.push(item);
      if (this.isOpen) this.#deliver(item);
    });
  }

  /** Sends a command, such as `{ presence: { channel } }`; the promise has the result of that name. */
  async command(command) {
    if (!this.isOpen && !command.connect) throw new Lost("there is no connection");
    const [method] = Object.keys(command);
    const id = ++this.lastId;
    const reply = await new Promise((resolve, reject) => {
      this.replies.set(id, { resolve, reject });
      this.socket.send(JSON.stringify({ id, ...command }));
    });
    if (reply.error) throw new ServerError(reply.error);
    return reply[method] ?? {};
  }

  #open() {
    this.onState("connecting");
    const socket = (this.socket = new WebSocket(this.url));
    socket.onopen = () => this.#begin(socket);
    socket.onmessage = ({ data }) => {
      // One message of the socket may carry several of the protocol's, a line each.
      for (const line of data.split("\n")) if (line) this.#receive(JSON.parse(line));
    };
    socket.onclose = ({ code, reason }) => this.#closed(socket, code, reason);
  }

  async #begin(socket) {
    try {
      const token = await this.token();
      if (socket !== this.socket) return;
      const result = await this.command({ connect: { ...(token && { token }), name: "loopwire-page" } });
      this.id = result.client;
      this.ping = result.ping ? result.ping * 1000 : 0;
      this.answersPings = result.pong;
      this.attempts = 0;
      this.isOpen = true;
      this.#watch();
      this.onState("open");
      for (const subscription of this.subscriptions.values()) this.#subscribe(subscription);
      for (const item of [...this.outbox]) this.#deliver(item);
    } catch (error) {
      // After an error the connection is of no use; one that may pass is tried again on the next.
      if (error instanceof ServerError && !error.temporary && error.code !== 109) this.wanted = false;
      if (!(error instanceof Lost)) socket.close(1000, "");
      this.refusal = error;
    }
  }

  async #subscribe(subscription) {
    const { channel, position, handlers } = subscription;
    try {
      const recovery = position && { recover: true, offset: position.offset, epoch: position.epoch };
      const result = await this.command({ subscribe: { channel, recoverable: true, join_leave: true, ...recovery } });
      if (this.subscriptions.get(channel) !== subscription) return;
      subscription.active = true;
      const isFirst = position === null;
      if (result.epoch !== undefined) {
        subscription.position = { offset: result.offset ?? 0, epoch: result.epoch };
      }
      handlers.subscribed?.(result, isFirst);
      for (const publication of result.publications ?? []) this.#published(subscription, publication);
    } catch (error) {
      if (error instanceof ServerError) handlers.failed?.(error);
    }
  }

  #deliver(item) {
    this.command({ publish: { channel: item.channel, data: item.data } }).then(
      () => this.#settle(item, item.resolve),
      (error) => {
        // Without an answer it stays in the outbox, for the next connection.
        if (error instanceof ServerError) this.#settle(item, () => item.reject(error));
      },
    );
  }

  #settle(item, how) {
    this.outbox.splice(this.outbox.indexOf(item), 1);
    how();
  }

  #receive(message) {
    this.#watch();
    if (message.id) {
      const reply = this.replies.get(message.id);
      this.replies.delete(message.id);
      reply?.resolve(message);
    } else if (message.push) {
      this.#pushed(message.push);
    } else if (this.answersPings) {
      this.socket.send("{}");
    }
  }

  #pushed({ channel, pub, join, leave, message, unsubscribe }) {
    if (message) return this.onMessage(message.data);
    const subscription = this.subscriptions.get(channel);
    if (!subscription) return;
    if (pub) this.#published(subscription, pub);
    if (join) subscription.handlers.join?.(join.info);
    if (leave) subscription.handlers.leave?.(leave.info);
    if (unsubscribe) {
      subscription.active = false;
      if (unsubscribe.code >= 2500) this.#subscribe(subscription);
      else subscription.handlers.failed?.(new ServerError({ code: unsubscribe.code, message: unsubscribe.reason }));
    }
  }

  #published(subscription, publication) {
    if (publication.offset && subscription.position) subscription.position.offset = publication.offset;
    subscription.handlers.publication?.(publication);
  }

  /** Whoever has heard nothing for longer than a ping should take has no connection, whatever the socket says. */
  #watch() {
    clearTimeout(this.watchdog);
    if (this.ping) this.watchdog = setTimeout(() => this.#closed(this.socket, 0, "no ping"), this.ping + PING_GRACE);
  }

  #closed(socket, code, reason) {
    if (socket !== this.socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
    clearTimeout(this.watchdog);
    this.socket = null;
    this.isOpen = false;
    this.id = null;
    for (const { reject } of this.replies.values()) reject(new Lost("the connection was lost"));
    this.replies.clear();
    for (const subscription of this.subscriptions.values()) subscription.active = false;
    if (isFinal(code)) this.wanted = false;
    if (this.wanted) return this.#wait();
    this.onState("closed", this.refusal ? { code: this.refusal.code, reason: this.refusal.message } : { code, reason });
    this.refusal = null;
  }

  /** Full jitter: any time up to a ceiling that doubles, so that a thousand clients do not come back at once. */
  #wait() {
    const ceiling = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.attempts++);
    const delay = Math.max(100, Math.random() * ceiling);
    this.onState("waiting", Date.now() + delay);
    this.retry = setTimeout(() => this.#open(), delay);
  }
}
