//! Programs of all kinds: they print the same, end the same, and are seen.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::caught::{
    ClosedPort, Launcher, Ran, Running, command, echo_server, http_server, open_folder,
};
use crate::support::skip::skip_without_root;

/// Runs a program against a server that answers, and against one that refuses.
fn check(program: impl Fn(SocketAddr) -> Vec<String>) -> (Ran, Ran) {
    let launcher = Launcher::new();
    let run = |server: SocketAddr| {
        let program = program(server);
        launcher.same(&program.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let server = http_server();
    let (ran, seen) = run(server);
    assert_eq!(seen, [format!("{server} connected")]);
    let closed = ClosedPort::new();
    let server = SocketAddr::from(([127, 0, 0, 1], closed.port()));
    let (refused, seen) = run(server);
    assert_eq!(seen, [format!("{server} Connection refused (os error 111)")]);
    (ran, refused)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn curl_is_caught() {
    let format = "%{http_code} %{remote_ip}:%{remote_port}";
    let (ran, refused) =
        check(|server| words(&["curl", "-sS", "-w", format, &format!("http://{server}/")]));
    assert!(ran.stdout.starts_with("xxxx") && ran.stdout.contains("200 127.0.0.1:"), "{ran:?}");
    assert_eq!(refused.code, Some(7), "{refused:?}");
}

#[test]
fn wget_is_caught() {
    let (ran, refused) = check(|server| {
        // What it says of a download begins with the time.
        let script = format!(
            "set -o pipefail; {{ wget -nv --tries=1 -O /dev/fd/3 http://{server}/ 2>&1 |
             sed 's/^[0-9-]* [0-9:]* URL/URL/' >&2; }} 3>&1"
        );
        words(&["bash", "-c", &script])
    });
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(refused.stderr.contains("Connection refused"), "{refused:?}");
}

const PYTHON: &str = "
import socket, sys
s = socket.socket()
sa = (sys.argv[1], int(sys.argv[2]))
try:
    s.connect(sa)
    print(s.getpeername() == sa)
    s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    n = 0
    while d := s.recv(4096): n += len(d)
    print(n)
except OSError as e:
    print(repr(e))
";

#[test]
fn blocking_python_is_caught() {
    let (ran, refused) = check(|server| {
        words(&["python3", "-c", PYTHON, &server.ip().to_string(), &server.port().to_string()])
    });
    assert!(ran.stdout.starts_with("True\n"), "{ran:?}");
    assert!(refused.stdout.starts_with("ConnectionRefusedError(111,"), "{refused:?}");
}

const ASYNCIO: &str = "
import asyncio, sys
async def main():
    try:
        r, w = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
        print(w.get_extra_info('peername') == (sys.argv[1], int(sys.argv[2])))
        w.write(b'GET / HTTP/1.0\\r\\n\\r\\n')
        print(len(await r.read()))
    except OSError as e:
        print(repr(e), e)
asyncio.run(main())
";

#[test]
fn asyncio_is_caught() {
    let (ran, refused) = check(|server| {
        words(&["python3", "-c", ASYNCIO, &server.ip().to_string(), &server.port().to_string()])
    });
    assert!(ran.stdout.starts_with("True\n"), "{ran:?}");
    // The words of a connect that fails later, not of one that fails at once.
    assert!(refused.stdout.contains("Connect call failed"), "{refused:?}");
}

const NODE: &str = "
const [host, port] = process.argv.slice(1);
const s = require('net').connect(Number(port), host, () => {
  console.log(s.remoteAddress, s.remotePort == Number(port));
  s.write('GET / HTTP/1.0\\r\\n\\r\\n');
});
let n = 0;
s.on('data', d => n += d.length);
s.on('end', () => console.log(n));
s.on('error', e => console.log(e.code, e.syscall, e.address));
";

#[test]
fn node_is_caught() {
    let (ran, refused) = check(|server| {
        words(&["node", "-e", NODE, &server.ip().to_string(), &server.port().to_string()])
    });
    assert!(ran.stdout.starts_with("127.0.0.1 true\n"), "{ran:?}");
    assert_eq!(refused.stdout, "ECONNREFUSED connect 127.0.0.1\n");
}

#[test]
fn bash_is_caught() {
    let script = r#"exec 3<>/dev/tcp/$0/$1 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && cat <&3"#;
    let (ran, refused) = check(|server| {
        words(&["bash", "-c", script, &server.ip().to_string(), &server.port().to_string()])
    });
    assert!(ran.stdout.ends_with("xxxx"), "{ran:?}");
    assert!(refused.stderr.contains("Connection refused"), "{refused:?}");
}

const GO: &str = r#"package main

import ("fmt"; "io"; "net"; "os")

func main() {
	c, err := net.Dial("tcp", os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(3) }
	fmt.Println(c.RemoteAddr().String() == os.Args[1])
	fmt.Fprintf(c, "GET / HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(c)
	fmt.Println(len(b), err)
}
"#;

#[test]
fn static_go_program_is_caught() {
    let folder = open_folder();
    let (source, program) = (folder.path().join("main.go"), folder.path().join("main"));
    fs::write(&source, GO).unwrap();
    // Kept, because Go's network library takes long to compile.
    let cache = concat!(env!("CARGO_MANIFEST_DIR"), "/target/go-cache");
    let mut build = command(&["go", "build", "-o"]);
    build.arg(&program).arg(&source).env("CGO_ENABLED", "0").env("GOCACHE", cache);
    let built = Ran::of(build.env("HOME", folder.path()));
    assert_eq!(built.code, Some(0), "{built:?}");
    let (ran, refused) = check(|server| words(&[program.to_str().unwrap(), &server.to_string()]));
    assert!(ran.stdout.starts_with("true\n"), "{ran:?}");
    assert!(refused.stdout.contains("connect: connection refused"), "{refused:?}");
}

/// Needs IPv6 on the loopback device.
#[test]
fn ipv6_is_caught() {
    let launcher = Launcher::new();
    let server = echo_server("[::1]:0");
    let script = "
import socket, sys
for host in ('::1', '::ffff:127.0.0.1'):
    s = socket.socket(socket.AF_INET6)
    try:
        s.connect((host, int(sys.argv[1])))
        s.sendall(b'hello'); print(s.recv(5), s.getpeername()[:2])
    except OSError as e:
        print(repr(e))
";
    let (ran, seen) = launcher.same(&["python3", "-c", script, &server.port().to_string()]);
    assert!(ran.stdout.starts_with("b'hello' ('::1', "), "{ran:?}");
    let port = server.port();
    let refused = format!("127.0.0.1:{port} Connection refused (os error 111)");
    assert_eq!(seen, [refused, format!("[::1]:{port} connected")]);
}

#[test]
fn git_over_http_is_caught() {
    let launcher = Launcher::new();
    let folder = launcher.folder.path();
    let git = |args: &[&str]| {
        let mut git = command(&["git", "-c", "user.name=a", "-c", "user.email=a@b"]);
        let ran = Ran::of(git.args(args).current_dir(folder).env("HOME", folder));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    git(&["init", "-q", "-b", "main", "work"]);
    fs::write(folder.join("work/file"), "hello").unwrap();
    git(&["-C", "work", "add", "file"]);
    git(&["-C", "work", "commit", "-q", "-m", "one"]);
    git(&["clone", "-q", "--bare", "work", "bare.git"]);
    git(&["-C", "bare.git", "update-server-info"]);
    let mut server = command(&["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]);
    let (_server, line) = Running::start(server.current_dir(folder), "Serving HTTP on");
    let port = line.split(' ').skip_while(|word| *word != "port").nth(1).unwrap();
    let url = format!("http://127.0.0.1:{port}/bare.git");
    let script = r#"d=$(mktemp -d) && git clone -q "$0" "$d/c" && git -C "$d/c" log --format=%s \
        && cat "$d/c/file" && rm -rf "$d""#;
    let (ran, seen) = launcher.same(&["sh", "-c", script, &url]);
    assert_eq!(ran.stdout, "one\nhello");
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.ends_with(" connected")), "{seen:?}");
}

/// Needs to be root, as sshd does.
#[test]
fn ssh_is_caught() {
    if !rustix::process::geteuid().is_root() {
        skip_without_root("sshd becomes the user who logs in");
        return;
    }
    let launcher = Launcher::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for key in ["host", "user"] {
        let ran = Ran::of(&mut command(&[
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            &path(key),
        ]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    fs::create_dir_all("/run/sshd").unwrap();
    let port = free_port();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         PidFile none\nUsePAM no\n",
        path("host"),
        path("user.pub"),
    );
    fs::write(path("config"), config).unwrap();
    let mut server = Command::new("/usr/sbin/sshd");
    server.args(["-D", "-e", "-f", &path("config")]).stdin(Stdio::null()).stderr(Stdio::null());
    let _server = Running(server.spawn().unwrap());
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::yield_now();
    }
    let (identity, port) = (path("user"), port.to_string());
    let ssh = [
        "ssh",
        "-F",
        "none",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
        "-i",
        &identity,
        "-p",
        &port,
        "root@127.0.0.1",
        "echo hello; exit 5",
    ];
    let (ran, seen) = launcher.same(&ssh);
    assert_eq!((&*ran.stdout, ran.code), ("hello\n", Some(5)), "{ran:?}");
    assert_eq!(seen, [format!("127.0.0.1:{port} connected")]);
}

/// A port that was free a moment ago: sshd cannot choose one and say which.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn process_of_each_connect_is_known() {
    let launcher = Launcher::new();
    let server = http_server();
    let script = r#"curl -s -o /dev/null "$0"; curl -s -o /dev/null "$0" & wait"#;
    let mut command = launcher.command(&[], &["sh", "-c", script, &format!("http://{server}/")]);
    assert_eq!(Ran::of(&mut command).code, Some(0));
    let lines = launcher.lines();
    let pids: std::collections::HashSet<_> =
        lines.iter().map(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap()).collect();
    assert_eq!(pids.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(" curl ")), "{lines:?}");
}

#[test]
fn unprivileged_user_needs_nothing() {
    let launcher = Launcher::new();
    let server = http_server();
    // As root, and as whoever runs this otherwise.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let by = if rustix::process::geteuid().is_root() { &nobody[..] } else { &[] };
    let url = format!("http://{server}/");
    let script = "id -u >&2; curl -sS $0 | wc -c";
    let (ran, seen) = launcher.same_with(by, &["sh", "-c", script, &url]);
    assert_eq!((&*ran.stdout, ran.code), ("2048\n", Some(0)), "{ran:?}");
    assert_eq!(seen, [format!("{server} connected")]);
}
