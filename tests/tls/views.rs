//! The plaintext in a capture, for readers that cannot decrypt.

use std::fs;
use std::path::Path;

use super::{PAGE, Scene, run};
use crate::support::server::Server;
use crate::support::verdict::{follow, judge, tshark};

/// Gets a page through a tunnel that captures; what is in the capture's streams.
fn captured(view: &str, streams: usize) -> Vec<[String; 2]> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let scene = Scene::new(&["-q", "--pcap", path.to_str().unwrap(), "--tls-view", view]);
    scene.curl(&["--http1.1"], "page");
    scene.ended();
    assert_eq!(judge(&path, &[]).completeness.len(), streams);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    follow(&path, streams).into_iter().map(|said| said.map(text)).collect()
}

#[track_caller]
fn assert_plain([client, server]: &[String; 2]) {
    assert!(client.starts_with("GET /page HTTP/1.1\r\n") && client.ends_with("\r\n\r\n"));
    assert!(server.starts_with("HTTP/1.1 200 OK\r\n") && server.ends_with(PAGE), "{server}");
}

#[track_caller]
fn assert_wire([client, server]: &[String; 2]) {
    assert!(client.starts_with("\x16\x03\x01"), "{client:?}");
    assert!(server.starts_with("\x16\x03\x03"), "{server:?}");
}

#[test]
fn view_of_the_wire_is_the_default() {
    assert_wire(&captured("wire", 1)[0]);
}

#[test]
fn view_of_the_plaintext_has_no_byte_of_tls() {
    assert_plain(&captured("plain", 1)[0]);
}

#[test]
fn both_views_are_two_conversations() {
    let streams = captured("both", 2);
    assert_wire(&streams[0]);
    assert_plain(&streams[1]);
}

/// The destination ports of the first packets of streams.
fn ports(path: &Path) -> Vec<String> {
    let syn = "tcp.flags.syn == 1 && tcp.flags.ack == 0";
    tshark(path, &["-n", "-Y", syn, "-T", "fields", "-e", "tcp.dstport"])
}

#[test]
fn plaintext_of_https_is_drawn_at_the_port_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    // The server's socket ends in 443.
    let scene = Scene::new(&["-q", "--pcap", path.to_str().unwrap(), "--tls-view", "both"]);
    scene.curl(&["--http2"], "page");
    scene.ended();
    assert_eq!(ports(&path), ["443", "80"]);
    let http2 = ["-n", "-Y", "http2.headers && tcp.port == 80", "-T", "fields", "-e", "http2.type"];
    assert!(!tshark(&path, &http2).is_empty(), "Wireshark reads HTTP/2 without keys");
}

#[test]
fn conversation_that_is_clear_is_captured_in_each_view() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("page"), PAGE).unwrap();
    let server = Server::python(folder.path());
    let url = format!("http://{}/page", server.address);
    for view in ["plain", "both"] {
        let path = folder.path().join(format!("{view}.pcapng"));
        let options = ["--console", "json", "--pcap", path.to_str().unwrap(), "--tls-view", view];
        let (ran, _) = run(&options, &["curl", "-s", &url]);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), PAGE);
        assert_eq!(judge(&path, &[]).completeness.len(), 1, "{view}");
        let [_, server] = &follow(&path, 1)[0];
        assert!(server.ends_with(PAGE.as_bytes()), "{view}");
    }
}
