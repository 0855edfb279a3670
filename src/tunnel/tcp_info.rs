//! The kernel's `struct tcp_info` read into figures.

use std::time::Duration;

use crate::event::TcpInfo;
use crate::net::Socket;

/// As long as the fields that are read; the kernel fills in no more than there is room for.
const LEN: usize = 228;

/// What the kernel knows of a socket; nothing of a unix socket.
pub(super) fn of(socket: &Socket) -> Option<TcpInfo> {
    let mut room = [0; LEN];
    let known = socket.tcp_info(&mut room)?;
    Some(read(&room[..known]))
}

/// Reads what the kernel has filled in: an older one knows fewer fields. The numbers are the
/// places of the fields in `struct tcp_info` of linux/tcp.h, to which fields are only ever added.
fn read(info: &[u8]) -> TcpInfo {
    let word = |at: usize| info.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes);
    let long = |at: usize| info.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes);
    let micros = |at: usize| long(at).map(Duration::from_micros);
    // Before the first measurement it is 0, and the shortest one has all its bits set.
    let measured = |at: usize| {
        let micros = word(at).filter(|micros| ![0, u32::MAX].contains(micros));
        micros.map(|micros| Duration::from_micros(micros.into()))
    };
    TcpInfo {
        rtt: measured(68),
        cwnd: word(80).map(u64::from),
        retransmits: word(100).map(u64::from),
        bytes_acked: long(120),
        bytes_received: long(128),
        min_rtt: measured(148),
        data_segments: word(152).map(u64::from),
        delivery_rate: long(160).filter(|rate| *rate > 0),
        busy: micros(168),
        rwnd_limited: micros(176),
        sndbuf_limited: micros(184),
        out_of_order: word(224).map(u64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte with its own place as the value, so that each field has one of its own.
    fn filled(len: usize) -> Vec<u8> {
        (0..len).map(|at| at as u8).collect()
    }

    #[test]
    fn field_that_kernel_lacks_is_absent() {
        // Linux 4.9, 4.10 and 5.4 and what came between knew so much.
        for (len, absent) in [
            (104, "bytes_acked bytes_received min_rtt_us data_segments delivery_rate busy_us"),
            (168, "busy_us rwnd_limited_us sndbuf_limited_us out_of_order"),
            (192, "out_of_order"),
            (LEN, ""),
        ] {
            let tcp = read(&filled(len));
            for name in absent.split_whitespace() {
                assert!(tcp.figures().all(|(known, _)| known != name), "{name} of {len} bytes");
            }
            let known = tcp.figures().count();
            assert!(len < LEN || known == TcpInfo::NAMES.len(), "{known} of {len} bytes");
        }
        assert_eq!(read(&[]), TcpInfo::default());
        let at = |at: u8| u32::from_ne_bytes([at, at + 1, at + 2, at + 3]);
        let tcp = read(&filled(LEN));
        assert_eq!(tcp.retransmits, Some(at(100).into()));
        assert_eq!(tcp.rtt, Some(Duration::from_micros(at(68).into())));
    }

    #[test]
    fn what_was_never_measured_is_absent() {
        let mut info = vec![0; LEN];
        info[148..152].fill(0xff);
        let tcp = read(&info);
        assert_eq!((tcp.rtt, tcp.min_rtt), (None, None));
        assert_eq!(tcp.retransmits, Some(0));
    }
}
