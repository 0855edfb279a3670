//! Batches of many hosts to one series of events, in the order of time.
//!
//! Reads no clock: the time at which a batch arrived is an argument.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::{Duration, Instant};

use super::origin::Origin;
use super::wire::{Batch, Known, Record};
use crate::event::{
    BothTotals, CloseReason, ConnectionId, Direction, Event, EventKind, Timestamp, Totals, View,
};

/// How long a batch is waited for that comes later than those after it. One that was sent again
/// may take some seconds.
const GAP_WAIT: Duration = Duration::from_secs(10);
/// How long a worker's earlier batches are waited for before the first that is read of it.
const START_WAIT: Duration = Duration::from_secs(3);
/// A worker that is silent for this long is not waited for any more.
const RETIRED: Duration = Duration::from_secs(30);
/// How many batches a publisher has on its way at once: no other order than this far off is real.
const WINDOW: u64 = 64;

/// Batches that did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Whose.
    pub origin: Origin,
    /// Their numbers.
    pub batches: RangeInclusive<u64>,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, batches } = self;
        write!(f, "{origin}: batches {} to {} are lost", batches.start(), batches.end())
    }
}

/// Bytes of a connection that no batch has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Whose connection.
    pub origin: Origin,
    /// Its number on the host.
    pub connection: ConnectionId,
    /// Whose bytes.
    pub direction: Direction,
    /// Which of them.
    pub bytes: Range<u64>,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, connection, direction, bytes: Range { start, end } } = self;
        let sender = direction.sender();
        write!(f, "{origin}: connection {connection}: bytes {start} to {end} of the {sender} ")?;
        f.write_str("are missing")
    }
}

/// What comes out, in order.
#[derive(Debug)]
pub(super) enum Item {
    /// An event, on a connection whose number is unique among all hosts.
    Event(Event),
    /// A connection that was open before anything was read of it.
    Known(Known),
}

/// What the user should know of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Lost(Lost),
    Gap(Gap),
}

/// How events are merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct MergeOptions {
    /// How long a host that is silent may hold back the others.
    pub(super) max_delay: Duration,
    /// How long every event waits for secrets that may be on their way.
    pub(super) hold: Duration,
    /// Whether the first batch that is read is the first that there is.
    pub(super) is_from_start: bool,
}

/// Merges the batches of all workers.
pub(super) struct Merge {
    options: MergeOptions,
    sources: BTreeMap<Origin, Source>,
    /// The time of the latest event of all.
    latest: Timestamp,
    connections: u64,
    notices: Vec<Notice>,
    duplicates: u64,
}

/// A worker's batches.
struct Source {
    /// The number of the batch that comes next, once the first is known.
    next: Option<u64>,
    /// Batches that have come too early.
    early: BTreeMap<u64, (Instant, Batch)>,
    /// What can go out as soon as its time has come, and when it arrived.
    ready: VecDeque<(Instant, Item)>,
    heard: Instant,
    /// The time of its latest event.
    latest: Timestamp,
    connections: HashMap<ConnectionId, Connection>,
    has_ended: bool,
}

/// An open connection of a worker.
struct Connection {
    /// Its number among those of all hosts.
    id: ConnectionId,
    said: [u64; 2],
}

impl Item {
    const fn time(&self) -> Timestamp {
        match self {
            Self::Event(event) => event.time,
            Self::Known(known) => known.opened,
        }
    }
}

impl Merge {
    pub(super) fn new(options: MergeOptions) -> Self {
        Self {
            options,
            sources: BTreeMap::new(),
            latest: Timestamp(0),
            connections: 0,
            notices: Vec::new(),
            duplicates: 0,
        }
    }

    /// How many batches came more than once.
    pub(super) const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The notices since this was last asked.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Takes a batch that has arrived.
    pub(super) fn push(&mut self, origin: &Origin, batch: Batch, now: Instant) {
        let is_first = self.options.is_from_start && batch.number <= WINDOW || batch.number == 1;
        let source = self.sources.entry(origin.clone()).or_insert_with(|| Source::new(now));
        source.heard = now;
        if is_first {
            source.next.get_or_insert(1);
        }
        let is_old = source.next.is_some_and(|next| batch.number < next);
        if is_old || source.early.contains_key(&batch.number) {
            self.duplicates += 1;
            return;
        }
        source.early.insert(batch.number, (now, batch));
        self.absorb(origin);
    }

    /// Gives up waiting for batches that are overdue; for all that are missing where no more comes.
    pub(super) fn give_up(&mut self, now: Instant, is_over: bool) {
        let origins: Vec<_> = self.sources.keys().cloned().collect();
        for origin in origins {
            while let Some(source) = self.sources.get_mut(&origin)
                && let Some(arrived) = source.early.values().map(|(arrived, _)| *arrived).min()
                && let Some(first) = source.early.keys().next().copied()
                && let wait = if source.next.is_some() { GAP_WAIT } else { START_WAIT }
                && (is_over || now.saturating_duration_since(arrived) >= wait)
            {
                // Before the first that is read nothing is lost.
                if let Some(next) = source.next.replace(first) {
                    let (origin, batches) = (origin.clone(), next..=first - 1);
                    self.notices.push(Notice::Lost(Lost { origin, batches }));
                }
                self.absorb(&origin);
            }
        }
    }

