use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::event::{BothTotals, CloseReason, Endpoint, Open, Side, View};
use crate::tls::keylog::{MASTER_SECRET, SECRETS};

const MS: u64 = 1_000_000;

/// Keys, and what is pending before and after them.
struct Scene {
    folder: TempDir,
    secrets: Secrets,
    pending: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::of(Some(folder.path().join("keys.log")), false).unwrap();
        Self { folder, secrets, pending: Vec::new() }
    }

    fn event(&mut self, id: u64, ms: u64, kind: EventKind) {
        let (connection, time) = (ConnectionId(id), Timestamp(ms * MS));
        self.secrets.watch(&Event { connection, time, kind });
    }

    fn say(&mut self, id: u64, ms: u64, side: Side, bytes: &[u8]) {
        let (direction, bytes) = (Direction::from(side), Bytes::copy_from_slice(bytes));
        self.event(
            id,
            ms,
            EventKind::Data { direction, leg: Leg::Received, view: View::Wire, offset: 0, bytes },
        );
    }

    /// A connection whose client says hello with the random number of its own id.
    fn hello(&mut self, id: u64, ms: u64) {
        let nobody = Endpoint::Unix(None);
        let (client, listener, target) = (nobody.clone(), nobody, "");
        self.event(id, ms, EventKind::Open(Arc::new(Open::new(client, listener, target))));
        let hello = [&[22, 3, 1, 0, 84, 1, 0, 0, 80, 3, 3], &[id as u8; 32][..]].concat();
        self.say(id, ms, Side::Client, &hello);
    }

    /// Logs a line of the connection `id`.
    fn log(&self, label: &str, id: u64) {
        let path = self.folder.path().join("keys.log");
        let mut log = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let random = format!("{id:02x}").repeat(32);
        writeln!(log, "{label}{random} abcd").unwrap();
    }

    /// Whether packets wait.
    fn waits(&mut self, ms: u64) -> bool {
        // The log is to be looked at now.
        self.secrets.polled = None;
        let now = Wait::UntilDue(Timestamp(ms * MS));
        self.secrets.update(now, &mut self.pending, 0, None).unwrap() == Keys::Awaited
    }
}

#[test]
fn packets_after_server_hello_wait_for_all_keys() {
    let mut scene = Scene::new();
    scene.hello(1, 0);
    assert!(!scene.waits(1), "nothing is to be decrypted yet");
    scene.say(1, 5000, Side::Server, b"hello");
    assert!(scene.waits(5001));
    for label in &SECRETS[..3] {
        scene.log(label, 1);
        assert!(scene.waits(5002), "there are more to come");
    }
    scene.log(SECRETS[3], 1);
    assert!(!scene.waits(5003));
    assert_eq!(scene.pending.windows(4).filter(|part| part == b"abcd").count(), 4);
}

#[test]
fn tls_1_2_needs_one_line() {
    let mut scene = Scene::new();
    scene.hello(1, 0);
    scene.say(1, 1, Side::Server, b"hello");
    scene.log(MASTER_SECRET, 1);
    assert!(!scene.waits(2));
}

#[test]
fn missing_keys_delay_packets_briefly() {
    let mut scene = Scene::new();
    scene.hello(1, 0);
    scene.say(1, 1, Side::Server, b"hello");
    assert!(scene.waits(2) && scene.waits(200));
    assert!(!scene.waits(201));
}

#[test]
fn many_connections_without_keys_delay_packets_briefly() {
    let mut scene = Scene::new();
    let mut longest = 0;
    let mut waited = 0;
    for i in 0..200 {
        scene.hello(i, i * 10);
        scene.say(i, i * 10, Side::Server, b"hello");
        waited = if scene.waits(i * 10 + 5) { waited + 10 } else { 0 };
        longest = longest.max(waited);
    }
    assert!((100..=200).contains(&longest), "{longest} ms");
}

#[test]
fn closed_connection_still_gets_its_keys() {
    let mut scene = Scene::new();
    scene.hello(1, 0);
    let (reason, totals) = (CloseReason::Stopped, BothTotals::default());
    scene.event(1, 1, EventKind::Close { reason, totals });
    scene.log(MASTER_SECRET, 1);
    scene.log(MASTER_SECRET, 2);
    scene.waits(2);
    assert_eq!(scene.pending.windows(4).filter(|part| part == b"abcd").count(), 1);
}

#[test]
fn remembered_closed_connections_are_bounded() {
    let mut scene = Scene::new();
    for i in 0..2 * CLOSED_MAX {
        let id = 1 + i as u64;
        let random: Random = std::array::from_fn(|at| (id >> (8 * (at % 8))) as u8);
        scene.secrets.written.insert(random, 0);
        scene.secrets.open.insert((ConnectionId(id), Side::Client), Tls { random, answered: true });
        scene.secrets.close((ConnectionId(id), Side::Client));
    }
    assert_eq!(scene.secrets.written.len(), CLOSED_MAX);
}

#[test]
fn tls_after_plain_dialogue_is_found() {
    let mut scene = Scene::new();
    let nobody = Endpoint::Unix(None);
    let open = Open::new(nobody.clone(), nobody, "");
    scene.event(1, 0, EventKind::Open(Arc::new(open)));
    scene.say(1, 1, Side::Client, &[0, 0, 0, 8, 4, 210, 22, 47]);
    scene.say(1, 2, Side::Server, b"S");
    let hello = [&[22, 3, 1, 0, 84, 1, 0, 0, 80, 3, 3], &[1; 32][..]].concat();
    for part in hello.chunks(10) {
        scene.say(1, 3, Side::Client, part);
    }
    scene.log(MASTER_SECRET, 1);
    scene.waits(4);
    assert!(scene.pending.windows(4).any(|part| part == b"abcd"));
}
