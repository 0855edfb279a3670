//! Fifty connections at once through the real program: no block of one holds a byte of another.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Barrier, LazyLock};

use regex::Regex;

use super::piped;
use crate::support::bytes::bytes;
use crate::support::process::Process;

const CONNECTIONS: usize = 50;

/// What each side of each connection said, by the client's address.
type Said = HashMap<String, [Vec<u8>; 2]>;

/// What is said: noise and rows that repeat, or lines of text that name the connection.
fn words(connection: usize, side: usize, is_text: bool) -> Vec<u8> {
    let line = |n| format!("line {n} of {side} in {connection}\n").into_bytes();
    if is_text {
        return (0..40).flat_map(line).collect();
    }
    let noise = bytes((2 * connection + side) as u64 + 1, 1000 + 37 * connection);
    [&noise[..], &[connection as u8; 500], &noise[..99]].concat()
}

/// Says `words` in pieces, so that the connections interleave, then ends that direction.
fn say(mut stream: &TcpStream, words: &[u8]) {
    words.chunks(257).for_each(|chunk| stream.write_all(chunk).unwrap());
    stream.shutdown(Shutdown::Write).unwrap();
}

fn hear(mut stream: &TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    heard
}

/// Both sides of a connection at once.
fn talk(stream: &TcpStream, words: &[u8]) -> Vec<u8> {
    std::thread::scope(|scope| {
        scope.spawn(|| say(stream, words));
        hear(stream)
    })
}

/// All connections at once; what the program showed, and what was said in truth.
fn shown(more: &[&str], is_text: bool) -> (String, Said) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let process = Process::start(&[&["--from", "127.0.0.1:0", "--to", &to], more].concat());
    let all_are_here = Barrier::new(2 * CONNECTIONS);
    let said = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let (stream, all_are_here) = (process.connect(), &all_are_here);
                scope.spawn(move || {
                    let words = words(connection, 0, is_text);
                    all_are_here.wait();
                    let heard = talk(&stream, &words);
                    (stream.local_addr().unwrap().to_string(), [words, heard])
                })
            })
            .collect();
        for connection in 0..CONNECTIONS {
            let (stream, all_are_here) = (listener.accept().unwrap().0, &all_are_here);
            scope.spawn(move || {
                all_are_here.wait();
                talk(&stream, &words(connection, 1, is_text));
            });
        }
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
    (String::from_utf8(ended.stdout).unwrap(), said)
}

static HEAD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[(\d+)\] \d\d:\d\d:\d\d\.\d{9} (.+)$").unwrap());

/// What a reader of hexdumps makes of them, who takes no line that does not belong where it is.
#[derive(Default)]
struct Reader {
    clients: HashMap<String, String>,
    said: HashMap<String, [Vec<u8>; 2]>,
    /// The block under way: whose, which side's, and how much of it has not come yet.
    block: Option<(String, usize, usize)>,
    is_squeezed: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        match HEAD.captures(line) {
            Some(head) => self.head(&head[1], &head[2]),
            None if line == "*" => self.is_squeezed = true,
            None => self.row(line),
        }
    }

    fn head(&mut self, id: &str, what: &str) {
        assert!(self.block.is_none(), "a block is not whole: {:?} before {what}", self.block);
        let words: Vec<_> = what.split(' ').collect();
        match words[..] {
            ["Open", client, "->", _] => drop(self.clients.insert(id.into(), client.into())),
            ["Client", "->", "Server", len, _] => self.begin(id, 0, len),
            ["Server", "->", "Client", len, _] => self.begin(id, 1, len),
            _ => assert!(
                [
                    "process ",
                    "Connected to ",
                    "Client is done",
                    "Server is done",
                    "Close: finished"
                ]
                .iter()
                .any(|start| what.starts_with(start)),
                "{what}"
            ),
        }
    }

    fn begin(&mut self, id: &str, side: usize, len: &str) {
        self.block = Some((id.to_owned(), side, len.parse().unwrap()));
    }

    fn row(&mut self, line: &str) {
        let (at, rest) = line.split_once("  ").expect(line);
        let (digits, text) = rest.split_once("  |").expect(line);
        let at = usize::from_str_radix(at, 16).expect(line);
        let row = digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect(line));
        let row: Vec<_> = row.collect();
        let printable = |byte: &u8| if matches!(byte, b' '..=b'~') { *byte as char } else { '.' };
        assert_eq!(text, row.iter().map(printable).collect::<String>() + "|", "{line}");
        let (id, side, left) = self.block.take().expect(line);
        let said = &mut self.said.entry(id.clone()).or_default()[side];
        let before = said.len();
        if std::mem::take(&mut self.is_squeezed) {
            let last = said[before - 16..].to_vec();
            said.extend(last.iter().cycle().take(at - before));
        }
        assert_eq!(said.len(), at, "a row is missing before {line}");
        said.extend_from_slice(&row);
        let left = left.checked_sub(said.len() - before).expect("more than the header says");
        self.block = (left > 0).then_some((id, side, left));
    }
}

#[test]
fn hexdumps_of_fifty_connections_rebuild_bytes() {
    let (shown, said) = shown(&["--color", "never"], false);
    let mut reader = Reader::default();
    shown.lines().for_each(|line| reader.line(line));
    assert!(reader.block.is_none());
    assert_eq!((reader.clients.len(), said.len()), (CONNECTIONS, CONNECTIONS));
    for (id, client) in &reader.clients {
        assert!(reader.said[id] == said[client], "connection {id} said something else");
    }
}

#[test]
fn text_lines_of_fifty_connections_name_theirs() {
    let (shown, said) = shown(&["--console", "text", "--time", "none"], true);
    let mut clients = HashMap::new();
    let mut read: HashMap<&str, [Vec<u8>; 2]> = HashMap::new();
    for line in shown.lines() {
        let (id, what) = line.strip_prefix('[').unwrap().split_once("] ").expect(line);
        if let Some(open) = what.strip_prefix("Open ") {
            clients.insert(id, open.split_once(' ').unwrap().0.to_owned());
        }
        let side = ["->", "<-"].iter().position(|mark| what.starts_with(mark));
        let Some(side) = side else { continue };
        let said = &mut read.entry(id).or_default()[side];
        // A line that came in two chunks goes on after a '+'.
        if what[2..].starts_with('+') {
            assert_eq!(said.pop(), Some(b'\n'), "{line}");
        }
        said.extend_from_slice(&what.as_bytes()[3..]);
        said.push(b'\n');
    }
    assert_eq!(clients.len(), CONNECTIONS);
    for (id, client) in clients {
        assert!(read[id] == said[&client], "connection {id} said something else");
    }
}

#[test]
fn jq_rebuilds_bytes_of_fifty_connections() {
    let (shown, said) = shown(&["--console", "json"], false);
    let opens = piped("jq -r 'select(.event == \"open\") | \"\\(.conn) \\(.client)\"'", &shown);
    let opens = String::from_utf8(opens).unwrap();
    assert_eq!(opens.lines().count(), CONNECTIONS);
    for (id, client) in opens.lines().map(|open| open.split_once(' ').unwrap()) {
        for (side, from) in ["client", "server"].iter().enumerate() {
            let command = super::DOCUMENTED_JQ
                .replace(".conn == 1", &format!(".conn == {id}"))
                .replace("client", from);
            assert!(piped(&command, &shown) == said[client][side], "{id} {from}: {command}");
        }
    }
}
