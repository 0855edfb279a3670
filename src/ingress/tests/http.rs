use super::super::{ConnectFailure, ConnectReply, Rejection};
use super::talk::{End, accepted, proxy, rejection};

/// The only answer to a client.
fn answer<T: std::fmt::Debug>(outcome: &super::talk::Outcome<T>) -> String {
    assert_eq!(outcome.sent.len(), 1, "{outcome:?}");
    String::from_utf8(outcome.sent[0].clone()).unwrap()
}

/// Checks that an answer is a complete HTTP message, and gives its status and its text.
fn parts(answer: &str) -> (&str, &str) {
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", text.len())), "{answer}");
    assert!(head.contains("\r\nConnection: close"), "{answer}");
    (status, text)
}

#[test]
fn connect_request_names_each_kind_of_host() {
    for (target, expected) in [
        ("example.com:443", "example.com:443"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:8080", "[::1]:8080"),
    ] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n\x16\x03\x01");
        let outcome = proxy(None, request.as_bytes());
        assert!(outcome.sent.is_empty());
        let (destination, leftover) = accepted(outcome);
        assert_eq!(destination.to_string(), expected);
        assert_eq!(leftover, b"\x16\x03\x01");
    }
}

#[test]
fn connect_request_of_http_1_0_without_headers_is_accepted() {
    let (destination, leftover) = accepted(proxy(None, b"CONNECT a:1 HTTP/1.0\n\nhello\r\n\r\n"));
    assert_eq!(destination.to_string(), "a:1");
    assert_eq!(leftover, b"hello\r\n\r\n");
}

#[test]
fn bad_requests_get_their_status() {
    let long = format!("CONNECT a:1 HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024));
    let endless = format!("CONNECT {}", "a".repeat(17 * 1024));
    let many = format!("CONNECT a:1 HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(101));
    for (request, status, words) in [
        ("CONNECT a HTTP/1.1\r\n\r\n", "400 Bad Request", "not HOST:PORT"),
        ("CONNECT ::1:80 HTTP/1.1\r\n\r\n", "400 Bad Request", "not HOST:PORT"),
        ("CONNECT a:+1 HTTP/1.1\r\n\r\n", "400 Bad Request", "not HOST:PORT"),
        ("CONNECT a:65536 HTTP/1.1\r\n\r\n", "400 Bad Request", "not HOST:PORT"),
        ("CONNECT u@a:1 HTTP/1.1\r\n\r\n", "400 Bad Request", "not HOST:PORT"),
        ("CONNECT a:1 HTTP/1.1\r\nno colon\r\n\r\n", "400 Bad Request", "header's name"),
        ("CONNECT a:1 HTTP/1.1\r\na: \x01\r\n\r\n", "400 Bad Request", "header's value"),
        ("CONNECT\r\n\r\n", "400 Bad Request", "the request line is not valid"),
        ("PRI * HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported", "not HTTP/1"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request", "the method GET"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "400 Bad Request", "the method OPTIONS"),
        ("GET http://a/ HTTP/1.1\r\n\r\n", "501 Not Implemented", "the method GET"),
        (&long, "431 Request Header Fields Too Large", "longer than 16384 bytes"),
        (&endless, "431 Request Header Fields Too Large", "longer than 16384 bytes"),
        (&many, "431 Request Header Fields Too Large", "longer than 16384 bytes"),
    ] {
        let outcome = proxy(None, request.as_bytes());
        assert!(rejection(&outcome).contains(words), "{:?}", outcome.end);
        assert_eq!(parts(&answer(&outcome)).0, status, "{request:.60}");
    }
}

#[test]
fn absolute_form_request_is_shown_what_to_use() {
    let outcome = proxy(None, b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let answer = answer(&outcome);
    let (status, text) = parts(&answer);
    assert_eq!(status, "501 Not Implemented");
    for words in ["socks5h://", "--proxytunnel", "CONNECT"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn basic_login_opens_the_way() {
    // Base64 of "user:pa:ss" and of "user:no".
    let (right, wrong) = ("dXNlcjpwYTpzcw==", "dXNlcjpubw==");
    let request = |header: &str| format!("CONNECT a:1 HTTP/1.1\r\n{header}\r\n\r\n");
    for header in [
        format!("Proxy-Authorization: Basic {right}"),
        format!("proxy-authorization: bAsIc   {right} "),
    ] {
        let outcome = proxy(Some("user:pa:ss"), request(&header).as_bytes());
        assert_eq!(accepted(outcome).0.to_string(), "a:1");
    }
    let (needed, wrong_login) =
        (Rejection::LoginNeeded { protocol: "HTTP" }, Rejection::WrongLogin { protocol: "HTTP" });
    for (header, reason) in [
        ("X: y".to_owned(), &needed),
        (format!("Authorization: Basic {right}"), &needed),
        (format!("Proxy-Authorization: Basic {wrong}"), &wrong_login),
        (format!("Proxy-Authorization: Digest {right}"), &wrong_login),
        (format!("Proxy-Authorization: Basic{right}"), &wrong_login),
        ("Proxy-Authorization: Basic %%%".to_owned(), &wrong_login),
        ("Proxy-Authorization: Basic dXNlcg==".to_owned(), &wrong_login),
        ("Proxy-Authorization:".to_owned(), &wrong_login),
    ] {
        let outcome = proxy(Some("user:pa:ss"), request(&header).as_bytes());
        assert_eq!(outcome.end, End::Rejected(reason.clone()), "{header}");
        let answer = answer(&outcome);
        assert_eq!(parts(&answer).0, "407 Proxy Authentication Required");
        assert!(answer.contains("\r\nProxy-Authenticate: Basic realm=\"tcp_tunn\""), "{answer}");
    }
}

#[test]
fn connect_result_becomes_its_status() {
    let End::Done { output, .. } = proxy(None, b"CONNECT a:1 HTTP/1.1\r\n\r\n").end else {
        panic!()
    };
    assert_eq!(output.protocol(), "HTTP");
    for (failure, status, error) in [
        (ConnectFailure::Refused, "502 Bad Gateway", "connection_refused"),
        (ConnectFailure::HostUnreachable, "502 Bad Gateway", "destination_unavailable"),
        (ConnectFailure::NetworkUnreachable, "502 Bad Gateway", "destination_ip_unroutable"),
        (ConnectFailure::ResolveFailed, "502 Bad Gateway", "dns_error"),
        (ConnectFailure::AddressFamily, "502 Bad Gateway", "destination_ip_unroutable"),
        (ConnectFailure::Other, "502 Bad Gateway", "proxy_internal_error"),
        (ConnectFailure::TimedOut, "504 Gateway Timeout", "connection_timeout"),
        (ConnectFailure::Forbidden, "403 Forbidden", "http_request_denied"),
    ] {
        let reply = String::from_utf8(output.reply(ConnectReply::Failed(failure))).unwrap();
        assert_eq!(parts(&reply), (status, &*format!("tcp_tunn: {failure}\n")));
        assert!(reply.contains(&format!("\r\nProxy-Status: tcp_tunn; error={error}\r\n")));
    }
    let reply = output.reply(ConnectReply::Connected { local: None });
    assert_eq!(reply, b"HTTP/1.1 200 Connection established\r\n\r\n");
}

#[test]
fn client_that_stops_halfway_is_unfinished() {
    for request in [&b"C"[..], b"CONNECT a:1 HTTP/1.1", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n"] {
        let end = End::Waiting(Rejection::Unfinished { protocol: "HTTP" });
        assert_eq!(proxy(None, request).end, end);
    }
}
