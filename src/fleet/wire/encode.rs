//! Events to a batch.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::fields::Put;
use super::{Known, MAGIC, tag};
use crate::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Event, EventKind, Leg, Open,
    Process, Timestamp, Tls, TlsState, Totals, View,
};

/// The fastest of zstd's usual levels: batches are made while bytes pass.
const LEVEL: i32 = 1;

/// Makes batches, one after another.
#[derive(Default)]
pub struct BatchEncoder {
    pub(super) body: Vec<u8>,
    /// The time of the last record, from which the next one's counts.
    last: Timestamp,
    /// The connections of which the batch under way knows.
    mentioned: HashSet<ConnectionId>,
    open: HashMap<ConnectionId, Known>,
    /// Reused from record to record.
    scratch: Vec<u8>,
}

impl BatchEncoder {
    /// How long the body under way is.
    pub const fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether nothing has been added since the last batch.
    pub const fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Adds an event. Data of [`Leg::Sent`] is left out: both legs carry the same bytes.
    pub fn push(&mut self, event: &Event) {
        let id = event.connection;
        if matches!(event.kind, EventKind::Data { leg: Leg::Sent, .. }) {
            return;
        }
        if self.mentioned.insert(id)
            && !matches!(event.kind, EventKind::Open(_))
            && let Some(known) = self.open.get(&id)
        {
            put_known(&mut self.scratch, known);
            self.record(tag::KNOWN, id, event.time, &[]);
        }
        let Some((tag, bytes)) = put_event(&mut self.scratch, &event.kind) else { return };
        self.record(tag, id, event.time, bytes);
        self.remember(event);
    }

    /// Says that no batch follows.
    pub fn push_end(&mut self) {
        self.record(tag::END, ConnectionId(0), self.last, &[]);
    }

    /// Ends the batch under way and gives it a number.
    ///
    /// # Errors
    ///
    /// There is no memory to compress it in.
    pub fn seal(&mut self, number: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        head.number(number);
        self.body.splice(0..0, head);
        let mut batch = MAGIC.to_vec();
        batch.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        batch.append(&mut zstd::bulk::compress(&self.body, LEVEL)?);
        self.body.clear();
        self.mentioned.clear();
        self.last = Timestamp(0);
        Ok(batch)
    }

    /// Appends a record: what is in the scratch, and then `bytes`.
    fn record(&mut self, tag: u8, id: ConnectionId, time: Timestamp, bytes: &[u8]) {
        self.body.push(tag);
        self.body.number(id.0);
        self.body.signed(time.0.wrapping_sub(self.last.0) as i64);
        self.body.number((self.scratch.len() + bytes.len()) as u64);
        self.body.append(&mut self.scratch);
        self.body.extend_from_slice(bytes);
        self.last = time;
    }

    /// Keeps what a later batch has to say of the connection.
    fn remember(&mut self, event: &Event) {
        let id = event.connection;
        match &event.kind {
            EventKind::Open(open) => {
                let (open, opened) = (Arc::clone(open), event.time);
                let (connected, said) = (None, [0; 2]);
                let known = Known { connection: id, opened, open, connected, said };
                self.open.insert(id, known);
            }
            EventKind::Connected(connected) => {
                if let Some(known) = self.open.get_mut(&id) {
                    known.connected = Some((event.time, Arc::clone(connected)));
                }
            }
            EventKind::Data { direction, view: View::Wire, offset, bytes, .. } => {
                if let Some(known) = self.open.get_mut(&id) {
                    known.said[*direction as usize] = offset + bytes.len() as u64;
                }
            }
            EventKind::Process(process) => {
                if let Some(known) = self.open.get_mut(&id) {
                    let open = Open::clone(&known.open).process(process.clone());
                    known.open = Arc::new(open);
                }
            }
            EventKind::Close { .. } => drop(self.open.remove(&id)),
            _ => {}
        }
    }
}

