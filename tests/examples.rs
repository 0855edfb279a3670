//! Every example runs, comes to an end and shows what it promises.

use std::path::Path;
use std::process::Command;

use crate::support::verdict::{judge, tshark};

/// Runs an example; what it printed.
fn output_of(example: &str) -> String {
    output_in(Path::new(env!("CARGO_MANIFEST_DIR")), example)
}

fn output_in(folder: &Path, example: &str) -> String {
    output_with(folder, example, &[])
}

fn output_with(folder: &Path, example: &str, args: &[&str]) -> String {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--manifest-path", manifest, "--example", example, "--"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn shows(example: &str, expected: &[&str]) {
    let output = output_of(example);
    for words in expected {
        assert!(output.contains(words), "{example} does not show {words:?}:\n{output}");
    }
}

#[test]
fn demo() {
    let folder = tempfile::tempdir().unwrap();
    let output = output_in(folder.path(), "demo");
    for words in [" Client -> Server 40 bytes\n", "|GET /hello HTTP/|", "Server -> Client"] {
        assert!(output.contains(words), "no {words:?}:\n{output}");
    }
    for name in ["demo.pcapng", "demo_run.pcapng"] {
        assert!(output.contains(&format!("wireshark {name} ")), "{output}");
        let capture = folder.path().join(name);
        assert_eq!(judge(&capture, &[]).completeness.len(), 1);
        let http = tshark(&capture, &["-n", "-Y", "http", "-T", "fields", "-e", "http.file_data"]);
        assert_eq!(http.len(), 2, "a request and an answer: {http:?}");
    }
}

#[test]
fn file_per_connection() {
    let first = "client: hello\nserver: hello\nfinished, the client first\n";
    shows("file_per_connection", &["1.txt:\n", first, "2.txt:\n", r"client: and goodbye\n"]);
}

#[test]
fn csv_sink() {
    let text = r#",0,15,"hello, \""world\""\n""#;
    shows("csv_sink", &[&format!(",1,client{text}"), &format!(",1,server{text}")]);
}

#[test]
fn xor_pair() {
    shows("xor_pair", &["between the tunnels 'hELLO'", "heard 'Hello'"]);
}

#[test]
fn http_header() {
    let output = output_of("http_header");
    assert_eq!(output.matches("Host: rewritten.example\r\n").count(), 2, "{output}");
    assert!(!output.contains("localhost"), "{output}");
}

#[test]
fn requests_per_second() {
    shows("requests_per_second", &[" requests per second\n", "1000 requests, 100 connections\n"]);
}

#[test]
fn fault_injector() {
    shows("fault_injector", &[r#"got Ok("helln")"#, r#"said "hello, world", got Err("#]);
}

#[test]
fn library() {
    shows("library", &["the client said hello\n", "the server said HELLO\n"]);
}

#[cfg(feature = "cli")]
#[test]
fn latency() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = output_with(root, "latency", &[env!("CARGO_BIN_EXE_tcp_tunn"), "3"]);
    for way in ["pipe", "pipe-tshark", "pipe-dumpcap", "tcp", "tcp-dumpcap"] {
        let row = format!(r#""relay":"{way}","chunks":3,"p50_ms":"#);
        assert!(output.contains(&row), "no {row}:\n{output}");
    }
}
