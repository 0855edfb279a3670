//! Every life of a connection, in every family and view.

use tcp_tunn::event::{CloseReason, Side};
use tcp_tunn::packet::View;

use super::{captured, options};
use crate::support::oracle::{RESET, follow, judge};
use crate::support::talk::{START_NS, Talk, interleaved};

const EHOSTUNREACH: i32 = 113;
const ENETUNREACH: i32 = 101;
const SEGMENT: usize = 32768;

/// A life, and how much of it Wireshark should find: in the direct view, on the client's leg and
/// on the server's (`None` where there is no stream).
struct Life {
    name: &'static str,
    live: fn(&mut Talk),
    complete: [Option<u32>; 3],
}

/// SYN, SYN+ACK, ACK; data; FIN; RST.
const HANDSHAKE: u32 = 7;
const DATA: u32 = 8;
const FIN: u32 = 16;
const RST: u32 = 32;
const FULL: [Option<u32>; 3] = [Some(HANDSHAKE + DATA + FIN); 3];

const fn life(name: &'static str, complete: [Option<u32>; 3], live: fn(&mut Talk)) -> Life {
    Life { name, live, complete }
}

const fn reset(more: u32) -> [Option<u32>; 3] {
    [Some(HANDSHAKE + more + RST); 3]
}

fn lives() -> Vec<Life> {
    [ends(), failures(), amounts()].into_iter().flatten().collect()
}

/// Both sides end as they want to, or one gives up.
fn ends() -> Vec<Life> {
    use Side::{Client, Server};
    vec![
        life("the client closes", FULL, |t| {
            t.connect().say(Client, b"hello").say(Server, b"world").end(Client);
        }),
        life("the server closes", FULL, |t| {
            t.connect().say(Client, b"hello").say(Server, b"world").end(Server);
        }),
        life("both close at once", FULL, |t| {
            t.connect().receive(Client, b"x").receive(Server, b"y");
            t.deliver(Server, b"y").deliver(Client, b"x");
            t.finish(Client).finish(Server).close(CloseReason::Finished { first: Client });
        }),
        life("the client half-closes and is answered late", FULL, |t| {
            t.connect().say(Client, b"question").finish(Client);
            t.say(Server, b"late ").say(Server, b"answer");
            t.finish(Server).close(CloseReason::Finished { first: Client });
        }),
        life("the server half-closes and is told late", FULL, |t| {
            t.connect().say(Server, b"bye").finish(Server).say(Client, b"wait");
            t.finish(Client).close(CloseReason::Finished { first: Server });
        }),
        life("the client resets", reset(DATA), |t| {
            t.connect().say(Client, b"x").close(CloseReason::Reset { by: Client });
        }),
        life("the server resets", reset(DATA), |t| {
            t.connect().say(Client, b"x").close(CloseReason::Reset { by: Server });
        }),
        life("the client resets after a half-close", reset(DATA + FIN), |t| {
            t.connect().say(Client, b"x").finish(Server).close(CloseReason::Reset { by: Client });
        }),
        life("the server resets after it has half-closed", reset(DATA + FIN), |t| {
            t.connect().say(Client, b"x").finish(Server).close(CloseReason::Reset { by: Server });
        }),
        life("reset with undelivered data", [Some(47), Some(47), Some(HANDSHAKE + RST)], |t| {
            t.connect().receive(Client, &[7; 100_000]).close(CloseReason::Reset { by: Server });
        }),
    ]
}

/// What the network, the server's machine or the tunnel put an end to.
fn failures() -> Vec<Life> {
    use Side::Client;
    vec![
        life("refused", [Some(37), Some(HANDSHAKE + RST), Some(37)], |t| {
            t.open().close(CloseReason::Refused);
        }),
        life("no answer", [Some(1), Some(HANDSHAKE + RST), Some(1)], |t| {
            t.open().close(CloseReason::ConnectTimeout);
        }),
        life("host unreachable", [Some(1), Some(HANDSHAKE + RST), Some(1)], |t| {
            t.open().close(CloseReason::Unreachable { errno: EHOSTUNREACH });
        }),
        life("network unreachable", [Some(1), Some(HANDSHAKE + RST), Some(1)], |t| {
            t.open().close(CloseReason::Unreachable { errno: ENETUNREACH });
        }),
        life("given up before the answer", [Some(33), Some(HANDSHAKE + RST), Some(33)], |t| {
            t.open().close(CloseReason::Reset { by: Client });
        }),
        life("not resolved", [Some(37), Some(HANDSHAKE + RST), None], |t| {
            t.open().close(CloseReason::ResolveFailed { message: "unknown".into() });
        }),
        life("stopped", reset(DATA), |t| {
            t.connect().say(Client, b"x").close(CloseReason::Stopped);
        }),
        life("idle for too long", reset(0), |t| {
            t.connect().close(CloseReason::IdleTimeout);
        }),
    ]
}

