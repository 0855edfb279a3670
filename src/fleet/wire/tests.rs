use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::{
    BothTotals, CloseReason, Direction, Endpoint, EventKind, Leg, Process, Side, Tls, TlsState,
    Totals, View,
};

fn event(connection: u64, time: u64, kind: EventKind) -> Event {
    Event { connection: ConnectionId(connection), time: Timestamp(time), kind }
}

fn tcp(text: &str) -> Endpoint {
    Endpoint::Tcp(text.parse::<SocketAddr>().unwrap())
}

fn open() -> EventKind {
    let unix = Endpoint::Unix(Some(Path::new("/run/\u{e9}").into()));
    let open = Open::new(tcp("10.0.0.1:4711"), unix, "example.com:443");
    let process = Process::new(4711, "curl");
    EventKind::Open(Arc::new(open.server(tcp("[fe80::1%3]:443")).process(process)))
}

fn data(offset: u64, bytes: &[u8]) -> EventKind {
    let bytes = Bytes::copy_from_slice(bytes);
    let direction = Direction::ServerToClient;
    EventKind::Data { direction, leg: Leg::Received, view: View::Wire, offset, bytes }
}

fn connected() -> EventKind {
    let (server, local) = (tcp("192.0.2.1:443"), Endpoint::Unix(None));
    EventKind::Connected(Arc::new(Connected { server, local }))
}

fn close(reason: CloseReason) -> EventKind {
    let totals = Totals { received: u64::MAX, sent: 0 };
    let totals = BothTotals { client_to_server: totals, server_to_client: Totals::default() };
    EventKind::Close { reason, totals }
}

fn sealed(events: &[Event]) -> Vec<u8> {
    let mut encoder = BatchEncoder::default();
    events.iter().for_each(|event| encoder.push(event));
    encoder.seal(7).unwrap()
}

fn events(batch: &[u8]) -> Vec<Event> {
    let batch = decode(batch).unwrap();
    assert_eq!(batch.number, 7);
    let event = |record| match record {
        Record::Event(event) => event,
        other => panic!("{other:?}"),
    };
    batch.records.into_iter().map(event).collect()
}

#[test]
fn every_event_comes_back() {
    let mut tls = Tls::new(TlsState::Decrypted);
    tls.sni = Some("example.com".into());
    let lines = ["CLIENT_RANDOM aa bb".to_owned(), "SERVER_X cc dd".to_owned()];
    let totals = Totals { received: 300, sent: 299 };
    let direction = Direction::ClientToServer;
    let message = || Arc::from("no");
    let reasons = [
        CloseReason::Finished { first: Side::Server },
        CloseReason::Reset { by: Side::Client },
        CloseReason::Refused,
        CloseReason::ConnectTimeout,
        CloseReason::Unreachable { errno: -113 },
        CloseReason::ResolveFailed { message: message() },
        CloseReason::ConnectFailed { message: message() },
        CloseReason::Loop,
        CloseReason::IdleTimeout,
        CloseReason::HalfCloseTimeout,
        CloseReason::Stopped,
        CloseReason::Failed { side: Side::Server, errno: 5 },
        CloseReason::Transform { direction, message: message() },
        CloseReason::Internal,
    ];
    let kinds = [
        open(),
        connected(),
        data(0, b"hello"),
        EventKind::Tls(Arc::new(tls)),
        EventKind::Secrets(lines.into()),
        EventKind::Shutdown { direction, view: View::Plain, totals },
    ];
    let states = [
        TlsState::Closed,
        TlsState::Intercepted,
        TlsState::Terminated,
        TlsState::Originated,
        TlsState::Passed,
    ];
    let states = states.map(|state| EventKind::Tls(Arc::new(Tls::new(state))));
    let process = EventKind::Process(Process::new(4711, "curl"));
    let kinds = kinds.into_iter().chain(reasons.map(close)).chain(states).chain([process]);
    // Times of different connections may decrease.
    let all: Vec<_> =
        (1..).zip(kinds).map(|(id, kind)| event(id, u64::MAX / 2 - id * 1000, kind)).collect();
    assert_eq!(events(&sealed(&all)), all);
}

#[test]
fn later_batch_says_what_it_goes_on_with() {
    let mut encoder = BatchEncoder::default();
    let EventKind::Open(opening) = open() else { unreachable!() };
    let EventKind::Connected(answer) = connected() else { unreachable!() };
    for event in [event(1, 10, open()), event(1, 20, connected()), event(1, 30, data(0, b"ab"))] {
        encoder.push(&event);
    }
    encoder.seal(1).unwrap();
    let more = [event(1, 40, data(2, b"cd")), event(1, 50, data(4, b"ef"))];
    more.iter().for_each(|event| encoder.push(event));
    let known = Known {
        connection: ConnectionId(1),
        opened: Timestamp(10),
        open: opening,
        connected: Some((Timestamp(20), answer)),
        said: [0, 2],
    };
    let [first, second] = more.map(Record::Event);
    let records = decode(&encoder.seal(2).unwrap()).unwrap().records;
    assert_eq!(records, [Record::Known(known), first, second]);
    encoder.push(&event(1, 60, close(CloseReason::Loop)));
    encoder.seal(3).unwrap();
    // Of what has closed nothing is known any more.
    encoder.push(&event(1, 70, data(6, b"g")));
    assert_eq!(decode(&encoder.seal(4).unwrap()).unwrap().records.len(), 1);
}

#[test]
fn other_bytes_are_refused() {
    let good = sealed(&[event(1, 1, open())]);
    assert_eq!(decode(b""), Err(WireError::Magic));
    assert_eq!(decode(b"TTC\x01"), Err(WireError::Magic));
    assert_eq!(decode(b"TTB\x02rest"), Err(WireError::Version(2)));
    assert_eq!(decode(&good[..7]), Err(WireError::Damaged));
    assert_eq!(decode(&good[..good.len() - 1]), Err(WireError::Damaged));
    let mut long = good;
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode(&long), Err(WireError::TooLong));
}

#[test]
fn unknown_record_is_left_out() {
    let mut encoder = BatchEncoder::default();
    encoder.push(&event(1, 1, open()));
    encoder.body[0] = 99;
    encoder.push_end();
    assert_eq!(decode(&encoder.seal(1).unwrap()).unwrap().records, [Record::End]);
}

/// A batch whose body is these bytes.
fn with_body(body: &[u8]) -> Vec<u8> {
    let mut batch = MAGIC.to_vec();
    batch.extend_from_slice(&(body.len() as u32).to_le_bytes());
    batch.extend_from_slice(&zstd::bulk::compress(body, 1).unwrap());
    batch
}

proptest! {
    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&with_body(&bytes));
    }

    #[test]
    fn damaged_batch_does_not_panic(at in 0_usize..300, byte in any::<u8>()) {
        let mut encoder = BatchEncoder::default();
        let kinds = [open(), connected(), data(3, b"x"), close(CloseReason::Loop)];
        for (id, kind) in (1..).zip(kinds) {
            encoder.push(&event(id, id, kind));
        }
        let len = encoder.body.len();
        encoder.body[at % len] = byte;
        let _ = decode(&encoder.seal(1).unwrap());
    }

    #[test]
    fn data_comes_back(chunks in proptest::collection::vec((any::<u64>(), 1_usize..2000), 0..20)) {
        let mut all = Vec::new();
        for (time, len) in chunks {
            all.push(event(time % 3, time, data(time / 2, &vec![time as u8; len])));
        }
        prop_assert_eq!(events(&sealed(&all)), all);
    }
}
