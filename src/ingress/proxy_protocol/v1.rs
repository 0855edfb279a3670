//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::super::handshake::Rejection;
use super::header::{Found, PROTOCOL, ProxyHeader, malformed};

pub(super) const PREFIX: &[u8] = b"PROXY ";
/// The longest line, with its CR and LF (section 2.1).
const MAX_LINE: usize = 107;

/// The header that `bytes` begin with; none if it is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Option<Result<Found, Rejection>> {
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        let is_full = window.len() == MAX_LINE;
        let too_long = Rejection::TooLong { protocol: PROTOCOL, limit: MAX_LINE };
        return is_full.then_some(Err(too_long));
    };
    let line = std::str::from_utf8(&window[..end]).ok();
    let header = line.and_then(|line| line.strip_suffix('\r')).and_then(parse_line);
    Some(header.map(|header| (header, end + 1)).ok_or_else(|| malformed("the line is not valid")))
}

fn parse_line(line: &str) -> Option<ProxyHeader> {
    let mut words = line.split(' ');
    words.next().filter(|word| *word == "PROXY")?;
    match words.next()? {
        // "the receiver must ignore anything presented before the CRLF"
        "UNKNOWN" => Some(ProxyHeader::Direct),
        "TCP4" => addresses::<Ipv4Addr>(words),
        "TCP6" => addresses::<Ipv6Addr>(words),
        _ => None,
    }
}

fn addresses<'a, Ip>(mut words: impl Iterator<Item = &'a str>) -> Option<ProxyHeader>
where
    Ip: FromStr + Into<IpAddr>,
{
    let mut ip = || words.next()?.parse::<Ip>().ok().map(Into::into);
    let (source, destination): (IpAddr, IpAddr) = (ip()?, ip()?);
    let mut port = || words.next().and_then(parse_port);
    let (source_port, destination_port) = (port()?, port()?);
    words.next().is_none().then(|| ProxyHeader::Proxied {
        source: SocketAddr::new(source, source_port).into(),
        destination: SocketAddr::new(destination, destination_port).into(),
    })
}

/// Digits only; [`u16::from_str`] would take a sign.
fn parse_port(word: &str) -> Option<u16> {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| is_number)
}

/// The line for two addresses of the same family; none where they are not known.
pub(super) fn encode(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = addresses else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}
