//! Frames: the bytes of Ethernet, IP, TCP and ICMP headers.

use std::net::{IpAddr, SocketAddr};

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpNumber,
    Ipv4Header, Ipv6Header, TcpHeader, TcpOptionElement,
};

use super::checksum::Sum;

/// The longest headers: Ethernet, IPv6, ICMPv6, and within it IPv6 and TCP with options.
const HEADERS_MAX: usize = 14 + 40 + 8 + 40 + 60;
/// Where the checksum lies in a TCP header (RFC 9293 section 3.1).
const TCP_CHECKSUM: usize = 16;
const TTL: u8 = 64;
/// The largest window there is, scaled by `2^14`: 1 GiB, never full.
const WINDOW: u16 = 65535;
const WINDOW_SCALE: u8 = 14;

/// The headers of one frame.
#[derive(Clone, Copy)]
pub(super) struct Headers {
    bytes: [u8; HEADERS_MAX],
    len: usize,
}

impl Headers {
    const fn new() -> Self {
        Self { bytes: [0; HEADERS_MAX], len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a TCP segment says beside its payload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) seq: u32,
    /// `None` clears the ACK flag, and the field.
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) psh: bool,
    /// Announced on a SYN.
    pub(super) mss: u16,
}

/// From where to where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// The headers of a TCP segment with `payload`, which must fit an IP packet.
pub(super) fn tcp(path: Path, ip_id: u16, segment: &Segment, payload: &[u8]) -> Headers {
    let header = tcp_header(path, segment).to_bytes();
    let len = header.len() + payload.len();
    let mut headers = Headers::new();
    push_ip(&mut headers, path, ip_id, IpNumber::TCP, len);
    let start = headers.len;
    headers.push(&header);
    let checksum = pseudo_header(path, len).add(&header).add(payload).finish();
    headers.bytes[start + TCP_CHECKSUM..][..2].copy_from_slice(&checksum.to_be_bytes());
    headers
}

fn tcp_header(path: Path, segment: &Segment) -> TcpHeader {
    // A reset closes the window; before a SYN was answered it is not scaled yet.
    let window = if segment.rst { 0 } else { WINDOW };
    let mut header = TcpHeader::new(path.from.port(), path.to.port(), segment.seq, window);
    header.ack = segment.ack.is_some();
    header.acknowledgment_number = segment.ack.unwrap_or(0);
    (header.syn, header.fin) = (segment.syn, segment.fin);
    (header.rst, header.psh) = (segment.rst, segment.psh);
    if segment.syn {
        let options = [
            TcpOptionElement::MaximumSegmentSize(segment.mss),
            TcpOptionElement::Noop,
            TcpOptionElement::Noop,
            TcpOptionElement::SelectiveAcknowledgementPermitted,
            TcpOptionElement::Noop,
            TcpOptionElement::WindowScale(WINDOW_SCALE),
        ];
        let fits = header.set_options(&options);
        debug_assert!(fits.is_ok(), "12 bytes of options fit");
    }
    header
}

/// RFC 9293 section 3.1, RFC 8200 section 8.1.
fn pseudo_header(path: Path, len: usize) -> Sum {
    let sum = match (path.from.ip(), path.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Sum::default().add(&from.octets()).add(&to.octets()),
        (from, to) => Sum::default().add(&v6(from)).add(&v6(to)),
    };
    sum.add(&(len as u32).to_be_bytes()).add(&[0, IpNumber::TCP.0])
}

/// An address as IPv6, an IPv4 one mapped (RFC 4291 section 2.5.5.2).
fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn push_ip(headers: &mut Headers, path: Path, id: u16, protocol: IpNumber, payload_len: usize) {
    let (from, to) = (path.from.ip(), path.to.ip());
    let ether_type = if from.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    let ethernet = Ethernet2Header { source: mac(from), destination: mac(to), ether_type };
    headers.push(&ethernet.to_bytes());
    push_ip_header(headers, path, id, protocol, payload_len);
}

fn push_ip_header(
    headers: &mut Headers,
    path: Path,
    id: u16,
    protocol: IpNumber,
    payload_len: usize,
) {
    let len = payload_len as u16;
    match (path.from.ip(), path.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = Ipv4Header {
                identification: id,
                dont_fragment: true,
                time_to_live: TTL,
                protocol,
                source: from.octets(),
                destination: to.octets(),
                total_len: Ipv4Header::MIN_LEN_U16 + len,
                ..Ipv4Header::default()
            };
            ip.header_checksum = ip.calc_header_checksum();
            headers.push(&ip.to_bytes());
        }
        (from, to) => {
            let ip = Ipv6Header {
                payload_length: len,
                next_header: protocol,
                hop_limit: TTL,
                source: v6(from),
                destination: v6(to),
                ..Ipv6Header::default()
            };
            headers.push(&ip.to_bytes());
        }
    }
}

/// A locally administered address that ends like the IP address. `02:00` is nobody's prefix;
/// others of its kind belong to load balancers and show up as such.
fn mac(address: IpAddr) -> [u8; 6] {
    let tail: [u8; 4] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let octets = address.octets();
            [octets[12], octets[13], octets[14], octets[15]]
        }
    };
    [2, 0, tail[0], tail[1], tail[2], tail[3]]
}

/// The frame that says that the segment `refused` on `path` could not be delivered: ICMP
/// "destination unreachable" (RFC 792) with the host or network code, or ICMPv6's (RFC 4443
/// section 3.1). It quotes the segment's headers. `ip_ids` are the segment's and the frame's own.
pub(super) fn unreachable(
    path: Path,
    ip_ids: [u16; 2],
    refused: &Segment,
    network: bool,
) -> Headers {
    let [quoted_id, ip_id] = ip_ids;
    let quoted_tcp = {
        let mut header = tcp_header(path, refused);
        let sum = pseudo_header(path, header.header_len()).add(&header.to_bytes());
        header.checksum = sum.finish();
        header
    };
    let mut quote = Headers::new();
    push_ip_header(&mut quote, path, quoted_id, IpNumber::TCP, quoted_tcp.header_len());
    quote.push(&quoted_tcp.to_bytes());
    let quote = quote.as_slice();
    let back = Path { from: path.to, to: path.from };
    let mut headers = Headers::new();
    if path.from.is_ipv4() {
        let code = match network {
            true => DestUnreachableHeader::Network,
            false => DestUnreachableHeader::Host,
        };
        let icmp = Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(code), quote);
        push_ip(&mut headers, back, ip_id, IpNumber::ICMP, icmp.header_len() + quote.len());
        headers.push(&icmp.to_bytes());
    } else {
        let code = match network {
            true => DestUnreachableCode::NoRoute,
            false => DestUnreachableCode::Address,
        };
        let kind = Icmpv6Type::DestinationUnreachable(code);
        let (from, to) = (v6(back.from.ip()), v6(back.to.ip()));
        // Fails only for payloads of gigabytes.
        let icmp = Icmpv6Header::with_checksum(kind, from, to, quote)
            .unwrap_or_else(|_| Icmpv6Header::new(kind));
        push_ip(&mut headers, back, ip_id, IpNumber::IPV6_ICMP, icmp.header_len() + quote.len());
        headers.push(&icmp.to_bytes());
    }
    headers.push(quote);
    headers
}