/// From nothing to much, in any order.
fn amounts() -> Vec<Life> {
    use Side::{Client, Server};
    vec![
        life("no bytes", [Some(HANDSHAKE + FIN); 3], |t| {
            t.connect().end(Client);
        }),
        life("one byte", FULL, |t| {
            t.connect().say(Client, b"1").end(Client);
        }),
        life("exactly one segment", FULL, |t| {
            t.connect().say(Client, &[b's'; SEGMENT]).end(Client);
        }),
        life("one byte more than a segment", FULL, |t| {
            t.connect().say(Server, &[b's'; SEGMENT + 1]).end(Client);
        }),
        life("chunks of a mebibyte", FULL, |t| {
            t.connect();
            (0..2).for_each(|i| {
                let _ = t.say(Client, &vec![i; 1 << 20]).say(Server, &vec![i; 1 << 20]);
            });
            t.end(Server);
        }),
        life("the server speaks first", FULL, |t| {
            t.connect().say(Server, b"220 ready\r\n").say(Client, b"QUIT\r\n").end(Client);
        }),
        life("a thousand chunks one way", FULL, |t| {
            t.connect();
            for i in 0..1000_u32 {
                t.say(Server, &i.to_be_bytes());
            }
            t.end(Client);
        }),
        life("a thousand chunks received, none delivered yet", FULL, |t| {
            t.connect();
            for i in 0..1000_u32 {
                t.receive(Client, &i.to_be_bytes());
            }
            let all = t.said[0].clone();
            t.deliver(Client, &all).end(Client);
        }),
    ]
}

/// Client, listener and server of each family; `#` becomes a port of its own.
const FAMILIES: [(&str, [&str; 3]); 5] = [
    ("IPv4", ["127.0.0.1:#", "127.0.0.1:8080", "192.0.2.7:80"]),
    ("IPv6", ["[::1]:#", "[::1]:8080", "[2001:db8::7]:80"]),
    ("mixed", ["127.0.0.2:#", "127.0.0.2:8080", "[2001:db8::8]:80"]),
    ("from a unix socket", ["unix:", "unix:/run/in.sock", "192.0.2.9:80"]),
    ("to a unix socket", ["127.0.0.3:#", "127.0.0.3:8080", "unix:/run/.s.PGSQL.5432"]),
];

/// All lives in all families, begun a little after one another so that they interleave.
fn all_talks(families: &[(&str, [&str; 3])]) -> (Vec<Life>, Vec<Talk>) {
    let (mut all, mut talks) = (Vec::new(), Vec::new());
    for (_, [client, listener, server]) in families {
        for life in lives() {
            let id = talks.len() as u64 + 1;
            let client = client.replace('#', &(20_000 + id).to_string());
            let start = START_NS + id * 10_000_019;
            let mut talk = Talk::new(id, &client, listener, server).at(start);
            (life.live)(&mut talk);
            talks.push(talk);
            all.push(life);
        }
    }
    (all, talks)
}

/// Judges all lives in one file.
fn perfect(view: View, families: &[(&str, [&str; 3])]) {
    let folder = tempfile::tempdir().unwrap();
    let (lives, talks) = all_talks(families);
    let path = captured(folder.path(), options(view), &interleaved(&talks));
    let judged = judge(&path, &[RESET]);
    // Streams are numbered in the order of their SYNs.
    let mut expected: Vec<(u64, usize, u32, &str)> = Vec::new();
    for (index, (life, talk)) in lives.iter().zip(&talks).enumerate() {
        let opened = talk.events[0].time.0;
        let upstream = talk.events[1].time.0;
        let [direct, client, server] = life.complete;
        let legs = match view {
            View::Direct => vec![(opened, direct)],
            View::Both => vec![(opened, client), (upstream, server)],
        };
        for (at, complete) in legs {
            expected.extend(complete.map(|complete| (at, index, complete, life.name)));
        }
    }
    expected.sort_by_key(|(at, ..)| *at);
    assert_eq!(judged.completeness.len(), expected.len(), "streams");
    for (stream, (.., complete, name)) in expected.iter().enumerate() {
        assert_eq!(judged.completeness[&(stream as u32)], *complete, "stream {stream}: {name}");
    }
    for ((_, index, _, name), [client, server]) in
        expected.iter().zip(follow(&path, expected.len()))
    {
        let talk = &talks[*index];
        let undelivered = *name == "reset with undelivered data" && view == View::Both;
        assert!(undelivered || client == talk.said[0], "{name}: the client's bytes");
        assert!(server == talk.said[1], "{name}: the server's bytes");
    }
}

#[test]
fn every_life_is_perfect_in_the_direct_view() {
    perfect(View::Direct, &FAMILIES);
}

#[test]
fn every_life_is_perfect_on_both_legs() {
    // Between a unix socket's two ends all clients look alike; one family of these at a time.
    perfect(View::Both, &FAMILIES[..3]);
}

#[test]
fn every_life_is_perfect_on_both_legs_of_unix_sockets() {
    perfect(View::Both, &FAMILIES[3..4]);
    perfect(View::Both, &FAMILIES[4..]);
}

#[test]
fn every_life_is_perfect_alone() {
    let folder = tempfile::tempdir().unwrap();
    for life in lives() {
        let mut talk = Talk::new(1, "127.0.0.1:20001", "127.0.0.1:8080", "192.0.2.7:80");
        (life.live)(&mut talk);
        let path = captured(folder.path(), options(View::Direct), &talk.events);
        let judged = judge(&path, &[RESET]);
        let complete = judged.completeness.values().copied().collect::<Vec<_>>();
        assert_eq!(complete, [life.complete[0].unwrap()], "{}", life.name);
    }
}
