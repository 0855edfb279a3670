use crate::event::{
    BothTotals, CloseReason, Direction, Endpoint, Open, Side, Timestamp, Totals, View,
};
use crate::web::connection::Range;

use super::*;

fn event(id: u64, kind: EventKind) -> Event {
    Event { connection: ConnectionId(id), time: Timestamp(id), kind }
}

fn open(id: u64) -> Event {
    let open = Open::new(Endpoint::Unix(None), Endpoint::Unix(None), "h:1");
    event(id, EventKind::Open(Arc::new(open)))
}

fn data(id: u64, offset: u64, bytes: &[u8]) -> Event {
    let (direction, leg, view) = (Direction::ClientToServer, Leg::Received, View::Wire);
    let bytes = Bytes::copy_from_slice(bytes);
    event(id, EventKind::Data { direction, leg, view, offset, bytes })
}

fn close(id: u64, said: u64) -> Event {
    let said = Totals { received: said, sent: said };
    let totals = BothTotals { client_to_server: said, ..BothTotals::default() };
    event(id, EventKind::Close { reason: CloseReason::Reset { by: Side::Client }, totals })
}

fn fed(store: &mut Store, events: impl IntoIterator<Item = Event>) {
    for event in events {
        let copy = match &event.kind {
            EventKind::Data { bytes, .. } => bytes.clone(),
            _ => Bytes::new(),
        };
        store.record(&event, copy);
    }
    store.publish();
}

/// What a page learns that knows `version`: rows, removals, the next version.
fn told(store: &Store, version: u64) -> (Vec<u64>, Vec<u64>, u64) {
    match store.since(version, 100) {
        Since::Known { rows, removed, version, more: false } => {
            let rows = rows.iter().map(|connection| connection.id.0).collect();
            (rows, removed.iter().map(|id| id.0).collect(), version)
        }
        _ => panic!("version {version} is not known, or there is more"),
    }
}

fn range(store: &Store, from: Option<u64>, len: u64) -> Range {
    let connection = store.get(ConnectionId(1)).expect("it is held");
    connection.range(View::Wire, Direction::ClientToServer, from, len)
}

