//! What is in the recorded sessions is shown, and nothing else.

use super::session::{Session, Shown};
use crate::event::{Direction, TlsState};

/// What `scripts/record-tls.sh` has both sides say in most sessions.
const DIALOGUE: [&str; 2] =
    ["a first line\nand a second line\n", "enil tsrif a\nenil dnoces a dna\n"];

fn shown(name: &str) -> Shown {
    let shown = Session::read(name).shown();
    assert_eq!(shown.why(), None, "{name}");
    assert_eq!(shown.wire, [const { Vec::<u8>::new() }; 2], "{name}");
    shown
}

fn handshake(name: &str) -> String {
    let shown = shown(name);
    assert_eq!(shown.plain_text(), DIALOGUE, "{name}");
    let [tls] = &shown.tls[..] else { panic!("{name}: {:?}", shown.tls) };
    assert_eq!(tls.state, TlsState::Decrypted);
    tls.to_string()
}

#[test]
fn each_suite_is_decrypted() {
    for (name, expected) in [
        ("tls13-aes-128", "TLS 1.3 TLS_AES_128_GCM_SHA256 SNI tls.test"),
        ("tls13-aes-256", "TLS 1.3 TLS_AES_256_GCM_SHA384 SNI tls.test ALPN two"),
        ("tls13-chacha", "TLS 1.3 TLS_CHACHA20_POLY1305_SHA256 SNI tls.test"),
        ("tls12-aes-128", "TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 SNI tls.test"),
        ("tls12-aes-256", "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 SNI tls.test ALPN two"),
        ("tls12-chacha", "TLS 1.2 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 SNI tls.test"),
        ("tls12-rsa", "TLS 1.2 TLS_RSA_WITH_AES_128_GCM_SHA256 SNI tls.test"),
    ] {
        assert_eq!(handshake(name), expected, "{name}");
    }
}

#[test]
fn hello_retry_request_is_followed() {
    let expected = "TLS 1.3 TLS_AES_256_GCM_SHA384 SNI tls.test";
    assert_eq!(handshake("tls13-retry"), expected);
}

#[test]
fn client_certificate_changes_nothing() {
    let expected = "TLS 1.3 TLS_AES_256_GCM_SHA384 SNI tls.test";
    assert_eq!(handshake("tls13-client-cert"), expected);
}

#[test]
fn resumed_sessions_are_decrypted() {
    for name in ["tls13-resumed", "tls12-resumed"] {
        handshake(name);
    }
}

#[test]
fn key_updates_of_both_sides_are_followed() {
    handshake("tls13-key-update");
}

#[test]
fn renegotiation_is_followed() {
    let shown = shown("tls12-renegotiated");
    assert_eq!(shown.plain_text(), DIALOGUE);
    assert_eq!(shown.tls.len(), 2, "a handshake more");
}

#[test]
fn early_data_comes_before_what_follows_it() {
    let shown = shown("tls13-early");
    let [client, server] = shown.plain_text();
    assert_eq!(client, "sent ahead of the answer\nsaid by the client\n");
    assert_eq!(server, "an answer\n");
}

#[test]
fn rejected_early_data_is_left_out() {
    let [client, server] = shown("tls13-early-rejected").plain_text();
    assert_eq!(client, "said by the client\n", "the server never had it");
    assert_eq!(server, "an answer\n");
}

#[test]
fn clear_bytes_before_tls_belong_to_the_conversation() {
    let clear: [(Direction, &[u8]); 3] = [
        (Direction::ServerToClient, b"220 ready\r\n"),
        (Direction::ClientToServer, b"STARTTLS\r\n"),
        (Direction::ServerToClient, b"220 go ahead\r\n"),
    ];
    let shown = Session::read("tls13-aes-128").after(&clear).shown();
    assert_eq!(shown.wire, [&b"STARTTLS\r\n"[..], b"220 ready\r\n220 go ahead\r\n"]);
    assert_eq!(shown.plain_text(), DIALOGUE);
    assert_eq!(shown.why(), None);
}

#[test]
fn end_of_each_direction_is_reported() {
    let shown = shown("tls13-aes-128");
    assert!(shown.ended[Direction::ClientToServer as usize], "the client said close_notify");
}
