//! Events written by hand; `fixtures/README.md` tells the format.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tcp_tunn::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, Event, EventKind, Leg,
    Open, Side, Timestamp,
};

use super::events::check_contract;

/// The events of a fixture.
pub(crate) fn parse(text: &str) -> Vec<Event> {
    let mut said = std::collections::HashMap::new();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let events: Vec<_> = lines
        .map(|line| {
            let [id, time, rest] = split(line);
            let connection = ConnectionId(id.parse().expect(line));
            let totals = said.entry(connection).or_insert_with(BothTotals::default);
            Event { connection, time: timestamp(time), kind: kind(rest, totals) }
        })
        .collect();
    check_contract(&events);
    events
}

fn split<const N: usize>(line: &str) -> [&str; N] {
    let words: Vec<_> = line.splitn(N, ' ').collect();
    words.try_into().unwrap_or_else(|words| panic!("{words:?}: not {N} words"))
}

fn timestamp(time: &str) -> Timestamp {
    let (seconds, nanos) = time.split_once('.').expect(time);
    assert_eq!(nanos.len(), 9, "{time}");
    Timestamp(seconds.parse::<u64>().unwrap() * 1_000_000_000 + nanos.parse::<u64>().unwrap())
}

fn kind(text: &str, totals: &mut BothTotals) -> EventKind {
    let (what, rest) = text.split_once(' ').expect(text);
    match what {
        "open" => EventKind::Open(Arc::new(open(rest))),
        "connected" => {
            let [server, local] = split(rest);
            let (server, local) = (endpoint(server), endpoint(local));
            EventKind::Connected(Arc::new(Connected { server, local }))
        }
        "close" => EventKind::Close { reason: reason(rest), totals: *totals },
        "client" | "server" => said(Direction::from(side(what)), rest, totals),
        _ => panic!("{text}: no event"),
    }
}

fn open(text: &str) -> Open {
    let words: Vec<_> = text.split(' ').collect();
    Open {
        client: endpoint(words[0]),
        listener: endpoint(words[1]),
        target: words[2].into(),
        server: words.get(3).map(|server| endpoint(server)),
    }
}

fn said(direction: Direction, text: &str, totals: &mut BothTotals) -> EventKind {
    let totals = totals.get_mut(direction);
    if text == "shutdown" {
        return EventKind::Shutdown { direction, totals: *totals };
    }
    let [leg, bytes] = split(text);
    let (leg, count) = match leg {
        "received" => (Leg::Received, &mut totals.received),
        "sent" => (Leg::Sent, &mut totals.sent),
        _ => panic!("{text}: no leg"),
    };
    let (offset, bytes) = (*count, unescape(bytes));
    *count += bytes.len() as u64;
    EventKind::Data { direction, leg, offset, bytes }
}

fn reason(text: &str) -> CloseReason {
    match text.split_once(' ') {
        Some(("finished", first)) => CloseReason::Finished { first: side(first) },
        Some(("reset", by)) => CloseReason::Reset { by: side(by) },
        None if text == "refused" => CloseReason::Refused,
        None if text == "connect-timeout" => CloseReason::ConnectTimeout,
        None if text == "stopped" => CloseReason::Stopped,
        _ => panic!("{text}: no reason that a fixture needed so far"),
    }
}

fn side(text: &str) -> Side {
    match text {
        "client" => Side::Client,
        "server" => Side::Server,
        _ => panic!("{text}: no side"),
    }
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::Tcp(text.parse::<SocketAddr>().expect(text))
}

fn unescape(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().expect(text) {
                b'r' => b'\r',
                b'n' => b'\n',
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next().expect(text), rest.next().expect(text)];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).expect(text)
                }
                other => panic!("{text}: \\{}", other as char),
            },
            byte => byte,
        });
    }
    bytes.into()
}
