//! Connections that never were, as events for a sink.

use std::sync::Arc;

use bytes::Bytes;
use tcp_tunn::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, Event, EventKind, Leg,
    Open, Side, Timestamp, Totals,
};

/// The time of the first event.
pub(crate) const START_NS: u64 = 1_700_000_000_123_456_789;
/// From each event to the next.
const STEP_NS: u64 = 1_000_007;

/// A connection under way, and its events so far.
pub(crate) struct Talk {
    id: ConnectionId,
    now: u64,
    totals: BothTotals,
    pub(crate) said: [Vec<u8>; 2],
    pub(crate) events: Vec<Event>,
    open: Open,
}

impl Talk {
    /// A connection that will go from `client` to `server`.
    pub(crate) fn new(id: u64, client: &str, listener: &str, server: &str) -> Self {
        let endpoint = |text: &str| match text.strip_prefix("unix:") {
            Some("") => Endpoint::Unix(None),
            Some(path) => Endpoint::Unix(Some(std::path::Path::new(path).into())),
            None => Endpoint::Tcp(text.parse().expect(text)),
        };
        let open = Open {
            client: endpoint(client),
            listener: endpoint(listener),
            target: server.into(),
            server: (!server.starts_with("example.com")).then(|| endpoint(server)),
        };
        let id = ConnectionId(id);
        let (now, totals) = (START_NS, BothTotals::default());
        Self { id, now, totals, said: Default::default(), events: Vec::new(), open }
    }

    pub(crate) fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    /// As for a name that stands for several addresses.
    pub(crate) fn uncertain(mut self) -> Self {
        self.open.server = None;
        self
    }

    fn event(&mut self, kind: EventKind) {
        self.now += STEP_NS;
        let time = Timestamp(self.now);
        self.events.push(Event { connection: self.id, time, kind });
    }

    pub(crate) fn open(&mut self) -> &mut Self {
        let open = Arc::new(self.open.clone());
        self.event(EventKind::Open(open));
        self
    }

    /// Opened, and the server answered.
    pub(crate) fn connect(&mut self) -> &mut Self {
        self.open();
        let target = &self.open.target;
        let server = self.open.server.clone().unwrap_or_else(|| {
            Endpoint::Tcp(target.replace("example.com", "192.0.2.1").parse().unwrap())
        });
        let local = match &server {
            Endpoint::Tcp(address) => {
                let ip = if address.is_ipv4() { "127.0.0.9" } else { "::9" };
                let port = 30_000 + (self.id.0 % 30_000) as u16;
                Endpoint::Tcp((ip.parse::<std::net::IpAddr>().unwrap(), port).into())
            }
            Endpoint::Unix(_) => Endpoint::Unix(None),
        };
        self.event(EventKind::Connected(Arc::new(Connected { server, local })));
        self
    }

    /// `side` says `bytes`, and they are delivered.
    pub(crate) fn say(&mut self, side: Side, bytes: &[u8]) -> &mut Self {
        self.receive(side, bytes);
        self.deliver(side, bytes)
    }

    /// `side` says `bytes`.
    pub(crate) fn receive(&mut self, side: Side, bytes: &[u8]) -> &mut Self {
        self.said[side as usize].extend_from_slice(bytes);
        self.data(side, Leg::Received, bytes)
    }

    /// The other side takes `bytes`.
    pub(crate) fn deliver(&mut self, side: Side, bytes: &[u8]) -> &mut Self {
        self.data(side, Leg::Sent, bytes)
    }

    fn data(&mut self, side: Side, leg: Leg, bytes: &[u8]) -> &mut Self {
        let direction = Direction::from(side);
        let Totals { received, sent } = self.totals.get_mut(direction);
        let count = if leg == Leg::Received { received } else { sent };
        let offset = *count;
        *count += bytes.len() as u64;
        let bytes = Bytes::copy_from_slice(bytes);
        self.event(EventKind::Data { direction, leg, offset, bytes });
        self
    }

    /// `side` is done.
    pub(crate) fn finish(&mut self, side: Side) -> &mut Self {
        let direction = Direction::from(side);
        let totals = self.totals.get(direction);
        self.event(EventKind::Shutdown { direction, totals });
        self
    }

    pub(crate) fn close(&mut self, reason: CloseReason) -> &mut Self {
        let totals = self.totals;
        self.event(EventKind::Close { reason, totals });
        self
    }

    /// Both sides are done, `first` first.
    pub(crate) fn end(&mut self, first: Side) -> &mut Self {
        self.finish(first).finish(!first).close(CloseReason::Finished { first })
    }
}

/// All events of several connections in order of time.
pub(crate) fn interleaved(talks: &[Talk]) -> Vec<Event> {
    let mut events: Vec<_> = talks.iter().flat_map(|talk| talk.events.iter().cloned()).collect();
    events.sort_by_key(|event| event.time);
    events
}
