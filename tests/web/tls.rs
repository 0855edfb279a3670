//! The plaintext of TLS on the page.

use std::fs;
use std::process::Command;

use tempfile::tempdir;

use super::Site;
use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::verdict::{follow, judge, tshark};

const PAGE: &str = "a page that nobody else should read\n";

#[test]
fn page_shows_plaintext_and_capture_has_the_secrets() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("page"), PAGE).unwrap();
    let server = Server::https(folder.path());
    // The program goes on until somebody has looked.
    let fifo = folder.path().join("looked");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut tunnel = Process::start(&["--from", "127.0.0.1:0", "--to", &server.address, "-q"]);
    let url = format!("https://{}/page", tunnel.addresses[0]);
    let script = format!("curl -sSk --http1.1 {url}; read x < {}", fifo.display());
    let mut run = Process::start(&["run", "-q", "--web", "127.0.0.1:0", "--", "sh", "-c", &script]);
    let site = Site::of(&mut run);
    site.wait_for("/api/connections", ".connections[0].state", "closed");
    let facts = r#".connections[0] | "\(.tls.state) \(.tls.version) \(.view) \(.process.name)""#;
    assert_eq!(site.jq("/api/connections", facts), "decrypted TLS 1.3 plain curl");
    let data = |query: &str| site.body(&format!("/api/connections/1/data?{query}"));
    assert!(data("side=client").starts_with(b"GET /page HTTP/1.1\r\n"));
    assert!(data("side=server&view=plain").ends_with(PAGE.as_bytes()));
    assert!(data("side=client&view=wire").starts_with(b"\x16\x03\x01"));
    let file = folder.path().join("out.pcapng");
    fs::write(&file, site.body("/api/capture.pcapng?connection=1")).unwrap();
    assert_eq!(judge(&file, &[]).completeness.len(), 1);
    assert!(follow(&file, 1)[0][0] == data("side=client&view=wire"));
    let port = url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let decoded = format!("tcp.port=={port},tls");
    let pages =
        ["-n", "-d", &decoded, "-Y", "http.response", "-T", "fields", "-e", "http.file_data"];
    assert_eq!(tshark(&file, &pages).len(), 1, "Wireshark decrypts it");
    fs::write(&fifo, "yes\n").unwrap();
    let ended = run.wait();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), PAGE, "{ended:?}");
    assert_eq!(ended.code, Some(0));
    tunnel.signal("TERM");
    tunnel.wait_for_line("0 bytes dropped");
}
