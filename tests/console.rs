//! The console's output in the hands of its readers: terminals, perl, jq.

#[cfg(feature = "cli")]
mod many;
#[cfg(feature = "cli")]
mod terminal;

use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use tcp_tunn::console::{Console, ConsoleOptions, Expression, Format, TimeStyle};
use tcp_tunn::event::{ConnectionId, Direction, Event, EventKind, Leg, Side, Timestamp, View};
use tcp_tunn::sink::replay::replay;

use crate::fixtures;

fn shown(events: &[Event], options: ConsoleOptions) -> String {
    let mut out = Vec::new();
    replay(events, &mut Console::new(&mut out, options)).unwrap();
    String::from_utf8(out).unwrap()
}

fn format(format: Format) -> ConsoleOptions {
    let mut options = ConsoleOptions::default();
    options.format = format;
    options
}

/// What `side` of connection 1 said.
fn said(events: &[Event], side: Side) -> Vec<u8> {
    let mut said = Vec::new();
    for event in events {
        if let EventKind::Data { direction, leg: Leg::Received, bytes, .. } = &event.kind
            && event.connection == ConnectionId(1)
            && direction.sender() == side
        {
            said.extend_from_slice(bytes);
        }
    }
    said
}

/// Chunks of all lengths, of noise and of rows that repeat, from two connections in turn.
fn busy() -> Vec<Event> {
    let mut offsets = [0; 2];
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        (state >> 33) % below
    };
    (0..400)
        .map(|step| {
            let len = random(200) as usize + 1;
            let noisy = random(2) == 0;
            let bytes: Vec<u8> =
                (0..len).map(|_| if noisy { random(256) as u8 } else { b'=' }).collect();
            let connection = 1 + step % 2;
            let side = if random(2) == 0 { Side::Client } else { Side::Server };
            let next = &mut offsets[side as usize];
            let offset = if connection == 1 { *next } else { 0 };
            *next += if connection == 1 { len as u64 } else { 0 };
            let direction = Direction::from(side);
            let bytes = Bytes::from(bytes);
            let kind =
                EventKind::Data { direction, leg: Leg::Received, view: View::Wire, offset, bytes };
            Event { connection: ConnectionId(connection), time: Timestamp(step), kind }
        })
        .collect()
}

fn conversations() -> Vec<Vec<Event>> {
    fixtures::all().into_iter().map(|(_, events)| events).chain([busy()]).collect()
}

/// The line of docs/console.md that rebuilds what the first client sent, without its files.
const DOCUMENTED_JQ: &str = "jq -r 'select(.event == \"data\" and .conn == 1 \
                             and .from == \"client\") | .data' | base64 -d";

/// What a shell's command writes when it reads `input`.
fn piped(command: &str, input: &str) -> Vec<u8> {
    let mut shell = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        shell.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command}");
    output.stdout
}

#[test]
fn one_documented_command_turns_rows_back_into_bytes() {
    let manual = include_str!("../docs/console.md");
    let command = manual.lines().find(|line| line.starts_with("perl -ne ")).unwrap();
    let command = command.strip_suffix(" shown > said").unwrap();
    for events in conversations() {
        let rows = shown(&events, format(Format::Hexdump));
        for (side, name) in [(Side::Client, "Client"), (Side::Server, "Server")] {
            let command = command.replace("Server ->", &format!("{name} ->"));
            assert_eq!(piped(&command, &rows), said(&events, side), "{name}: {rows}");
        }
    }
}

#[test]
fn jq_rebuilds_each_stream_from_json() {
    let manual = include_str!("../docs/console.md");
    let line = DOCUMENTED_JQ.replace("' | base64 -d", "' events.json | base64 -d > asked\n");
    assert!(manual.contains(&line), "docs/console.md has another line");
    for events in conversations() {
        let json = shown(&events, format(Format::Json));
        for (side, name) in [(Side::Client, "client"), (Side::Server, "server")] {
            let command = DOCUMENTED_JQ.replace("client", name);
            assert_eq!(piped(&command, &json), said(&events, side), "{name}");
        }
    }
}

/// Whether a terminal only prints `text`: it has no controls but line feeds and colors, and
/// nothing that changes the direction of text.
pub(crate) fn is_harmless(text: &str) -> bool {
    let colors = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    let text = colors.replace_all(text, "");
    let commands = |c: char| {
        c != '\n'
            && (c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'))
    };
    !text.contains(commands)
}

#[test]
fn traffic_and_names_never_control_terminal() {
    assert!(!is_harmless("\x1b[2J") && !is_harmless("\u{9b}") && !is_harmless("\u{202e}"));
    let any_byte = "(?s-u).".parse::<Expression>().unwrap();
    for events in conversations() {
        for kind in [Format::Hexdump, Format::Text, Format::Json] {
            for color in [false, true] {
                let mut options = format(kind);
                options.color = color;
                options.grep = color.then(|| any_byte.clone());
                assert!(is_harmless(&shown(&events, options)), "{kind:?}");
            }
        }
    }
}

/// What a client says in chunks, as connection `connection`.
fn chunks(connection: u64, chunks: &[&'static [u8]]) -> Vec<Event> {
    let mut next = 0;
    let event = |bytes: &&'static [u8]| {
        let offset = next;
        next += bytes.len() as u64;
        let (direction, bytes) = (Direction::ClientToServer, Bytes::from_static(bytes));
        let kind =
            EventKind::Data { direction, leg: Leg::Received, view: View::Wire, offset, bytes };
        Event { connection: ConnectionId(connection), time: Timestamp(offset), kind }
    };
    chunks.iter().map(event).collect()
}

#[test]
fn gap_begins_new_line_of_text() {
    let mut options = format(Format::Text);
    options.time = TimeStyle::None;
    options.max_print = Some(6);
    let events = chunks(1, &[b"see a\xc3 and more", b"\xbcsee b", b"hidden\n", b"see c\n"]);
    let all = "[1] -> see a\n... 9 bytes more\n[1] ->+\\xc3\n[1] -> \\xbcsee b\n\
               [1] ->+hidden\n... 1 byte more\n[1] -> see c\n";
    assert_eq!(shown(&events, options.clone()), all);
    options.grep = Some("see".parse::<Expression>().unwrap());
    let matching = "[1] -> see a\n... 9 bytes more\n[1] ->+\\xc3\n[1] -> \\xbcsee b\n\
                    [1] -> see c\n";
    assert_eq!(shown(&events, options), matching);
}

#[test]
fn relative_time_counts_from_hidden_first_event() {
    let mut events = chunks(1, &[b"first"]);
    events.extend(chunks(2, &[b"se", b"cond"]).into_iter().skip(1));
    let mut options = format(Format::Text);
    options.time = TimeStyle::Relative;
    options.connection = Some(ConnectionId(2));
    assert_eq!(shown(&events, options), "[2] 0.000000002 -> cond\n");
}

#[test]
fn match_is_marked_in_text() {
    let mut options = format(Format::Text);
    options.color = true;
    options.grep = Some("b.d|x".parse::<Expression>().unwrap());
    let text = shown(&chunks(1, &[b"a b-d\nc bxd\n", b"nothing"]), options);
    let text = text.replace("\x1b[0m", "");
    let marked: Vec<_> = text.lines().map(|line| line.split_once("-> ").unwrap().1).collect();
    assert_eq!(marked, ["a \x1b[7mb-d\x1b[27m", "c \x1b[7mbxd\x1b[27m"], "{text:?}");
}
