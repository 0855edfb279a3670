use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::{Endpoint, Leg, Open, Side};

const DELAY: Duration = Duration::from_secs(1);

fn merge() -> Merge {
    let (max_delay, hold) = (DELAY, Duration::ZERO);
    Merge::new(MergeOptions { max_delay, hold, is_from_start: true })
}

fn origin(host: &str) -> Origin {
    let run = Origin::new_run("site", host);
    Origin { run: "run".into(), ..run }
}

fn opening() -> Arc<Open> {
    Arc::new(Open::new(Endpoint::Unix(None), Endpoint::Unix(None), "h:1"))
}

fn open() -> EventKind {
    EventKind::Open(opening())
}

fn data(offset: u64, len: usize) -> EventKind {
    let (direction, bytes) = (Direction::ClientToServer, Bytes::from(vec![0; len]));
    EventKind::Data { direction, leg: Leg::Received, view: View::Wire, offset, bytes }
}

/// A batch of events of connection 1, at these milliseconds.
fn batch<const N: usize>(number: u64, events: [(u64, EventKind); N]) -> Batch {
    let record = |(time, kind)| {
        let (connection, time) = (ConnectionId(1), Timestamp(time * 1_000_000));
        Record::Event(Event { connection, time, kind })
    };
    Batch { number, records: events.map(record).into() }
}

/// The host, the connection and the time of all that comes out now.
fn popped(merge: &mut Merge, now: Instant, is_over: bool) -> Vec<(String, u64, u64)> {
    let mut all = Vec::new();
    while let Some((origin, item)) = merge.pop(now, is_over) {
        let connection = match &item {
            Item::Event(event) => event.connection,
            Item::Known(known) => known.connection,
        };
        all.push((origin.host.to_string(), connection.0, item.time().0 / 1_000_000));
    }
    all
}

fn named(host: &str, connection: u64, time: u64) -> (String, u64, u64) {
    (host.to_owned(), connection, time)
}

#[test]
fn events_of_two_hosts_come_in_order_of_time() {
    let (mut merge, now) = (merge(), Instant::now());
    merge.push(&origin("b"), batch(1, [(1, open()), (4, data(0, 1))]), now);
    merge.push(&origin("a"), batch(1, [(2, open()), (3, data(0, 1))]), now);
    // Host a may still say something of the time before 4, until its time is over.
    let first = [named("b", 1, 1), named("a", 2, 2), named("a", 2, 3)];
    assert_eq!(popped(&mut merge, now, false), first);
    assert_eq!(popped(&mut merge, now + DELAY, false), [named("b", 1, 4)]);
}

#[test]
fn host_that_is_ahead_holds_back_nobody() {
    let (mut merge, now) = (merge(), Instant::now());
    merge.push(&origin("a"), batch(1, [(9, open())]), now);
    assert_eq!(popped(&mut merge, now, false), [named("a", 1, 9)]);
    merge.push(&origin("b"), batch(1, [(5, open())]), now);
    assert_eq!(popped(&mut merge, now, false), [named("b", 2, 5)]);
}

#[test]
fn events_wait_for_secrets() {
    let hold = Duration::from_millis(300);
    let options = MergeOptions { max_delay: DELAY, hold, is_from_start: true };
    let (mut merge, now) = (Merge::new(options), Instant::now());
    merge.push(&origin("a"), batch(1, [(1, open())]), now);
    assert_eq!(popped(&mut merge, now + hold / 2, false), []);
    assert_eq!(popped(&mut merge, now + hold, false).len(), 1);
}

#[test]
fn batches_are_put_in_order_and_duplicates_dropped() {
    let (mut merge, now) = (merge(), Instant::now());
    for number in [2, 2, 3] {
        merge.push(&origin("a"), batch(number, [(number, data(number - 2, 1))]), now);
        assert_eq!(popped(&mut merge, now, false), []);
    }
    merge.push(&origin("a"), batch(1, [(1, open())]), now);
    merge.push(&origin("a"), batch(3, [(3, open())]), now);
    assert_eq!(popped(&mut merge, now, false), [1, 2, 3].map(|time| named("a", 1, time)));
    assert_eq!((merge.duplicates(), merge.take_notices()), (2, vec![]));
}

#[test]
fn lost_batch_is_named_with_its_bytes() {
    let (mut merge, now) = (merge(), Instant::now());
    merge.push(&origin("a"), batch(1, [(1, open()), (2, data(0, 10))]), now);
    merge.push(&origin("a"), batch(4, [(5, data(25, 1))]), now);
    merge.give_up(now + GAP_WAIT / 2, false);
    assert_eq!(merge.take_notices(), []);
    merge.give_up(now + GAP_WAIT, false);
    let (origin, connection) = (origin("a"), ConnectionId(1));
    let lost = Lost { origin: origin.clone(), batches: 2..=3 };
    let direction = Direction::from(Side::Client);
    let gap = Gap { origin, connection, direction, bytes: 10..25 };
    let words =
        "site/a (run run, worker 0): connection 1: bytes 10 to 25 of the client are missing";
    assert_eq!(gap.to_string(), words);
    assert_eq!(lost.to_string(), "site/a (run run, worker 0): batches 2 to 3 are lost");
    assert_eq!(merge.take_notices(), [Notice::Lost(lost), Notice::Gap(gap)]);
}

#[test]
fn known_connection_goes_on_where_it_stood() {
    let (mut merge, now) = (merge(), Instant::now());
    let known = Known {
        connection: ConnectionId(1),
        opened: Timestamp(1),
        open: opening(),
        connected: None,
        said: [100, 0],
    };
    let mut first = batch(1000, [(5, data(100, 10))]);
    first.records.insert(0, Record::Known(known.clone()));
    let mut second = batch(1001, [(6, data(110, 10))]);
    second.records.insert(0, Record::Known(known));
    // The second comes first.
    merge.push(&origin("a"), second, now);
    merge.push(&origin("a"), first, now);
    merge.give_up(now + START_WAIT / 2, false);
    assert_eq!(popped(&mut merge, now, true), []);
    merge.give_up(now + START_WAIT, false);
    let expected = [named("a", 1, 0), named("a", 1, 5), named("a", 1, 6)];
    assert_eq!(popped(&mut merge, now, true), expected);
    assert_eq!(merge.take_notices(), []);
}

#[test]
fn end_of_a_run_closes_what_is_open() {
    let (mut merge, now) = (merge(), Instant::now());
    let mut last = batch(1, [(1, open()), (7, data(0, 3))]);
    last.records.push(Record::End);
    merge.push(&origin("a"), last, now);
    assert_eq!(popped(&mut merge, now, false), [1, 7, 7].map(|time| named("a", 1, time)));
    assert!(merge.sources.is_empty());
}

proptest! {
    /// However batches arrive, twice or in another order: each event comes out once, in order.
    #[test]
    fn order_of_arrival_does_not_matter(arrivals in Just((1..=20_u64).flat_map(|n| [n, n])
        .collect::<Vec<_>>()).prop_shuffle())
    {
        let (mut merge, now) = (merge(), Instant::now());
        for number in arrivals {
            let kind = if number == 1 { open() } else { data(number - 2, 1) };
            merge.push(&origin("a"), batch(number, [(number, kind)]), now);
        }
        let popped = popped(&mut merge, now, true).into_iter();
        let times: Vec<_> = popped.map(|(.., time)| time).collect();
        prop_assert_eq!(times, (1..=20).collect::<Vec<_>>());
        prop_assert_eq!((merge.duplicates(), merge.take_notices()), (20, vec![]));
    }
}