    /// Makes events of the batches whose turn it is.
    fn absorb(&mut self, origin: &Origin) {
        let Some(source) = self.sources.get_mut(origin) else { return };
        while let Some(next) = source.next
            && let Some((arrived, batch)) = source.early.remove(&next)
        {
            source.next = Some(next + 1);
            for record in batch.records {
                let item = match record {
                    Record::Event(event) => {
                        source.event(event, origin, &mut self.connections, &mut self.notices)
                    }
                    Record::Known(known) => source.known(known, &mut self.connections),
                    Record::End => {
                        source.has_ended = true;
                        source.close_all(arrived);
                        None
                    }
                };
                source.ready.extend(item.map(|item| (arrived, item)));
            }
            self.latest = self.latest.max(source.latest);
        }
    }

    /// The next event, with where it comes from, once nothing can come before it any more.
    pub(super) fn pop(&mut self, now: Instant, is_over: bool) -> Option<(Origin, Item)> {
        let heads = self.sources.iter().filter_map(|(origin, source)| {
            source.ready.front().map(|(arrived, item)| (item.time(), origin, *arrived))
        });
        let (time, origin, arrived) = heads.min()?;
        let waited = now.saturating_duration_since(arrived);
        let is_held = waited < self.options.hold || !self.is_due(time, waited, now);
        if is_held && !is_over {
            return None;
        }
        let origin = origin.clone();
        let source = self.sources.get_mut(&origin)?;
        let (_, item) = source.ready.pop_front()?;
        if source.has_ended && source.ready.is_empty() {
            self.sources.remove(&origin);
        }
        Some((origin, item))
    }

    /// Whether nothing can come any more that is earlier, or it has had its time to.
    fn is_due(&self, time: Timestamp, waited: Duration, now: Instant) -> bool {
        let most = self.options.max_delay;
        let behind = Duration::from_nanos(self.latest.nanos_since(time));
        let may_be_earlier = |source: &Source| {
            let is_silent = now.saturating_duration_since(source.heard) >= RETIRED;
            source.ready.is_empty() && source.latest < time && !source.has_ended && !is_silent
        };
        waited >= most || behind >= most || !self.sources.values().any(may_be_earlier)
    }
}

impl Source {
    fn new(now: Instant) -> Self {
        Self {
            next: None,
            early: BTreeMap::new(),
            ready: VecDeque::new(),
            heard: now,
            latest: Timestamp(0),
            connections: HashMap::new(),
            has_ended: false,
        }
    }

    /// An event under its connection's number among all hosts; `None` where nothing is known of the
    /// connection.
    fn event(
        &mut self,
        mut event: Event,
        origin: &Origin,
        numbers: &mut u64,
        notices: &mut Vec<Notice>,
    ) -> Option<Item> {
        let on_host = event.connection;
        self.latest = self.latest.max(event.time);
        if matches!(event.kind, EventKind::Open(_)) {
            *numbers += 1;
            let connection = Connection { id: ConnectionId(*numbers), said: [0; 2] };
            self.connections.insert(on_host, connection);
        }
        let connection = self.connections.get_mut(&on_host)?;
        event.connection = connection.id;
        if let EventKind::Data { direction, view: View::Wire, offset, bytes, .. } = &event.kind {
            let said = &mut connection.said[*direction as usize];
            if *offset > *said {
                let (origin, bytes) = (origin.clone(), *said..*offset);
                let gap = Gap { origin, connection: on_host, direction: *direction, bytes };
                notices.push(Notice::Gap(gap));
            }
            *said = (*said).max(offset.saturating_add(bytes.len() as u64));
        }
        if matches!(event.kind, EventKind::Close { .. }) {
            self.connections.remove(&on_host);
        }
        Some(Item::Event(event))
    }

    /// A connection that was open before, unless it is known already.
    fn known(&mut self, mut known: Known, numbers: &mut u64) -> Option<Item> {
        if self.connections.contains_key(&known.connection) {
            return None;
        }
        *numbers += 1;
        let connection = Connection { id: ConnectionId(*numbers), said: known.said };
        self.connections.insert(known.connection, connection);
        known.connection = ConnectionId(*numbers);
        Some(Item::Known(known))
    }

    /// Closes what the run has left open, whose closing was lost.
    fn close_all(&mut self, arrived: Instant) {
        let mut left: Vec<_> = self.connections.drain().map(|(_, open)| open).collect();
        left.sort_by_key(|connection| connection.id);
        for Connection { id, said } in left {
            let [client_to_server, server_to_client] =
                said.map(|said| Totals { received: said, sent: said });
            let totals = BothTotals { client_to_server, server_to_client };
            let kind = EventKind::Close { reason: CloseReason::Stopped, totals };
            let event = Event { connection: id, time: self.latest, kind };
            self.ready.push_back((arrived, Item::Event(event)));
        }
    }
}

/// Whether an event is of what the sockets carried, and not of what TLS carried inside it.
pub(super) const fn is_of_the_wire(event: &Event) -> bool {
    !matches!(
        event.kind,
        EventKind::Data { view: View::Plain, .. } | EventKind::Shutdown { view: View::Plain, .. }
    )
}

#[cfg(test)]
mod tests;
