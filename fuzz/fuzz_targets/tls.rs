//! TLS from outside: no bytes and no key log make the observer panic or lose a byte, and no split
//! of the bytes changes what it shows.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tcp_tunn::event::{Direction, Timestamp};
use tcp_tunn::tls::{KeyLog, Observer, Seen};

/// What is shown of each direction, wire and plaintext apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    wire: [Vec<u8>; 2],
    plain: [Vec<u8>; 2],
}

// The input is a key log, a zero, and chunks: a byte that says who sends how much, then that much.
fuzz_target!(|input: &[u8]| {
    let (log, rest) = input.split_at(input.iter().position(|byte| *byte == 0).unwrap_or(0));
    let mut keys = KeyLog::default();
    log.split(|byte| *byte == b'\n').for_each(|line| keys.add(line));
    let whole = shown(rest, usize::MAX, &keys);
    assert_eq!(shown(rest, 1, &keys), whole);
    if log.is_empty() {
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            assert_eq!(whole.wire[direction as usize], sent(rest, direction));
        }
    }
});

/// The chunks of the input.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = (Direction, &[u8])> {
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first()?;
        let (chunk, after) = after.split_at(after.len().min(usize::from(head >> 1)));
        rest = after;
        let client = Direction::ClientToServer;
        Some((if head & 1 == 0 { client } else { !client }, chunk))
    })
}

fn sent(input: &[u8], sent: Direction) -> Vec<u8> {
    let chunks = chunks(input).filter(|(direction, _)| *direction == sent);
    chunks.flat_map(|(_, bytes)| bytes.to_vec()).collect()
}

fn shown(input: &[u8], size: usize, keys: &KeyLog) -> Shown {
    let (mut observer, mut seen) = (Observer::default(), Vec::new());
    for (direction, bytes) in chunks(input) {
        for part in bytes.chunks(size) {
            let part = Bytes::copy_from_slice(part);
            observer.data(direction, part, Timestamp(0), keys, &mut seen);
        }
    }
    observer.finish(Timestamp(0), keys, &mut seen);
    let mut shown = Shown::default();
    for seen in seen {
        match seen {
            Seen::Wire { direction, bytes, .. } => shown.wire[direction as usize].extend(bytes),
            Seen::Plain { direction, bytes, .. } => shown.plain[direction as usize].extend(bytes),
            _ => {}
        }
    }
    shown
}
