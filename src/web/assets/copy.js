// Bytes in the forms that other programs take.

import { hex } from "./format.js";

export const asHex = (bytes) => hex(bytes).replace(/(.{64})(?=.)/g, "$1\n");

export const asText = (bytes) => new TextDecoder().decode(bytes);

export function asArray(bytes, name) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += 12) {
    rows.push(Array.from(bytes.subarray(at, at + 12), (byte) => `0x${hex([byte])}`).join(", "));
  }
  return `const unsigned char ${name}[${bytes.length}] = {\n  ${rows.join(",\n  ")}\n};\n`;
}

const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;

// What curl works out by itself.
const OWN = new Set(["host", "content-length", "connection", "transfer-encoding"]);

// A command that sends an HTTP/1 request again; null where the bytes are none.
export function asCurl(bytes, row) {
  const whole = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const end = whole.indexOf("\r\n\r\n");
  const [first, ...lines] = whole.slice(0, end < 0 ? undefined : end).split("\r\n");
  const request = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(first);
  if (!request || end < 0) return null;
  const headers = lines.map((line) => /^([^:]+):\s*(.*)$/.exec(line)).filter(Boolean);
  const value = (wanted) => headers.find(([, name]) => name.toLowerCase() === wanted)?.[2];
  const [, method, target] = request;
  const scheme = row.tls ? "https" : "http";
  const place = /^[a-z]+:\/\//i.test(target) ? target : `${scheme}://${value("host") ?? row.server}${target}`;
  const words = ["curl"];
  const body = bytes.subarray(end + 4);
  if (method === "HEAD") words.push("--head");
  else if (method !== (body.length > 0 ? "POST" : "GET")) words.push("-X", method);
  words.push(quoted(place));
  for (const [, name, content] of headers) {
    if (!OWN.has(name.toLowerCase())) words.push("-H", quoted(`${name}: ${content}`));
  }
  if (body.length === 0) return words.join(" ");
  words.push("--data-binary", "@-");
  const octal = (byte) => `\\${byte.toString(8).padStart(3, "0")}`;
  const printable = Array.from(body, (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x25 && byte !== 0x27 && byte !== 0x5c
      ? String.fromCharCode(byte) : octal(byte)).join("");
  return `printf '${printable}' | ${words.join(" ")}`;
}

// Puts text on the clipboard, also where the browser grants that to secure pages only.
export async function toClipboard(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (!isCopied) throw new Error("the browser does not let this page copy");
}
