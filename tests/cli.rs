//! The command line: the real program, its exit codes and its words.

mod help;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::support::events::PATIENCE;
use crate::support::process::{Ended, Process};
use crate::support::verdict::{RESET, follow, judge};

const LOCAL: &str = "127.0.0.1:0";
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// A server that sends back what it gets.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone()?, &mut stream));
        }
    });
    address
}

fn say(stream: &mut TcpStream, words: &str) -> String {
    stream.write_all(words.as_bytes()).unwrap();
    let mut heard = vec![0; words.len()];
    stream.read_exact(&mut heard).unwrap();
    String::from_utf8(heard).unwrap()
}

/// A whole conversation: `words` there and back, then both sides end.
fn converse(mut stream: TcpStream, words: &str) {
    assert_eq!(say(&mut stream, words), words);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

fn has_line(ended: &Ended, words: &str) -> bool {
    ended.stderr.iter().any(|line| line.contains(words))
}

#[test]
fn sigint_ends_relay_after_its_connections() {
    for signal in ["TERM", "INT"] {
        let folder = tempdir().unwrap();
        let capture = folder.path().join("out.pcapng");
        let (server, path) = (echo_server().to_string(), capture.to_str().unwrap());
        let process = Process::start(&["--from", LOCAL, "--to", &server, "--pcap", path]);
        let expected = format!("listening on {} -> {server}", process.addresses[0]);
        assert_eq!(process.stderr, [expected]);
        converse(process.connect(), "hello");
        converse(process.connect(), "you");
        process.signal(signal);
        let ended = process.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let summary = ended.stderr.last().unwrap();
        let counts = "2 connections, 8 bytes client to server, 8 bytes server to client, ";
        assert!(summary.starts_with(counts), "{summary}");
        assert!(summary.ends_with(" packets, 0 bytes dropped"), "{summary}");
        assert!(!summary.contains(" 0 packets"), "{summary}");
        assert!(std::fs::read(&capture).unwrap().starts_with(&SECTION_HEADER));
    }
}

#[test]
fn from_and_to_pair_in_order() {
    let servers = [echo_server().to_string(), echo_server().to_string()];
    let [first, second] = &servers;
    let process =
        Process::start(&["--from", LOCAL, "--to", first, "--from", "[::1]:0", "--to", second]);
    for ((line, address), server) in
        process.stderr.iter().zip(&process.addresses).zip([first, second])
    {
        assert_eq!(*line, format!("listening on {address} -> {server}"));
        converse(TcpStream::connect(address).unwrap(), "hello");
    }
    let ended = process.stop();
    assert!(has_line(&ended, "2 connections, 10 bytes client to server, 10 bytes"), "{ended:?}");
}

#[test]
fn second_signal_ends_at_once_with_readable_capture() {
    for signal in ["TERM", "INT"] {
        let folder = tempdir().unwrap();
        let capture = folder.path().join("out.pcapng");
        let server = echo_server().to_string();
        let more = ["--shutdown-timeout", "1h", "--pcap", capture.to_str().unwrap()];
        let mut process =
            Process::start(&[&["--from", LOCAL, "--to", &server][..], &more].concat());
        let mut client = process.connect();
        say(&mut client, "hello");
        process.signal(signal);
        assert_eq!(say(&mut client, "still there?"), "still there?");
        // Two signals may melt into one while the first is not taken yet, so there may be a third.
        client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let started = Instant::now();
        let error = loop {
            process.signal(signal);
            match client.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(started.elapsed() < PATIENCE && !process.has_ended());
                }
                other => break other.unwrap_err(),
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let ended = process.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        judge(&capture, &[RESET]);
        let said = "hellostill there?".as_bytes();
        assert_eq!(follow(&capture, 1)[0], [said, said]);
    }
}

#[test]
fn port_in_use_leaves_no_file() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind(LOCAL).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let capture = folder.path().join("out.pcapng");
    let path = capture.to_str().unwrap();
    let ended = Process::run(&["--from", &address, "--to", "h:1", "--pcap", path]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words = format!("tcp_tunn: cannot listen on {address}: Address already in use");
    assert!(ended.stderr.len() == 1 && ended.stderr[0].starts_with(&words), "{ended:?}");
    assert!(ended.stderr[0].ends_with("(choose another port, or 0 for any that is free)"));
    assert!(!capture.exists());
}

#[test]
fn served_port_in_use_leaves_no_file() {
    let folder = tempdir().unwrap();
    let taken = TcpListener::bind(LOCAL).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let capture = folder.path().join("out.pcapng");
    let path = capture.to_str().unwrap();
    let args = ["--from", LOCAL, "--to", "h:1", "--pcap", path, "--pcap-over-ip"];
    for (wrong, code, words) in [
        (&*address, 1, "Address already in use (choose another port, or 0 for"),
        ("192.0.2.1:0", 1, "Cannot assign requested address (choose an address of"),
        ("no.such.invalid:1", 1, "(choose an address of this machine, such as 127.0.0.1:19000)"),
        ("unix:/tmp/x", 2, "Wireshark needs a TCP address (expected one such as"),
        ("127.0.0.1", 2, "missing port (try '127.0.0.1:80')"),
    ] {
        let ended = Process::run(&[&args[..], &[wrong]].concat());
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.len() == 1 && has_line(&ended, words), "{ended:?}");
        assert!(!capture.exists(), "{wrong}");
    }
}

