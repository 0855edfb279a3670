// The table of connections. Only the rows that can be seen exist.

import { clock, name, size, span } from "./format.js";

const HEIGHT = 30;
// So many rows exist above and below those that can be seen.
const SPARE = 8;

const COLUMNS = [
  { title: "#", kind: "number", show: (row) => row.conn },
  { title: "Time", kind: "wide mid narrow", show: (row) => clock(row.time) },
  { title: "Client", kind: "wide narrow", show: (row) =>
    row.process ? `${name(row.process.name)} (${row.process.pid})` : name(row.client) },
  { title: "Destination", kind: "", show: (row) => name(row.server) },
  { title: "State", kind: "state", show: (row) =>
    row.state === "closed" ? (row.reason === "finished" ? "closed" : row.reason) : row.state },
  { title: "Sent", about: "by the client", kind: "number", show: (row) => size(row.client_bytes) },
  { title: "Received", about: "by the client", kind: "number", show: (row) => size(row.server_bytes) },
  { title: "Duration", kind: "number wide mid narrow", show: (row, now) =>
    span(row.duration_ns ?? Math.max(0, (now - row.opened) * 1e6)) },
  { title: "TLS", kind: "wide mid narrow", show: (row) => (row.tls ? tls(row.tls) : "") },
  { title: "Time went to", kind: "wide mid narrow", show: (row) => row.verdict ?? "" },
];

export function tls({ state, version, sni, alpn, why }) {
  const facts = [version ?? "TLS", sni, alpn, why ?? state];
  return facts.filter(Boolean).map(name).join(" · ");
}

export class Table {
  #grid = document.getElementById("grid");
  #body = document.getElementById("body");
  #ids = [];
  #row;
  #now;
  #selected = null;
  #elements = new Map();
  #isDue = false;
  #isAtEnd = true;

  // `row(id)` is what is known of a connection, `now()` the server's time in milliseconds.
  constructor({ row, now, onSelect, onOpen }) {
    this.#row = row;
    this.#now = now;
    const head = document.getElementById("head");
    COLUMNS.forEach(({ title, about, kind }, index) => {
      const cell = document.createElement("div");
      cell.setAttribute("role", "columnheader");
      if (about) cell.title = `${title} ${about}`;
      cell.setAttribute("aria-colindex", index + 1);
      cell.className = kind;
      cell.textContent = title;
      head.append(cell);
    });
    this.#grid.setAttribute("aria-colcount", COLUMNS.length);
    this.#grid.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = this.#grid;
      this.#isAtEnd = scrollTop + clientHeight >= scrollHeight - HEIGHT;
      this.draw();
    }, { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.#grid);
    this.#body.addEventListener("click", (event) => {
      const element = event.target.closest("[role=row]");
      if (!element) return;
      this.select(Number(element.dataset.id));
      onOpen(this.#selected);
    });
    this.onSelect = onSelect;
  }

  get selected() {
    return this.#selected;
  }

  get ids() {
    return this.#ids;
  }

  // Shows these connections, in this order.
  show(ids) {
    this.#ids = ids;
    document.getElementById("empty").hidden = ids.length > 0;
    this.#grid.setAttribute("aria-rowcount", ids.length + 1);
    this.#body.style.height = `${ids.length * HEIGHT}px`;
    if (this.#isAtEnd && this.#selected === null) this.#grid.scrollTop = this.#grid.scrollHeight;
    this.draw();
  }

  // Draws, once before the next picture.
  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { scrollTop, clientHeight } = this.#grid;
    const first = Math.max(0, Math.floor(scrollTop / HEIGHT) - SPARE);
    const last = Math.min(this.#ids.length, Math.ceil((scrollTop + clientHeight) / HEIGHT) + SPARE);
    const unused = this.#elements;
    const now = this.#now();
    this.#elements = new Map();
    for (let index = first; index < last; index += 1) {
      const id = this.#ids[index];
      const element = unused.get(id) ?? this.#create();
      unused.delete(id);
      this.#elements.set(id, element);
      this.#fill(element, id, index, now);
    }
    for (const element of unused.values()) element.remove();
    this.#mark();
  }

  #create() {
    const element = document.createElement("div");
    element.setAttribute("role", "row");
    COLUMNS.forEach(({ kind }, index) => {
      const cell = document.createElement("div");
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-colindex", index + 1);
      cell.className = kind;
      cell.append(document.createTextNode(""));
      element.append(cell);
    });
    this.#body.append(element);
    return element;
  }

  #fill(element, id, index, now) {
    const row = this.#row(id);
    if (!row) return;
    element.id = `row-${id}`;
    element.dataset.id = id;
    element.style.transform = `translateY(${index * HEIGHT}px)`;
    element.setAttribute("aria-rowindex", index + 2);
    element.setAttribute("aria-selected", id === this.#selected);
    COLUMNS.forEach(({ kind, show }, column) => {
      const cell = element.children[column];
      const shown = String(show(row, now));
      const text = cell.firstChild;
      if (text.data !== shown) {
        text.data = shown;
        cell.title = shown;
      }
      if (kind === "state") {
        const isBad = row.state === "closed" && row.reason !== "finished";
        cell.className = isBad ? "state bad" : row.state === "closed" ? "state" : "state live";
        cell.title = row.message ?? row.state;
      }
    });
  }

  #mark() {
    const element = this.#elements.get(this.#selected);
    if (element) this.#grid.setAttribute("aria-activedescendant", element.id);
    else this.#grid.removeAttribute("aria-activedescendant");
  }

  // Chooses a connection, and scrolls to it.
  select(id) {
    this.#selected = id;
    const index = this.#ids.indexOf(id);
    if (index >= 0) {
      const head = this.#grid.querySelector(".head").offsetHeight;
      const { scrollTop, clientHeight } = this.#grid;
      const top = index * HEIGHT;
      if (top < scrollTop) this.#grid.scrollTop = top;
      else if (top + HEIGHT + head > scrollTop + clientHeight) {
        this.#grid.scrollTop = top + HEIGHT + head - clientHeight;
      }
    }
    this.draw();
    this.onSelect(id);
  }

  // Selects the connection that is `by` rows further down.
  move(by) {
    if (this.#ids.length === 0) return;
    const index = this.#ids.indexOf(this.#selected);
    const next = index < 0 ? (by > 0 ? 0 : this.#ids.length - 1) : index + by;
    this.select(this.#ids[Math.min(Math.max(next, 0), this.#ids.length - 1)]);
  }

  // Chooses none.
  clear() {
    this.#selected = null;
    this.draw();
  }
}
