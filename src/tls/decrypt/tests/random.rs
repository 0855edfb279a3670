//! Chunk borders mean nothing, and no bytes make an observer panic or lose any.

use bytes::Bytes;
use proptest::prelude::*;

use super::session::{Session, Shown, names};
use crate::event::{Direction, Timestamp};
use crate::tls::{KeyLog, Observer};

/// The same session with each chunk cut at random, and neighbors of one direction joined or not.
fn cut(session: &Session, sizes: &[usize]) -> Session {
    let mut sizes = sizes.iter().cycle();
    let mut chunks = Vec::new();
    for (direction, bytes) in &session.chunks {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let size = sizes.next().map_or(1, |size| *size).min(rest.len());
            chunks.push((*direction, rest.split_to(size)));
        }
    }
    Session { chunks, lines: session.lines.clone() }
}

#[test]
fn single_bytes_give_the_same_plaintext() {
    for name in names() {
        let session = Session::read(name);
        assert_eq!(cut(&session, &[1]).shown(), session.shown(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_borders_give_the_same_plaintext(
        name in prop::sample::select(names()),
        sizes in prop::collection::vec(1..2000_usize, 1..20),
        clear in prop::bool::ANY,
    ) {
        let mut session = Session::read(name);
        if clear {
            let clear: &[u8] = b"\x16\x03\x01\x16STARTTLS\r\n";
            session = session.after(&[(Direction::ClientToServer, clear)]);
        }
        prop_assert_eq!(cut(&session, &sizes).shown(), session.shown());
    }

    #[test]
    fn random_changes_lose_no_byte_of_the_wire(
        name in prop::sample::select(names()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in prop::collection::vec(1..2000_usize, 1..20),
    ) {
        let mut session = Session::read(name);
        for (at, byte) in changes {
            let chunk = at.index(session.chunks.len());
            let mut bytes = session.chunks[chunk].1.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            session.chunks[chunk].1 = bytes.into();
        }
        // Without keys nothing is plaintext, so that all is the wire.
        session.lines.clear();
        let shown = cut(&session, &sizes).shown();
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            prop_assert!(shown.wire[direction as usize] == session.sent(direction));
        }
    }

    #[test]
    fn random_bytes_pass(chunks in prop::collection::vec(
        (any::<bool>(), prop::collection::vec(prop_oneof![Just(22), Just(3), any::<u8>()], 1..40)),
        0..10,
    )) {
        let chunk = |(is_client, bytes): (bool, Vec<u8>)| {
            let client = Direction::ClientToServer;
            (if is_client { client } else { !client }, Bytes::from(bytes))
        };
        let chunks: Vec<_> = chunks.into_iter().map(chunk).collect();
        let session = Session { chunks, lines: Vec::new() };
        let (mut observer, mut seen) = (Observer::default(), Vec::new());
        for (direction, bytes) in &session.chunks {
            let keys = KeyLog::default();
            observer.data(*direction, bytes.clone(), Timestamp(0), &keys, &mut seen);
        }
        observer.finish(Timestamp(0), &KeyLog::default(), &mut seen);
        let shown = Shown::of(seen);
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            prop_assert!(shown.wire[direction as usize] == session.sent(direction));
        }
    }
}
