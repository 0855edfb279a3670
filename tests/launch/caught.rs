//! A program run directly and under the launcher.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

/// How programs are started.
pub(super) const MECHANISMS: [&str; 2] = ["--copy", "--rewrite"];

/// The example that catches connects, as an executable, in a folder that every user can read.
pub(super) struct Launcher {
    pub(super) folder: TempDir,
    pub(super) path: PathBuf,
}

impl Launcher {
    pub(super) fn new() -> Self {
        Self::built(&[])
    }

    /// As `new`, built with more arguments of cargo.
    pub(super) fn built(args: &[&str]) -> Self {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", "catch_connects", "--manifest-path", manifest])
            .args(["--message-format", "json"])
            .args(args)
            .output()
            .unwrap();
        let messages = String::from_utf8(built.stdout).unwrap();
        let errors = String::from_utf8_lossy(&built.stderr);
        let example =
            messages.lines().rfind(|line| line.contains("catch_connects")).expect(&errors);
        let (_, path) = example.split_once(r#""executable":""#).expect(&errors);
        let folder = open_folder();
        let path = fs::copy(path.split('"').next().unwrap(), folder.path().join("launcher"))
            .map(|_| folder.path().join("launcher"))
            .unwrap();
        Self { folder, path }
    }

    /// The launcher, to run a program with some options. It logs to the file `log`.
    pub(super) fn command(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--log").arg(self.log()).args(options).args(program);
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The lines of the log: process, name, destination and outcome.
    pub(super) fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Destinations and outcomes of the last run, sorted.
    pub(super) fn seen(&self) -> Vec<String> {
        let without_process =
            |line: String| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
        let mut seen: Vec<_> = self.lines().into_iter().map(without_process).collect();
        seen.sort();
        seen
    }

    /// Runs a program directly and under the launcher, in both ways: the same output, the same
    /// errors, the same status. Gives the direct run, and what was seen.
    pub(super) fn same(&self, program: &[&str]) -> (Ran, Vec<String>) {
        self.same_with(&[], program)
    }

    /// As `same`, with all of it run by another program, such as setpriv and its arguments.
    pub(super) fn same_with(&self, by: &[&str], program: &[&str]) -> (Ran, Vec<String>) {
        let direct = Ran::of(&mut command(&[by, program].concat()));
        let mut seen = Vec::new();
        for mechanism in MECHANISMS {
            // Whoever runs it has to be able to write it.
            fs::write(self.log(), "").unwrap();
            fs::set_permissions(self.log(), PermissionsExt::from_mode(0o666)).unwrap();
            let path = self.path.to_str().unwrap();
            let log = self.log();
            let launcher = [path, "--log", log.to_str().unwrap(), mechanism];
            let caught = Ran::of(&mut command(&[by, &launcher, program].concat()));
            assert_eq!(caught, direct, "{mechanism} {program:?}: {:?}", self.lines());
            seen.push(self.seen());
        }
        assert_eq!(seen[0], seen[1], "{program:?}");
        #[cfg(feature = "cli")]
        self.same_by_command(by, program, &direct);
        (direct, seen.swap_remove(0))
    }

    /// Runs a program by the command `tcp_tunn run`: what it prints and how it ends is the same.
    #[cfg(feature = "cli")]
    fn same_by_command(&self, by: &[&str], program: &[&str], direct: &Ran) {
        let path = self.folder.path().join("tcp_tunn");
        if !path.exists() {
            let built = env!("CARGO_BIN_EXE_tcp_tunn");
            fs::hard_link(built, &path).or_else(|_| fs::copy(built, &path).map(drop)).unwrap();
        }
        let run = [path.to_str().unwrap(), "run", "-q", "--"];
        let mut ran = Ran::of(&mut command(&[by, &run, program].concat()));
        ran.stderr = without_summary(&ran.stderr);
        assert_eq!(&ran, direct, "tcp_tunn run {program:?}");
    }
}

/// A new folder that every user can read and write.
pub(super) fn open_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

pub(super) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    // What a user has set must not change what programs do.
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY"]
    {
        command.env_remove(name);
    }
    command
}

/// What a program printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) code: Option<i32>,
}

impl Ran {
    pub(super) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| without_times(&String::from_utf8_lossy(&bytes));
        Self { stdout: text(stdout), stderr: text(stderr), code: status.code() }
    }
}

/// How long something took is never the same.
fn without_times(text: &str) -> String {
    let times = regex::Regex::new(r"\b\d+ ms\b").unwrap();
    times.replace_all(text, "N ms").into_owned()
}

/// What a program itself has printed: not what the tunnel logs of another network, and what comes
/// before the summary.
#[cfg(feature = "cli")]
fn without_summary(text: &str) -> String {
    let summary =
        regex::Regex::new(r"^(conn +client |\d+ connections?, \d+ bytes? client)").unwrap();
    let own = text.split_inclusive('\n').take_while(|line| !summary.is_match(line));
    own.filter(|line| !line.contains("in another network namespace is left alone")).collect()
}

/// A server that answers each client in a thread, until the test ends.
pub(super) fn serve(
    listener: TcpListener,
    answer: impl Fn(std::net::TcpStream) + Send + Sync + Copy + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    // The 128 that std asks for are fewer than a test's threads: the kernel would drop their SYNs,
    // and answer them after seconds, or after the tunnel's time-out.
    rustix::net::listen(&listener, 1024).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || answer(stream));
        }
    });
    address
}

pub(super) fn echo_server(address: &str) -> SocketAddr {
    serve(TcpListener::bind(address).unwrap(), |stream| {
        let _ = std::io::copy(&mut &stream, &mut &stream);
    })
}

/// A server that answers each request for a page with two kilobytes, and closes.
pub(super) fn http_server() -> SocketAddr {
    serve(TcpListener::bind("127.0.0.1:0").unwrap(), |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|len| len > 2) {
            line.clear();
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2048\r\n\
                    Connection: close\r\n\r\n";
        let _ = stream.write_all(&[head.as_bytes(), &[b'x'; 2048]].concat());
    })
}

/// A port of 127.0.0.1 at which nobody listens: its socket is bound and does not listen, so that
/// no other program gets it.
pub(super) struct ClosedPort(socket2::Socket);

impl ClosedPort {
    pub(super) fn new() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub(super) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }
}

/// A program in C, compiled.
pub(super) fn compile(folder: &Path, name: &str, source: &str) -> String {
    let (file, program) = (folder.join(format!("{name}.c")), folder.join(name));
    fs::write(&file, source).unwrap();
    let compiled = Command::new("cc")
        .args(["-O1", "-Wall", "-pthread", "-o"])
        .args([&program, &file])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    program.to_str().unwrap().to_owned()
}

/// A process that is killed when the test ends.
pub(super) struct Running(pub(super) Child);

impl Running {
    /// Starts it and waits for a line on its output or error output that has `words` in it.
    pub(super) fn start(command: &mut Command, words: &str) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let running = Self(child);
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "{command:?} said no '{words}'");
        }
        thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        (running, line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
