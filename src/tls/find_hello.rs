//! Finds where TLS begins in what a client sends.

/// The head of a ClientHello: record type, version (2), length (2); message type, length (3),
/// version (2) (RFC 8446 sections 4.1.2 and 5.1).
pub(super) const HEAD_LEN: usize = 11;

/// Where a ClientHello may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nowhere,
    /// Here, unless what follows does not fit.
    At(usize),
}

/// Looks for a ClientHello in `bytes`. They may end in its middle.
pub(super) fn find(bytes: &[u8]) -> Found {
    let starts = memchr::memchr_iter(22, bytes);
    let at = starts.into_iter().find(|at| may_be_head(&bytes[*at..]));
    at.map_or(Found::Nowhere, Found::At)
}

/// Whether `bytes` begin like a ClientHello, as far as they go.
pub(super) fn may_be_head(bytes: &[u8]) -> bool {
    let have = bytes.len().min(HEAD_LEN);
    let mut head = [0; HEAD_LEN];
    head[..have].copy_from_slice(&bytes[..have]);
    let fits = |at: usize, fits: bool| at >= have || fits;
    let record = usize::from(u16::from_be_bytes([head[3], head[4]]));
    let message = u32::from_be_bytes([0, head[6], head[7], head[8]]) as usize;
    head[0] == 22
        && fits(1, head[1] == 3)
        && fits(2, head[2] <= 4)
        && fits(4, (1..=1 << 14).contains(&record))
        && fits(5, head[5] == 1)
        // A hello may be cut into several records, but nothing follows it in one.
        && fits(8, (38..=1 << 16).contains(&message) && message + 4 >= record)
        && fits(9, head[9] == 3)
        && fits(10, head[10] <= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [u8; HEAD_LEN] = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

    #[test]
    fn hello_is_found_after_other_bytes() {
        assert_eq!(find(&HEAD), Found::At(0));
        assert_eq!(find(&[&b"\x16EHLO x\r\n"[..], &HEAD].concat()), Found::At(9));
    }

    #[test]
    fn part_of_a_head_at_the_end_is_found() {
        for len in 1..HEAD_LEN {
            assert_eq!(find(&[b"ab", &HEAD[..len]].concat()), Found::At(2));
        }
    }

    #[test]
    fn what_does_not_fit_is_not_found() {
        for (at, byte) in [(0, 23), (1, 2), (2, 9), (3, 255), (5, 2), (6, 255), (9, 1), (10, 9)] {
            let mut head = HEAD;
            head[at] = byte;
            assert_eq!(find(&head), Found::Nowhere, "{at}");
        }
        assert_eq!(find(b"GET / HTTP/1.1\r\n"), Found::Nowhere);
    }
}
