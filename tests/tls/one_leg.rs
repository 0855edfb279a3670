//! `--tls terminate` and `--tls originate`: TLS on one leg only.

use std::fs;
use std::process::Command;

use tempfile::tempdir;

use super::intercepts::assert_shown;
use super::{PAGE, TEXT};
use crate::support::process::Process;
use crate::support::server::{Server, make_certificate};
use crate::support::verdict::{judge, tshark};

#[test]
fn terminated_client_reaches_a_clear_server() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("page"), PAGE).unwrap();
    make_certificate(folder.path());
    let server = Server::python(folder.path());
    let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--tls", "terminate"];
    let files = ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--pcap", "out.pcapng"];
    let args = [&args[..], &files, &TEXT].concat();
    let tunnel = Process::start_in(folder.path(), &args);
    let url = format!("https://localhost:{}/page", tunnel.addresses[0].port());
    let got = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--cacert"])
        .args([folder.path().join("cert.pem").to_str().unwrap(), &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&got.stdout), PAGE, "{got:?}");
    let shown = String::from_utf8_lossy(&tunnel.stop().stdout).into_owned();
    assert_shown(
        &shown,
        &["[1] TLS 1.3 ", "ALPN http/1.1\n", "[1] -> GET /page HTTP/1.1\n", "<- a page that"],
    );
    let path = folder.path().join("out.pcapng");
    assert_eq!(judge(&path, &[]).completeness.len(), 1);
    let uri = ["-n", "-Y", "http.request", "-T", "fields", "-e", "http.request.uri"];
    assert_eq!(tshark(&path, &uri), ["/page"]);
}

#[test]
fn clear_client_reaches_a_server_of_tls() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("page"), PAGE).unwrap();
    let server = Server::https_and_http2(folder.path());
    let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--tls", "originate"];
    let files = ["--tls-trust", "cert.pem", "--pcap", "out.pcapng"];
    let args = [&args[..], &files, &TEXT].concat();
    let tunnel = Process::start_in(folder.path(), &args);
    let url = format!("http://{}/page", tunnel.addresses[0]);
    let got = Command::new("curl").args(["-sS", "--noproxy", "*", &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&got.stdout), PAGE, "{got:?}");
    let shown = String::from_utf8_lossy(&tunnel.stop().stdout).into_owned();
    assert_shown(&shown, &["[1] TLS 1.3 ", "[1] -> GET /page HTTP/1.1\n", "<- a page that"]);
    let path = folder.path().join("out.pcapng");
    assert_eq!(judge(&path, &[]).completeness.len(), 1);
    let uri = ["-n", "-Y", "http.request", "-T", "fields", "-e", "http.request.uri"];
    assert_eq!(tshark(&path, &uri), ["/page"], "Wireshark decrypts the server's leg");
}

#[test]
fn clear_client_of_a_server_that_is_not_trusted_is_reset() {
    let folder = tempdir().unwrap();
    let server = Server::https(folder.path());
    let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--tls", "originate"];
    let tunnel = Process::start(&[&args[..], &TEXT].concat());
    let url = format!("http://{}/page", tunnel.addresses[0]);
    let got = Command::new("curl").args(["-sS", "--noproxy", "*", &url]).output().unwrap();
    // At its connect, or when it reads.
    assert!(matches!(got.status.code(), Some(7 | 56)), "it is reset: {got:?}");
    let shown = String::from_utf8_lossy(&tunnel.stop().stdout).into_owned();
    assert_shown(&shown, &["the certificate of localhost is signed by nobody"]);
}
