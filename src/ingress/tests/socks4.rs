use super::super::{ConnectFailure, ConnectReply, Rejection};
use super::talk::{End, accepted, proxy, rejection};

const REJECTED: [u8; 8] = [0, 91, 0, 0, 0, 0, 0, 0];

#[test]
fn socks4_request_names_an_address() {
    let (destination, leftover) = accepted(proxy(None, b"\x04\x01\x00\x50\x0a\0\0\x01root\0GET"));
    assert_eq!(destination.to_string(), "10.0.0.1:80");
    assert_eq!(leftover, b"GET");
}

#[test]
fn socks4a_request_names_a_host() {
    let request = b"\x04\x01\x01\xbb\0\0\0\x07\0example.com\0\x16\x03";
    let (destination, leftover) = accepted(proxy(None, request));
    assert_eq!(destination.to_string(), "example.com:443");
    assert_eq!(leftover, b"\x16\x03");
}

#[test]
fn socks4a_name_that_is_an_address_is_an_address() {
    let request = b"\x04\x01\x00\x50\0\0\0\x01\0::1\0";
    assert_eq!(accepted(proxy(None, request)).0.to_string(), "[::1]:80");
}

#[test]
fn socks4_address_of_zeros_is_no_socks4a() {
    let request = b"\x04\x01\x00\x50\0\0\0\0\0";
    assert_eq!(accepted(proxy(None, request)).0.to_string(), "0.0.0.0:80");
}

#[test]
fn socks4_connect_result_is_granted_or_rejected() {
    let End::Done { output, .. } = proxy(None, b"\x04\x01\x00\x50\x0a\0\0\x01\0").end else {
        panic!()
    };
    assert_eq!(output.protocol(), "SOCKS4");
    let local = |local: &str| ConnectReply::Connected { local: Some(local.parse().unwrap()) };
    assert_eq!(output.reply(local("1.2.3.4:258")), [0, 90, 1, 2, 1, 2, 3, 4]);
    assert_eq!(output.reply(local("[::1]:258")), [0, 90, 0, 0, 0, 0, 0, 0]);
    for failure in [ConnectFailure::Refused, ConnectFailure::TimedOut, ConnectFailure::Other] {
        assert_eq!(output.reply(ConnectReply::Failed(failure)), REJECTED);
    }
}

#[test]
fn socks4_bad_requests_are_rejected() {
    let long_user = [&b"\x04\x01\x00\x50\x0a\0\0\x01"[..], &[b'u'; 300]].concat();
    let long_name = [&b"\x04\x01\x00\x50\0\0\0\x01\0"[..], &[b'n'; 300]].concat();
    for (request, words) in [
        (&b"\x04\x02\x00\x50\x0a\0\0\x01\0"[..], "SOCKS4: BIND is not supported"),
        (b"\x04\x09\x00\x50\x0a\0\0\x01\0", "SOCKS4: 9 is not supported"),
        (b"\x04\x01\x00\x50\0\0\0\x01\0a b\0", "the host name is not valid"),
        (b"\x04\x01\x00\x50\0\0\0\x01\0\0", "the host name is not valid"),
        (b"\x04\x01\x00\x50\0\0\0\x01\0\xff\xff\0", "the host name is not valid"),
        (&long_user, "longer than 255 bytes"),
        (&long_name, "longer than 255 bytes"),
    ] {
        let outcome = proxy(None, request);
        assert!(rejection(&outcome).contains(words), "{outcome:?}");
        assert_eq!(outcome.sent, [REJECTED], "{words}");
    }
}

#[test]
fn socks4_client_is_rejected_where_a_login_is_needed() {
    let outcome = proxy(Some("user:pass"), b"\x04\x01\x00\x50\x0a\0\0\x01user\0");
    assert_eq!(outcome.end, End::Rejected(Rejection::LoginNeeded { protocol: "SOCKS4" }));
    assert_eq!(outcome.sent, [REJECTED]);
}

#[test]
fn socks4_client_that_stops_halfway_is_unfinished() {
    for request in
        [&b"\x04"[..], b"\x04\x01\x00\x50\x0a\0\0\x01us", b"\x04\x01\0\x50\0\0\0\x01\0ex"]
    {
        let end = End::Waiting(Rejection::Unfinished { protocol: "SOCKS4" });
        assert_eq!(proxy(None, request).end, end);
    }
}
