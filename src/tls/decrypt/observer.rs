//! Both directions of a connection, followed from outside.

use bytes::Bytes;

use super::backlog::{Backlog, Piece};
use super::closed::Closed;
use super::hello::ClientHello;
use super::messages::{self, Hello};
use super::seen::{Limits, Seen, later, wire};
use super::session::Session;
use crate::event::{Direction, Timestamp, TlsState};
use crate::tls::find_hello::{self, Found};
use crate::tls::keylog::KeyLog;

/// After this many false hellos a connection is searched no more: each costs time, and no
/// connection has many by chance.
const FALSE_HELLOS_MAX: u32 = 16;

/// Watches one connection and decrypts its TLS by the lines of a key log.
///
/// TLS may begin anywhere (`STARTTLS`, a proxy's `CONNECT`): what comes before passes as it is.
/// TLS 1.3 and the AEAD suites of TLS 1.2 are understood, with resumption, early data, key updates
/// and renegotiation. What cannot be decrypted passes as it is, after [`Seen::Tls`] has said why.
/// Bytes are held back within the [`Limits`], and where they are the beginning of a hello.
///
/// ```
/// use bytes::Bytes;
/// use tcp_tunn::event::{Direction, Timestamp};
/// use tcp_tunn::tls::{KeyLog, Observer, Seen};
///
/// let (mut observer, keys) = (Observer::default(), KeyLog::default());
/// let (direction, bytes) = (Direction::ClientToServer, Bytes::from_static(b"EHLO me\r\n"));
/// let mut seen = Vec::new();
/// observer.data(direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
/// assert_eq!(seen, [Seen::Wire { direction, offset: 0, bytes }]);
/// ```
#[derive(Default)]
pub struct Observer {
    limits: Limits,
    state: State,
    /// The bytes that came, by direction.
    passed: [u64; 2],
    /// The chunks that came.
    chunks: u64,
    /// How often bytes looked like a hello and were none.
    false_hellos: u32,
}

enum State {
    /// No TLS so far. What the client sent last may be the beginning of it.
    Searching {
        held: Backlog,
        since: Option<Timestamp>,
    },
    Following(Box<Session>),
    /// All passes as it is.
    Passing,
}

impl Default for State {
    fn default() -> Self {
        Self::Searching { held: Backlog::default(), since: None }
    }
}

impl Observer {
    /// An observer that holds back more or less than by default.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next bytes of a direction, and appends what they brought to `seen`.
    pub fn data(
        &mut self,
        direction: Direction,
        bytes: Bytes,
        now: Timestamp,
        keys: &KeyLog,
        seen: &mut Vec<Seen>,
    ) {
        if bytes.is_empty() {
            return;
        }
        self.chunks += 1;
        let at = self.passed[direction as usize];
        self.passed[direction as usize] += bytes.len() as u64;
        let piece = Piece { order: self.chunks, bytes };
        match &mut self.state {
            State::Passing => wire(direction, at, vec![piece], seen),
            State::Searching { held, .. } if direction == Direction::ClientToServer => {
                let is_other = held.len() == 0 && find_hello::find(&piece.bytes) == Found::Nowhere;
                let len = piece.bytes.len();
                held.push(piece);
                if is_other {
                    held.skip(len);
                    wire(direction, at, held.take_read(), seen);
                } else {
                    self.search(now, seen);
                }
            }
            State::Searching { .. } => {
                // Nobody answers half a hello: it was none.
                self.release(seen);
                wire(direction, at, vec![piece], seen);
            }
            State::Following(session) => session.push(direction, piece),
        }
        self.advance(now, keys, seen);
    }

