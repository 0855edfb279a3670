//! A sink that keeps all events, waits for some, and holds them against the event contract.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tcp_tunn::event::{
    BothTotals, CloseReason, ConnectionId, Direction, Event, EventKind, Leg, Timestamp, View,
};
use tcp_tunn::sink::{Interest, Sink};

/// Longer than anything here takes, so that a test that would hang fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Events as they arrive; clones see the same.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<(Mutex<Vec<Event>>, Condvar)>);

struct EventsSink {
    events: Events,
    interest: Interest,
}

impl Sink for EventsSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let (events, arrived) = &*self.events.0;
        events.lock().unwrap().push(event.clone());
        arrived.notify_all();
        Ok(())
    }

    fn interest(&self) -> Interest {
        self.interest
    }
}

impl Events {
    pub(crate) fn sink(&self) -> impl Sink + 'static {
        EventsSink { events: self.clone(), interest: Interest::ALL }
    }

    /// A sink that asks for no data.
    pub(crate) fn lifecycle_sink(&self) -> impl Sink + 'static {
        self.sink_with(Interest::LIFECYCLE)
    }

    pub(crate) fn sink_with(&self, interest: Interest) -> impl Sink + 'static {
        EventsSink { events: self.clone(), interest }
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits until `found` says yes to an event.
    pub(crate) fn wait_for(&self, found: impl Fn(&Event) -> bool) -> Event {
        self.wait_for_count(1, found).remove(0)
    }

    /// Waits until `found` says yes to `count` events.
    pub(crate) fn wait_for_count(
        &self,
        count: usize,
        found: impl Fn(&Event) -> bool,
    ) -> Vec<Event> {
        let (events, arrived) = &*self.0;
        let few = |events: &mut Vec<Event>| events.iter().filter(|e| found(e)).count() < count;
        let guard = events.lock().unwrap();
        let (events, waited) = arrived.wait_timeout_while(guard, PATIENCE, few).unwrap();
        assert!(!waited.timed_out(), "not seen {count} times: {events:#?}");
        events.iter().filter(|e| found(e)).cloned().collect()
    }

    /// Waits for the close of the next connection that closes, or has.
    pub(crate) fn wait_for_close(&self) -> CloseReason {
        self.wait_for_closes(1).remove(0)
    }

    pub(crate) fn wait_for_closes(&self, count: usize) -> Vec<CloseReason> {
        let closes = self.wait_for_count(count, |e| matches!(e.kind, EventKind::Close { .. }));
        let reason = |event: Event| match event.kind {
            EventKind::Close { reason, .. } => reason,
            _ => unreachable!(),
        };
        closes.into_iter().map(reason).collect()
    }

    /// The bytes of one direction and leg.
    pub(crate) fn bytes(&self, id: u64, direction: Direction, leg: Leg) -> Vec<u8> {
        let mut all = Vec::new();
        for event in self.all() {
            if let EventKind::Data { direction: d, leg: l, bytes, .. } = &event.kind
                && event.connection.0 == id
                && (*d, *l) == (direction, leg)
            {
                all.extend_from_slice(bytes);
            }
        }
        all
    }
}

/// What the contract needs to know of a connection so far.
#[derive(Default)]
struct Seen {
    opened: bool,
    connected: bool,
    has_process: bool,
    judged: bool,
    closed: bool,
    ended: [bool; 2],
    totals: BothTotals,
    last: Timestamp,
}

/// Holds a finished series of events against the contract in the crate's documentation.
pub(crate) fn check_contract(events: &[Event]) {
    let mut connections: HashMap<ConnectionId, Seen> = HashMap::new();
    for event in events {
        let seen = connections.entry(event.connection).or_default();
        assert!(!seen.closed, "after Close: {event:?}");
        assert_eq!(seen.opened, !matches!(event.kind, EventKind::Open(_)), "{event:?}");
        assert!(event.time >= seen.last, "time went back: {event:?}");
        seen.last = event.time;
        match &event.kind {
            EventKind::Open(open) => {
                (seen.opened, seen.has_process) = (true, open.process.is_some());
            }
            EventKind::Connected(_) => {
                assert!(!seen.connected, "connected twice: {event:?}");
                seen.connected = true;
            }
            EventKind::Data { direction, leg, view: View::Wire, offset, bytes } => {
                assert!(seen.connected && !bytes.is_empty(), "{event:?}");
                assert!(!seen.ended[*direction as usize], "after Shutdown: {event:?}");
                let totals = seen.totals.get_mut(*direction);
                let count = match leg {
                    Leg::Received => &mut totals.received,
                    Leg::Sent => &mut totals.sent,
                };
                assert_eq!(offset, count, "a gap: {event:?}");
                *count += bytes.len() as u64;
            }
            EventKind::Shutdown { direction, view: View::Wire, totals } => {
                let ended = &mut seen.ended[*direction as usize];
                assert!(!std::mem::replace(ended, true), "twice: {event:?}");
                assert_eq!(*totals, seen.totals.get(*direction));
            }
            EventKind::Info(_) => {}
            EventKind::Process(_) => {
                assert!(!seen.has_process, "found twice: {event:?}");
                seen.has_process = true;
            }
            EventKind::Verdict(_) => {
                assert!(!seen.judged, "judged twice: {event:?}");
                seen.judged = true;
            }
            EventKind::Close { totals, .. } => {
                seen.closed = true;
                assert_eq!(*totals, seen.totals);
            }
            other => panic!("unknown: {other:?}"),
        }
    }
    assert!(connections.values().all(|seen| seen.closed), "a connection was not closed");
}
