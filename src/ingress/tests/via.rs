use super::super::{ConnectFailure, Destination, ProxyHandshake, Rejection, Via, ViaConnected};
use super::super::{ConnectReply, Credentials, Handshake, Progress};
use super::talk::{End, Outcome, feed_both_ways, rejection};

fn destination() -> Destination {
    Destination::new("example.com", 443).unwrap()
}

fn ask(via: &str, answers: &[u8]) -> Outcome<ViaConnected> {
    let via: Via = via.parse().unwrap();
    feed_both_ways(|| via.handshake(&destination()), answers)
}

fn failure(outcome: &Outcome<ViaConnected>) -> ConnectFailure {
    match &outcome.end {
        End::Rejected(reason) => reason.failure(),
        end => panic!("{end:?}"),
    }
}

#[test]
fn address_of_a_proxy_is_parsed() {
    for (input, shown) in [
        ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
        ("http://proxy.example:3128/", "http://proxy.example:3128"),
        ("socks5://user:p%40ss%3A@[::1]:1080", "socks5://[::1]:1080"),
        ("http://user:p@ss@proxy:1", "http://proxy:1"),
    ] {
        assert_eq!(input.parse::<Via>().expect(input).to_string(), shown);
    }
    let via: Via = "http://user:secret@proxy:3128".parse().unwrap();
    assert_eq!(via.proxy().to_string(), "proxy:3128");
    assert!(!format!("{via:?}").contains("secret"));
}

#[test]
fn bad_address_of_a_proxy_says_what_to_try() {
    for (input, words) in [
        ("127.0.0.1:1080", "'127.0.0.1:1080': unknown scheme (expected socks5://HOST:PORT"),
        ("socks4://a:1", "invalid proxy"),
        ("user:secret@a:1", "invalid proxy 'a:1'"),
        ("socks5://a", "invalid proxy 'socks5://a': missing host or port"),
        ("socks5://user:secret@a", "invalid proxy 'socks5://a': missing"),
        ("http://a:b", "invalid proxy 'http://a:b': missing"),
        ("http://", "invalid proxy 'http://': missing"),
        ("http://user@a:1", "there is no ':' between user and password"),
        ("http://:secret@a:1", "must not be empty"),
        ("http://user:%4@a:1", "'%' needs two hexadecimal digits"),
        ("http://user:%ff@a:1", "'%' needs two hexadecimal digits"),
    ] {
        let error = input.parse::<Via>().expect_err(input).to_string();
        assert!(error.contains(words), "{input}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn socks5_proxy_connects() {
    let answers = b"\x05\x00\x05\x00\x00\x01\x0a\0\0\x01\x01\x02hello";
    let outcome = ask("socks5://proxy:1080", answers);
    let request = [&b"\x05\x01\x00\x03\x0b"[..], b"example.com", b"\x01\xbb"].concat();
    assert_eq!(outcome.sent, [&b"\x05\x01\x00"[..], &request]);
    let output = ViaConnected { local: "10.0.0.1:258".parse().ok() };
    assert_eq!(outcome.end, End::Done { output, leftover: b"hello".to_vec() });
    let unspecified = b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0";
    let End::Done { output, .. } = ask("socks5://proxy:1080", unspecified).end else { panic!() };
    assert_eq!(output.local, None);
}

#[test]
fn socks5_proxy_asks_for_a_login() {
    let with_login = "socks5://user:pass@proxy:1080";
    let outcome = ask(with_login, b"\x05\x02\x01\x00\x05\x00\x00\x03\x01a\0\0");
    assert_eq!(outcome.sent[..2], [&b"\x05\x02\x00\x02"[..], b"\x01\x04user\x04pass"]);
    assert!(matches!(outcome.end, End::Done { output: ViaConnected { local: None }, .. }));
    for (via, answers, words) in [
        (with_login, &b"\x05\x02\x01\x01"[..], "the proxy said: wrong user or password"),
        (with_login, b"\x05\xff", "the proxy said: it takes no login by password"),
        ("socks5://a:1", b"\x05\xff", "the proxy said: it needs a user and a password (write"),
        ("socks5://a:1", b"\x05\x02", "it chose a login that was not offered"),
        (with_login, b"\x05\x02\x05\x00", "its answer to the login is not valid"),
    ] {
        assert!(rejection(&ask(via, answers)).contains(words), "{words}");
    }
}

#[test]
fn socks5_proxy_reports_a_failure() {
    for (code, words, expected) in [
        (1, "general failure", ConnectFailure::Other),
        (2, "not allowed", ConnectFailure::Forbidden),
        (3, "network unreachable", ConnectFailure::NetworkUnreachable),
        (4, "host unreachable", ConnectFailure::HostUnreachable),
        (5, "connection refused", ConnectFailure::Refused),
        (6, "TTL expired", ConnectFailure::TimedOut),
        (7, "command not supported", ConnectFailure::Other),
        (8, "address type not supported", ConnectFailure::AddressFamily),
        (99, "unknown failure", ConnectFailure::Other),
    ] {
        let outcome = ask("socks5://a:1", &[5, 0, 5, code]);
        assert_eq!(rejection(&outcome), format!("the proxy said: {words}"));
        assert_eq!(failure(&outcome), expected);
    }
    for (answers, words) in [
        (&b"HTTP/1.1 400"[..], "SOCKS5 proxy: its answer is not SOCKS5"),
        (b"\x05\x00\x04\x00", "SOCKS5 proxy: its reply is not SOCKS5"),
        (b"\x05\x00\x05\x00\x00\x09", "its reply has an unknown type of address"),
    ] {
        let outcome = ask("socks5://a:1", answers);
        assert!(rejection(&outcome).contains(words), "{outcome:?}");
        assert_eq!(failure(&outcome), ConnectFailure::Other);
    }
    let waiting = ask("socks5://a:1", b"\x05\x00\x05").end;
    assert_eq!(waiting, End::Waiting(Rejection::Unfinished { protocol: "SOCKS5" }));
}

#[test]
fn http_proxy_connects() {
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello";
    let outcome = ask("http://user:pass@proxy:3128", answer);
    let request = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\
                   User-Agent: tcp_tunn\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n";
    assert_eq!(outcome.sent, [request.as_bytes()]);
    let output = ViaConnected { local: None };
    assert_eq!(outcome.end, End::Done { output, leftover: b"hello".to_vec() });
    let outcome = ask("http://proxy:3128", b"");
    assert!(!String::from_utf8_lossy(&outcome.sent[0]).contains("Authorization"));
}

#[test]
fn http_proxy_reports_a_failure() {
    let refused = "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: x; error=connection_refused\r\n\r\n";
    let dns = "HTTP/1.1 502 Bad\r\nproxy-status: a, b;next-hop=1;error=dns_error;c=d\r\n\r\n";
    let many = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024));
    for (answer, words, expected) in [
        (refused, "the proxy said: connection refused (502 Bad Gateway)", ConnectFailure::Refused),
        (dns, "the proxy said: host not found (502 Bad)", ConnectFailure::ResolveFailed),
        ("HTTP/1.1 403 No\r\n\r\n", "the proxy said: 403 No", ConnectFailure::Forbidden),
        ("HTTP/1.1 407 Login\r\n\r\n", "the proxy said: 407 Login", ConnectFailure::Other),
        ("HTTP/1.1 504\r\n\r\n", "the proxy said: 504", ConnectFailure::TimedOut),
        ("HTTP/1.1 301 Moved\r\n\r\n", "the proxy said: 301 Moved", ConnectFailure::Other),
        ("SSH-2.0\r\n", "HTTP proxy: its answer is not HTTP/1", ConnectFailure::Other),
        (&many, "HTTP proxy: it is longer than 16384 bytes", ConnectFailure::Other),
    ] {
        let outcome = ask("http://a:1", answer.as_bytes());
        assert_eq!(rejection(&outcome), words);
        assert_eq!(failure(&outcome), expected, "{words}");
    }
    let waiting = ask("http://a:1", b"HTTP/1.1 200 OK\r\n").end;
    assert_eq!(waiting, End::Waiting(Rejection::Unfinished { protocol: "HTTP" }));
}

