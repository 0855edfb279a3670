//! Finding out by which name a TLS connection's keys go in a key log.

use super::find_hello::{Found, HEAD_LEN, find};

/// How many bytes a ClientHello has up to the end of its random number.
pub(crate) const DECISIVE: usize = 43;

/// Looks for a ClientHello, and in it for the client's random number, by which a key log calls the
/// connection (RFC 8446 sections 4.1.2, 5.1; the same place in all versions since SSL 3.0).
///
/// Anywhere in the bytes: TLS may begin after a plain dialogue, as with a proxy's CONNECT,
/// `STARTTLS` or PostgreSQL's request for it. What only looks like one does no harm, since the
/// key log has no keys for it.
pub(crate) fn client_random(bytes: &[u8]) -> Option<[u8; 32]> {
    let Found::At(at) = find(bytes) else { return None };
    bytes.get(at + HEAD_LEN..at + DECISIVE)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        let mut bytes = vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        bytes.extend(1..=32);
        bytes.extend([0; 100]);
        bytes
    }

    fn random() -> Option<[u8; 32]> {
        (1..=32).collect::<Vec<u8>>().try_into().ok()
    }

    #[test]
    fn client_hello_yields_its_random() {
        assert_eq!(client_random(&hello()), random());
        assert_eq!(client_random(&hello()[..DECISIVE]), random());
    }

    #[test]
    fn client_hello_after_plain_bytes_is_found() {
        for before in [&b"CONNECT a:1 HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 8, 4, 210, 22, 47]] {
            assert_eq!(client_random(&[before, &hello()].concat()), random());
        }
    }

    #[test]
    fn truncated_or_other_bytes_yield_no_random() {
        for len in 0..DECISIVE {
            assert_eq!(client_random(&hello()[..len]), None, "{len}");
        }
        let close = [22, 3, 1, 0, 5, 2].repeat(20);
        for bytes in [&b"GET / HTTP/1.1\r\nHost: an.example.com\r\n\r\n"[..], &close] {
            assert_eq!(client_random(bytes), None);
        }
    }
}
