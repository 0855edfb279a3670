//! What systemd passes, and what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::end::patient;
use crate::support::events::PATIENCE;
use crate::support::process::Process;

/// The next words that are told.
fn next(told: &UnixDatagram) -> String {
    let mut words = [0; 100];
    let len = told.recv(&mut words).unwrap();
    String::from_utf8(words[..len].to_vec()).unwrap()
}

#[test]
fn systemd_is_told_when_clients_may_connect_that_it_is_alive_and_that_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = format!("NOTIFY_SOCKET={}", path.display());
    let program = ["env", &socket, "WATCHDOG_USEC=30000"];
    let tunnel = Process::start_by(&program, &["-q", "--from", "127.0.0.1:0", "--to", "h:1"]);
    let mut words: Vec<_> = (0..4).map(|_| next(&told)).collect();
    words.sort();
    assert_eq!(words.pop().as_deref(), Some("WATCHDOG=1"));
    assert_eq!(words[0], "READY=1", "{words:?}");
    assert!(words[1..].iter().all(|words| words == "WATCHDOG=1"), "{words:?}");
    tunnel.signal("TERM");
    while next(&told) != "STOPPING=1" {}
    assert_eq!(tunnel.wait().code, Some(0));
}

#[test]
fn unusable_notify_socket_is_reported_in_one_line() {
    let long = format!("NOTIFY_SOCKET=/{}", "x".repeat(200));
    let args = ["-c", "exec env \"$0\" \"$@\"", &long, env!("CARGO_BIN_EXE_tcp_tunn")];
    let more = ["-q", "--from", "127.0.0.1:0", "--to", "h:1"];
    let output = Command::new("sh").args(args).args(more).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), complaint.lines().count()), (Some(1), 1), "{complaint}");
    assert!(complaint.starts_with("tcp_tunn: cannot use NOTIFY_SOCKET: "), "{complaint}");
}

/// Starts a tunnel as systemd does that passes it one socket.
fn start_with(listener: &TcpListener, args: &[&str]) -> Child {
    let passed: OwnedFd = listener.try_clone().unwrap().into();
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_tcp_tunn"), "-q"]).args(args);
    let command = command.stdin(Stdio::from(passed)).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn passed_socket_is_listened_on_and_outlives_the_tunnel() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = listener.local_addr().unwrap().to_string();
    // The first client of each tunnel comes before that has started.
    for io in ["auto", "epoll"] {
        let mut client = patient(TcpStream::connect(&from).unwrap());
        client.write_all(b"early").unwrap();
        let mut tunnel = start_with(&listener, &["--io", io, "--from", &from, "--to", &to]);
        let mut lines = BufReader::new(tunnel.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, format!("listening on {from} -> {to}"));
        let mut accepted = patient(server.accept().unwrap().0);
        let mut early = [0; 5];
        accepted.read_exact(&mut early).unwrap();
        assert_eq!(&early, b"early");
        drop((client, accepted));
        let pid = Pid::from_raw(tunnel.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(lines.any(|line| line.unwrap().starts_with("1 connection, ")));
        assert_eq!(tunnel.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn passed_socket_that_nobody_asks_for_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tunnel = start_with(&listener, &["--from", "127.0.0.1:0", "--to", "h:1"]);
    let output = tunnel.wait_with_output().unwrap();
    let address = listener.local_addr().unwrap();
    let complaint = format!(
        "tcp_tunn: a socket on {address} was passed, but not asked for (try '--from {address}')\n"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), complaint);
    assert_eq!(output.status.code(), Some(1));
}