/// Both sides against each other: what the one sends is what the other takes.
#[test]
fn both_sides_understand_each_other() {
    let login: Credentials = "user:p:a@ss".parse().unwrap();
    let credentials = std::sync::Arc::new(login);
    for via in ["socks5://user:p%3Aa%40ss@proxy:1", "http://user:p%3Aa%40ss@proxy:1"] {
        for result in [
            ConnectReply::Connected { local: None },
            ConnectReply::Failed(ConnectFailure::Refused),
            ConnectReply::Failed(ConnectFailure::HostUnreachable),
            ConnectReply::Failed(ConnectFailure::TimedOut),
        ] {
            let via: Via = via.parse().unwrap();
            let mut client = via.handshake(&destination());
            let mut server = ProxyHandshake::new(Some(credentials.clone()));
            let mut to_client = Vec::new();
            let end = loop {
                let to_server = match client.feed(&to_client) {
                    Progress::Send(bytes) => bytes,
                    end => break end,
                };
                to_client = match server.feed(&to_server) {
                    Progress::Send(bytes) => bytes,
                    Progress::Done { output, .. } => {
                        assert_eq!(output.destination, destination());
                        output.reply(result)
                    }
                    other => panic!("{other:?}"),
                };
            };
            match (result, end) {
                (ConnectReply::Connected { .. }, Progress::Done { leftover, .. }) => {
                    assert!(leftover.is_empty());
                }
                (ConnectReply::Failed(failure), Progress::Rejected { reason, .. }) => {
                    assert_eq!(reason.failure(), failure, "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
