//! What was sent and not acknowledged, so that it can be sent again.

use std::collections::VecDeque;
use std::ops::Range;

use crate::event::Event;
use crate::packet::Snapshot;

/// After this many bytes the state of all connections is kept once more: a copy of it takes longer
/// than small batches do.
const SPACING: u64 = 1 << 20;

/// The batches that were sent over one connection, from the last kept state on that all which the
/// collector acknowledged comes after.
#[derive(Default)]
pub(super) struct Unconfirmed {
    /// The first, where there is one, has a state.
    batches: VecDeque<Batch>,
    /// Where the last state was kept.
    kept_at: u64,
}

/// Blocks that were sent together.
struct Batch {
    /// Which bytes of the connection they are.
    bytes: Range<u64>,
    events: Vec<Event>,
    /// How all connections stood before the events, where that was kept.
    before: Option<Snapshot>,
}

/// What a broken connection leaves.
#[derive(Default)]
pub(super) struct Rest {
    /// How all connections stood before `confirmed`; `None` where nothing was sent.
    pub(super) before: Option<Snapshot>,
    /// Events that the collector has.
    pub(super) confirmed: Vec<Event>,
    /// Events that it does not have, or not wholly.
    pub(super) missing: Vec<Event>,
}

impl Unconfirmed {
    /// Whether the batch that begins at `offset` has to come with a state.
    pub(super) fn wants_state(&self, offset: u64) -> bool {
        self.batches.is_empty() || offset.saturating_sub(self.kept_at) >= SPACING
    }

    /// Adds the batch that is these bytes, with a state where one [is wanted](Self::wants_state).
    pub(super) fn push(&mut self, bytes: Range<u64>, events: Vec<Event>, before: Option<Snapshot>) {
        if before.is_some() {
            self.kept_at = bytes.start;
        }
        // Blocks without events before any with some need not be sent again.
        if before.is_some() || !self.batches.is_empty() {
            self.batches.push_back(Batch { bytes, events, before });
        }
    }

    /// Forgets what is not needed, now that the collector has acknowledged this many bytes.
    pub(super) fn confirm(&mut self, acknowledged: u64) {
        let is_confirmed =
            |batch: &Batch| batch.before.is_some() && batch.bytes.start <= acknowledged;
        if let Some(last) = self.batches.iter().rposition(is_confirmed) {
            self.batches.drain(..last);
        }
    }

    /// Forgets everything, if the collector has acknowledged all of it.
    pub(super) fn clear_if_confirmed(&mut self, acknowledged: u64) {
        if self.batches.back().is_none_or(|batch| batch.bytes.end <= acknowledged) {
            self.batches = VecDeque::new();
        }
    }

    /// Hands out everything, of which the collector has acknowledged this many bytes.
    pub(super) fn take(&mut self, acknowledged: u64) -> Rest {
        let mut rest = Rest::default();
        for batch in self.batches.drain(..) {
            rest.before = rest.before.or(batch.before);
            let is_confirmed = batch.bytes.end <= acknowledged;
            let events = if is_confirmed { &mut rest.confirmed } else { &mut rest.missing };
            events.extend(batch.events);
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BothTotals, CloseReason, ConnectionId, EventKind, Timestamp};
    use crate::packet::{ConversationConfig, Conversations};

    fn event(number: u64) -> Event {
        let kind = EventKind::Close { reason: CloseReason::Loop, totals: BothTotals::default() };
        Event { connection: ConnectionId(number), time: Timestamp(0), kind }
    }

    fn state() -> Snapshot {
        Conversations::new(ConversationConfig::default(), Box::new(|| 0)).snapshot()
    }

    /// Batches of one event each, which end here; with a state where they want one.
    fn sent(ends: &[u64]) -> Unconfirmed {
        let mut sent = Unconfirmed::default();
        let mut start = 0;
        for (number, end) in ends.iter().enumerate() {
            let before = sent.wants_state(start).then(state);
            sent.push(start..*end, vec![event(number as u64)], before);
            start = *end;
        }
        sent
    }

    fn numbers(events: &[Event]) -> Vec<u64> {
        events.iter().map(|event| event.connection.0).collect()
    }

    #[test]
    fn batch_that_is_acknowledged_in_part_is_missing() {
        let rest = sent(&[10, 20, 30]).take(29);
        assert!(rest.before.is_some());
        assert_eq!((numbers(&rest.confirmed), numbers(&rest.missing)), (vec![0, 1], vec![2]));
        let rest = sent(&[10, 20, 30]).take(0);
        assert_eq!((numbers(&rest.confirmed), numbers(&rest.missing)), (vec![], vec![0, 1, 2]));
    }

    #[test]
    fn batches_are_kept_from_last_state_that_is_acknowledged() {
        let ends = [10, SPACING, SPACING + 1, 2 * SPACING, 2 * SPACING + 9];
        for (acknowledged, kept) in
            [(9, 5), (SPACING - 1, 5), (SPACING, 3), (2 * SPACING, 1), (2 * SPACING + 9, 1)]
        {
            let mut sent = sent(&ends);
            sent.confirm(acknowledged);
            assert_eq!(sent.batches.len(), kept, "{acknowledged}");
            assert!(sent.take(acknowledged).before.is_some());
        }
    }

    #[test]
    fn all_is_forgotten_once_it_is_acknowledged() {
        let mut sent = sent(&[10, 20]);
        sent.clear_if_confirmed(19);
        assert_eq!(sent.batches.len(), 2);
        sent.clear_if_confirmed(20);
        assert!(sent.wants_state(20));
        assert!(sent.take(20).before.is_none());
    }
}
