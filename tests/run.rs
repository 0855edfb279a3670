//! `tcp_tunn run` as its user sees it.

mod crowd;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use tempfile::tempdir;

use crate::support::end::patient;
use crate::support::server::Server;
use crate::support::terminal::Terminal;
use crate::support::verdict::{judge, tshark};

const TUNNEL: &str = env!("CARGO_BIN_EXE_tcp_tunn");

fn run(options: &[&str], program: &[&str]) -> Output {
    let mut command = Command::new(TUNNEL);
    command.env_remove("SSLKEYLOGFILE").env_remove("http_proxy");
    command.arg("run").args(options).arg("--").args(program).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that answers each client with what it has sent.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = patient(client.unwrap());
            thread::spawn(move || {
                let mut reader = client.try_clone().unwrap();
                let _ = std::io::copy(&mut reader, &mut client);
            });
        }
    });
    address
}

/// Shell text that sends a word to a server and prints the answer.
fn ask(server: SocketAddr) -> String {
    let (ip, port) = (server.ip(), server.port());
    format!("exec 3<>/dev/tcp/{ip}/{port}; echo hello >&3; read answer <&3; echo $answer")
}

#[test]
fn program_s_output_and_status_are_its_own_and_the_rest_goes_to_stderr() {
    let server = echo_server();
    let script = format!("{}; echo warning >&2; exit 7", ask(server));
    let ran = run(&["--console", "text"], &["bash", "-c", &script]);
    assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("hello\n", Some(7)));
    let stderr = text(&ran.stderr);
    for words in [
        &*format!(" -> {server}, bash (process "),
        "-> hello",
        "<- hello",
        "warning\n",
        "1 connection, 6 bytes client to server, 6 bytes server to client, ",
    ] {
        assert!(stderr.contains(words), "no '{words}' in {stderr}");
    }
}

