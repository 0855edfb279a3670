//! The same bytes given to a handshake whole and in portions, which must come to the same.

use std::fmt::Debug;

use tcp_tunn::ingress::{Handshake, Progress};

/// What was sent, and the last progress.
type Outcome<T> = (Vec<Vec<u8>>, Progress<T>);

fn feed<H: Handshake>(mut handshake: H, bytes: &[u8], size: usize) -> Outcome<H::Output> {
    let mut sent = Vec::new();
    let mut portions = bytes.chunks(size);
    let mut next: &[u8] = b"";
    loop {
        match handshake.feed(next) {
            Progress::NeedMore => match portions.next() {
                Some(portion) => next = portion,
                None => {
                    assert!(!handshake.unfinished().to_string().is_empty());
                    return (sent, Progress::NeedMore);
                }
            },
            Progress::Send(bytes) => {
                sent.push(bytes);
                next = b"";
            }
            Progress::Done { output, mut leftover } => {
                portions.for_each(|portion| leftover.extend_from_slice(portion));
                return (sent, Progress::Done { output, leftover });
            }
            rejected @ Progress::Rejected { .. } => return (sent, rejected),
        }
    }
}

/// Feeds a handshake with all but the first byte, which says how long the portions are.
pub fn check<H: Handshake>(start: impl Fn() -> H, input: &[u8])
where
    H::Output: Debug + PartialEq,
{
    let Some((&size, bytes)) = input.split_first() else { return };
    let whole = feed(start(), bytes, bytes.len().max(1));
    assert_eq!(feed(start(), bytes, usize::from(size).max(1)), whole);
    if let Progress::Done { leftover, .. } = whole.1 {
        assert!(bytes.ends_with(&leftover));
    }
}
