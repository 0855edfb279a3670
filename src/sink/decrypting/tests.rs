//! What a sink gets of a recorded session, in which order and when.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::event::{BothTotals, CloseReason, Endpoint, Open, Side};

const CHUNKS: &str = include_str!("../../../fixtures/tls/tls13-aes-128.chunks");
const KEYS: &str = include_str!("../../../fixtures/tls/tls13-aes-128.keys");
const CLIENT_SAID: &[u8] = b"a first line\nand a second line\n";
const SECOND: u64 = 1_000_000_000;

/// Keeps all events.
struct Keep {
    events: Vec<Event>,
    views: Views,
}

impl Sink for Keep {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.events.push(event.clone());
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest::ALL.views(self.views)
    }
}

/// A sink behind a key log that does not exist yet.
struct Scene {
    sink: Decrypting<Keep>,
    key_log: PathBuf,
    _folder: TempDir,
}

impl Scene {
    fn new(views: Views) -> Self {
        let folder = tempdir().unwrap();
        let key_log = folder.path().join("keys");
        let sink = Decrypting::new(Keep { events: Vec::new(), views }, &key_log);
        Self { sink, key_log, _folder: folder }
    }

    fn log_keys(&self) {
        fs::write(&self.key_log, KEYS).unwrap();
    }

    fn record(&mut self, events: &[Event]) {
        events.iter().for_each(|event| self.sink.record(event).unwrap());
    }

    /// What the sink was given, a word for each event.
    fn words(&self) -> Vec<&'static str> {
        self.sink.sink.events.iter().map(|event| word(&event.kind)).collect()
    }

    /// All bytes of the client in a view.
    fn client_said(&self, wanted: View) -> Vec<u8> {
        let mut said = Vec::new();
        for event in &self.sink.sink.events {
            if let EventKind::Data { direction, leg: Leg::Received, view, offset, bytes } =
                &event.kind
                && (*view, *direction) == (wanted, Direction::ClientToServer)
            {
                assert_eq!(*offset, said.len() as u64, "without a gap");
                said.extend_from_slice(bytes);
            }
        }
        said
    }

    fn assert_times_never_decrease(&self) {
        assert!(self.sink.sink.events.is_sorted_by_key(|event| event.time));
    }
}

fn word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Open(_) => "open",
        EventKind::Data { view, .. } => view.name(),
        EventKind::Tls(tls) => tls.state.name(),
        EventKind::Secrets(_) => "secrets",
        EventKind::Shutdown { view: View::Wire, .. } => "shutdown",
        EventKind::Shutdown { .. } => "end",
        EventKind::Close { .. } => "close",
        EventKind::Connected(_) => "connected",
        EventKind::Verdict(_) => "verdict",
        EventKind::Info(_) => "info",
        EventKind::Process(_) => "process",
    }
}

/// The session as a tunnel reports it, on both legs, from a time on; `clear` comes first.
fn session(clear: &'static [u8]) -> Vec<Event> {
    let endpoint = || Endpoint::Unix(None);
    let mut kinds = vec![EventKind::Open(Arc::new(Open::new(endpoint(), endpoint(), "x:1")))];
    let mut passed = [0; 2];
    let clear = (Direction::ClientToServer, Bytes::from_static(clear));
    let recorded = CHUNKS.lines().map(|line| {
        let (from, bytes) = line.split_once(' ').unwrap();
        let side = if from == "client" { Side::Client } else { Side::Server };
        (Direction::from(side), Bytes::from(STANDARD.decode(bytes).unwrap()))
    });
    for (direction, bytes) in [clear].into_iter().chain(recorded) {
        if bytes.is_empty() {
            continue;
        }
        let (offset, view) = (passed[direction as usize], View::Wire);
        passed[direction as usize] += bytes.len() as u64;
        for leg in [Leg::Received, Leg::Sent] {
            kinds.push(EventKind::Data { direction, leg, view, offset, bytes: bytes.clone() });
        }
    }
    for direction in [Direction::ClientToServer, Direction::ServerToClient] {
        let said = passed[direction as usize];
        let totals = Totals { received: said, sent: said };
        kinds.push(EventKind::Shutdown { direction, view: View::Wire, totals });
    }
    let reason = CloseReason::Finished { first: Side::Client };
    kinds.push(EventKind::Close { reason, totals: BothTotals::default() });
    let event = |(time, kind)| Event { connection: ConnectionId(1), time: Timestamp(time), kind };
    (SECOND..).zip(kinds).map(event).collect()
}

