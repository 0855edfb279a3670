//! A recorded session, and what an observer makes of it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::event::{Direction, Timestamp, Tls, TlsState};
use crate::tls::{KeyLog, Limits, Observer, Seen};

/// Reads the files of sessions when the tests are built.
macro_rules! recorded {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_str!(concat!("../../../../fixtures/tls/", $name, ".chunks")),
            include_str!(concat!("../../../../fixtures/tls/", $name, ".keys")),
        )),*]
    };
}

/// What passed, chunk by chunk, and the keys; made by `scripts/record-tls.sh`.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) chunks: Vec<(Direction, Bytes)>,
    /// The lines of the key log.
    pub(super) lines: Vec<String>,
}

/// What an observer said, put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// By direction: what lay outside TLS, and what inside.
    pub(super) wire: [Vec<u8>; 2],
    pub(super) plain: [Vec<u8>; 2],
    pub(super) ended: [bool; 2],
    pub(super) tls: Vec<Arc<Tls>>,
    pub(super) secrets: Vec<String>,
}

/// The name, the chunks and the key log of each recorded session.
const RECORDED: &[(&str, &str, &str)] = &recorded![
    "tls12-aes-128",
    "tls12-aes-256",
    "tls12-cbc",
    "tls12-chacha",
    "tls12-renegotiated",
    "tls12-resumed",
    "tls12-rsa",
    "tls13-aes-128",
    "tls13-aes-256",
    "tls13-chacha",
    "tls13-client-cert",
    "tls13-early",
    "tls13-early-rejected",
    "tls13-key-update",
    "tls13-resumed",
    "tls13-retry",
];

/// The names of all recorded sessions.
pub(super) fn names() -> Vec<&'static str> {
    RECORDED.iter().map(|(name, ..)| *name).collect()
}

impl Session {
    pub(super) fn read(name: &str) -> Self {
        let found = RECORDED.iter().find(|(recorded, ..)| *recorded == name);
        let (_, chunks, keys) = found.expect(name);
        let chunk = |line: &str| {
            let (sender, bytes) = line.split_once(' ').unwrap();
            let direction = match sender {
                "client" => Direction::ClientToServer,
                _ => Direction::ServerToClient,
            };
            (direction, Bytes::from(STANDARD.decode(bytes).unwrap()))
        };
        let chunks = chunks.lines().map(chunk).collect();
        Self { chunks, lines: keys.lines().map(str::to_owned).collect() }
    }

    /// The same with clear bytes before it.
    pub(super) fn after(mut self, clear: &[(Direction, &'static [u8])]) -> Self {
        let clear = clear.iter().map(|(direction, bytes)| (*direction, Bytes::from_static(bytes)));
        self.chunks.splice(..0, clear);
        self
    }

    pub(super) fn keys(&self) -> KeyLog {
        let mut keys = KeyLog::default();
        self.lines.iter().for_each(|line| keys.add(line.as_bytes()));
        keys
    }

    /// All bytes of a direction.
    pub(super) fn sent(&self, sent: Direction) -> Vec<u8> {
        let chunks = self.chunks.iter().filter(|(direction, _)| *direction == sent);
        chunks.flat_map(|(_, bytes)| bytes.to_vec()).collect()
    }

    /// What an observer says that has all keys from the beginning.
    pub(super) fn shown(&self) -> Shown {
        let keys = self.keys();
        let (mut observer, mut seen) = (Observer::default(), Vec::new());
        for (direction, bytes) in &self.chunks {
            observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
        }
        observer.finish(Timestamp(0), &keys, &mut seen);
        Shown::of(seen)
    }
}

impl Shown {
    /// Puts together what was seen, each view and direction without a gap.
    pub(super) fn of(seen: Vec<Seen>) -> Self {
        let mut shown = Self::default();
        let mut clear = [0; 2];
        for seen in seen {
            match seen {
                Seen::Wire { direction, offset, bytes } => {
                    let wire = &mut shown.wire[direction as usize];
                    if shown.tls.is_empty() {
                        assert_eq!(offset, wire.len() as u64);
                        clear[direction as usize] = wire.len() + bytes.len();
                    }
                    wire.extend(bytes);
                }
                Seen::Plain { direction, offset, bytes } => {
                    assert!(!shown.secrets.is_empty(), "plaintext before its keys");
                    assert!(!shown.tls.is_empty(), "plaintext before the handshake");
                    assert!(!shown.ended[direction as usize], "plaintext after the end");
                    let plain = &mut shown.plain[direction as usize];
                    assert_eq!(offset, (clear[direction as usize] + plain.len()) as u64);
                    plain.extend(bytes);
                }
                Seen::End { direction, .. } => shown.ended[direction as usize] = true,
                Seen::Tls(tls) => shown.tls.push(tls),
                Seen::Secrets(lines) => shown.secrets.extend(lines.iter().cloned()),
            }
        }
        shown
    }

    /// Why it stays closed, if it does.
    pub(super) fn why(&self) -> Option<&str> {
        let closed = self.tls.iter().find(|tls| tls.state == TlsState::Closed)?;
        closed.why.as_deref()
    }

    pub(super) fn plain_text(&self) -> [String; 2] {
        self.plain.clone().map(|plain| String::from_utf8(plain).unwrap())
    }
}

/// Limits that hold back this much at most, for one second.
pub(super) fn limits(bytes: usize) -> Limits {
    Limits { bytes, wait: Duration::from_secs(1) }
}
