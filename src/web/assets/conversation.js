// What both sides of one connection sent, in order.

import * as api from "./api.js";
import { asArray, asCurl, asHex, asText, toClipboard } from "./copy.js";
import { dump, isText, name, size, span, text } from "./format.js";
import { tls } from "./table.js";

// A silence of this long is shown; one of the second length begins a new block.
const GAP_SHOWN = 100e6;
const GAP_BREAKS = 500e6;
// So many bytes of a block are shown at first, and more at a time.
const WINDOW = 16 * 1024;
const MORE = 64 * 1024;
// So many blocks are made at a time.
const BLOCKS = 500;

const el = (tag, className, ...children) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
};

const button = (label, onClick) => {
  const element = el("button", "", label);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
};

const choice = (label, values) => {
  const element = el("select");
  element.setAttribute("aria-label", label);
  for (const [value, shown] of values) {
    const option = el("option", "", shown);
    option.value = value;
    element.append(option);
  }
  return element;
};

export class Conversation {
  #place = document.getElementById("conversation");
  #id = null;
  #row = null;
  #view = null;
  #isHex = null;
  // The block whose bytes decide between text and hex, until they have come.
  #decisive = null;
  #last = null;
  #turns = [];
  #made = 0;
  #counts = { client: 0, server: 0 };
  #isFetching = false;
  #isStale = false;
  #seen = null;
  #hit = null;
  #parts = {};

  constructor({ onClose, say }) {
    this.onClose = onClose;
    this.say = say;
  }

  get id() {
    return this.#id;
  }

