// What the server is asked for.

const token = new URLSearchParams(location.search).get("token") ?? "";

// The URL of a part of the API.
export function url(path, params = {}) {
  const found = new URL(path, location.origin);
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null) found.searchParams.set(name, value);
  }
  found.searchParams.set("token", token);
  return found.href;
}

async function ask(path, params) {
  const answer = await fetch(url(path, params), { cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
  return answer;
}

export const connection = async (id, params) =>
  (await ask(`/api/connections/${id}`, params)).json();

export async function data(id, side, view, from, len) {
  const answer = await ask(`/api/connections/${id}/data`, { side, view, from, len });
  return new Uint8Array(await answer.arrayBuffer());
}

export const search = async (params) => (await ask("/api/search", params)).json();

// Follows what changes, for as long as the tunnel runs. The browser connects again by itself.
export function follow({ onReset, onRows, onState }) {
  let known = null;
  const events = new EventSource(url("/api/events"));
  events.addEventListener("open", () => onState("live"));
  events.addEventListener("reset", (event) => {
    onReset(known !== null && known !== event.data);
    known = event.data;
  });
  events.addEventListener("rows", (event) => {
    const told = JSON.parse(event.data);
    onRows(told);
    if (told.ended && !told.more) {
      events.close();
      onState("ended");
    }
  });
  events.addEventListener("error", () => {
    onState(events.readyState === EventSource.CLOSED ? "refused" : "lost");
  });
}

// Connections as `1,3-5`.
export function ranges(ids) {
  const found = [];
  for (const id of ids) {
    const last = found.at(-1);
    if (last && last[1] + 1 === id) last[1] = id;
    else found.push([id, id]);
  }
  return found.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}
