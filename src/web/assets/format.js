// Numbers, times and bytes as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export function size(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

// Nanoseconds as a span of time.
export function span(nanos) {
  if (nanos < 1e3) return `${nanos} ns`;
  if (nanos < 1e6) return `${(nanos / 1e3).toFixed(0)} µs`;
  if (nanos < 1e9) return `${(nanos / 1e6).toFixed(nanos < 1e7 ? 2 : 1)} ms`;
  if (nanos < 60e9) return `${(nanos / 1e9).toFixed(nanos < 10e9 ? 2 : 1)} s`;
  const seconds = Math.floor(nanos / 1e9);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

// Milliseconds since 1970 of a time in RFC 3339.
export const millis = (time) => Date.parse(time.slice(0, 23) + "Z");

// The local time of day, with milliseconds.
export function clock(time) {
  const date = new Date(millis(time));
  const two = (number) => String(number).padStart(2, "0");
  const fraction = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${fraction}`;
}

const pair = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export const hex = (bytes) => Array.from(bytes, (byte) => pair[byte]).join("");

// Rows as `hexdump -C` has them; offsets count from `start`.
export function dump(bytes, start) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    let left = "";
    let text = "";
    for (let index = 0; index < 16; index += 1) {
      left += index < row.length ? `${pair[row[index]]} ` : "   ";
      if (index === 7) left += " ";
    }
    for (const byte of row) {
      text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
    }
    rows.push(`${(start + at).toString(16).padStart(8, "0")}  ${left} |${text}|`);
  }
  return rows.join("\n");
}

// What would turn writing round, hide, or control something.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

const unseen = (c) =>
  c < " " ? String.fromCharCode(0x2400 + c.charCodeAt(0))
    : c === "\u007f" ? "\u2421"
      : `\\u{${c.charCodeAt(0).toString(16)}}`;

// Bytes as text in which everything can be seen.
export function text(bytes) {
  const decoded = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  return decoded.replace(/\r\n/g, "\n").replace(UNSEEN, unseen);
}

// A name that came over the network, in which everything can be seen.
export const name = (value) => value.replace(/[\t\n]/g, " ").replace(UNSEEN, unseen);

export function isText(bytes) {
  let strange = 0;
  for (const byte of bytes) {
    if (byte === 0) return false;
    if (byte < 0x20 && byte !== 9 && byte !== 10 && byte !== 13) strange += 1;
    if (byte >= 0x80) strange += 0.2;
  }
  return strange <= bytes.length * 0.1;
}
