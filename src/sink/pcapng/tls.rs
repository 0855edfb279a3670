//! Finding out by which name a TLS connection's keys go in a key log.

/// What there is to see of a stream's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Too few bytes yet.
    Incomplete,
    /// It is not TLS.
    Other,
    /// The client's random number, by which a key log calls the connection.
    ClientRandom([u8; 32]),
}

/// How many bytes decide.
pub(super) const DECISIVE: usize = 43;

/// Looks at the first bytes that a client said, for a ClientHello (RFC 8446 sections 4.1.2, 5.1;
/// the same place in all versions since TLS 1.0).
pub(super) fn beginning(bytes: &[u8]) -> Beginning {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    // Record: type, version (2), length (2). Handshake: type, length (3), version (2), random.
    let fits = |at: usize, expected: u8| bytes.get(at).is_none_or(|byte| *byte == expected);
    if !(fits(0, HANDSHAKE) && fits(1, 3) && fits(5, CLIENT_HELLO) && fits(9, 3)) {
        return Beginning::Other;
    }
    match bytes.get(11..DECISIVE).and_then(|random| random.try_into().ok()) {
        Some(random) => Beginning::ClientRandom(random),
        None => Beginning::Incomplete,
    }
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

    #[test]
    fn a_client_hello_has_its_random() {
        let random: Vec<u8> = (1..=32).collect();
        assert_eq!(beginning(&hello()), Beginning::ClientRandom(random.try_into().unwrap()));
    }

    #[test]
    fn what_is_cut_short_may_still_become_one() {
        for len in 0..DECISIVE {
            assert_eq!(beginning(&hello()[..len]), Beginning::Incomplete, "{len}");
        }
    }

    #[test]
    fn other_protocols_are_other_at_once() {
        for bytes in [&b"G"[..], b"GET / HTTP/1.1\r\n", &[22, 3, 1, 0, 5, 2], &[23, 3, 3]] {
            assert_eq!(beginning(bytes), Beginning::Other);
        }
    }
}
