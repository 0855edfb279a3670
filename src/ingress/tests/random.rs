//! Random input: nothing panics, and no split of the input changes the outcome.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{Destination, Handshake, ProxyHandshake, ProxyHeaderReader, Via};
use super::talk::{End, Outcome, feed};

/// Pieces of all the protocols, which random bytes alone would hardly ever hit.
const PIECES: &[&[u8]] = &[
    b"\x05\x01\x00",
    b"\x05\x02\x00\x02",
    b"\x01\x04user\x04pass",
    b"\x05\x01\x00\x01\x7f\0\0\x01\x00\x50",
    b"\x05\x01\x00\x03\x0bexample.com\x01\xbb",
    b"\x05\x01\x00\x04",
    b"\x04\x01\x00\x50\x0a\0\0\x01root\0",
    b"\x04\x01\x00\x50\0\0\0\x01\0example.com\0",
    b"CONNECT example.com:443 HTTP/1.1\r\n",
    b"GET http://example.com/ HTTP/1.1\r\n",
    b"Host: example.com\r\n",
    b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\n",
    b"Proxy-Status: a; error=connection_refused\r\n",
    b"\r\n",
    b"\n",
    b"PROXY ",
    b"TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\x00\x0c",
    b"\x20\x00\x00\x03",
    b"\x21\x31\x00\xd8",
    b"\x05\x00",
    b"\x05\x02\x01\x00",
    b"\x05\x00\x00\x01\x0a\0\0\x01\x00\x50",
    b"\x05\x05\x00",
];

fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(PIECES).prop_map(<[u8]>::to_vec),
        3 => vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 0..20_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn portions<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut portions = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() || sizes.is_empty() {
            break;
        }
        let (portion, next) = rest.split_at((*size).min(rest.len()));
        portions.push(portion);
        rest = next;
    }
    portions
}

/// What a handshake made of all its input: the same for each split.
fn check<H: Handshake>(start: impl Fn() -> H, bytes: &[u8], sizes: &[usize])
where
    H::Output: PartialEq + std::fmt::Debug,
{
    let whole: Outcome<H::Output> = feed(start(), &[bytes]);
    assert_eq!(feed(start(), &portions(bytes, sizes)), whole);
    match whole.end {
        End::Done { leftover, .. } => assert!(bytes.ends_with(&leftover)),
        End::Waiting(reason) | End::Rejected(reason) => {
            let words = reason.to_string();
            assert!(!words.is_empty() && !words.contains(char::is_control), "{words:?}");
            assert!(words.len() < 300, "{words}");
        }
    }
}

proptest! {
    #[test]
    fn proxy_handshake_does_not_depend_on_the_split(
        bytes in input(), sizes in vec(1..40_usize, 1..10), has_login in any::<bool>(),
    ) {
        let login = has_login.then(|| Arc::new("user:pass".parse().unwrap()));
        check(|| ProxyHandshake::new(login.clone()), &bytes, &sizes);
    }

    #[test]
    fn proxy_header_does_not_depend_on_the_split(
        bytes in input(), sizes in vec(1..40_usize, 1..10),
    ) {
        check(ProxyHeaderReader::new, &bytes, &sizes);
    }

    #[test]
    fn via_handshake_does_not_depend_on_the_split(
        bytes in input(), sizes in vec(1..40_usize, 1..10),
        via in select(&["socks5://a:1", "socks5://u:p@a:1", "http://a:1", "http://u:p@a:1"][..]),
    ) {
        let via: Via = via.parse().unwrap();
        let destination = Destination::new("example.com", 443).unwrap();
        check(|| via.handshake(&destination), &bytes, &sizes);
    }

    #[test]
    fn destination_is_written_as_it_is_read(host in "[a-z0-9.:_-]{0,20}", port in any::<u16>()) {
        if let Some(destination) = Destination::new(&host, port) {
            let text = destination.to_string();
            prop_assert_eq!(Destination::from_authority(&text), Some(destination));
        }
    }
}