#[test]
fn readable_view_has_no_byte_of_tls() {
    let mut scene = Scene::new(Views::Readable);
    scene.log_keys();
    scene.record(&session(b""));
    let words = scene.words();
    assert_eq!(words[..4], ["open", "secrets", "decrypted", "plain"]);
    assert!(!words.contains(&"wire"), "{words:?}");
    assert_eq!(scene.client_said(View::Plain), CLIENT_SAID);
    scene.assert_times_never_decrease();
}

#[test]
fn both_views_are_whole() {
    let clear = b"a greeting\n";
    let mut scene = Scene::new(Views::Both);
    scene.log_keys();
    scene.record(&session(clear));
    assert_eq!(scene.client_said(View::Plain), [clear, CLIENT_SAID].concat());
    let wire: Vec<_> = scene.client_said(View::Wire);
    assert!(wire.starts_with(b"a greeting\n\x16\x03\x01"));
    scene.assert_times_never_decrease();
}

#[test]
fn late_keys_come_before_the_close() {
    let mut scene = Scene::new(Views::Readable);
    let events = session(b"");
    scene.record(&events);
    assert_eq!(scene.words(), ["open"], "the rest waits");
    scene.sink.tick(Timestamp(2 * SECOND - 1000)).unwrap();
    assert_eq!(scene.words(), ["open"], "not a second has passed");
    scene.log_keys();
    scene.sink.tick(Timestamp(2 * SECOND - 500)).unwrap();
    assert_eq!(scene.client_said(View::Plain), CLIENT_SAID);
    let words = scene.words();
    assert_eq!(words[words.len() - 3..], ["shutdown", "shutdown", "close"]);
    assert!(scene.sink.connections.is_empty() && scene.sink.waiting.is_empty());
    let last = scene.sink.sink.events.last().map(|event| event.time);
    assert_eq!(last, events.last().map(|event| event.time), "the close keeps its time");
    scene.assert_times_never_decrease();
}

#[test]
fn connection_without_keys_is_handed_on_after_a_second() {
    let mut scene = Scene::new(Views::Readable);
    scene.record(&session(b""));
    scene.sink.tick(Timestamp(3 * SECOND)).unwrap();
    let words = scene.words();
    assert_eq!(words[..3], ["open", "closed", "wire"]);
    assert_eq!(words[words.len() - 3..], ["shutdown", "shutdown", "close"]);
    assert!(scene.client_said(View::Wire).starts_with(b"\x16\x03\x01"));
    scene.assert_times_never_decrease();
}

#[test]
fn what_waits_at_the_end_is_handed_on() {
    let mut scene = Scene::new(Views::Readable);
    let mut events = session(b"");
    scene.record(&events);
    events.truncate(2);
    events.iter_mut().for_each(|event| event.connection = ConnectionId(2));
    scene.record(&events);
    scene.sink.finish().unwrap();
    let words = scene.words();
    assert_eq!(words.iter().filter(|word| **word == "close").count(), 1);
    let hello = scene.sink.sink.events.iter().filter(|event| event.connection == ConnectionId(2));
    let hello: Vec<_> = hello.map(|event| word(&event.kind)).collect();
    assert_eq!(hello, ["open", "closed", "wire"]);
}

#[test]
fn plaintext_begins_at_its_start_where_too_much_came_before() {
    static CLEAR: [u8; 70_000] = [b'x'; 70_000];
    let mut scene = Scene::new(Views::Both);
    scene.log_keys();
    scene.record(&session(&CLEAR));
    assert_eq!(scene.client_said(View::Plain), CLIENT_SAID);
}

#[test]
fn key_log_that_cannot_be_read_stops_nothing() {
    let mut scene = Scene::new(Views::Readable);
    fs::create_dir(&scene.key_log).unwrap();
    scene.record(&session(b""));
    scene.sink.finish().unwrap();
    assert_eq!(scene.words().last(), Some(&"close"));
}

#[test]
fn last_line_of_a_key_log_needs_no_end() {
    let mut scene = Scene::new(Views::Readable);
    scene.record(&session(b""));
    fs::write(&scene.key_log, KEYS.trim_end()).unwrap();
    scene.sink.finish().unwrap();
    assert_eq!(scene.client_said(View::Plain), CLIENT_SAID);
}

#[test]
fn clear_bytes_after_tls_move_no_offset() {
    let client = Direction::ClientToServer;
    let mut clear = Clear::default();
    clear.push(client, 0, Bytes::from_static(b"before"));
    assert_eq!(clear.begin().len(), 1);
    clear.push(client, 6, Bytes::from(vec![0; 1 << 17]));
    assert_eq!((clear.offset(client, 6), clear.begin().len()), (6, 0));
}
