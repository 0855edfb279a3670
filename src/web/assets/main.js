// The page: the table, the filter, the keys, and what comes from the server.

import * as api from "./api.js";
import { Conversation } from "./conversation.js";
import { toClipboard } from "./copy.js";
import { parse } from "./filter.js";
import { millis, size } from "./format.js";
import { Table } from "./table.js";

const $ = (id) => document.getElementById(id);
// How often what stands in the payload is looked for again, and how often durations go on.
const SEARCH_EVERY = 1000;
const CLOCK_EVERY = 1000;

const rows = new Map();
let clockAhead = 0;
let filter = parse("");
let isOrderStale = false;
let room = null;

const now = () => Date.now() + clockAhead;

const table = new Table({
  row: (id) => rows.get(id), now, onSelect: (id) => conversation.id !== null && go(id), onOpen: go,
});
const conversation = new Conversation({ onClose: () => go(null), say });

// Tells something for a moment.
let saying = 0;
function say(what) {
  $("notice").textContent = what;
  $("notice").hidden = what === "";
  clearTimeout(saying);
  saying = setTimeout(() => ($("notice").hidden = true), 6000);
}

// Shows the conversation of a connection, or none.
function go(id) {
  const hash = id === null ? "" : `#${id}`;
  if (location.hash !== hash) {
    history.pushState(null, "", hash || location.pathname + location.search);
  }
  route();
}

function route() {
  const id = Number(location.hash.slice(1));
  const row = rows.get(id);
  $("main").classList.toggle("split", Boolean(row));
  if (!row) {
    conversation.close();
    table.draw();
    $("grid").focus();
    return;
  }
  if (conversation.id === id) return;
  const hit = filter.payload.map((place) => place.found.get(id)).find(Boolean);
  conversation.open(row, hit);
  if (table.selected !== id) table.select(id);
}

// Which connections the filter lets through.
function order() {
  isOrderStale = false;
  const at = now();
  const chosen = [];
  for (const row of rows.values()) if (filter.matches(row, at)) chosen.push(row.conn);
  chosen.sort((a, b) => a - b);
  table.show(chosen);
  tellCounts();
}

function tellCounts() {
  const [all, shown] = [rows.size, table.ids.length];
  const counts = [filter.isAll ? `${all} connections` : `${shown} of ${all} connections`];
  if (room) {
    counts.push(`${size(room.held_bytes)} of ${size(room.bytes)} held`);
    if (room.let_go_connections > 0) counts.push(`${room.let_go_connections} older ones let go`);
    if (room.let_go_bytes > 0) counts.push(`${size(room.let_go_bytes)} of old data let go`);
  }
  $("counts").textContent = counts.join(" · ");
}

function setFilter(line) {
  const shown = (error) => {
    $("filter-error").textContent = error;
    $("filter-error").hidden = error === "";
    $("filter").setAttribute("aria-invalid", error !== "");
  };
  try {
    filter = parse(line);
    shown("");
  } catch (error) {
    shown(error.message);
    return;
  }
  order();
  look();
}

// Has the server look for what the filter wants of the payload.
let looking = null;
async function look() {
  clearTimeout(looking);
  looking = null;
  const asked = filter;
  try {
    for (const place of asked.payload) {
      const { found, ...params } = place;
      const { found: hits } = await api.search(params);
      place.found = new Map(hits.map((hit) => [hit.conn, hit]));
    }
  } catch (error) {
    if (asked === filter) say(error.message);
  }
  if (asked === filter && asked.payload.length > 0) order();
}

function onRows(told) {
  clockAhead = millis(told.now) - Date.now();
  room = told.buffer;
  for (const id of told.removed) isOrderStale = rows.delete(id) || isOrderStale;
  const at = now();
  for (const row of told.rows) {
    row.opened = millis(row.time);
    const before = rows.get(row.conn);
    rows.set(row.conn, row);
    const was = before !== undefined && filter.matches(before, at);
    if (was !== filter.matches(row, at)) isOrderStale = true;
    if (conversation.id === row.conn) conversation.update(row);
  }
  if (filter.payload.length > 0 && told.rows.length > 0) looking ??= setTimeout(look, SEARCH_EVERY);
  if (told.more) return;
  if (isOrderStale) order();
  else {
    table.draw();
    tellCounts();
  }
  if (conversation.id === null && rows.has(Number(location.hash.slice(1)))) route();
}

function onReset(isAnother) {
  rows.clear();
  isOrderStale = true;
  if (isAnother) {
    say("This is another run of tcp_tunn: its connections are shown from now on.");
    go(null);
  }
}