  // Opens a connection; `hit` is where a search found it.
  open(row, hit) {
    this.#id = row.conn;
    this.#row = row;
    this.#view = hit?.view ?? row.view;
    [this.#isHex, this.#decisive] = [null, null];
    this.#hit = hit;
    this.#build();
    this.#restart();
  }

  close() {
    this.#id = null;
    this.#seen?.disconnect();
    this.#turns = [];
    this.#place.hidden = true;
    this.#place.replaceChildren();
  }

  // Takes what is known anew.
  update(row) {
    if (row.conn !== this.#id) return;
    const wasWire = this.#row.view !== row.view;
    this.#row = row;
    this.#tellFacts();
    if (wasWire) {
      this.#view = row.view;
      this.#restart();
    } else this.#fetch();
  }

  toggleHex() {
    if (this.#id !== null) this.#setHex(!this.#isHex);
  }

  #build() {
    const close = button("Close", () => this.onClose());
    const facts = el("div", "facts", el("h2"), close, el("p"), el("p", "bad"));
    const texts = button("Text", () => this.#setHex(false));
    const hexes = button("Hex", () => this.#setHex(true));
    const plain = button("Plaintext", () => this.#setView("plain"));
    const wire = button("Wire", () => this.#setView("wire"));
    const format = choice("Copy as", [
      ["text", "text"], ["hex", "hex"], ["array", "C array"], ["curl", "curl command"],
    ]);
    const side = choice("Side to jump in", [["client", "client"], ["server", "server"]]);
    const offset = el("input");
    offset.placeholder = "offset";
    offset.setAttribute("aria-label", "Offset to jump to");
    offset.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#jump(side.value, offset.value);
    });
    const go = button("Go", () => this.#jump(side.value, offset.value));
    const bar = el("div", "bar", texts, hexes, plain, wire,
      el("span", "group", "Copy as ", format), el("span", "grow"),
      el("span", "group", side, offset, go));
    const turns = el("div");
    turns.id = "turns";
    turns.tabIndex = 0;
    turns.setAttribute("role", "region");
    turns.setAttribute("aria-label", "What was sent");
    this.#parts = { facts, texts, hexes, plain, wire, format, turns };
    this.#place.replaceChildren(facts, bar, turns);
    this.#place.hidden = false;
    this.#tellFacts();
  }

  #tellFacts() {
    const row = this.#row;
    const [title, , details, warning] = this.#parts.facts.children;
    const client = row.process ? `${row.process.name} (${row.process.pid})` : row.client;
    title.textContent = `${row.conn}: ${name(client)} → ${name(row.server)}`;
    const parts = [
      row.address && row.address !== row.server ? name(row.address) : null,
      row.message ? name(row.message) : row.state,
      row.duration_ns === undefined ? null : span(row.duration_ns),
      `client sent ${size(row.client_bytes)}, server sent ${size(row.server_bytes)}`,
      row.tls ? tls(row.tls) : null,
      row.verdict ?? null,
    ];
    details.textContent = parts.filter(Boolean).join(" · ");
    const lost = [
      row.let_go_bytes ? `${size(row.let_go_bytes)} are no longer held (see --web-buffer)` : null,
      row.missed_bytes ? `${size(row.missed_bytes)} were missed, because they came too fast` : null,
    ].filter(Boolean);
    warning.textContent = lost.join("; ");
    warning.hidden = lost.length === 0;
    const hasPlain = row.view === "plain";
    this.#parts.plain.hidden = !hasPlain;
    this.#parts.wire.hidden = !hasPlain;
    this.#press();
  }

  #press() {
    const { texts, hexes, plain, wire } = this.#parts;
    texts.setAttribute("aria-pressed", this.#isHex === false);
    hexes.setAttribute("aria-pressed", this.#isHex === true);
    plain.setAttribute("aria-pressed", this.#view === "plain");
    wire.setAttribute("aria-pressed", this.#view === "wire");
  }

  #setView(view) {
    if (view === this.#view) return;
    this.#view = view;
    [this.#isHex, this.#decisive] = [null, null];
    this.#hit = null;
    this.#restart();
  }

  #setHex(isHex) {
    this.#isHex = isHex;
    this.#press();
    for (const turn of this.#turns.slice(0, this.#made)) this.#render(turn);
  }

  #restart() {
    this.#seen?.disconnect();
    this.#seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) this.#load(this.#turns[Number(entry.target.dataset.turn)]);
      }
    }, { root: this.#parts.turns, rootMargin: "600px" });
    this.#turns = [];
    this.#made = 0;
    this.#last = null;
    this.#counts = { client: 0, server: 0 };
    this.#parts.turns.replaceChildren();
    this.#press();
    this.#isFetching = false;
    this.#fetch();
  }

  // Asks for chunks that came since the last time.
  async #fetch() {
    if (this.#isFetching) {
      this.#isStale = true;
      return;
    }
    this.#isFetching = true;
    const [id, view] = [this.#id, this.#view];
    const isCurrent = () => id === this.#id && view === this.#view;
    try {
      let more = true;
      while (more && isCurrent()) {
        this.#isStale = false;
        const after = this.#last ?? undefined;
        const told = await api.connection(id, { view, after });
        if (!isCurrent()) return;
        this.#take(told.chunks);
        more = told.more || this.#isStale;
      }
      if (this.#hit) {
        const { from, offset } = this.#hit;
        this.#hit = null;
        this.#jump(from, String(offset));
      }
    } catch (error) {
      this.say(error.message);
    } finally {
      if (isCurrent()) this.#isFetching = false;
    }
  }

  // Makes blocks of chunks: what one side said before the other answered, or fell silent.
  #take(chunks) {
    for (const chunk of chunks) {
      this.#last = chunk.number;
      const turn = this.#turns.at(-1);
      const goesOn = turn && turn.side === chunk.from && turn.from + turn.len === chunk.offset
        && chunk.at_ns - turn.until < GAP_BREAKS;
      if (goesOn) {
        turn.len += chunk.len;
        turn.until = chunk.at_ns;
        if (turn.element) this.#grow(turn);
        continue;
      }
      const before = this.#turns.findLast(({ side }) => side === chunk.from);
      this.#counts[chunk.from] += 1;
      this.#turns.push({
        side: chunk.from, number: this.#counts[chunk.from], from: chunk.offset, len: chunk.len,
        at: chunk.at_ns, until: chunk.at_ns, silence: chunk.at_ns - (turn?.until ?? 0),
        lost: chunk.offset - (before ? before.from + before.len : 0),
        index: this.#turns.length, start: 0, bytes: null, element: null, isLoading: false,
      });
    }
    this.#make(Math.min(this.#turns.length, Math.max(BLOCKS, this.#made)));
  }

  // Makes elements for the blocks up to `end`.
  #make(end) {
    const { turns } = this.#parts;
    turns.querySelector(".rest")?.remove();
    for (; this.#made < end; this.#made += 1) this.#makeOne(this.#turns[this.#made]);
    const left = this.#turns.length - this.#made;
    if (left > 0) {
      const rest = button(`Show the next of ${left} more blocks`, () => {
        this.#make(Math.min(this.#turns.length, this.#made + BLOCKS));
      });
      rest.className = "rest";
      turns.append(rest);
    }
  }

  #makeOne(turn) {
    const { turns } = this.#parts;
    if (turn.lost > 0) turns.append(el("p", "gap lost", `${size(turn.lost)} of the ${turn.side} are not held`));
    if (turn.index > 0 && turn.silence >= GAP_SHOWN) {
      turns.append(el("p", "gap", `${span(turn.silence)} later`));
    }
    const who = turn.side === "client" ? "Client" : "Server";
    const about = el("span");
    const copy = button("Copy", () => this.#copy(turn));
    copy.setAttribute("aria-label", `Copy block ${turn.number} of the ${turn.side}`);
    const head = el("header", "", el("strong", "", `${who} ${turn.number}`), about, el("span", "grow"), copy);
    const body = el("pre");
    const more = button("", () => this.#load(turn, turn.bytes.length + MORE));
    more.className = "more";
    more.hidden = true;
    turn.element = el("article", `turn ${turn.side}`, head, body, more);
    turn.element.setAttribute("aria-label", `${who}, block ${turn.number}`);
    turn.element.dataset.turn = turn.index;
    Object.assign(turn, { about, body, more });
    turns.append(turn.element);
    this.#tellTurn(turn);
    this.#seen.observe(turn.element);
  }

  #tellTurn(turn) {
    const len = turn.len.toLocaleString("en");
    turn.about.textContent = `${len} bytes · offset ${turn.from} · +${span(turn.at)}`;
    turn.about.title = `offset 0x${turn.from.toString(16)}`;
  }

  // More of a block has come.
  #grow(turn) {
    this.#tellTurn(turn);
    if (turn.bytes && turn.bytes.length < WINDOW) this.#load(turn, WINDOW);
    else if (turn.bytes) this.#render(turn);
  }

  // Fetches the first bytes of a block, and shows them.
  async #load(turn, len = WINDOW) {
    if (!turn?.element || turn.isLoading) return;
    const wanted = Math.min(len, turn.len - turn.start);
    if (turn.bytes && turn.bytes.length >= wanted) return;
    turn.isLoading = true;
    // The first block decides, whichever comes first.
    this.#decisive ??= turn;
    const [id, view] = [this.#id, this.#view];
    try {
      const bytes = await api.data(id, turn.side, view, turn.from + turn.start, wanted);
      if (id !== this.#id || view !== this.#view) return;
      turn.bytes = bytes;
      if (this.#isHex === null && turn === this.#decisive) this.#setHex(!isText(bytes));
      this.#render(turn);
    } catch (error) {
      turn.body.textContent = error.message;
      if (turn === this.#decisive) this.#decisive = null;
    } finally {
      turn.isLoading = false;
    }
    // What came while it was fetched.
    if (turn.bytes?.length < Math.min(WINDOW, turn.len - turn.start) && turn.bytes.length >= wanted) {
      this.#load(turn, WINDOW);
    }
  }

  #render(turn) {
    if (!turn.bytes || !turn.body) return;
    turn.body.className = this.#isHex ? "hex" : "";
    // A text node: whatever the bytes are, they never become markup.
    turn.body.textContent = this.#isHex ? dump(turn.bytes, turn.from + turn.start) : text(turn.bytes);
    const left = turn.len - turn.start - turn.bytes.length;
    turn.more.hidden = left <= 0;
    turn.more.textContent = `Show more of the ${left.toLocaleString("en")} bytes that follow`;
  }

  async #jump(side, written) {
    const offset = Number(written);
    if (written.trim() === "" || !Number.isInteger(offset) || offset < 0) {
      this.say(`${written || "nothing"} is no offset: expected a number such as 1024 or 0x400`);
      return;
    }
    const turn = this.#turns.find(({ side: other, from, len }) =>
      other === side && offset >= from && offset < from + len);
    if (!turn) {
      this.say(`Byte ${offset} of the ${side} is not held.`);
      return;
    }
    this.#make(Math.max(this.#made, turn.index + 1));
    const within = offset - turn.from;
    if (within >= WINDOW) {
      turn.start = within - (within % 16);
      turn.bytes = null;
      await this.#load(turn);
    }
    turn.element.scrollIntoView({ block: "start" });
    turn.element.querySelector("button").focus({ preventScroll: true });
  }

  async #copy(turn) {
    try {
      const bytes = await api.data(this.#id, turn.side, this.#view, turn.from, turn.len);
      const format = this.#parts.format.value;
      const copied = {
        text: () => asText(bytes),
        hex: () => asHex(bytes),
        array: () => asArray(bytes, `${turn.side}_${turn.number}`),
        curl: () => asCurl(bytes, this.#row),
      }[format]();
      if (copied === null) throw new Error("This block is no HTTP request: copy it in another form.");
      await toClipboard(copied);
      this.say(`Copied ${bytes.length.toLocaleString("en")} bytes as ${format}.`);
    } catch (error) {
      this.say(error.message);
    }
  }
}
