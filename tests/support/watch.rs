//! What holds of every packet that was ever drawn, whatever happened. The fuzz target shares this
//! file.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;

use etherparse::{Icmpv4Slice, Icmpv6Slice, NetSlice, SlicedPacket, TcpSlice, TransportSlice};
use tcp_tunn::event::Timestamp;
use tcp_tunn::packet::{Packet, PacketWriter};

/// Source and destination.
type Ends = ((IpAddr, u16), (IpAddr, u16));

/// What one side of a stream has shown so far.
#[derive(Clone, Debug)]
struct Half {
    next: u32,
    mss: u16,
    /// Sequence and acknowledgement number, where its last packet had neither data nor a flag.
    last_pure_ack: Option<(u32, u32)>,
}

/// A writer that holds packets against what must always be true.
#[derive(Default)]
pub(crate) struct Watch {
    last: Timestamp,
    halves: HashMap<Ends, Half>,
    /// What each side said, kept on demand.
    pub(crate) said: Option<HashMap<Ends, Vec<u8>>>,
    pub(crate) packets: usize,
}

impl PacketWriter for Watch {
    type Error = Infallible;

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Infallible> {
        assert!(packet.time >= self.last, "time went back");
        self.last = packet.time;
        self.packets += 1;
        let bytes = [packet.headers, packet.payload].concat();
        assert!(bytes.len() <= 14 + 65535 + 40, "too long");
        let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
        let net = sliced.net.unwrap();
        match sliced.transport.unwrap() {
            TransportSlice::Tcp(tcp) => self.segment(&net, &tcp, packet),
            TransportSlice::Icmpv4(icmp) => check_icmpv4(&net, &icmp),
            TransportSlice::Icmpv6(icmp) => check_icmpv6(&net, &icmp),
            other => panic!("what for? {other:?}"),
        }
        Ok(())
    }

    fn name(&mut self, _: IpAddr, name: &str) -> Result<(), Infallible> {
        assert!(!name.contains('\0'));
        Ok(())
    }
}

impl Watch {
    fn segment(&mut self, net: &NetSlice<'_>, tcp: &TcpSlice<'_>, packet: &Packet<'_>) {
        let (from, to) = check_tcp(net, tcp);
        assert_eq!(tcp.payload(), packet.payload);
        let (seq, ack) = (tcp.sequence_number(), tcp.acknowledgment_number());
        let key = ((from, tcp.source_port()), (to, tcp.destination_port()));
        let peer = self.halves.get(&(key.1, key.0)).cloned();
        if tcp.syn() && !tcp.ack() {
            // A new stream.
            self.halves.remove(&(key.1, key.0));
        } else if tcp.ack() {
            assert_eq!(ack, peer.expect("an answer to nobody").next, "not what was seen");
        }
        assert!(tcp.ack() || ack == 0, "a number without its flag");
        let before = self.halves.get(&key).filter(|_| !tcp.syn());
        let pure = tcp.ack() && !tcp.syn() && !tcp.fin() && !tcp.rst() && tcp.payload().is_empty();
        let pure = pure.then_some((seq, ack));
        if let Some(before) = before {
            assert!(pure.is_none() || before.last_pure_ack != pure, "said twice: {pure:?}");
            let expected = before.next.wrapping_add(packet.dropped as u32);
            // On a reset the other side's are counted too.
            assert!(tcp.rst() || seq == expected, "{seq} instead of {expected}");
            assert!(tcp.payload().len() <= usize::from(before.mss));
        }
        let mss = before.map_or_else(|| mss(tcp), |before| before.mss);
        let len = tcp.payload().len() as u32 + u32::from(tcp.syn()) + u32::from(tcp.fin());
        let half = Half { next: seq.wrapping_add(len), mss, last_pure_ack: pure };
        self.halves.insert(key, half);
        // After a gap so wide the numbers may be any, the same as before too.
        if packet.dropped > 1 << 31
            && let Some(peer) = self.halves.get_mut(&(key.1, key.0))
        {
            peer.last_pure_ack = None;
        }
        if let Some(said) = &mut self.said {
            said.entry(key).or_default().extend_from_slice(tcp.payload());
        }
    }
}

fn mss(tcp: &TcpSlice<'_>) -> u16 {
    tcp.options_iterator()
        .find_map(|option| match option {
            Ok(etherparse::TcpOptionElement::MaximumSegmentSize(mss)) => Some(mss),
            _ => None,
        })
        .unwrap_or(0)
}

/// Verifies the checksums; returns source and destination.
fn check_tcp(net: &NetSlice<'_>, tcp: &TcpSlice<'_>) -> (IpAddr, IpAddr) {
    match net {
        NetSlice::Ipv4(ip) => {
            let ip = ip.header();
            let header = ip.to_header();
            assert_eq!(header.calc_header_checksum(), ip.header_checksum());
            let (from, to) = (ip.source(), ip.destination());
            assert_eq!(tcp.calc_checksum_ipv4(from, to).unwrap(), tcp.checksum());
            (from.into(), to.into())
        }
        NetSlice::Ipv6(ip) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            assert_eq!(tcp.calc_checksum_ipv6(from, to).unwrap(), tcp.checksum());
            (from.into(), to.into())
        }
        NetSlice::Arp(_) => panic!("what for?"),
    }
}

fn check_icmpv4(net: &NetSlice<'_>, icmp: &Icmpv4Slice<'_>) {
    assert!(matches!(net, NetSlice::Ipv4(_)));
    assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
}

fn check_icmpv6(net: &NetSlice<'_>, icmp: &Icmpv6Slice<'_>) {
    let NetSlice::Ipv6(ip) = net else { panic!("ICMPv6 without IPv6") };
    assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
}