fn held(offset: u64, pieces: &[&'static str]) -> Range {
    let bytes = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
    Range::Held { offset, bytes }
}

#[test]
fn bytes_are_found_by_offset_up_to_a_gap() {
    let mut store = Store::new(1 << 20);
    fed(&mut store, [open(1), data(1, 0, b"abc"), data(1, 3, b"def"), data(1, 9, b"jkl")]);
    assert_eq!(range(&store, None, u64::MAX), held(0, &["abc", "def"]));
    assert_eq!(range(&store, Some(2), 3), held(2, &["c", "de"]));
    assert_eq!(range(&store, Some(6), 1), Range::NotHeld { next: 9 });
    assert_eq!(range(&store, Some(10), 9), held(10, &["kl"]));
    assert_eq!(range(&store, Some(12), 1), Range::Beyond);
    assert_eq!(range(&store, Some(0), 0), Range::Beyond);
    let connection = store.get(ConnectionId(1)).expect("it is held");
    assert_eq!(
        (connection.missed, connection.passed(View::Wire, Direction::ClientToServer)),
        (3, 12)
    );
}

#[test]
fn oldest_data_goes_first_and_is_counted() {
    let mut store = Store::new(1 << 20);
    fed(&mut store, [open(1), open(2)]);
    let piece = vec![7; 1 << 18];
    for offset in [0, 1, 2, 3] {
        fed(&mut store, [data(1 + offset % 2, (offset / 2) << 18, &piece)]);
    }
    let (budget, used) = store.room();
    assert!(used <= budget, "{used} of {budget}");
    assert_eq!(store.let_go(), LetGo { bytes: 1 << 18, connections: 0 });
    let let_go = |id| store.get(ConnectionId(id)).map(|connection| connection.let_go);
    assert_eq!([let_go(1), let_go(2)], [Some(1 << 18), Some(0)]);
    assert_eq!(range(&store, Some(0), 1), Range::NotHeld { next: 1 << 18 });
}

#[test]
fn closed_connections_go_when_there_are_many() {
    let mut store = Store::new(1 << 16);
    fed(&mut store, [open(1), data(1, 0, b"stays"), open(2), data(2, 0, b"goes"), close(2, 4)]);
    let (_, _, version) = told(&store, 0);
    for id in 3..30 {
        fed(&mut store, [open(id), close(id, 0)]);
    }
    let (budget, used) = store.room();
    assert!(used <= budget, "{used} of {budget}");
    assert!(store.get(ConnectionId(1)).is_some(), "it is open");
    assert!(store.get(ConnectionId(2)).is_none() && store.get(ConnectionId(29)).is_some());
    assert_eq!(store.let_go().bytes, 4);
    let (rows, removed, _) = told(&store, version);
    assert!(removed.contains(&2) && !rows.contains(&2) && rows.contains(&29), "{removed:?}");
}

#[test]
fn page_learns_each_change_once() {
    let mut store = Store::new(1 << 20);
    assert_eq!(told(&store, 0), (vec![], vec![], 0));
    fed(&mut store, [open(1), open(2), data(1, 0, b"x")]);
    let (rows, _, version) = told(&store, 0);
    assert_eq!(rows, [1, 2]);
    assert_eq!(told(&store, version), (vec![], vec![], version));
    fed(&mut store, [data(1, 1, b"y"), data(1, 2, b"z")]);
    let (rows, _, newest) = told(&store, version);
    assert_eq!(rows, [1]);
    store.end();
    let (rows, _, last) = told(&store, newest);
    assert!(rows.is_empty() && last > newest && store.has_ended());
    assert!(matches!(store.since(last + 1, 1), Since::Unknown), "of another run");
}

#[test]
fn many_changes_come_in_parts() {
    let mut store = Store::new(1 << 20);
    fed(&mut store, (1..=5).map(open));
    let mut seen = Vec::new();
    let mut reached = 0;
    loop {
        let Since::Known { rows, version, more, .. } = store.since(reached, 2) else {
            panic!("it is known");
        };
        seen.extend(rows.iter().map(|connection| connection.id.0));
        reached = version;
        if !more {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
}

#[test]
fn page_that_missed_removals_begins_anew() {
    let mut store = Store::new(1 << 16);
    fed(&mut store, [open(1), close(1, 0)]);
    let (_, _, version) = told(&store, 0);
    for id in 2..REMOVED_MAX as u64 + 100 {
        fed(&mut store, [open(id), close(id, 0)]);
    }
    assert!(matches!(store.since(version, 100), Since::Unknown));
    assert!(matches!(store.since(0, 100), Since::Known { .. }));
}

#[test]
fn events_come_back_in_their_order() {
    let mut store = Store::new(1 << 20);
    let events =
        [open(1), open(2), data(2, 0, b"b"), data(1, 0, b"a"), close(2, 1), data(1, 1, b"c")];
    fed(&mut store, events.clone());
    assert_eq!(store.events(|_| true), events);
    let of_second: Vec<_> = events.into_iter().filter(|event| event.connection.0 == 2).collect();
    assert_eq!(store.events(|id| id.0 == 2), of_second);
}

#[test]
fn removed_connections_leave_nothing_behind() {
    let mut store = Store::new(1 << 16);
    // Its data is the oldest, and stays.
    fed(&mut store, [open(1), data(1, 0, b"stays")]);
    for id in 2..20_000 {
        fed(&mut store, [open(id), data(id, 0, b"x"), close(id, 1)]);
    }
    assert_eq!(range(&store, None, 9), held(0, &["stays"]));
    assert!(store.data_order.len() < 2 * STALE_MAX, "{} entries", store.data_order.len());
    assert!(store.closed.len() < 100 && store.changes.removed.len() <= REMOVED_MAX);
    let (budget, used) = store.room();
    assert!(used <= budget, "{used} of {budget}");
}