const STATES = {
  live: "live", lost: "lost, connecting again", ended: "the tunnel has ended",
  refused: "refused: open the URL that tcp_tunn printed",
};

function onState(state) {
  $("status").textContent = STATES[state];
  $("status").dataset.state = state === "refused" ? "lost" : state;
  if (state === "ended") {
    $("notice").textContent = "The tunnel has ended. What stands here is all that it was; "
      + "conversations that are not open any more cannot be loaded.";
    $("notice").hidden = false;
    clearTimeout(saying);
  }
}

// What can be downloaded.
function take() {
  const body = $("take-body");
  body.replaceChildren();
  const origin = (params) => api.url("/api/capture.pcapng", params);
  const link = (label, href) => {
    const element = document.createElement("a");
    element.href = href;
    element.download = "";
    element.textContent = label;
    return element;
  };
  const group = (title, links, params) => {
    const heading = document.createElement("h3");
    heading.textContent = title;
    const choices = document.createElement("div");
    choices.className = "choices";
    choices.append(...links);
    const command = `curl -s '${origin(params)}' | wireshark -k -i -`;
    const [line, code, copy] = ["div", "code", "button"].map((tag) => document.createElement(tag));
    line.className = "command";
    code.textContent = command;
    copy.type = "button";
    copy.textContent = "Copy";
    copy.setAttribute("aria-label", `Copy the command for Wireshark: ${title}`);
    copy.addEventListener("click", async () => {
      await toClipboard(command).then(() => (copy.textContent = "Copied"), (e) => say(e.message));
    });
    line.append(code, copy);
    choices.append(line);
    body.append(heading, choices);
  };
  const id = conversation.id ?? table.selected;
  if (id !== null && rows.has(id)) {
    const view = rows.get(id).view;
    const data = (side) => api.url(`/api/connections/${id}/data`, { side, view });
    group(`Connection ${id}`, [
      link("Capture (pcapng)", origin({ connection: id })),
      link("What the client sent", data("client")),
      link("What the server sent", data("server")),
      link("The conversation as JSON", api.url(`/api/connections/${id}/conversation`, { view })),
    ], { connection: id });
  }
  if (!filter.isAll && table.ids.length > 0) {
    const params = { connection: api.ranges(table.ids) };
    const links = [link("Capture (pcapng)", origin(params))];
    group(`The ${table.ids.length} connections that the filter shows`, links, params);
  }
  group(`All ${rows.size} connections`, [link("Capture (pcapng)", origin({}))], {});
  $("take-dialog").showModal();
}

const KEYS = {
  j: () => table.move(1),
  k: () => table.move(-1),
  ArrowDown: () => table.move(1),
  ArrowUp: () => table.move(-1),
  PageDown: () => table.move(20),
  PageUp: () => table.move(-20),
  Home: () => table.move(-Infinity),
  End: () => table.move(Infinity),
  Enter: () => table.selected !== null && go(table.selected),
  x: () => conversation.toggleHex(),
  "/": () => $("filter").focus(),
  "?": () => $("help-dialog").showModal(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { target, key } = event;
  const isWriting = target.matches("input, select, textarea");
  if (key === "Escape") {
    if (target === $("filter") && target.value !== "") {
      target.value = "";
      setFilter("");
    } else if (conversation.id !== null) go(null);
    else if ($("filter").value !== "") {
      $("filter").value = "";
      setFilter("");
    } else table.clear();
    $("grid").focus();
    event.preventDefault();
    return;
  }
  if (target === $("filter") && (key === "Enter" || key === "ArrowDown")) {
    $("grid").focus();
    if (table.selected === null || !table.ids.includes(table.selected)) table.move(1);
    event.preventDefault();
    return;
  }
  const isNative = target.matches("button, a, summary") && key === "Enter";
  const isScrolling = target.id === "turns" && /^(Arrow|Page|Home|End)/.test(key);
  if (isWriting || isNative || isScrolling || !(key in KEYS)) return;
  event.preventDefault();
  KEYS[key]();
}

$("filter").addEventListener("input", (event) => setFilter(event.target.value));
$("help").addEventListener("click", () => $("help-dialog").showModal());
$("take").addEventListener("click", take);
document.addEventListener("keydown", onKey);
addEventListener("popstate", route);
setInterval(() => {
  if (document.visibilityState === "visible") table.draw();
}, CLOCK_EVERY);
onState("lost");
$("status").textContent = "connecting";
api.follow({ onReset, onRows, onState });
$("grid").focus();