#[test]
fn unwritable_file_leaves_no_socket() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("socket");
    let from = format!("unix:{}", socket.display());
    let capture = folder.path().join("missing/out.pcapng");
    let path = capture.to_str().unwrap();
    let ended = Process::run(&["--from", &from, "--to", "h:1", "--pcap", path]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr.len(), 1, "{ended:?}");
    let words = format!("tcp_tunn: cannot write the capture to {path}: No such file");
    assert!(has_line(&ended, &words) && has_line(&ended, "(create the directory"), "{ended:?}");
    assert!(!socket.exists());
}

#[test]
fn failing_capture_ends_tunnel_with_error() {
    let server = echo_server().to_string();
    let process = Process::start(&["--from", LOCAL, "--to", &server, "--pcap", "/dev/full"]);
    let _ = process.connect();
    let ended = process.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(has_line(&ended, "the capture to /dev/full failed: No space left"), "{ended:?}");
    assert!(ended.stderr.last().unwrap().contains(" 0 bytes client to server"), "{ended:?}");
}

#[test]
fn detached_capture_exits_with_failure() {
    let server = echo_server().to_string();
    let args =
        ["--from", LOCAL, "--to", &server, "--pcap", "/dev/full", "--on-sink-error", "detach"];
    let process = Process::start(&args);
    converse(process.connect(), "hello");
    converse(process.connect(), "still there");
    let ended = process.stop();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(has_line(&ended, "the capture to /dev/full failed: No space left"), "{ended:?}");
    assert!(has_line(&ended, "2 connections, 16 bytes client to server"), "{ended:?}");
}

#[test]
fn console_shows_bytes_of_both_sides() {
    let server = echo_server().to_string();
    for (more, words) in [
        (&[][..], "Client -> Server"),
        (&["--console", "text", "--time", "none"], "hello"),
        (&["--console", "json"], "\"data\":\"aGVsbG8=\""),
        (&["--console", "raw"], "hellohello"),
        (&["--console", "raw", "--max-print", "2"], "hehe"),
        (&["--only", "server", "--color", "always"], "\u{1b}["),
        (&["--max-print", "2", "--connection", "1", "--grep", "l+"], "68 65"),
        (&["--hide-data"], "5 bytes"),
    ] {
        let args = [&["--from", LOCAL, "--to", &server], more].concat();
        let process = Process::start(&args);
        converse(process.connect(), "hello");
        let ended = process.stop();
        let shown = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.code, Some(0));
        assert!(shown.contains(words), "{more:?}: {shown}");
    }
}

