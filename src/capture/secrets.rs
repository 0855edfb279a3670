//! TLS keys in a capture: Decryption Secrets Blocks (4.7), placed so that Wireshark has them
//! when it needs them.
//!
//! TLS 1.3's keys must stand before the ServerHello in the file, yet the client logs them only
//! after it has read that. A file that can be patched has space reserved for them; elsewhere
//! the packets from the ServerHello on wait for them, for a moment.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::output::{Output, Place};
use super::reserved_space::ReservedSpace;
use super::secrets_block::push_block;
use crate::event::{ConnectionId, Direction, Event, EventKind, Leg, Side, Timestamp, View};
use crate::tls::client_random::{DECISIVE, client_random};
use crate::tls::follow::KeyLogFollower;
use crate::tls::keylog::Random;

/// How long packets wait for their keys at most.
const WAIT: Duration = Duration::from_millis(200);
/// How often the key log is looked at, at most.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Closed connections whose keys may still come.
const CLOSED_MAX: usize = 1000;
/// How much of what a client says is searched for the beginning of TLS.
const SEARCHED_MAX: usize = 64 * 1024;

/// A connection and, where TLS ends in the tunnel, one of its two sockets.
type Socket = (ConnectionId, Side);

/// What a client said of whom it is not clear yet whether it speaks TLS.
#[derive(Default)]
struct Search {
    searched: usize,
    /// The last bytes, in which a ClientHello may have begun.
    tail: Vec<u8>,
}

/// An open TLS connection.
struct Tls {
    random: Random,
    /// Whether the server has said anything, which can only be its ServerHello.
    answered: bool,
}

/// Whether packets may still wait for keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// It is this time now: they wait until each is due.
    UntilDue(Timestamp),
    /// The section ends.
    NoLonger,
}

/// Whether packets should wait for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// They may be about to come.
    Awaited,
    /// There is nothing to wait for.
    NotAwaited,
}

/// Whether blocks end with newly reserved space for keys. The output must have that space before
/// keys are put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySpace {
    Appended,
    Unchanged,
}

/// The keys of the connections in a capture.
pub(super) struct Secrets {
    keylog: KeyLogFollower,
    /// Whether the keys are those of the tunnel's own TLS, which it tells.
    are_told: bool,
    /// The sockets at which TLS has not begun yet.
    searches: HashMap<Socket, Search>,
    open: HashMap<Socket, Tls>,
    closed: VecDeque<Random>,
    /// How many lines the capture has of each open connection, and of those in `closed`.
    written: HashMap<Random, usize>,
    /// Answers whose keys may be about to come, oldest first.
    awaited: VecDeque<(Random, Timestamp)>,
    space: ReservedSpace,
    /// When the key log was looked at.
    polled: Option<Instant>,
    /// Since when packets have been waiting.
    holding: Option<Timestamp>,
}

impl Secrets {
    /// Takes keys from a file, and those that the tunnel tells; `None` where neither is asked for.
    pub(super) fn of(path: Option<PathBuf>, are_told: bool) -> Option<Self> {
        let nothing = || are_told.then(KeyLogFollower::of_nothing);
        let keylog = path.map(KeyLogFollower::new).or_else(nothing)?;
        Some(Self {
            keylog,
            are_told,
            searches: HashMap::new(),
            open: HashMap::new(),
            closed: VecDeque::new(),
            written: HashMap::new(),
            awaited: VecDeque::new(),
            space: ReservedSpace::default(),
            polled: None,
            holding: None,
        })
    }

    /// Begins a section, whose header is pending and comes to lie at `place`. Keys of open
    /// connections follow at once.
    pub(super) fn begin_section(&mut self, pending: &mut Vec<u8>, place: Place) -> KeySpace {
        for random in self.closed.drain(..) {
            self.written.remove(&random);
        }
        self.begin_again(pending);
        self.space.clear();
        self.reserve(pending, place)
    }

    /// Begins a section for a new reader that may be sent connections which have closed lately.
    pub(super) fn begin_again(&mut self, pending: &mut Vec<u8>) {
        for (random, written) in &mut self.written {
            *written = self.keylog.keys().lines(random).len();
        }
        self.write_existing_keys(pending);
    }

    /// Appends the keys that older readers have had, for a new one.
    pub(super) fn write_existing_keys(&self, pending: &mut Vec<u8>) {
        let lines = self.written.iter().flat_map(|(random, written)| {
            self.keylog.keys().lines(random).iter().take(*written).map(String::as_str)
        });
        let end = pending.len();
        insert_block(pending, end, &joined(lines));
    }

    /// Reserves space for keys if little is left and `place`, where `pending` will lie, can be
    /// patched.
    pub(super) fn reserve(&mut self, pending: &mut Vec<u8>, place: Place) -> KeySpace {
        match place {
            Place::AtOffset(at) if self.space.is_low() => {
                self.space.reserve(pending, at);
                KeySpace::Appended
            }
            Place::AtOffset(_) | Place::Nowhere => KeySpace::Unchanged,
        }
    }