#[test]
fn program_that_cannot_run_ends_as_in_a_shell() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("no-program");
    fs::write(&file, "text").unwrap();
    for (program, code, words) in [
        ("/no/such/program", 127, "there is no such program"),
        (file.to_str().unwrap(), 126, "is it an executable file?"),
    ] {
        let ran = run(&["-q"], &[program]);
        assert_eq!(ran.status.code(), Some(code), "{ran:?}");
        let stderr = text(&ran.stderr);
        assert!(stderr.starts_with("tcp_tunn: cannot run '") && stderr.contains(words), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn capture_names_the_program_and_is_perfect() {
    let (server, folder) = (echo_server(), tempdir().unwrap());
    let path = folder.path().join("out.pcapng");
    let pcap = path.to_str().unwrap();
    let script = format!("({}); ({})", ask(server), ask(server));
    let ran = run(&["-q", "--pcap", pcap], &["bash", "-c", &script]);
    assert_eq!(text(&ran.stdout), "hello\nhello\n", "{ran:?}");
    judge(&path, &[]);
    let comments = tshark(
        &path,
        &[
            "-n",
            "-Y",
            "tcp.flags.syn==1 && tcp.flags.ack==0",
            "-T",
            "fields",
            "-e",
            "frame.comment",
        ],
    );
    assert_eq!(comments.len(), 2, "{comments:?}");
    assert!(comments.iter().all(|comment| comment.contains("; bash (process ")), "{comments:?}");
}

#[test]
fn json_names_the_process_of_each_connection() {
    let (server, folder) = (echo_server(), tempdir().unwrap());
    let path = folder.path().join("out.json");
    let output = path.to_str().unwrap();
    let ran = run(&["--console", "json", "-o", output], &["bash", "-c", &ask(server)]);
    assert_eq!(text(&ran.stdout), "hello\n", "{ran:?}");
    let printed = Command::new("jq")
        .args([
            "-r",
            "select(.event == \"open\") | \"\\(.process.name) \\(.process.pid > 1) \\(.server)\"",
        ])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(text(&printed.stdout), format!("bash true {server}\n"), "{printed:?}");
}

#[test]
fn https_of_curl_opens_decrypted() {
    let folder = tempdir().unwrap();
    let server = Server::openssl(folder.path());
    let path = folder.path().join("out.pcapng");
    let pcap = path.to_str().unwrap();
    let url = format!("https://{}/", server.address);
    let ran = run(&["-q", "--pcap", pcap], &["curl", "-sk", &url]);
    assert!(text(&ran.stdout).contains("Ciphers supported"), "{ran:?}");
    let decode = format!("tcp.port=={},tls", server.address.rsplit_once(':').unwrap().1);
    let requests = tshark(
        &path,
        &["-n", "-d", &decode, "-Y", "http.request", "-T", "fields", "-e", "http.request.method"],
    );
    assert_eq!(requests, ["GET"], "Wireshark sees the request");
}

#[test]
fn key_log_of_the_user_is_followed_and_kept() {
    let folder = tempdir().unwrap();
    let server = Server::openssl(folder.path());
    let (path, keys) = (folder.path().join("out.pcapng"), folder.path().join("keys"));
    let url = format!("https://{}/", server.address);
    let ran = Command::new(TUNNEL)
        .env("SSLKEYLOGFILE", &keys)
        .args(["run", "-q", "--pcap", path.to_str().unwrap(), "--", "curl", "-sk", &url])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert!(fs::read_to_string(&keys).unwrap().contains("CLIENT_HANDSHAKE_TRAFFIC_SECRET"));
    let decode = format!("tcp.port=={},tls", server.address.rsplit_once(':').unwrap().1);
    assert_eq!(tshark(&path, &["-n", "-d", &decode, "-Y", "http.request"]).len(), 1);
}

#[test]
fn destination_that_is_excluded_is_left_alone() {
    let (seen, unseen) = (echo_server(), echo_server());
    let script = format!("({}); ({})", ask(seen), ask(unseen));
    let excluded = format!("localhost:{}", unseen.port());
    let ran = run(&["--console", "json", "--exclude", &excluded], &["bash", "-c", &script]);
    assert_eq!(text(&ran.stdout), "hello\nhello\n", "{ran:?}");
    let stderr = text(&ran.stderr);
    assert!(stderr.contains(&seen.to_string()), "{stderr}");
    assert!(!stderr.contains(&unseen.to_string()), "{stderr}");
    assert!(stderr.contains("\n1 connection, "), "{stderr}");
}

#[test]
fn interrupt_ends_the_program_and_then_the_summary_is_shown() {
    let terminal = Terminal::start(100, &format!("{TUNNEL} run -- sh -c 'echo ready; sleep 1000'"));
    terminal.wait_for("ready\r\n");
    let screen = terminal.interrupt();
    assert!(
        screen.lines.iter().any(|line| line.starts_with("0 connections, ")),
        "{:?}",
        screen.lines
    );
}

#[test]
fn connect_after_the_tunnel_was_killed_fails_at_once() {
    let (server, folder) = (echo_server(), tempdir().unwrap());
    let go = folder.path().join("go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    let script =
        format!("echo ready; read line <{}; ({}) 2>&1; echo over", go.display(), ask(server));
    let mut tunnel = Command::new(TUNNEL);
    let mut tunnel = tunnel
        .args(["run", "-q", "--", "bash", "-c", &script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = tunnel.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    tunnel.kill().unwrap();
    tunnel.wait().unwrap();
    fs::write(&go, "\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("not implemented") && rest.ends_with("over\n"), "{rest}");
}

#[test]
fn failing_capture_fails_a_program_that_was_fine() {
    let server = echo_server();
    let script = format!("{}; exit 0", ask(server));
    let ran =
        run(&["-q", "--pcap", "/dev/full", "--on-sink-error", "detach"], &["bash", "-c", &script]);
    assert_eq!((text(&ran.stdout).as_str(), ran.status.code()), ("hello\n", Some(1)), "{ran:?}");
}

/// Also without `--`, and where they look like options with negative values.
#[test]
fn arguments_of_the_program_arrive_unchanged() {
    let program = ["sh", "-c", "echo \"$@\"", "sh", "--count", "-5", "--idle-timeout", "-1s"];
    for separator in [&[][..], &["--"]] {
        let mut command = Command::new(TUNNEL);
        let ran = command.args(["run", "-q"]).args(separator).args(program).output().unwrap();
        assert_eq!(text(&ran.stdout), "--count -5 --idle-timeout -1s\n", "{ran:?}");
    }
}

#[test]
fn options_that_make_no_sense_with_run_are_refused() {
    for (options, words) in [
        (&["--pcap", "-"][..], "with run, stdout is the program's (try '--pcap FILE')"),
        (&["--from", "127.0.0.1:0"], "'--from <ADDR>' cannot be used with run, which"),
        (&["--proxy", "127.0.0.1:0"], "'--proxy <ADDR>' cannot be used with run, which"),
    ] {
        let ran = run(options, &["true"]);
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        assert!(text(&ran.stderr).contains(words), "{ran:?}");
    }
}

/// What a program's child does is shown, too, and a program that closes its output goes on.
#[test]
fn child_in_the_background_is_caught() {
    let server = echo_server();
    let script = format!("({}) & wait", ask(server));
    let ran = run(&["--console", "json"], &["bash", "-c", &script]);
    assert_eq!(text(&ran.stdout), "hello\n", "{ran:?}");
    assert!(text(&ran.stderr).contains("\n1 connection, "), "{ran:?}");
}

/// A listener of the program is no connect of it.
#[test]
fn server_under_run_is_served_as_ever() {
    let script = "
import socket
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
print(l.getsockname()[1], flush=True)
s, _ = l.accept(); s.sendall(s.recv(5)); s.close()
";
    let mut tunnel = Command::new(TUNNEL);
    let mut tunnel = tunnel
        .args(["run", "-q", "--", "python3", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    let mut lines = std::io::BufReader::new(tunnel.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut port).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap()));
    let mut client = patient(TcpStream::connect(address).unwrap());
    client.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    assert!(tunnel.wait().unwrap().success());
}

#[test]
fn program_s_connection_comes_from_the_address_and_port_that_are_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap().port();
    let bind = format!("127.0.0.9:{port}");
    let from = thread::spawn(move || {
        let (mut client, from) = listener.accept().unwrap();
        client.write_all(b"hello\n").unwrap();
        from.to_string()
    });
    let script = format!("read answer </dev/tcp/{}/{}; echo $answer", server.ip(), server.port());
    let ran = run(&["--bind", &bind], &["bash", "-c", &script]);
    assert_eq!(text(&ran.stdout), "hello\n", "{ran:?}");
    assert_eq!(from.join().unwrap(), bind);
    assert!(text(&ran.stderr).contains(&format!("{bind} -> {server}")), "{ran:?}");
}
