use std::path::Path;
use std::sync::Arc;

use super::super::{ProxyHeader, ProxyHeaderReader, ProxyVersion, Rejection, encode_proxy_header};
use super::talk::{End, Outcome, feed_both_ways, rejection};
use crate::event::Endpoint;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn read(bytes: &[u8]) -> Outcome<ProxyHeader> {
    feed_both_ways(ProxyHeaderReader::new, bytes)
}

/// What a header says when `hello` follows it.
fn header(bytes: &[u8]) -> ProxyHeader {
    match read(&[bytes, b"hello"].concat()) {
        Outcome { sent, end: End::Done { output, leftover } } => {
            assert!(sent.is_empty());
            assert_eq!(leftover, b"hello", "{}", bytes.escape_ascii());
            output
        }
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

/// A header of version 2 with a command, a family and a block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, block].concat()
}

fn tcp(address: &str) -> Endpoint {
    Endpoint::Tcp(address.parse().unwrap())
}

fn unix(path: &str) -> Endpoint {
    Endpoint::Unix((!path.is_empty()).then(|| Arc::from(Path::new(path))))
}

fn proxied(source: Endpoint, destination: Endpoint) -> ProxyHeader {
    ProxyHeader::Proxied { source, destination }
}

#[test]
fn v1_line_names_both_ends() {
    assert_eq!(
        header(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"),
        proxied(tcp("192.0.2.1:56324"), tcp("192.0.2.2:443"))
    );
    assert_eq!(
        header(b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"),
        proxied(tcp("[2001:db8::1]:65535"), tcp("[::1]:0"))
    );
}

#[test]
fn v1_line_of_the_greatest_length_is_accepted() {
    let ip = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let unknown = format!("PROXY UNKNOWN {ip} {ip} 65535 65535\r\n");
    assert_eq!(unknown.len(), 107);
    assert_eq!(header(unknown.as_bytes()), ProxyHeader::Direct);
    let longer = unknown.replace("65535\r", "65535 \r");
    assert!(rejection(&read(longer.as_bytes())).contains("longer than 107 bytes"));
}

#[test]
fn v1_unknown_means_the_connection_itself() {
    assert_eq!(header(b"PROXY UNKNOWN\r\n"), ProxyHeader::Direct);
    assert_eq!(header(b"PROXY UNKNOWN whatever is here\r\n"), ProxyHeader::Direct);
}

#[test]
fn v1_bad_lines_are_rejected() {
    for line in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 56324 443\r\n",
        "PROXY TCP4 ::1 ::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
    ] {
        let words = "PROXY protocol: the line is not valid";
        assert_eq!(rejection(&read(line.as_bytes())), words, "{line}");
    }
}

#[test]
fn missing_header_is_rejected_at_the_first_wrong_byte() {
    for bytes in ["GET / HTTP/1.1\r\n", "PROXIED", "PX", "\r\n\r\n\r\n"] {
        let words = "the header is missing (is the load balancer set to send one?)";
        assert!(rejection(&read(bytes.as_bytes())).ends_with(words), "{bytes}");
    }
}

#[test]
fn v2_header_names_both_ends() {
    let block = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 187];
    let both = proxied(tcp("192.0.2.1:56324"), tcp("192.0.2.2:443"));
    assert_eq!(header(&v2(0x21, 0x11, &block)), both);
    // Extensions: a NOOP of one byte, and one that is cut off, which does not matter here.
    let with_extensions = [&block[..], &[4, 0, 1, 0], &[1, 0xff, 0xff]].concat();
    assert_eq!(header(&v2(0x21, 0x11, &with_extensions)), both);

    let block = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[1, 2, 3, 4]].concat();
    let both = proxied(tcp("[2001:db8::1]:258"), tcp("[::1]:772"));
    assert_eq!(header(&v2(0x21, 0x21, &block)), both);
}

#[test]
fn v2_header_names_unix_sockets() {
    let mut block = [0; 216];
    block[..7].copy_from_slice(b"/a/path");
    block[108..].fill(b'x');
    let long = "x".repeat(108);
    assert_eq!(header(&v2(0x21, 0x31, &block)), proxied(unix("/a/path"), unix(&long)));
    assert_eq!(header(&v2(0x21, 0x31, &[0; 216])), proxied(unix(""), unix("")));
}

