//! The real program: `--publish` on several hosts, and `collect`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};

use tempfile::tempdir;

use super::nats::Nats;
use crate::support::bytes::bytes;
use crate::support::oracle::{Expect, follow_all, judge};
use crate::support::process::Process;

const LOCAL: &str = "127.0.0.1:0";

/// A server that sends back what it gets.
fn echo_server() -> String {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone()?, &mut stream));
        }
    });
    address
}

#[test]
fn tunnels_publish_and_collect_merges() {
    let (nats, folder, server) = (Nats::start(), tempdir().unwrap(), echo_server());
    let url = nats.url();
    let said = bytes(1, 500_000);
    let mut clients = Vec::new();
    for site in ["a", "b", "a"] {
        let args = ["--from", LOCAL, "--to", &server, "-q", "--publish", &url, "--site", site];
        let process = Process::start(&args);
        let mut client = process.connect();
        clients.push(client.local_addr().unwrap().to_string());
        client.write_all(&said).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        let ended = process.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let path = folder.path().join("out.pcapng");
    let path = path.to_str().unwrap();
    let ended = Process::run(&["collect", "--from", &url, "--pcap", path]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr[0].ends_with("0 batches lost, 0 bytes missing"), "{ended:?}");
    let judged = judge(path.as_ref(), Expect { streams: Some(3), ..Expect::default() }).unwrap();
    for client in &clients {
        let stream = judged.stream_of(client);
        assert_eq!(judged.streams[&stream].completeness, 31);
        assert!(follow_all(path.as_ref(), &[stream])[&stream] == (said.clone(), said.clone()));
    }
    let ended = Process::run(&["collect", "--from", &url, "--pcap", path, "--site", "b"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    judge(path.as_ref(), Expect { streams: Some(1), ..Expect::default() }).unwrap();
}

#[test]
fn tshark_shows_what_is_followed() {
    let (nats, server) = (Nats::start(), echo_server());
    let url = nats.url();
    let follow = ["collect", "--from", &url, "--follow", "--since", "1h", "--pcap", "-"];
    let mut collect = Command::new(env!("CARGO_BIN_EXE_tcp_tunn"))
        .args(follow)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = collect.stdout.take().unwrap();
    let showing = std::thread::spawn(move || {
        let fields = ["-T", "fields", "-e", "frame.interface_name"];
        let mut tshark = Command::new("tshark");
        tshark.args(["-l", "-n", "-r", "-", "-c", "7"]).args(fields);
        tshark.stdin(stdout).stderr(Stdio::null()).output().unwrap()
    });
    let args = ["--from", LOCAL, "--to", &server, "-q", "--publish", &url];
    let process = Process::start(&args);
    let mut client = process.connect();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    let shown = showing.join().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.lines().count(), 7, "{shown}");
    assert!(shown.lines().all(|line| line.starts_with("default/") && line.ends_with("/w0")));
    assert_eq!(process.stop().code, Some(0));
    // Its reader has left.
    assert!(collect.wait().unwrap().success());
}

#[test]
fn wrong_usage_of_collect_is_one_line() {
    for (args, words) in [
        (
            &["collect"][..],
            "required arguments were not provided: --from <URL> --pcap <FILE|-> (try",
        ),
        (&["collect", "--from", "http://x", "--pcap", "f"], "try 'nats://HOST:4222'"),
        (
            &["collect", "--from", "nats://x", "--pcap", "f", "--since", "soon"],
            "not a time (expected",
        ),
        (&["collect", "--from", "nats://x", "--pcap", "f", "--max-delay", "1"], "(try '1s')"),
        (&["--from", LOCAL, "--to", "h:1", "--publish", "x"], "try 'nats://HOST:4222'"),
        (&["--from", LOCAL, "--to", "h:1", "--publish-spill", "x"], "--publish <URL>"),
    ] {
        let ended = Process::run(args);
        assert_eq!((ended.code, ended.stderr.len()), (Some(2), 1), "{ended:?}");
        assert!(ended.stderr[0].contains(words), "{ended:?}");
    }
}
