//! What cannot be decrypted passes as it is, and why is said once.

use std::time::Duration;

use bytes::Bytes;

use super::session::{Session, Shown, limits};
use crate::event::{Direction, Timestamp};
use crate::tls::{KeyLog, Limits, Observer, Seen};

const SECOND: u64 = 1_000_000_000;
const NAME: &str = "tls13-aes-128";

/// All bytes were shown as they passed.
fn assert_all_on_the_wire(shown: &Shown, session: &Session) {
    for direction in [Direction::ClientToServer, Direction::ServerToClient] {
        let (shown, sent) = (&shown.wire[direction as usize], session.sent(direction));
        let same = shown.iter().zip(&sent).take_while(|(a, b)| a == b).count();
        let lens = (shown.len(), sent.len());
        assert!(*shown == sent, "{direction:?}: the first {same} bytes of {lens:?} are the same");
    }
    assert_eq!(shown.plain, [const { Vec::<u8>::new() }; 2]);
}

#[test]
fn connection_without_keys_is_shown_after_a_second() {
    let session = Session::read(NAME);
    let keys = KeyLog::default();
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    for (direction, bytes) in &session.chunks {
        observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
    }
    assert!(observer.needs_keys());
    observer.advance(Timestamp(SECOND - 1), &keys, &mut seen);
    assert_eq!(seen, [], "it waits");
    observer.advance(Timestamp(SECOND), &keys, &mut seen);
    let shown = Shown::of(seen);
    assert_eq!(shown.why(), Some("the key log has no keys for this connection"));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn no_more_is_held_back_than_the_limit() {
    let session = Session::read(NAME);
    let keys = KeyLog::default();
    let (mut observer, mut seen) = (Observer::with_limits(limits(3000)), Vec::new());
    let record = [&[23, 3, 3, 4, 0][..], &[0; 1024]].concat();
    for (direction, bytes) in &session.chunks[..2] {
        observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
    }
    assert_eq!(seen, []);
    for _ in 0..3 {
        let (direction, bytes) = (Direction::ServerToClient, Bytes::from(record.clone()));
        observer.data(direction, bytes, Timestamp(0), &keys, &mut seen);
    }
    assert!(!observer.needs_keys());
    assert_eq!(Shown::of(seen).why(), Some("the key log has no keys for this connection"));
}

#[test]
fn keys_that_come_late_open_what_waits() {
    let session = Session::read(NAME);
    for late in 0..session.chunks.len() {
        let (mut observer, mut seen) = (Observer::default(), Vec::new());
        let mut keys = KeyLog::default();
        for (at, (direction, bytes)) in session.chunks.iter().enumerate() {
            if at == late {
                keys = session.keys();
            }
            observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
        }
        observer.finish(Timestamp(0), &session.keys(), &mut seen);
        assert_eq!(Shown::of(seen), session.shown(), "from chunk {late} on");
    }
}

#[test]
fn keys_that_come_one_by_one_open_what_they_can() {
    let session = Session::read(NAME);
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    let mut keys = KeyLog::default();
    for (direction, bytes) in &session.chunks {
        observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
    }
    for line in &session.lines {
        keys.add(line.as_bytes());
        observer.advance(Timestamp(0), &keys, &mut seen);
    }
    observer.finish(Timestamp(0), &keys, &mut seen);
    let shown = Shown::of(seen);
    assert_eq!(shown.why(), None);
    assert_eq!(shown.plain, session.shown().plain);
}

#[test]
fn wrong_keys_before_the_right_ones_do_no_harm() {
    let session = Session::read(NAME);
    let mut spoiled = session.clone();
    // Some writers put zeros where they have no secret yet.
    spoiled.lines = session
        .lines
        .iter()
        .flat_map(|line| {
            let (names, secret) = line.rsplit_once(' ').unwrap();
            [format!("{names} {}", "0".repeat(secret.len())), line.clone()]
        })
        .collect();
    assert_eq!(spoiled.shown().plain, session.shown().plain);
    spoiled.lines.retain(|line| line.ends_with("0000"));
    let shown = spoiled.shown();
    assert_eq!(shown.why(), Some("the keys in the key log do not open this connection"));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn suite_that_is_not_understood_is_named() {
    let session = Session::read("tls12-cbc");
    let shown = session.shown();
    let expected = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256 is not supported \
                    (only AES-GCM and ChaCha20-Poly1305)";
    assert_eq!(shown.why(), Some(expected));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn version_that_is_not_understood_is_named() {
    let mut session = Session::read("tls12-cbc");
    let hello = session.chunks.iter_mut().find(|(from, _)| *from == Direction::ServerToClient);
    let (_, bytes) = hello.unwrap();
    let mut changed = bytes.to_vec();
    // The version in the ServerHello, behind the heads of the record and of the message.
    changed[10] = 2;
    *bytes = changed.into();
    let shown = session.shown();
    assert_eq!(shown.why(), Some("TLS 1.1 is not supported (only TLS 1.2 and 1.3)"));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn damaged_record_ends_the_plaintext() {
    let session = Session::read(NAME);
    let last = session.chunks.iter().rposition(|(from, _)| *from == Direction::ServerToClient);
    let mut damaged = session.clone();
    let mut bytes = damaged.chunks[last.unwrap()].1.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    damaged.chunks[last.unwrap()].1 = bytes.clone().into();
    let shown = damaged.shown();
    assert_eq!(shown.why(), Some("a record from the server is damaged"));
    assert!(bytes.ends_with(&shown.wire[Direction::ServerToClient as usize]));
    assert!(!shown.wire[Direction::ServerToClient as usize].is_empty());
}

#[test]
fn dropped_bytes_end_the_plaintext() {
    let session = Session::read(NAME);
    let keys = session.keys();
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    let (last, first) = session.chunks.split_last().unwrap();
    for (direction, bytes) in first {
        observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
    }
    let before = observer.passed(last.0);
    observer.gap(last.0, 10, &mut seen);
    observer.data(last.0, Bytes::from_static(b"after"), Timestamp(0), &keys, &mut seen);
    let (direction, offset, bytes) = (last.0, before + 10, Bytes::from_static(b"after"));
    assert_eq!(seen.last(), Some(&Seen::Wire { direction, offset, bytes }));
    assert_eq!(Shown::of(seen).why(), Some("some of its bytes were dropped"));
}

#[test]
fn connection_that_ends_in_its_handshake_says_so() {
    let mut session = Session::read(NAME);
    session.chunks.truncate(1);
    let shown = session.shown();
    assert_eq!(shown.why(), Some("the connection ended during the handshake"));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn connection_that_ends_inside_a_record_says_so() {
    let mut session = Session::read(NAME);
    let last = session.chunks.iter().rposition(|(from, _)| *from == Direction::ServerToClient);
    session.chunks.truncate(last.unwrap() + 1);
    let (_, bytes) = session.chunks.last_mut().unwrap();
    bytes.truncate(bytes.len() - 1);
    let shown = session.shown();
    let why = shown.tls.last().unwrap().why.as_deref();
    assert_eq!(why, Some("the connection ended inside a record from the server"));
    assert_eq!(shown.why(), None, "what came before it was decrypted");
}

#[test]
fn direction_that_is_cut_short_leaves_the_other_open() {
    let session = Session::read(NAME);
    let keys = session.keys();
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    let (client, server) = (Direction::ClientToServer, Direction::ServerToClient);
    let last = session.chunks.iter().rposition(|(from, _)| *from == server).unwrap();
    for (direction, bytes) in &session.chunks[..last] {
        observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
    }
    observer.data(client, Bytes::from_static(&[23, 3, 3, 1]), Timestamp(0), &keys, &mut seen);
    observer.end(client, &mut seen);
    let (direction, bytes) = session.chunks[last].clone();
    observer.data(direction, bytes, Timestamp(0), &keys, &mut seen);
    let shown = Shown::of(seen);
    assert_eq!(shown.wire[client as usize], [23, 3, 3, 1]);
    assert_eq!(shown.plain[server as usize], session.shown().plain[server as usize]);
}

#[test]
fn handshake_that_hangs_is_reported_and_followed_all_the_same() {
    let session = Session::read(NAME);
    let keys = session.keys();
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    let (hello, rest) = session.chunks.split_first().unwrap();
    observer.data(hello.0, hello.1.clone(), Timestamp(0), &keys, &mut seen);
    assert!(observer.is_waiting());
    observer.advance(Timestamp(SECOND), &keys, &mut seen);
    assert!(!observer.is_waiting(), "it is said once");
    let [Seen::Tls(tls)] = &seen[..] else { panic!("{seen:?}") };
    let why = "TLS SNI tls.test not decrypted: its handshake is not done yet";
    assert_eq!(tls.to_string(), why);
    for (direction, bytes) in rest {
        observer.data(*direction, bytes.clone(), Timestamp(2 * SECOND), &keys, &mut seen);
    }
    assert_eq!(Shown::of(seen).plain, session.shown().plain);
}

#[test]
fn answer_that_comes_late_is_not_reported_as_slow() {
    let session = Session::read(NAME);
    let keys = session.keys();
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    let (hello, rest) = session.chunks.split_first().unwrap();
    observer.data(hello.0, hello.1.clone(), Timestamp(0), &keys, &mut seen);
    for (direction, bytes) in rest {
        observer.data(*direction, bytes.clone(), Timestamp(2 * SECOND), &keys, &mut seen);
    }
    assert_eq!(Shown::of(seen).why(), None, "nobody waited for it");
}

#[test]
fn hello_in_late_pieces_is_followed() {
    let session = Session::read(NAME);
    let keys = session.keys();
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    let (hello, rest) = session.chunks.split_first().unwrap();
    observer.data(hello.0, hello.1.slice(..20), Timestamp(0), &keys, &mut seen);
    observer.advance(Timestamp(5 * SECOND), &keys, &mut seen);
    observer.data(hello.0, hello.1.slice(20..), Timestamp(5 * SECOND), &keys, &mut seen);
    for (direction, bytes) in rest {
        observer.data(*direction, bytes.clone(), Timestamp(5 * SECOND), &keys, &mut seen);
    }
    assert_eq!(Shown::of(seen).plain, session.shown().plain);
}

#[test]
fn clear_records_without_end_are_not_kept() {
    let hello = Session::read(NAME).chunks[0].1.clone();
    let record = Bytes::from([&[22, 3, 3, 64, 0][..], &[0; 1 << 14]].concat());
    let mut chunks = vec![(Direction::ClientToServer, hello)];
    chunks.extend((0..40).map(|_| (Direction::ServerToClient, record.clone())));
    let session = Session { chunks, lines: Vec::new() };
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    for (direction, bytes) in &session.chunks[..20] {
        let keys = KeyLog::default();
        observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
    }
    let held: usize = Shown::of(seen).wire.iter().map(Vec::len).sum();
    assert!(held > 0, "no more than 256 KiB wait");
    assert_all_on_the_wire(&session.shown(), &session);
}

#[test]
fn false_hellos_are_soon_given_up() {
    // Each head announces a record behind which there is another head, and no hello inside.
    let part = [&[22, 3, 1, 64, 0, 1, 0, 255, 252, 3, 3][..], &[255; 16]].concat();
    let chunk = Bytes::from(part.repeat(1000));
    let chunks = vec![(Direction::ClientToServer, chunk); 20];
    let session = Session { chunks, lines: Vec::new() };
    assert_all_on_the_wire(&session.shown(), &session);
    // Behind them a hello would be found no more: the search has ended.
    let mut session = session;
    session.chunks.extend(Session::read(NAME).chunks);
    session.lines = Session::read(NAME).lines;
    assert_all_on_the_wire(&session.shown(), &session);
}

#[test]
fn clear_close_notify_in_the_handshake_loses_no_byte() {
    let mut session = Session::read(NAME);
    session.chunks.truncate(1);
    let alert = Bytes::from_static(&[21, 3, 3, 0, 2, 1, 0]);
    session.chunks.push((Direction::ServerToClient, alert));
    let shown = session.shown();
    assert_eq!(shown.why(), Some("the server sent the alert close_notify"));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn alert_in_the_handshake_is_named() {
    let mut session = Session::read(NAME);
    session.chunks.truncate(1);
    let alert = Bytes::from_static(&[21, 3, 3, 0, 2, 2, 40]);
    session.chunks.push((Direction::ServerToClient, alert));
    let shown = session.shown();
    assert_eq!(shown.why(), Some("the server sent the alert handshake_failure"));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn bytes_that_look_like_a_hello_pass_when_the_server_answers_otherwise() {
    let hello = Session::read(NAME).chunks[0].1.clone();
    let answer = Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n");
    let chunks =
        vec![(Direction::ClientToServer, hello), (Direction::ServerToClient, answer.clone())];
    let session = Session { chunks, lines: Vec::new() };
    let shown = session.shown();
    assert_eq!((shown.why(), shown.tls.len()), (None, 0));
    assert_all_on_the_wire(&shown, &session);
}

#[test]
fn beginning_of_a_hello_is_held_for_a_second_only() {
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    let (direction, keys) = (Direction::ClientToServer, KeyLog::default());
    observer.data(direction, Bytes::from_static(b"abc\x16\x03"), Timestamp(0), &keys, &mut seen);
    assert_eq!(seen.len(), 1, "what comes before it passes");
    assert!(observer.is_waiting());
    observer.advance(Timestamp(SECOND), &keys, &mut seen);
    assert!(!observer.is_waiting());
    assert_eq!(Shown::of(seen).wire[0], b"abc\x16\x03");
}

#[test]
fn limits_are_those_that_are_documented() {
    let limits = Limits::default();
    assert_eq!((limits.bytes, limits.wait), (256 << 10, Duration::from_secs(1)));
}