#[test]
fn v2_local_is_direct_whatever_its_block_says() {
    for (family, len) in
        [(0, 0), (0x11, 12), (0x11, 0), (0x11, 3), (0x31, 1), (0x21, 36), (0xff, 300)]
    {
        assert_eq!(
            header(&v2(0x20, family, &vec![7; len])),
            ProxyHeader::Direct,
            "{family:#x} {len}"
        );
    }
}

#[test]
fn v2_families_without_an_address_are_direct() {
    for (family, len) in [(0, 0), (0, 40), (0x12, 12), (0x22, 36), (0x32, 216)] {
        assert_eq!(header(&v2(0x21, family, &vec![7; len])), ProxyHeader::Direct, "{family:#x}");
    }
}

#[test]
fn v2_greatest_length_is_accepted() {
    assert_eq!(header(&v2(0x20, 0, &vec![7; 65_535])), ProxyHeader::Direct);
}

#[test]
fn v2_bad_headers_are_rejected() {
    for (command, family, len, words) in [
        (0x11, 0x11, 12, "the version is not 2"),
        (0x22, 0x11, 12, "the command is neither LOCAL nor PROXY"),
        (0x21, 0x11, 11, "the address block is not valid"),
        (0x21, 0x21, 35, "the address block is not valid"),
        (0x21, 0x31, 215, "the address block is not valid"),
        (0x21, 0x13, 12, "the address block is not valid"),
        (0x21, 0x41, 12, "the address block is not valid"),
    ] {
        let outcome = read(&v2(command, family, &vec![7; len]));
        assert_eq!(rejection(&outcome), format!("PROXY protocol: {words}"));
    }
}

#[test]
fn header_that_stops_halfway_is_unfinished() {
    let whole = v2(0x21, 0x11, &[1; 12]);
    for bytes in [&b"P"[..], b"PROXY TCP4 1.2.3.4", b"\r\n", &whole[..20]] {
        let end = End::Waiting(Rejection::Unfinished { protocol: "PROXY protocol" });
        assert_eq!(read(bytes).end, end);
    }
    assert_eq!(read(b"").end, End::Waiting(Rejection::Silent));
}

#[test]
fn sent_header_is_read_as_it_was_meant() {
    let (v4, v6) = (tcp("192.0.2.1:1"), tcp("[2001:db8::1]:2"));
    let mapped = tcp("[::ffff:192.0.2.1]:1");
    let unix = (unix("/client"), unix(""));
    for (source, destination, in_v1, in_v2) in [
        (&v4, &v4, Some((&v4, &v4)), Some((&v4, &v4))),
        (&v6, &v6, Some((&v6, &v6)), Some((&v6, &v6))),
        (&v4, &v6, Some((&mapped, &v6)), Some((&mapped, &v6))),
        (&v6, &v4, Some((&v6, &mapped)), Some((&v6, &mapped))),
        (&unix.0, &unix.1, None, Some((&unix.0, &unix.1))),
        (&v4, &unix.0, None, None),
    ] {
        for (version, expected) in [(ProxyVersion::V1, in_v1), (ProxyVersion::V2, in_v2)] {
            let bytes = encode_proxy_header(version, source, destination);
            let expected = expected.map_or(ProxyHeader::Direct, |(source, destination)| {
                proxied(source.clone(), destination.clone())
            });
            assert_eq!(header(&bytes), expected, "{version:?} {source} {destination}");
        }
    }
    let line = encode_proxy_header(ProxyVersion::V1, &v4, &v4);
    assert_eq!(line, b"PROXY TCP4 192.0.2.1 192.0.2.1 1 1\r\n");
}

#[test]
fn versions_are_written_v1_and_v2() {
    assert_eq!("v1".parse(), Ok(ProxyVersion::V1));
    assert_eq!("v2".parse(), Ok(ProxyVersion::V2));
    assert!("2".parse::<ProxyVersion>().is_err());
}
