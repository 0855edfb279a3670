//! The Certificate message (RFC 8446 section 4.4.2; RFC 5246 section 7.4.2).

use bytes::Bytes;

use super::reader::Reader;

/// The certificates in a message, in its order; `None` where it is damaged.
pub(super) fn parse(body: &[u8], is_tls13: bool) -> Option<Vec<Bytes>> {
    let mut reader = Reader(body);
    if is_tls13 {
        // What a request for it is known by: nothing, in a handshake.
        reader.vector(1)?;
    }
    let mut entries = reader.vector(3)?;
    let mut chain = Vec::new();
    while !entries.is_empty() {
        chain.push(Bytes::copy_from_slice(entries.vector(3)?.0));
        if is_tls13 {
            // Extensions.
            entries.vector(2)?;
        }
    }
    Some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_is_read_in_order() {
        let tls12 = [0, 0, 9, 0, 0, 2, 1, 2, 0, 0, 1, 3];
        let expected = [Bytes::from_static(&[1, 2]), Bytes::from_static(&[3])];
        assert_eq!(parse(&tls12, false).unwrap(), expected);
        let tls13 = [0, 0, 0, 13, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1, 3, 0, 0];
        assert_eq!(parse(&tls13, true).unwrap(), expected);
    }

    #[test]
    fn damaged_message_has_no_chain() {
        for body in [&[][..], &[0, 0, 4, 0, 0, 9, 1], &[0, 0, 9]] {
            assert_eq!(parse(body, false), None);
        }
    }
}
