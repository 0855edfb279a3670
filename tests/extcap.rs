//! The command as a capture interface of Wireshark.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::{TempDir, tempdir};

use crate::support::tshark::until;
use crate::support::verdict::{follow, judge};

/// Runs a program for a user whose home is `home`.
fn at_home(home: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

/// A user who has installed the interface.
fn installed() -> TempDir {
    let home = tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_tcp_tunn");
    let output = at_home(home.path(), program).arg("--install-extcap").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    for folder in [".config/wireshark/extcap", ".local/lib/wireshark/extcap"] {
        let link = home.path().join(folder).join("tcp_tunn");
        assert!(said(&output).contains(link.to_str().unwrap()), "{}", said(&output));
        assert_eq!(fs::canonicalize(link).unwrap(), fs::canonicalize(program).unwrap());
    }
    home
}

#[test]
fn partial_environment_keeps_extcap_listed() {
    let program = env!("CARGO_BIN_EXE_tcp_tunn");
    let asked = |question| {
        let mut command = Command::new(program);
        command.env("TCP_TUNN_FROM", "127.0.0.1:0").arg(question).output().unwrap()
    };
    for question in ["--extcap-interfaces", "--extcap-config", "--extcap-dlts"] {
        let output = asked(question);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    }
}

#[test]
fn wireshark_lists_interface() {
    let home = installed();
    let list = said(&at_home(home.path(), "tshark").arg("-D").output().unwrap());
    let line = list.lines().find(|line| line.contains(" tcp_tunn ")).expect(&list);
    assert!(line.ends_with("(TCP tunnel: relay and capture, no root)"), "{line}");
    let links =
        said(&at_home(home.path(), "tshark").args(["-i", "tcp_tunn", "-L"]).output().unwrap());
    assert!(links.contains("EN10MB (Ethernet)"), "{links}");
}

/// A running tshark, killed when dropped.
struct Tshark(Child);

impl Drop for Tshark {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The client says hello, the server the same, and both end.
fn converse(mut client: UnixStream, server: &TcpListener) {
    let mut server = server.accept().unwrap().0;
    client.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).unwrap();
    server.write_all(&heard).unwrap();
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut heard).unwrap(), 0);
    drop(server);
    assert_eq!(client.read(&mut heard).unwrap(), 0);
}

#[test]
fn wireshark_captures_from_interface() {
    let home = installed();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    // Where it listens must be known before; a socket's path is nobody else's.
    let socket = home.path().join("in.sock");
    let from = format!("extcap.tcp_tunn.from:unix:{}", socket.display());
    let to = format!("extcap.tcp_tunn.to:{}", server.local_addr().unwrap());
    let capture = home.path().join("out.pcapng");
    let mut command = at_home(home.path(), "tshark");
    // A handshake, data and its ACK each way, and an end of each side.
    command.args(["-q", "-i", "tcp_tunn", "-o", &from, "-o", &to, "-c", "11", "-w"]).arg(&capture);
    let mut tshark = Tshark(command.stderr(Stdio::null()).spawn().unwrap());
    converse(until("it does not listen", || UnixStream::connect(&socket).ok()), &server);
    let status = until("tshark does not end", || tshark.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert_eq!(judge(&capture, &[]).completeness.len(), 1);
    assert_eq!(follow(&capture, 1), [[b"hello".to_vec(), b"hello".to_vec()]]);
    until("the tunnel does not end", || (!socket.exists()).then_some(()));
}

#[test]
fn install_replaces_links_only() {
    let home = installed();
    let link = home.path().join(".config/wireshark/extcap/tcp_tunn");
    fs::remove_file(&link).unwrap();
    fs::write(&link, "mine").unwrap();
    let program = env!("CARGO_BIN_EXE_tcp_tunn");
    let output = at_home(home.path(), program).arg("--install-extcap").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).starts_with("tcp_tunn: cannot install the interface: "));
    assert_eq!(fs::read(link).unwrap(), b"mine");
}
