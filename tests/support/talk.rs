//! The events of one connection, written down as a conversation.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tcp_tunn::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, Event, EventKind, Leg,
    Open, Side, Timestamp, View,
};
use tcp_tunn::packet::Interface;

/// 2026-01-01, about.
pub(crate) const BEGIN: u64 = 1_767_225_600_000_000_000;

/// The addresses of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) client: Endpoint,
    pub(crate) listener: Endpoint,
    pub(crate) local: Endpoint,
    pub(crate) server: Endpoint,
    pub(crate) target: String,
    /// Whether the server's address is known from the start.
    pub(crate) certain: bool,
}

/// An address, or `unix:` and perhaps a path.
pub(crate) fn endpoint(text: &str) -> Endpoint {
    match text.strip_prefix("unix:") {
        Some("") => Endpoint::Unix(None),
        Some(path) => Endpoint::Unix(Some(Arc::from(Path::new(path)))),
        None => Endpoint::Tcp(text.parse::<SocketAddr>().unwrap()),
    }
}

impl Ends {
    /// Four ends in the order in which bytes pass them.
    pub(crate) fn new(client: &str, listener: &str, local: &str, server: &str) -> Self {
        Self {
            client: endpoint(client),
            listener: endpoint(listener),
            local: endpoint(local),
            server: endpoint(server),
            target: server.to_owned(),
            certain: true,
        }
    }
}

/// A connection under way.
pub(crate) struct Talk {
    pub(crate) id: ConnectionId,
    pub(crate) ends: Ends,
    /// Nanoseconds between one event and the next.
    pub(crate) pace: u64,
    time: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) totals: BothTotals,
    /// What client and server said.
    pub(crate) said: [Vec<u8>; 2],
    /// What of that the other side was told.
    pub(crate) told: [Vec<u8>; 2],
}

impl Talk {
    /// A connection that was just accepted.
    pub(crate) fn open(id: u64, begin: u64, ends: Ends) -> Self {
        let open = Open::new(ends.client.clone(), ends.listener.clone(), ends.target.as_str())
            .server(ends.certain.then(|| ends.server.clone()));
        let mut talk = Self {
            id: ConnectionId(id),
            ends,
            pace: 1_000,
            time: BEGIN + begin,
            events: Vec::new(),
            totals: BothTotals::default(),
            said: [Vec::new(), Vec::new()],
            told: [Vec::new(), Vec::new()],
        };
        talk.event(EventKind::Open(Arc::new(open)));
        talk
    }

    /// The same connection `later` nanoseconds on, with nothing said or done since.
    pub(crate) fn rest(&self, later: u64) -> Self {
        Self {
            id: self.id,
            ends: self.ends.clone(),
            pace: self.pace,
            time: self.time + later,
            events: Vec::new(),
            totals: self.totals,
            said: [Vec::new(), Vec::new()],
            told: [Vec::new(), Vec::new()],
        }
    }

    pub(crate) fn event(&mut self, kind: EventKind) {
        self.events.push(Event { connection: self.id, time: Timestamp(self.time), kind });
        self.time += self.pace;
    }

    pub(crate) fn connect(&mut self) -> &mut Self {
        let (server, local) = (self.ends.server.clone(), self.ends.local.clone());
        self.event(EventKind::Connected(Arc::new(Connected { server, local })));
        self
    }

    /// The events since the last time.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// `side` says something, and the other side is told.
    pub(crate) fn say(&mut self, side: Side, bytes: &[u8]) -> &mut Self {
        let bytes = Bytes::copy_from_slice(bytes);
        self.hear(side, bytes.clone());
        self.tell(side, bytes);
        self
    }

    /// The tunnel reads what `side` says.
    pub(crate) fn hear(&mut self, side: Side, bytes: Bytes) {
        self.said[side as usize].extend_from_slice(&bytes);
        let direction = Direction::from(side);
        let received = &mut self.totals.get_mut(direction).received;
        let offset = *received;
        *received += bytes.len() as u64;
        self.event(EventKind::Data {
            direction,
            leg: Leg::Received,
            view: View::Wire,
            offset,
            bytes,
        });
    }

    /// The tunnel has written what `side` said.
    pub(crate) fn tell(&mut self, side: Side, bytes: Bytes) {
        self.told[side as usize].extend_from_slice(&bytes);
        let direction = Direction::from(side);
        let sent = &mut self.totals.get_mut(direction).sent;
        let offset = *sent;
        *sent += bytes.len() as u64;
        self.event(EventKind::Data { direction, leg: Leg::Sent, view: View::Wire, offset, bytes });
    }

    /// What a stream of the connection shows of client and server.
    pub(crate) fn shown(&self, interface: Interface) -> [&[u8]; 2] {
        let [client, server] = &self.said;
        match interface {
            Interface::Direct => [client, server],
            Interface::ClientLeg => [client, &self.told[Side::Server as usize]],
            Interface::ServerLeg => [&self.told[Side::Client as usize], server],
        }
    }

    pub(crate) fn finish(&mut self, side: Side) {
        let direction = Direction::from(side);
        let totals = self.totals.get(direction);
        self.event(EventKind::Shutdown { direction, view: View::Wire, totals });
    }

    pub(crate) fn close(&mut self, reason: CloseReason) {
        let totals = self.totals;
        self.event(EventKind::Close { reason, totals });
    }

    /// Both finish, `first` first, and the connection is closed.
    pub(crate) fn end(&mut self, first: Side) {
        self.finish(first);
        self.finish(!first);
        self.close(CloseReason::Finished { first });
    }
}

/// The events of many connections in the order of time, as a sink gets them.
pub(crate) fn interleave(talks: &[Talk]) -> Vec<Event> {
    let mut events: Vec<_> = talks.iter().flat_map(|talk| talk.events.iter().cloned()).collect();
    events.sort_by_key(|event| event.time);
    events
}