/// Writes the fields of an event, but for the bytes of data, which come last and are returned.
/// `None` for what has no record.
fn put_event<'a>(out: &mut Vec<u8>, kind: &'a EventKind) -> Option<(u8, &'a [u8])> {
    Some(match kind {
        EventKind::Open(open) => {
            put_open(out, open);
            (tag::OPEN, &[])
        }
        EventKind::Connected(connected) => {
            put_connected(out, connected);
            (tag::CONNECTED, &[])
        }
        EventKind::Data { direction, view, offset, bytes, .. } => {
            out.number(flags(*direction, *view));
            out.number(*offset);
            (tag::DATA, bytes)
        }
        EventKind::Shutdown { direction, view, totals } => {
            out.number(flags(*direction, *view));
            put_totals(out, *totals);
            (tag::SHUTDOWN, &[])
        }
        EventKind::Close { reason, totals } => {
            let BothTotals { client_to_server, server_to_client } = *totals;
            put_totals(out, client_to_server);
            put_totals(out, server_to_client);
            put_reason(out, reason);
            (tag::CLOSE, &[])
        }
        EventKind::Tls(tls) => {
            put_tls(out, tls);
            (tag::TLS, &[])
        }
        EventKind::Secrets(lines) => {
            lines.iter().for_each(|line| out.text(line));
            (tag::SECRETS, &[])
        }
        EventKind::Process(process) => {
            put_process(out, process);
            (tag::PROCESS, &[])
        }
        EventKind::Info(_) | EventKind::Verdict(_) => return None,
    })
}

fn put_process(out: &mut Vec<u8>, process: &Process) {
    out.number(process.pid.into());
    out.text(&process.name);
}

/// The lowest bit is the sender, the next one the view.
fn flags(direction: Direction, view: View) -> u64 {
    direction as u64 | (view as u64) << 1
}

fn put_totals(out: &mut Vec<u8>, totals: Totals) {
    out.number(totals.received);
    out.number(totals.sent);
}

fn put_open(out: &mut Vec<u8>, open: &Open) {
    out.endpoint(&open.client);
    out.endpoint(&open.listener);
    out.text(&open.target);
    out.optional(open.server.as_ref(), Put::endpoint);
    out.optional(open.process.as_ref(), put_process);
}

fn put_connected(out: &mut Vec<u8>, connected: &Connected) {
    out.endpoint(&connected.server);
    out.endpoint(&connected.local);
}

fn put_known(out: &mut Vec<u8>, known: &Known) {
    out.number(known.opened.0);
    put_open(out, &known.open);
    out.optional(known.connected.as_ref(), |out, (time, connected)| {
        out.number(time.0);
        put_connected(out, connected);
    });
    known.said.iter().for_each(|said| out.number(*said));
}

fn put_tls(out: &mut Vec<u8>, tls: &Tls) {
    out.number(match tls.state {
        TlsState::Decrypted => 0,
        TlsState::Closed => 1,
        TlsState::Intercepted => 2,
        TlsState::Terminated => 3,
        TlsState::Originated => 4,
        TlsState::Passed => 5,
    });
    for fact in [&tls.version, &tls.suite, &tls.sni, &tls.alpn, &tls.why] {
        out.optional(fact.as_deref(), Put::text);
    }
}

fn put_reason(out: &mut Vec<u8>, reason: &CloseReason) {
    let (code, side, errno, message) = match reason {
        CloseReason::Finished { first } => (0, Some(*first), None, None),
        CloseReason::Reset { by } => (1, Some(*by), None, None),
        CloseReason::Refused => (2, None, None, None),
        CloseReason::ConnectTimeout => (3, None, None, None),
        CloseReason::Unreachable { errno } => (4, None, Some(*errno), None),
        CloseReason::ResolveFailed { message } => (5, None, None, Some(message)),
        CloseReason::ConnectFailed { message } => (6, None, None, Some(message)),
        CloseReason::Loop => (7, None, None, None),
        CloseReason::IdleTimeout => (8, None, None, None),
        CloseReason::HalfCloseTimeout => (9, None, None, None),
        CloseReason::Stopped => (10, None, None, None),
        CloseReason::Failed { side, errno } => (11, Some(*side), Some(*errno), None),
        CloseReason::Transform { direction, message } => {
            (12, Some(direction.sender()), None, Some(message))
        }
        CloseReason::Internal => (13, None, None, None),
    };
    out.number(code);
    if let Some(side) = side {
        out.number(side as u64);
    }
    if let Some(errno) = errno {
        out.signed(errno.into());
    }
    if let Some(message) = message {
        out.text(message);
    }
}
