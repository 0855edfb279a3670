//! A peer that sends bytes to a handshake, and what comes of it.

use std::sync::Arc;

use super::super::{
    Credentials, Destination, Handshake, Progress, ProxyHandshake, ProxyRequest, Rejection,
};

/// Everything that a handshake did with its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome<T> {
    /// What it sent, one entry for each reply.
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) end: End<T>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End<T> {
    /// It waits for more.
    Waiting(Rejection),
    Done {
        output: T,
        leftover: Vec<u8>,
    },
    Rejected(Rejection),
}

/// Feeds the portions one after the other. What comes after the end counts as left over, as it
/// does for a caller who no longer asks the handshake.
pub(super) fn feed<H: Handshake>(mut handshake: H, portions: &[&[u8]]) -> Outcome<H::Output> {
    let mut sent = Vec::new();
    let mut portions = portions.iter();
    let mut next: &[u8] = b"";
    loop {
        match handshake.feed(next) {
            Progress::NeedMore => match portions.next() {
                Some(portion) => next = portion,
                None => return Outcome { sent, end: End::Waiting(handshake.unfinished()) },
            },
            Progress::Send(bytes) => {
                sent.push(bytes);
                next = b"";
            }
            Progress::Done { output, mut leftover } => {
                portions.for_each(|portion| leftover.extend_from_slice(portion));
                return Outcome { sent, end: End::Done { output, leftover } };
            }
            Progress::Rejected { reply, reason } => {
                if !reply.is_empty() {
                    sent.push(reply);
                }
                assert!(matches!(
                    handshake.feed(b"more"),
                    Progress::Rejected { reply, reason: Rejection::Over } if reply.is_empty()
                ));
                return Outcome { sent, end: End::Rejected(reason) };
            }
        }
    }
}

/// The same input whole and byte by byte, which must come to the same.
pub(super) fn feed_both_ways<H: Handshake>(
    start: impl Fn() -> H,
    bytes: &[u8],
) -> Outcome<H::Output>
where
    H::Output: PartialEq + std::fmt::Debug,
{
    let whole = feed(start(), &[bytes]);
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(feed(start(), &single), whole, "byte by byte: {}", bytes.escape_ascii());
    whole
}

/// A client of the proxy.
pub(super) fn proxy(login: Option<&str>, bytes: &[u8]) -> Outcome<ProxyRequest> {
    let credentials = login.map(|login| Arc::new(login.parse::<Credentials>().unwrap()));
    feed_both_ways(|| ProxyHandshake::new(credentials.clone()), bytes)
}

/// The destination of a client whose handshake succeeds, and the bytes that follow it.
pub(super) fn accepted(outcome: Outcome<ProxyRequest>) -> (Destination, Vec<u8>) {
    match outcome.end {
        End::Done { output, leftover } => (output.destination, leftover),
        end => panic!("{end:?}"),
    }
}

/// The words about a handshake that fails.
pub(super) fn rejection<T: std::fmt::Debug>(outcome: &Outcome<T>) -> String {
    match &outcome.end {
        End::Rejected(reason) => reason.to_string(),
        end => panic!("{end:?}"),
    }
}
