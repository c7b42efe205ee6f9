// Draws what the server has seen: the figure of RFC 6455 section 5.2 with one frame's bits in it, its payload, its mask,
// and the steps of a handshake. Nothing here knows of sockets.

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const OPCODES = { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" };
/** How many bytes of a payload are drawn before somebody asks for more. */
const DRAWN = 48;
/** How long drawing all bits of a frame takes at most, in milliseconds. */
const LONGEST = 2400;

/** An element with properties and children; `data` and `style` are set key by key, names with a dash are attributes. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "data") Object.assign(element.dataset, value);
    else if (key === "style") for (const [what, how] of Object.entries(value)) element.style.setProperty(what, how);
    else if (key.includes("-") || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

export const bytesOf = (hex) => Array.from({ length: hex.length / 2 }, (_, at) => parseInt(hex.slice(2 * at, 2 * at + 2), 16));
const hexOf = (byte) => byte.toString(16).padStart(2, "0");
const bitsOf = (byte) => byte.toString(2).padStart(8, "0");
const plural = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

/** The header's fields: kind, name, how many bits, and what their value says. */
export function fieldsOf(frame) {
  const header = bytesOf(frame.header);
  const [first, second] = header;
  const [masked, short] = [second >> 7, second & 127];
  const opcode = first & 15;
  const one = (at) => (first >> (7 - at)) & 1;
  const fields = [
    ["fin", "FIN", 1, one(0) ? "1: the last frame of its message." : "0: more frames of this message follow."],
    ["rsv", "RSV1", 1, one(1)
      ? "1: the message is compressed. permessage-deflate sets it in a message’s first frame. [RFC 7692 §6]"
      : "0: not compressed, or not a message’s first frame. [RFC 7692 §6]"],
    ["rsv", "RSV2", 1, "Reserved: 0 as long as no extension gives it a meaning."],
    ["rsv", "RSV3", 1, "Reserved: 0 as long as no extension gives it a meaning."],
    ["opcode", "opcode", 4, `${opcode}: ${OPCODES[opcode] ?? "reserved"}. ${opcode > 7
      ? "8 and above are control frames: at most 125 bytes, never in fragments. [RFC 6455 §5.5]"
      : opcode === 0 ? "It carries on the message that an earlier frame began. [RFC 6455 §5.4]" : "It begins a message. [RFC 6455 §5.6]"}`],
    ["mask", "MASK", 1, masked
      ? "1: masked, as every frame of a client is, so that no page can choose the bytes that proxies see. [RFC 6455 §5.1]"
      : "0: not masked, as no frame of a server is. [RFC 6455 §5.1]"],
    ["len", "payload len", 7, short < 126
      ? `${short}: the payload’s length in bytes. Up to 125 it stands here.`
      : `${short}: the length stands in the next ${short === 126 ? "2" : "8"} bytes, because it is ${short === 126 ? "over 125" : "over 65,535"}.`],
  ];
  if (short > 125) {
    const bits = short === 126 ? 16 : 64;
    fields.push(["ext", "extended payload length", bits, `${frame.length.toLocaleString("en")} bytes of payload, in ${bits} bits, the highest first.`]);
  }
  if (masked) {
    const key = header.slice(-4).map(hexOf).join(" ");
    fields.push(["key", "masking key", 32, `${key}: new for every frame. Byte i of the payload is XORed with byte i mod 4 of this. [RFC 6455 §5.3]`]);
  }
  return fields;
}

/** A frame: its header as a figure, and its payload; and how many milliseconds it takes until all of it is there. */
export function drawFrame(frame, example = "") {
  const view = make("div", { className: "drawn" });
  const says = make("p", { className: "says" });
  const clock = { at: 0, step: Math.min(22, LONGEST / (frame.header.length * 4 + Math.min(bytesOf(frame.wire).length, DRAWN) * 2 + 1)) };
  const figure = drawHeader(frame, says, clock);
  view.append(make("p", { className: "sentence" }, example || `${frame.sentence}.`));
  view.append(make("p", { className: "soft" }, `At byte ${frame.offset.toLocaleString("en")} of what the ${frame.from} has sent: `
    + `${plural(frame.header.length / 2, "byte")} of header, ${plural(frame.length, "byte")} of payload.`));
  view.append(figure, says, ...drawPayload(frame, clock));
  if (frame.message && (frame.message.frames > 1 || frame.message.compressed)) view.append(drawMessage(frame));
  const again = make("button", { type: "button", className: "again" }, "Play again");
  again.onclick = () => {
    view.classList.remove("playing");
    void view.offsetWidth;
    view.classList.add("playing");
  };
  view.append(again);
  view.classList.add("playing");
  return { view, takes: clock.at + 250 };
}

function drawHeader(frame, says, clock) {
  const header = bytesOf(frame.header);
  const blocks = header.map((byte, at) => make("div", { className: "byte" },
    make("div", { className: "where" }, make("span", {}, `byte ${at}`), make("code", {}, hexOf(byte))),
    make("div", { className: "cells" })));
  const say = (button, name, what) => {
    for (const other of blocks.flatMap((block) => [...block.querySelectorAll(".segment")])) {
      other.classList.toggle("said", other.dataset.field === button.dataset.field);
    }
    says.replaceChildren(make("b", {}, `${name} `), what);
  };
  const figure = make("div", { className: "figure", role: "group", "aria-label": "The header’s bits" }, ...blocks);
  let bit = 0;
  for (const [kind, name, width, what] of fieldsOf(frame)) {
    for (let left = width; left > 0;) {
      const [byte, span] = [bit >> 3, Math.min(left, 8 - (bit & 7))];
      const bits = bitsOf(header[byte]).slice(bit & 7, (bit & 7) + span);
      const isFirst = left === width;
      const segment = make("button", {
        type: "button", className: `segment ${kind}`, style: { "--span": span }, data: { field: name },
        "aria-label": `${name}, byte ${byte}, bits ${bits}. ${what}`, tabIndex: isFirst ? 0 : -1,
      },
      make("span", { className: "bits" }, ...[...bits].map((digit) => make("span", { className: "bit", style: { "--at": `${tick(clock)}ms` } }, digit))),
      make("span", { className: span === 1 ? "label upright" : "label" }, isFirst ? name : "…"));
      segment.onclick = segment.onfocus = segment.onmouseenter = () => say(segment, name, what);
      blocks[byte].lastChild.append(segment);
      bit += span;
      left -= span;
    }
  }
  // What is worth saying first.
  const telling = header[0] & 64 ? "RSV1" : (header[1] & 127) > 125 ? "payload len" : "opcode";
  figure.querySelector(`[data-field="${telling}"]`).onclick();
  return figure;
}

const tick = (clock) => Math.round(clock.at += clock.step);

/** The payload, a column for each byte: as it passed, the key, what it means. */
function drawPayload(frame, clock) {
  const [wire, plain] = [bytesOf(frame.wire), bytesOf(frame.plain)];
  if (frame.length === 0) return [make("p", { className: "soft" }, "No payload.")];
  const key = bytesOf(frame.header).slice(-4);
  const isMasked = frame.header.length > 4 && (parseInt(frame.header.slice(2, 4), 16) & 128) > 0;
  const compressed = frame.compressed;
  const meaning = compressed ? plain.map(() => ["", 0, "of a message that is compressed"]) : frame.opcode === 8 ? closeOf(plain) : charactersOf(frame, plain);
  const xor = make("div", { className: "xor" });
  const octets = make("div", { className: isMasked ? "octets masked" : "octets", role: "group", "aria-label": "The payload’s bytes" });
  const say = (at) => {
    for (const other of octets.children) other.classList.toggle("said", other.dataset.at === String(at));
    xor.replaceChildren(...drawByte(at, wire[at], isMasked ? key[at % 4] : null, plain[at], meaning[at]));
  };
  const drawSome = (until, isPlayed) => {
    for (let at = octets.childElementCount; at < Math.min(until, plain.length); at += 1) {
      const [shown, number] = meaning[at];
      const lines = [isMasked && ["wire", hexOf(wire[at])], isMasked && ["key", hexOf(key[at % 4])], ["plain", hexOf(plain[at])], !compressed && ["shown", shown || "\u00a0"]];
      const octet = make("button", {
        type: "button", className: `octet ${number % 2 ? "odd" : "even"}`, data: { at }, style: { "--at": `${isPlayed ? tick(clock) : 0}ms` },
        "aria-label": `byte ${at} of the payload: ${hexOf(plain[at])} ${shown}`, tabIndex: at === 0 ? 0 : -1,
      }, ...lines.filter(Boolean).map(([name, text]) => make("span", { className: name }, text)));
      octet.onclick = octet.onfocus = octet.onmouseenter = () => say(at);
      octet.onkeydown = (event) => {
        const to = { ArrowRight: octet.nextSibling, ArrowLeft: octet.previousSibling }[event.key];
        if (to) { event.preventDefault(); to.focus(); }
      };
      octets.append(octet);
    }
  };
  drawSome(DRAWN, true);
  say(0);
  const legend = make("p", { className: "legend" });
  if (isMasked) legend.append(make("span", { className: "wire" }, "on the wire"), " ⊕ ", make("span", { className: "key" }, "key"), " = ");
  legend.append(make("span", { className: "plain" }, "payload"), compressed ? ", compressed" : frame.opcode === 8 ? ": code and reason" : "");
  const parts = [make("h3", {}, "Payload"), legend, octets];
  if (plain.length > DRAWN) {
    const more = make("button", { type: "button", className: "more" });
    const label = () => {
      more.textContent = `More: ${octets.childElementCount} of ${plain.length} are drawn`;
      more.hidden = octets.childElementCount >= plain.length;
    };
    more.onclick = () => { drawSome(octets.childElementCount + 512, false); label(); };
    label();
    parts.push(more);
  }
  if (frame.length > plain.length) parts.push(make("p", { className: "soft" }, `The server shows the first ${plain.length.toLocaleString("en")} of ${frame.length.toLocaleString("en")} bytes.`));
  parts.push(xor);
  if (frame.pending) {
    parts.push(make("p", { className: "soft" }, `${plural(frame.pending.length / 2, "byte")} at the end (${bytesOf(frame.pending).map(hexOf).join(" ")}) `
      + "begin a character that the next frame finishes: frames may cut anywhere, only the whole message has to be UTF-8. [RFC 6455 §5.6]"));
  }
  return parts;
}

/** One byte of the payload, bit by bit. */
function drawByte(at, wire, key, plain, [shown, , what]) {
  const row = (name, kind, byte) => make("div", { className: `bitrow ${kind}` }, make("span", {}, name), make("code", {}, hexOf(byte)),
    ...[...bitsOf(byte)].map((digit) => make("span", { className: "bit" }, digit)));
  const rows = key === null ? [] : [row("on the wire", "wire", wire), row(`⊕ key byte ${at % 4}`, "key", key)];
  return [...rows, row(key === null ? `byte ${at}` : `= byte ${at}`, "plain", plain),
    make("p", { className: "soft" }, shown.trim() ? `${shown} – ${what}` : what)];
}

/** What the bytes of a Close say. */
function closeOf(plain) {
  const code = plain[0] * 256 + (plain[1] ?? 0);
  const ofCode = (which) => `the code’s ${which} byte: ${code} [RFC 6455 §5.5.1]`;
  const reason = charactersOf({ text: true }, plain.slice(2)).map(([shown, number, what]) => [shown, number + 1, `of the reason, ${what}`]);
  return [["", 0, ofCode("higher")], [String(code), 0, ofCode("lower")], ...reason].slice(0, plain.length);
}

/** What character each byte belongs to: the character where it ends, its number, and how it is encoded. */
function charactersOf(frame, plain) {
  const isText = frame.text || frame.opcode > 8;
  if (!isText) return plain.map((byte, at) => ["", at, `the byte ${byte}`]);
  const before = bytesOf(frame.before ?? "");
  const all = [...before, ...plain];
  const found = [];
  let number = 0;
  for (let at = 0; at < all.length; number += 1) {
    const length = all[at] < 0x80 ? 1 : all[at] >= 0xf0 ? 4 : all[at] >= 0xe0 ? 3 : all[at] >= 0xc0 ? 2 : 1;
    const its = all.slice(at, at + length);
    const isWhole = its.length === length;
    let character = "";
    try { character = new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(its)); } catch { /* not all of it is here */ }
    const point = character && `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    its.forEach((_, index) => {
      const place = length === 1 ? "one byte" : `byte ${index + 1} of ${length} (${its.map(bitsOf).join(" ")})`;
      const what = isWhole ? `${point || "no character"}: ${place} in UTF-8` : `byte ${index + 1} of ${length} of a character that goes on in the next frame`;
      found.push([index === its.length - 1 ? (isWhole ? character || "·" : "…") : "", number, what]);
    });
    at += length;
  }
  return found.slice(before.length);
}

/** The message that a frame has completed. */
function drawMessage({ message, compressed }) {
  const payload = bytesOf(message.payload);
  const text = message.text ? new TextDecoder().decode(new Uint8Array(payload)) : payload.map(hexOf).join(" ");
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  const parts = [make("h3", {}, "The whole message"), make("p", { className: "sentence" }, `${message.sentence.split(": ", 1)[0]}: ${message.text ? "text" : "binary"}, ${plural(message.length, "byte")}`
    + (message.frames > 1 ? ` from ${plural(message.frames, "frame")}` : "") + "."), make("pre", { className: "message" }, shown)];
  if (message.compressed) {
    const ratio = Math.round(100 * message.wire_length / Math.max(1, message.length));
    parts.push(make("p", { className: "soft" }, `${plural(message.wire_length, "byte")} passed, ${ratio} % of that: DEFLATE, without the 00 00 ff ff at the end of every message, which the receiver puts back. [RFC 7692 §7.2] `
      + (compressed ? "Both ends keep a window of what was said before, so saying it again is shorter still: try it." : "")));
  }
  return make("div", { className: "whole" }, ...parts);
}

const REQUEST_SAYS = {
  "": "GET, and at least HTTP/1.1. [RFC 6455 §4.1]",
  "host": "Which server is meant.",
  "connection": "“Upgrade”: this hop shall become something else.",
  "upgrade": "“websocket”: this.",
  "origin": "Which page asks. The server refuses pages it does not know: no other protection keeps them out. [RFC 6455 §10.2]",
  "sec-websocket-version": "13: the version that RFC 6455 is.",
  "sec-websocket-key": "16 random bytes in base64. The answer has to be made of them, which no server does by accident.",
  "sec-websocket-extensions": "What the browser offers. It always does; whether it is taken is the server’s to say.",
  "sec-websocket-protocol": "The subprotocols that the page speaks.",
};
const ANSWER_SAYS = {
  "": "101: from the blank line on it is a WebSocket. Anything else is a refusal. [RFC 6455 §4.2.2]",
  "connection": "“Upgrade”: agreed.",
  "upgrade": "“websocket”: to this.",
  "sec-websocket-accept": "Made of the key, as the steps below show. The browser calculates the same and compares.",
  "sec-websocket-extensions": "What was taken of the browser’s offers, with the parameters that hold for both.",
  "sec-websocket-protocol": "The subprotocol that was chosen.",
};

function parseHead(head) {
  const [first, ...lines] = head.trimEnd().split("\r\n");
  return [["", first], ...lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()])];
}

const field = (head, name) => parseHead(head).find(([found]) => found.toLowerCase() === name)?.[1];

function drawHead(title, head, says) {
  const rows = parseHead(head).map(([name, value]) => {
    const what = says[name.toLowerCase()];
    return make("div", { className: what ? "field ours" : "field" },
      make("code", {}, name ? make("b", {}, `${name}: `) : "", value), make("span", { className: "soft" }, what ?? ""));
  });
  const others = rows.filter((row) => !row.classList.contains("ours"));
  const parts = [make("h3", {}, title), ...rows.filter((row) => row.classList.contains("ours"))];
  if (others.length > 0) parts.push(make("details", {}, make("summary", {}, `${plural(others.length, "field")} that the handshake does not look at`), ...others));
  return parts;
}

/** The handshake as far as it has come, and how long that takes. */
export function drawHandshake(request, answer) {
  const view = make("div", { className: "handshake playing" });
  view.append(...drawHead("The browser asks", request.head, REQUEST_SAYS));
  if (!answer) return { view, takes: 0 };
  view.append(...drawHead("The server answers", answer.head, ANSWER_SAYS));
  const [key, accept] = [field(request.head, "sec-websocket-key"), field(answer.head, "sec-websocket-accept")];
  if (key && accept) {
    const hash = [...atob(accept)].map((character) => hexOf(character.charCodeAt(0)));
    const verdict = make("span", { className: "verdict" });
    const step = (name, what, at) => make("li", { style: { "--at": `${at}ms` } }, make("b", {}, name), what);
    view.append(make("h3", {}, "From the key to the answer"), make("ol", { className: "steps" },
      step("The key, as it stands", make("code", { className: "key" }, key), 0),
      step("and behind it a text that is the same for all", make("code", {}, make("span", { className: "key" }, key), make("span", { className: "guid" }, GUID)), 250),
      step("SHA-1 of both: 20 bytes", make("code", { className: "hash" }, hash.join(" ")), 500),
      step("in base64", make("code", { className: "accept" }, accept), 750),
      step("is what Sec-WebSocket-Accept says.", verdict, 1000)));
    // Where the browser lets pages calculate it, this page does so too.
    globalThis.crypto?.subtle?.digest("SHA-1", new TextEncoder().encode(key + GUID)).then((digest) => {
      const own = btoa(String.fromCharCode(...new Uint8Array(digest)));
      verdict.textContent = own === accept ? "✓ calculated by this page as well" : `✗ this page calculates ${own}`;
    });
  }
  const [offered, taken] = [field(request.head, "sec-websocket-extensions"), field(answer.head, "sec-websocket-extensions")];
  view.append(make("h3", {}, "Extensions"), make("dl", { className: "pair" },
    make("dt", {}, "offered"), make("dd", {}, make("code", {}, offered ?? "none")),
    make("dt", {}, "taken"), make("dd", {}, make("code", {}, taken ?? "none: messages are sent as they are"))));
  return { view, takes: 1250 };
}
