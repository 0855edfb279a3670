//! What the kernel knows of a connection's sockets.

use std::fmt;
use std::time::Duration;

use super::side::Side;

/// The state of one leg of a connection: of the tunnel's socket to the client or to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// To whom the socket leads.
    pub leg: Side,
    /// What the kernel knows of it.
    pub tcp: TcpInfo,
}

impl Info {
    /// The state of a leg.
    pub const fn new(leg: Side, tcp: TcpInfo) -> Self {
        Self { leg, tcp }
    }
}

/// What the kernel knows of a TCP socket (`TCP_INFO` of Linux), as seen by the tunnel. What the
/// kernel does not know, or has not measured yet, is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The smoothed round-trip time.
    pub rtt: Option<Duration>,
    /// The shortest round-trip time of late.
    pub min_rtt: Option<Duration>,
    /// Segments that were sent again, over the connection's whole life.
    pub retransmits: Option<u64>,
    /// The congestion window, in segments.
    pub cwnd: Option<u64>,
    /// How long something was sent and not acknowledged, or waited to be sent.
    pub busy: Option<Duration>,
    /// Of this, how long the peer's receive window was full.
    pub rwnd_limited: Option<Duration>,
    /// Of this, how long the tunnel's send buffer was full.
    pub sndbuf_limited: Option<Duration>,
    /// How fast the peer took bytes in lately, in bytes a second.
    pub delivery_rate: Option<u64>,
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: Option<u64>,
    /// Bytes that the peer has sent.
    pub bytes_received: Option<u64>,
    /// Segments with data that came from the peer.
    pub data_segments: Option<u64>,
    /// Segments that came out of order.
    pub out_of_order: Option<u64>,
}

impl TcpInfo {
    /// The names of the figures, which end in `_us` where they are times in microseconds.
    pub const NAMES: [&str; 12] = [
        "rtt_us",
        "min_rtt_us",
        "retransmits",
        "cwnd",
        "busy_us",
        "rwnd_limited_us",
        "sndbuf_limited_us",
        "delivery_rate",
        "bytes_acked",
        "bytes_received",
        "data_segments",
        "out_of_order",
    ];

    /// The figures that are known, each with its name.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let micros = |time: Option<Duration>| {
            time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        let figures = [
            micros(self.rtt),
            micros(self.min_rtt),
            self.retransmits,
            self.cwnd,
            micros(self.busy),
            micros(self.rwnd_limited),
            micros(self.sndbuf_limited),
            self.delivery_rate,
            self.bytes_acked,
            self.bytes_received,
            self.data_segments,
            self.out_of_order,
        ];
        Self::NAMES.into_iter().zip(figures).filter_map(|(name, figure)| Some((name, figure?)))
    }

    /// The info of figures by their names; `None` stands for what is not known.
    pub fn from_figures(figure: impl FnMut(&'static str) -> Option<u64>) -> Self {
        let mut all = Self::NAMES.map(figure).into_iter();
        let mut next = || all.next().flatten();
        let micros = |figure: Option<u64>| figure.map(Duration::from_micros);
        Self {
            rtt: micros(next()),
            min_rtt: micros(next()),
            retransmits: next(),
            cwnd: next(),
            busy: micros(next()),
            rwnd_limited: micros(next()),
            sndbuf_limited: micros(next()),
            delivery_rate: next(),
            bytes_acked: next(),
            bytes_received: next(),
            data_segments: next(),
            out_of_order: next(),
        }
    }
}

/// The figures in one line: `rtt 0.123 ms, retransmits 2, cwnd 10, busy 45.000 ms`.
impl fmt::Display for TcpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, figure) in self.figures() {
            f.write_str(separator)?;
            separator = ", ";
            match name.strip_suffix("_us") {
                Some(name) => {
                    let (millis, micros) = (figure / 1000, figure % 1000);
                    write!(f, "{} {millis}.{micros:03} ms", Words(name))?;
                }
                None => write!(f, "{} {figure}", Words(name))?,
            }
        }
        Ok(())
    }
}

/// A name with spaces between its words.
struct Words(&'static str);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        self.0
            .split('_')
            .try_for_each(|word| write!(f, "{}{word}", std::mem::replace(&mut separator, " ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_names() {
        let at = |name| TcpInfo::NAMES.iter().position(|other| *other == name);
        let figure = |name| at(name).map(|at| at as u64);
        let info = TcpInfo::from_figures(figure);
        assert!(info.figures().eq(TcpInfo::NAMES.into_iter().zip(0..)), "{info:?}");
        assert_eq!(info.cwnd, figure("cwnd"));
        assert_eq!(info.rwnd_limited, figure("rwnd_limited_us").map(Duration::from_micros));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let info = TcpInfo { rtt: Some(Duration::from_micros(1234)), ..TcpInfo::default() };
        assert_eq!(info.to_string(), "rtt 1.234 ms");
        let info = TcpInfo { min_rtt: Some(Duration::ZERO), retransmits: Some(2), ..info };
        assert_eq!(info.to_string(), "rtt 1.234 ms, min rtt 0.000 ms, retransmits 2");
        assert_eq!(TcpInfo::default().figures().count(), 0);
    }
}
