use super::super::{ConnectFailure, ConnectReply, Rejection};
use super::talk::{End, accepted, proxy, rejection};

const NO_LOGIN: &[u8] = &[5, 0];
const LOGIN: &[u8] = &[5, 2];
const LOGGED_IN: &[u8] = &[1, 0];

fn failed(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

#[test]
fn socks5_request_names_each_kind_of_host() {
    for (address, expected) in [
        (&b"\x01\x7f\0\0\x01\x1f\x90"[..], "127.0.0.1:8080"),
        (b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1f\x90", "[::1]:8080"),
        (b"\x03\x0bexample.com\x1f\x90", "example.com:8080"),
        (b"\x03\x07a_b.c-d\x1f\x90", "a_b.c-d:8080"),
        (b"\x03\x09127.0.0.1\x1f\x90", "127.0.0.1:8080"),
        (b"\x03\x03::1\x1f\x90", "[::1]:8080"),
    ] {
        let bytes = [b"\x05\x01\x00\x05\x01\x00", address, b"hello"].concat();
        let outcome = proxy(None, &bytes);
        assert_eq!(outcome.sent, [NO_LOGIN]);
        let (destination, leftover) = accepted(outcome);
        assert_eq!(destination.to_string(), expected);
        assert_eq!(leftover, b"hello");
    }
}

#[test]
fn socks5_login_opens_the_way() {
    let bytes = b"\x05\x02\x00\x02\x01\x04user\x04pass\x05\x01\x00\x01\x7f\0\0\x01\x00\x50hello";
    let outcome = proxy(Some("user:pass"), bytes);
    assert_eq!(outcome.sent, [LOGIN, LOGGED_IN]);
    let (destination, leftover) = accepted(outcome);
    assert_eq!(destination.to_string(), "127.0.0.1:80");
    assert_eq!(leftover, b"hello");
}

#[test]
fn socks5_wrong_login_is_rejected() {
    for login in
        ["\x01\x04user\x04Pass", "\x01\x04user\x00", "\x01\x00\x04pass", "\x01\x05user2\x04pass"]
    {
        let bytes = [b"\x05\x01\x02", login.as_bytes()].concat();
        let outcome = proxy(Some("user:pass"), &bytes);
        assert_eq!(outcome.end, End::Rejected(Rejection::WrongLogin { protocol: "SOCKS5" }));
        assert_eq!(outcome.sent, [LOGIN, &[1, 1]], "{login:?}");
    }
    let outcome = proxy(Some("user:pass"), b"\x05\x01\x02\x05\x01");
    assert_eq!(rejection(&outcome), "SOCKS5: the login has an unknown version");
    assert_eq!(outcome.sent, [LOGIN, &[1, 1]]);
}

#[test]
fn socks5_methods_that_do_not_fit_are_rejected() {
    for (login, greeting, words) in [
        (Some("user:pass"), &b"\x05\x01\x00"[..], "it gives no user and password"),
        (Some("user:pass"), b"\x05\x00", "it gives no user and password"),
        (None, b"\x05\x02\x01\x02", "it insists on a login, and this proxy has none"),
        (None, b"\x05\x00", "it insists on a login"),
    ] {
        let outcome = proxy(login, greeting);
        assert!(rejection(&outcome).contains(words), "{outcome:?}");
        assert_eq!(outcome.sent, [[5, 0xff]]);
    }
}

#[test]
fn socks5_bad_requests_get_their_code() {
    for (request, code, words) in [
        (&b"\x05\x02\x00\x01\x7f\0\0\x01\x00\x50"[..], 7, "SOCKS5: BIND is not supported"),
        (b"\x05\x03\x00\x01\0\0\0\0\0\0", 7, "SOCKS5: UDP ASSOCIATE is not supported"),
        (b"\x05\xf0\x00\x01\0\0\0\0\0\0", 7, "SOCKS5: command 240 is not supported"),
        (b"\x05\x01\x00\x02", 8, "SOCKS5: address type 2 is not supported"),
        (b"\x04\x01", 1, "the request has no version 5"),
        (b"\x05\x01\x00\x03\x00\x00\x50", 4, "the host name is not valid"),
        (b"\x05\x01\x00\x03\x03a/b\x00\x50", 4, "the host name is not valid"),
        (b"\x05\x01\x00\x03\x03a\0b\x00\x50", 4, "the host name is not valid"),
        (b"\x05\x01\x00\x03\x02\xc3\x28\x00\x50", 4, "the host name is not valid"),
        (b"\x05\x01\x00\x03\x051.2.3\x00\x50", 4, "the host name is not valid"),
    ] {
        let outcome = proxy(None, &[b"\x05\x01\x00", request].concat());
        assert!(rejection(&outcome).contains(words), "{outcome:?}");
        assert_eq!(outcome.sent, [NO_LOGIN, &failed(code)], "{words}");
    }
}

#[test]
fn socks5_connect_result_becomes_its_code() {
    let request = b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\x00\x50";
    let End::Done { output, .. } = proxy(None, request).end else { panic!() };
    assert_eq!(output.protocol(), "SOCKS5");
    for (failure, code) in [
        (ConnectFailure::Other, 1),
        (ConnectFailure::Forbidden, 2),
        (ConnectFailure::NetworkUnreachable, 3),
        (ConnectFailure::HostUnreachable, 4),
        (ConnectFailure::ResolveFailed, 4),
        (ConnectFailure::Refused, 5),
        (ConnectFailure::TimedOut, 6),
        (ConnectFailure::AddressFamily, 8),
    ] {
        assert_eq!(output.reply(ConnectReply::Failed(failure)), failed(code), "{failure}");
    }
    let connected =
        |local: &str| output.reply(ConnectReply::Connected { local: local.parse().ok() });
    assert_eq!(connected("1.2.3.4:258"), [5, 0, 0, 1, 1, 2, 3, 4, 1, 2]);
    let ipv6 = [&[5, 0, 0, 4][..], &[0; 15], &[1, 1, 2]].concat();
    assert_eq!(connected("[::1]:258"), ipv6);
    assert_eq!(connected(""), failed(0));
}

#[test]
fn operating_system_errors_become_failures() {
    for (errno, failure) in [
        (libc::ECONNREFUSED, ConnectFailure::Refused),
        (libc::EHOSTUNREACH, ConnectFailure::HostUnreachable),
        (libc::EHOSTDOWN, ConnectFailure::HostUnreachable),
        (libc::ENETUNREACH, ConnectFailure::NetworkUnreachable),
        (libc::ENETDOWN, ConnectFailure::NetworkUnreachable),
        (libc::ETIMEDOUT, ConnectFailure::TimedOut),
        (libc::EAFNOSUPPORT, ConnectFailure::AddressFamily),
        (libc::EACCES, ConnectFailure::Other),
    ] {
        let error = std::io::Error::from_raw_os_error(errno);
        assert_eq!(ConnectFailure::from(&error), failure, "{error}");
    }
}

#[test]
fn client_that_speaks_another_protocol_is_rejected_unanswered() {
    for (bytes, words) in [
        (&b"\x16\x03\x01"[..], "its first byte is 0x16 (TLS); a client of this proxy speaks"),
        (b"\0\0\0", "its first byte is 0x00; a client"),
        (b"\x06", "its first byte is 0x06"),
        (b"\r\n", "its first byte is 0x0d"),
    ] {
        let outcome = proxy(None, bytes);
        assert!(rejection(&outcome).contains(words), "{outcome:?}");
        assert!(outcome.sent.is_empty());
    }
}

#[test]
fn client_that_sends_nothing_is_silent() {
    let End::Waiting(reason) = proxy(None, b"").end else { panic!() };
    assert!(reason.is_silent());
    let End::Waiting(reason) = proxy(None, b"\x05\x01").end else { panic!() };
    assert_eq!(reason.to_string(), "it ended in the middle of the SOCKS5 handshake");
    assert!(!reason.is_silent());
}