    /// Looks at an event for the beginning of TLS, and for the answer to it.
    pub(super) fn watch(&mut self, event: &Event) {
        let id = event.connection;
        match &event.kind {
            EventKind::Open(_) => {
                for side in self.sides() {
                    self.searches.insert((id, *side), Search::default());
                }
            }
            EventKind::Data { direction, leg, view: View::Wire, bytes, .. } => {
                let socket = (id, self.side(*direction, *leg));
                match direction {
                    _ if !self.is_watched(*leg) => {}
                    Direction::ClientToServer => self.client_said(socket, bytes),
                    Direction::ServerToClient => self.server_said(socket, event.time),
                }
            }
            EventKind::Secrets(lines) => {
                lines.iter().for_each(|line| self.keylog.add(line));
                self.polled = None;
            }
            EventKind::Close { .. } => {
                for side in self.sides() {
                    self.close((id, *side));
                }
            }
            _ => {}
        }
    }

    /// The sockets that are watched. Where TLS does not end in the tunnel, one is as good as two.
    const fn sides(&self) -> &'static [Side] {
        if self.are_told { &[Side::Client, Side::Server] } else { &[Side::Client] }
    }

    const fn side(&self, direction: Direction, leg: Leg) -> Side {
        if self.are_told { leg.side(direction) } else { Side::Client }
    }

    fn is_watched(&self, leg: Leg) -> bool {
        self.are_told || leg == Leg::Received
    }

    fn client_said(&mut self, socket: Socket, bytes: &[u8]) {
        let Some(Search { searched, tail }) = self.searches.get_mut(&socket) else { return };
        let bytes = &bytes[..bytes.len().min(SEARCHED_MAX - *searched)];
        *searched += bytes.len();
        tail.extend_from_slice(bytes);
        if let Some(random) = client_random(tail) {
            self.written.entry(random).or_default();
            self.open.insert(socket, Tls { random, answered: false });
        } else if *searched < SEARCHED_MAX {
            tail.drain(..tail.len().saturating_sub(DECISIVE - 1));
            tail.shrink_to(DECISIVE);
            return;
        }
        self.searches.remove(&socket);
    }

    fn server_said(&mut self, socket: Socket, now: Timestamp) {
        if let Some(tls) = self.open.get_mut(&socket).filter(|tls| !tls.answered) {
            tls.answered = true;
            self.awaited.push_back((tls.random, now));
        }
    }

    fn close(&mut self, socket: Socket) {
        self.searches.remove(&socket);
        let Some(tls) = self.open.remove(&socket) else { return };
        self.closed.push_back(tls.random);
        if self.closed.len() > CLOSED_MAX
            && let Some(oldest) = self.closed.pop_front()
        {
            #[cfg(feature = "tls")]
            if self.are_told {
                self.keylog.forget(&oldest);
            }
            self.written.remove(&oldest);
        }
    }

    /// Writes the keys that have come, into their place or at `at` in what is pending. True where
    /// what is pending should wait for more, which it never does for longer than [`WAIT`].
    pub(super) fn update(
        &mut self,
        wait: Wait,
        pending: &mut Vec<u8>,
        at: usize,
        output: Option<&mut dyn Output>,
    ) -> io::Result<Keys> {
        if self.written.is_empty() {
            return Ok(Keys::NotAwaited);
        }
        let is_last = matches!(wait, Wait::NoLonger);
        if is_last || self.polled.is_none_or(|polled| polled.elapsed() >= POLL_INTERVAL) {
            self.polled = Some(Instant::now());
            self.keylog.poll();
            self.write_new(pending, at, output)?;
        }
        Ok(match wait {
            Wait::UntilDue(now) if self.is_holding(now) => Keys::Awaited,
            Wait::UntilDue(_) => Keys::NotAwaited,
            Wait::NoLonger => {
                self.awaited.clear();
                self.holding = None;
                Keys::NotAwaited
            }
        })
    }

    fn write_new(
        &mut self,
        pending: &mut Vec<u8>,
        at: usize,
        mut output: Option<&mut dyn Output>,
    ) -> io::Result<()> {
        let mut rest = Vec::new();
        for (random, written) in &mut self.written {
            let lines = self.keylog.keys().lines(random);
            let new = joined(lines.iter().skip(*written).map(String::as_str));
            *written = lines.len();
            let is_filled = match &mut output {
                Some(output) if !new.is_empty() => self.space.fill(&new, &mut **output)?,
                _ => false,
            };
            if !is_filled {
                rest.extend(new);
            }
        }
        insert_block(pending, at, &rest);
        Ok(())
    }

    /// Whether packets should wait.
    fn is_holding(&mut self, now: Timestamp) -> bool {
        let waited = |since: Timestamp| u128::from(now.nanos_since(since)) >= WAIT.as_nanos();
        while let Some((random, since)) = self.awaited.front()
            && (waited(*since) || self.keylog.keys().is_complete(random))
        {
            self.awaited.pop_front();
        }
        if self.awaited.is_empty() || !self.space.is_empty() {
            self.holding = None;
            return false;
        }
        // One connection after another without keys must not hold up all packets for ever.
        if waited(*self.holding.get_or_insert(now)) {
            self.holding = None;
            self.awaited.clear();
            return false;
        }
        true
    }
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<u8> {
    lines.flat_map(|line| [line, "\n"]).flat_map(str::bytes).collect()
}

/// Puts a block with a key log at `at`, unless the log is empty.
fn insert_block(pending: &mut Vec<u8>, at: usize, log: &[u8]) {
    if !log.is_empty() {
        let mut block = Vec::new();
        push_block(&mut block, log);
        pending.splice(at..at, block);
    }
}

#[cfg(test)]
mod tests;