/// Runs it with more in its environment, on a terminal if asked to; what it said.
fn run_in(environment: &[(&str, &str)], terminal: bool, args: &[&str]) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_tcp_tunn");
    let mut command = Command::new(if terminal { "script" } else { program });
    if terminal {
        let line = format!("{program} {}", args.join(" "));
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    } else {
        command.args(args);
    }
    let output = command.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn raw_on_terminal_needs_asking_twice() {
    let args = ["--from", LOCAL, "--to", "h:1", "--stop-after", "duration:1ms", "--console", "raw"];
    let (code, said) = run_in(&[], true, &args);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("raw bytes can control the terminal (try '| less', or give"), "{said}");
    let (code, said) = run_in(&[], true, &[&args[..], &["--console", "raw"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(Process::run(&args).code, Some(0), "no terminal");
}

#[test]
fn environment_replaces_missing_options() {
    let folder = tempdir().unwrap();
    let capture = folder.path().join("out.pcapng");
    let environment = [
        ("TCP_TUNN_FROM", LOCAL),
        ("TCP_TUNN_TO", "[::1]:9"),
        ("TCP_TUNN_PCAP", capture.to_str().unwrap()),
        ("TCP_TUNN_PCAP_OVER_IP", LOCAL),
        ("TCP_TUNN_CONSOLE", "json"),
        ("TCP_TUNN_TIME", "utc"),
    ];
    let (code, said) = run_in(&environment, false, &["--stop-after", "duration:1ms", "--quiet"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(" -> [::1]:9\n") && said.contains("capture on 127.0.0.1:"), "{said}");
    assert!(capture.exists());
    let empty = ["PCAP", "PCAP_OVER_IP", "CONSOLE", "TIME"].map(|name| format!("TCP_TUNN_{name}"));
    let more: Vec<_> = empty.iter().map(|name| (name.as_str(), "")).collect();
    let emptied = [&environment[..2], &more].concat();
    let (code, said) = run_in(&emptied, false, &["--stop-after", "duration:1ms"]);
    assert_eq!(code, Some(0), "what is empty counts as not given: {said}");
    let given = ["--stop-after", "duration:1ms", "--to", "127.0.0.1:9"];
    let (code, said) = run_in(&environment, false, &given);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(" -> 127.0.0.1:9\n"), "{said}");
    let (code, said) = run_in(&[("TCP_TUNN_TIME", "noon")], false, &given);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn quiet_console_prints_nothing() {
    let server = echo_server().to_string();
    for more in [&["-q"][..], &["--quiet"], &["--console", "none"]] {
        let process = Process::start(&[&["--from", LOCAL, "--to", &server], more].concat());
        converse(process.connect(), "hello");
        let ended = process.stop();
        assert_eq!((ended.code, ended.stdout), (Some(0), vec![]));
    }
}

#[test]
fn console_goes_to_stderr_beside_capture_on_stdout() {
    let server = echo_server().to_string();
    let args = ["--from", LOCAL, "--to", &server, "--pcap", "-", "--console", "hexdump"];
    let process = Process::start(&args);
    converse(process.connect(), "hello");
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with(&SECTION_HEADER));
    assert!(has_line(&ended, "|hello|"), "{ended:?}");
}

#[test]
fn capture_on_stdout_is_alone_there() {
    let server = echo_server().to_string();
    let process = Process::start(&["--from", LOCAL, "--to", &server, "--pcap", "-"]);
    converse(process.connect(), "hello");
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with(&SECTION_HEADER));
    assert!(!has_line(&ended, "hello"), "a console that nobody asked for: {ended:?}");
    // Every block tells its length at both ends.
    let mut rest = &ended.stdout[..];
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        assert_eq!(rest[4..8], rest[length - 4..length]);
        rest = &rest[length..];
    }
}

#[test]
fn closed_stdout_ends_with_success() {
    let server = echo_server().to_string();
    let (process, stdout) =
        Process::start_piped(&["--from", LOCAL, "--to", &server, "--pcap", "-"]);
    // Before the reader leaves: the tunnel ends at once, and then nobody can come any more.
    drop(process.connect());
    drop(stdout);
    let ended = process.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!has_line(&ended, "failed"), "{ended:?}");
}

#[test]
fn closed_stdout_while_idle_ends_tunnel() {
    for more in [&["--pcap", "-"][..], &["--console", "json"]] {
        let (process, stdout) =
            Process::start_piped(&[&["--from", LOCAL, "--to", "127.0.0.1:9"], more].concat());
        drop(stdout);
        let ended = process.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!has_line(&ended, "failed"), "{ended:?}");
    }
}

#[test]
fn stop_after_ends_tunnel() {
    let server = echo_server().to_string();
    for stop in ["packets:3", "size:1000", "connections:1", "duration:10ms"] {
        let folder = tempdir().unwrap();
        let capture = folder.path().join("out.pcapng");
        let path = capture.to_str().unwrap();
        let more = ["--pcap", path, "--stop-after", "duration:1h", "--stop-after", stop];
        let process = Process::start(&[&["--from", LOCAL, "--to", &server][..], &more].concat());
        if stop != "duration:10ms" {
            converse(process.connect(), "hello");
        }
        let ended = process.wait();
        assert_eq!(ended.code, Some(0), "{stop}: {ended:?}");
        if stop == "packets:3" {
            assert!(has_line(&ended, ", 3 packets, "), "{ended:?}");
        }
    }
}

#[test]
fn pcap_over_ip_serves_capture() {
    let server = echo_server().to_string();
    let args = ["--from", LOCAL, "--to", &server, "--pcap-over-ip", LOCAL];
    let mut process = Process::start(&args);
    let line = process.wait_for_line("capture on ");
    let address = line.split(' ').nth(2).unwrap();
    let mut reader = TcpStream::connect(address).unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(process.connect(), "hello");
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).unwrap();
    assert_eq!(magic, SECTION_HEADER);
    process.signal("TERM");
    reader.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(process.wait().code, Some(0));
}

#[test]
fn rotate_size_begins_new_file() {
    let server = echo_server().to_string();
    let folder = tempdir().unwrap();
    let capture = folder.path().join("out.pcapng");
    let path = capture.to_str().unwrap();
    let more = ["--pcap", path, "--rotate-size", "2KB", "--rotate-files", "2"];
    let process = Process::start(&[&["--from", LOCAL, "--to", &server][..], &more].concat());
    for _ in 0..10 {
        converse(process.connect(), "hello");
    }
    assert_eq!(process.stop().code, Some(0));
    let files = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("out_") && name.ends_with(".pcapng")));
}
