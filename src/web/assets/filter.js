// One line that says which connections are wanted.

const STATES = ["connecting", "open", "half-closed", "closed"];
const SIZES = { "": 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3 };
const TIMES = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, "": 1e9, m: 60e9, min: 60e9, h: 3600e9 };

const quantities = {
  bytes: { units: SIZES, of: (row) => row.client_bytes + row.server_bytes },
  client: { units: SIZES, of: (row) => row.client_bytes },
  server: { units: SIZES, of: (row) => row.server_bytes },
  duration: { units: TIMES, of: (row, now) => row.duration_ns ?? (now - row.opened) * 1e6 },
  conn: { units: { "": 1 }, of: (row) => row.conn },
};

const fields = {
  addr: (row) => [row.client, row.server, row.address, row.listener],
  process: (row) => (row.process ? [row.process.name, String(row.process.pid)] : []),
  sni: (row) => [row.tls?.sni],
  tls: (row) => Object.values(row.tls ?? {}),
  end: (row) => [row.reason, row.by, row.message],
};

const everywhere = (row) =>
  [...fields.addr(row), ...fields.process(row), ...fields.tls(row), ...fields.end(row), row.state];

const has = (values, word) => {
  const wanted = word.toLowerCase();
  return values.some((value) => value?.toLowerCase().includes(wanted));
};

// The terms of a line: a name, an operator and a value each.
function terms(line) {
  const pattern = /(-?)(?:([a-z]+)(:|>=|<=|>|<|=))?(?:"((?:[^"\\]|\\.)*)"|([^\s"]+|(?="?)))(")?/giy;
  const found = [];
  let at = 0;
  while (at < line.length) {
    if (/\s/.test(line[at])) {
      at += 1;
      continue;
    }
    pattern.lastIndex = at;
    const term = pattern.exec(line);
    if (!term || term[6] || term[0] === "") throw new Error('A quotation mark has no partner: add "');
    const [whole, not, name, operator, quoted, plain] = term;
    const value = quoted === undefined ? plain ?? "" : quoted.replace(/\\(.)/g, "$1");
    // As in localhost:8080.
    const isPort = operator === ":" && /^\d+$/.test(value) && !(name.toLowerCase() in quantities);
    if (isPort && !(name.toLowerCase() in fields)) found.push({ not: not === "-", value: whole });
    else found.push({ not: not === "-", name: name?.toLowerCase(), operator, value, whole });
    at += whole.length;
  }
  return found;
}

function quantity({ name, operator, value }) {
  const { units, of } = quantities[name];
  const parts = /^([0-9]*\.?[0-9]+)\s*([a-zµ]*)$/i.exec(value);
  const factor = parts && units[parts[2].toLowerCase()];
  if (!factor) {
    const example = name === "duration" ? "duration>2s" : name === "conn" ? "conn=3" : `${name}>1MB`;
    throw new Error(`${name}${operator}${value}: expected a number, as in ${example}`);
  }
  const wanted = Number(parts[1]) * factor;
  const compare = {
    ">": (a) => a > wanted, "<": (a) => a < wanted, ">=": (a) => a >= wanted,
    "<=": (a) => a <= wanted, "=": (a) => a === wanted, ":": (a) => a === wanted,
  }[operator];
  return (row, now) => compare(of(row, now));
}

function test(term, payload) {
  const { name, operator, value, whole } = term;
  if (!name) return (row) => has(everywhere(row), value);
  if (name in quantities) return quantity(term);
  if (operator !== ":") {
    throw new Error(`${whole}: only bytes, client, server, duration and conn can be compared`);
  }
  if (value === "") throw new Error(`${name}: needs a value after the colon`);
  if (name === "state") {
    if (!STATES.includes(value)) throw new Error(`state:${value}: expected ${STATES.join(", ")}`);
    return (row) => row.state === value;
  }
  if (name in fields) return (row) => has(fields[name](row), value);
  if (name === "text" || name === "hex") {
    if (name === "hex" && !/^(\s*[0-9a-f]{2})+\s*$/i.test(value)) {
      throw new Error(`hex:${value}: expected pairs of hexadecimal digits, as in hex:0d0a`);
    }
    const place = { [name]: value, found: new Map() };
    payload.push(place);
    return (row) => place.found.has(row.conn);
  }
  const known = ["addr", "process", "sni", "tls", "end", "state", "text", "hex", "bytes"];
  throw new Error(`${name}: is no column: expected ${known.join(", ")}, or a word in quotes`);
}

// What a line asks for: `matches(row, now)`, and `payload`, the searches that the server has to
// make for it. Throws an error with what is wrong.
export function parse(line) {
  const payload = [];
  const tests = terms(line).map((term) => {
    const matches = test(term, payload);
    return term.not ? (row, now) => !matches(row, now) : matches;
  });
  return { payload, isAll: tests.length === 0, matches: (row, now) => tests.every((t) => t(row, now)) };
}