    /// Looks again: keys may have come, or the time to wait for them may be over.
    pub fn advance(&mut self, now: Timestamp, keys: &KeyLog, seen: &mut Vec<Seen>) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.release(seen);
        }
        let State::Following(session) = &mut self.state else { return };
        let closed = session.advance(now, keys, seen).err();
        let closed = closed.or_else(|| session.overdue(now, self.limits));
        match closed {
            Some(closed) => self.close(closed, seen),
            None => session.report_slow(now, self.limits, seen),
        }
    }

    /// Some bytes of a direction were left out and will not come.
    pub fn gap(&mut self, direction: Direction, bytes: u64, seen: &mut Vec<Seen>) {
        self.release(seen);
        if let State::Following(_) = self.state {
            self.close(Closed::Gap, seen);
        }
        self.passed[direction as usize] += bytes;
        if let State::Searching { held, .. } = &mut self.state {
            *held = Backlog::at(self.passed[Direction::ClientToServer as usize]);
        }
    }

    /// The sender of a direction has ended it (FIN): hands out what will not become whole.
    pub fn end(&mut self, direction: Direction, seen: &mut Vec<Seen>) {
        self.release(seen);
        let State::Following(session) = &mut self.state else { return };
        match session.cut_short(direction.sender()) {
            Some(why @ Closed::Truncated { sender }) => session.cut(sender, why, seen),
            Some(closed) => self.close(closed, seen),
            None => {}
        }
    }

    /// How many bytes of a direction came or were left out.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.passed[direction as usize]
    }

    /// Nothing more is to be decrypted: hands out what is held back, and lets all pass.
    pub fn stop(&mut self, seen: &mut Vec<Seen>) {
        self.release(seen);
        if let State::Following(mut session) = std::mem::replace(&mut self.state, State::Passing) {
            session.give_up(seen);
        }
    }

    /// The connection has ended: hands out what is still held back.
    pub fn finish(&mut self, now: Timestamp, keys: &KeyLog, seen: &mut Vec<Seen>) {
        self.advance(now, keys, seen);
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            self.end(direction, seen);
        }
    }

    /// Whether it waits for lines of the key log.
    pub fn needs_keys(&self) -> bool {
        matches!(&self.state, State::Following(session) if session.needs_keys())
    }

    /// Whether it holds bytes back that [`advance`](Self::advance) may let go of later.
    pub fn is_waiting(&self) -> bool {
        let is_slow = |session: &Session| session.may_be_slow();
        self.needs_keys()
            || self.deadline().is_some()
            || matches!(&self.state, State::Following(session) if is_slow(session))
    }

    /// When what may become a hello has waited long enough.
    fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            State::Searching { since, .. } => since.map(|since| later(since, self.limits.wait)),
            _ => None,
        }
    }

    /// Looks for a ClientHello in what the client sent and is held.
    fn search(&mut self, now: Timestamp, seen: &mut Vec<Seen>) {
        let State::Searching { held, since } = &mut self.state else { return };
        let mut from = 0;
        let bytes = held.peek(held.len());
        let is_too_long = bytes.len() > self.limits.bytes;
        let hello = loop {
            match find_hello::find(&bytes[from..]) {
                Found::Nowhere => {
                    from = bytes.len();
                    break None;
                }
                Found::At(at) => match messages::client_hello(&bytes[from + at..]) {
                    Hello::Incomplete if !is_too_long => {
                        from += at;
                        break Some(Hello::Incomplete);
                    }
                    Hello::Whole(hello) => {
                        from += at;
                        break Some(Hello::Whole(hello));
                    }
                    Hello::Incomplete | Hello::Other => {
                        from += at + 1;
                        self.false_hellos += 1;
                        if self.false_hellos >= FALSE_HELLOS_MAX {
                            from = bytes.len();
                            break None;
                        }
                    }
                },
            }
        };
        held.skip(from);
        let offset = held.start();
        wire(Direction::ClientToServer, offset, held.take_read(), seen);
        // A whole head is a hello, whenever the rest comes; less than that may be anything.
        let is_head = held.len() >= find_hello::HEAD_LEN;
        *since = hello.is_some().then(|| since.unwrap_or(now)).filter(|_| !is_head);
        if let Some(Hello::Whole(hello)) = hello {
            let held = std::mem::take(held);
            self.begin(hello, held, now);
        } else if self.false_hellos >= FALSE_HELLOS_MAX {
            self.state = State::Passing;
        }
    }

    /// TLS begins with what is held of the client's bytes.
    fn begin(&mut self, hello: ClientHello, held: Backlog, now: Timestamp) {
        let server = self.passed[Direction::ServerToClient as usize];
        let session = Session::new(hello, held, Backlog::at(server), now);
        self.state = State::Following(Box::new(session));
    }

    /// Lets go of what may have been the beginning of a hello.
    fn release(&mut self, seen: &mut Vec<Seen>) {
        if let State::Searching { held, since } = &mut self.state {
            *since = None;
            wire(Direction::ClientToServer, held.start(), held.take(), seen);
        }
    }

    /// Lets all pass as it is, from the first byte that was not opened on.
    fn close(&mut self, closed: Closed, seen: &mut Vec<Seen>) {
        let held = Backlog::at(self.passed[Direction::ClientToServer as usize]);
        let after = match closed {
            Closed::NoTls if self.false_hellos < FALSE_HELLOS_MAX => {
                self.false_hellos += 1;
                State::Searching { held, since: None }
            }
            _ => State::Passing,
        };
        let State::Following(mut session) = std::mem::replace(&mut self.state, after) else {
            return;
        };
        if closed != Closed::NoTls {
            seen.push(Seen::Tls(session.facts(TlsState::Closed, Some(closed))));
        }
        session.give_up(seen);
    }
}
