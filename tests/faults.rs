//! The real program where something goes wrong: sinks that fail or stall, limits, and what others
//! have put in its way.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use tempfile::tempdir;

use crate::support::bytes::bytes;
use crate::support::confined::{NOBODY, confined};
use crate::support::end::patient;
use crate::support::oracle::{self, Expect};
use crate::support::process::{Ended, Process};
use crate::support::verdict::judge;

const LOCAL: &str = "127.0.0.1:0";

/// A server, and what leads a tunnel to it.
struct Upstream {
    listener: TcpListener,
    to: String,
}

impl Upstream {
    fn new() -> Self {
        let listener = TcpListener::bind(LOCAL).unwrap();
        let to = listener.local_addr().unwrap().to_string();
        Self { listener, to }
    }

    fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["--from", LOCAL, "--to", &self.to], more].concat()
    }

    fn tunnel(&self, more: &[&str]) -> Process {
        Process::start(&self.args(more))
    }

    /// A client that says `said`, all of which the server hears; then both end.
    fn pass(&self, process: &Process, said: &[u8]) {
        let mut client = process.connect();
        let mut server = patient(self.listener.accept().unwrap().0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(said).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).unwrap();
            assert!(heard == said);
        });
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    /// Both ends of a connection that is open.
    fn open(&self, process: &Process) -> (TcpStream, TcpStream) {
        (process.connect(), patient(self.listener.accept().unwrap().0))
    }

    /// A client that talks until the tunnel ends its connection.
    fn talk_until_the_end(&self, process: &Process) {
        talk_until_the_end(self.open(process));
    }
}

fn talk_until_the_end((mut client, mut server): (TcpStream, TcpStream)) {
    let hearing = std::thread::spawn(move || {
        let _ = std::io::copy(&mut server, &mut std::io::sink());
    });
    while client.write_all(&[0; 4096]).is_ok() {}
    hearing.join().unwrap();
}

/// One line on stderr has all these words.
#[track_caller]
fn told(ended: &Ended, words: &[&str]) {
    let lines = ended.stderr.iter();
    let telling: Vec<_> =
        lines.filter(|line| words.iter().all(|word| line.contains(word))).collect();
    assert_eq!(telling.len(), 1, "{words:?}: {ended:?}");
}

fn mkfifo(folder: &Path) -> PathBuf {
    let path = folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Reads a number of bytes of a FIFO, and leaves.
fn leaving_reader(path: &Path, len: usize) -> JoinHandle<()> {
    let path = path.to_owned();
    std::thread::spawn(move || File::open(path).unwrap().read_exact(&mut vec![0; len]).unwrap())
}

/// Both rules for a capture that fails while a connection says much.
fn fails_and_goes_by_the_rule(
    path: &str,
    words: &[&str],
    prepare: impl Fn() -> Option<JoinHandle<()>>,
) {
    let upstream = Upstream::new();
    let stopped = {
        let waiting = prepare();
        let tunnel = upstream.tunnel(&["-q", "--pcap", path, "--shutdown-timeout", "100ms"]);
        upstream.talk_until_the_end(&tunnel);
        let ended = tunnel.wait();
        waiting.map(JoinHandle::join);
        ended
    };
    let detached = {
        let waiting = prepare();
        let tunnel = upstream.tunnel(&["-q", "--pcap", path, "--on-sink-error", "detach"]);
        upstream.pass(&tunnel, &bytes(1, 4 << 20));
        waiting.map(JoinHandle::join);
        upstream.pass(&tunnel, b"still there");
        tunnel.stop()
    };
    for ended in [&stopped, &detached] {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        told(ended, words);
    }
    told(&detached, &["2 connections, 4194315 bytes client to server"]);
    // Where it listens, what failed, the table, the sum: no other complaint.
    assert_eq!(stopped.stderr.iter().filter(|line| line.starts_with("tcp_tunn: ")).count(), 1);
}

#[test]
fn full_disk_stops_tunnel_or_detaches_sink() {
    let mount = "mount -t tmpfs -o size=1m none /mnt;";
    if !confined(&format!("exec unshare --mount sh -ec '{mount} exec \"$@\"' sh")) {
        return;
    }
    let words = ["tcp_tunn: the capture to /mnt/out.pcapng failed: No space", "(make room)"];
    fails_and_goes_by_the_rule("/mnt/out.pcapng", &words, || None);
}

#[test]
fn closed_fifo_stops_tunnel_or_detaches_sink() {
    let folder = tempdir().unwrap();
    let path = mkfifo(folder.path());
    let words = ["tcp_tunn: the capture to ", "fifo failed: Broken pipe", "(its reader is gone)"];
    fails_and_goes_by_the_rule(path.to_str().unwrap(), &words, || {
        Some(leaving_reader(&path, 1000))
    });
}

#[test]
fn stalled_reader_costs_counted_bytes_and_no_relay_time() {
    const LEN: usize = 16 << 20;
    let folder = tempdir().unwrap();
    let path = mkfifo(folder.path());
    let upstream = Upstream::new();
    let more = ["-q", "--on-slow-sink", "drop", "--sink-buffer", "1MiB", "--pcap"];
    let tunnel = upstream.tunnel(&[&more[..], &[path.to_str().unwrap()]].concat());
    // It opens when the tunnel does, and reads nothing while the connection lasts.
    let mut reader = File::open(&path).unwrap();
    upstream.pass(&tunnel, &bytes(1, LEN));
    let file = folder.path().join("out.pcapng");
    let to = file.clone();
    let reading = std::thread::spawn(move || {
        std::io::copy(&mut reader, &mut File::create(to).unwrap()).unwrap();
    });
    let ended = tunnel.stop();
    reading.join().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let summary = ended.stderr.last().unwrap();
    assert!(summary.contains(&format!(", {LEN} bytes client to server, ")), "{summary}");
    let (before, _) = summary.split_once(" bytes dropped (").unwrap();
    let dropped = before.rsplit(' ').next().unwrap();
    let dropped: u64 = dropped.parse().unwrap();
    let expect = Expect { allow_gaps: true, streams: Some(1), ..Expect::default() };
    let judged = oracle::judge(&file, expect).unwrap();
    assert!(dropped > 0);
    assert_eq!(judged.streams[&0].len + dropped, LEN as u64, "{summary}");
    // Without gaps allowed it is imperfect: the reader sees that something is missing.
    let whole = Expect { streams: Some(1), ..Expect::default() };
    assert!(oracle::judge(&file, whole).is_err());
}

#[test]
fn closed_console_ends_tunnel_without_capture() {
    let upstream = Upstream::new();
    let (tunnel, stdout) = Process::start_piped(&upstream.args(&["--shutdown-timeout", "100ms"]));
    // Before the reader leaves: the tunnel ends at once, and then nobody can come any more.
    let connection = upstream.open(&tunnel);
    drop(stdout);
    talk_until_the_end(connection);
    let ended = tunnel.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stderr.iter().any(|line| line.contains("failed")), "{ended:?}");
}

#[test]
fn closed_console_keeps_capture() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let upstream = Upstream::new();
    let args = upstream.args(&["--pcap", path.to_str().unwrap()]);
    let (mut tunnel, stdout) = Process::start_piped(&args);
    drop(stdout);
    upstream.pass(&tunnel, b"nobody looks");
    tunnel.wait_for_line("the reader of stdout has left; all else goes on");
    upstream.pass(&tunnel, b"but all is captured");
    let ended = tunnel.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(judge(&path, &[]).completeness.len(), 2);
}

#[test]
fn reached_connection_limit_is_logged_once() {
    let upstream = Upstream::new();
    let mut tunnel = upstream.tunnel(&["-q", "--max-connections", "1"]);
    let clients: Vec<_> = (0..10).map(|_| tunnel.connect()).collect();
    tunnel.wait_for_line("all 1 connections are in use; more clients wait");
    let clients = clients.into_iter().map(|mut client| {
        std::thread::spawn(move || {
            let mut heard = String::new();
            client.read_to_string(&mut heard).unwrap();
            assert_eq!(heard, "welcome");
        })
    });
    let clients: Vec<_> = clients.collect();
    for _ in 0..clients.len() {
        // At most one is here at a time, so that each of the others finds the place taken.
        let mut server = patient(upstream.listener.accept().unwrap().0);
        server.write_all(b"welcome").unwrap();
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    let ended = tunnel.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    told(&ended, &["more clients wait"]);
    told(&ended, &["10 connections, "]);
}

#[test]
fn port_is_free_after_end() {
    let upstream = Upstream::new();
    let mut from = LOCAL.to_owned();
    for _ in 0..3 {
        let tunnel = Process::start(&["--from", &from, "--to", &upstream.to]);
        upstream.pass(&tunnel, b"leaves sockets in TIME_WAIT");
        // Nor does one that is open when it ends keep it.
        let _open = (tunnel.connect(), upstream.listener.accept().unwrap());
        from = tunnel.addresses[0].to_string();
        tunnel.signal("TERM");
        tunnel.signal("TERM");
        drop(_open);
        assert_eq!(tunnel.wait().code, Some(0));
    }
}

/// Runs it to its end, which is a failure that is told in one line with all these words.
#[track_caller]
fn refuses(args: &[&str], words: &[&str]) {
    let ended = Process::run(args);
    assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr[0].starts_with("tcp_tunn: "), "{ended:?}");
    told(&ended, words);
}

#[test]
fn privileged_port_is_refused_in_one_line() {
    if !confined(&format!("exec unshare --net {NOBODY}")) {
        return;
    }
    let words = ["cannot listen on 0.0.0.0:80: Permission denied", "such as 8080)"];
    refuses(&["--from", "0.0.0.0:80", "--to", "h:1"], &words);
}

#[test]
fn listening_tunnel_has_all_descriptors() {
    let mut listened = Vec::new();
    for files in (16..100).step_by(4) {
        let limit = format!("--nofile={files}:{files}");
        let run = ["prlimit", &limit, env!("CARGO_BIN_EXE_tcp_tunn"), "--workers", "4"];
        let more = ["--from", LOCAL, "--to", "h:1", "--stop-after", "duration:1ms"];
        let output = Command::new(run[0]).args(&run[1..]).args(more).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let listens = said.starts_with("listening on ");
        listened.push(listens);
        assert_eq!(output.status.code(), Some(i32::from(!listens)), "{files} files: {said}");
        assert!(listens || said.contains("Too many open files"), "{files} files: {said}");
        // It may have what it needs for itself, and none left for clients: that is told, too.
        let waits = said.contains("cannot accept a client yet, trying again: Too many");
        let lines = 1 + usize::from(listens) + usize::from(waits);
        assert_eq!(said.lines().count(), lines, "{files} files: {said}");
    }
    assert!(!listened[0] && listened.is_sorted() && *listened.last().unwrap(), "{listened:?}");
}

#[test]
fn soft_limit_of_open_files_is_raised() {
    let upstream = Upstream::new();
    let limited = ["prlimit", "--nofile=64:4096"];
    let tunnel = Process::start_by(&limited, &upstream.args(&["-q"]));
    let pairs: Vec<_> =
        (0..200).map(|_| (tunnel.connect(), upstream.listener.accept().unwrap().0)).collect();
    for (mut client, mut server) in pairs {
        server.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    let ended = tunnel.stop();
    told(&ended, &["200 connections, 0 bytes client to server, 200 bytes server to client"]);
}

#[test]
fn restarted_server_is_reached_again() {
    let mut upstream = Upstream::new();
    let tunnel = upstream.tunnel(&["-q"]);
    for _ in 0..5 {
        upstream.pass(&tunnel, b"here");
        let Upstream { listener, to } = upstream;
        drop(listener);
        let refused = tunnel.connect().read(&mut [0]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionReset);
        upstream = Upstream { listener: TcpListener::bind(&to).unwrap(), to };
    }
    let ended = tunnel.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    told(&ended, &["10 connections, 20 bytes client to server"]);
}

#[test]
fn capture_is_private_with_any_umask() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let run = format!("umask 0; exec \"$0\" \"$@\" --pcap '{}'", path.display());
    let more = ["--from", LOCAL, "--to", "h:1", "--stop-after", "duration:1ms"];
    let mut command = Command::new("sh");
    command.args(["-c", &run, env!("CARGO_BIN_EXE_tcp_tunn")]).args(more);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn failed_start_keeps_existing_file() {
    let folder = tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    let (file, link) = (folder.path().join("out.pcapng"), shared.join("link"));
    fs::write(&file, b"precious").unwrap();
    symlink(&file, &link).unwrap();
    let taken = TcpListener::bind(LOCAL).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (path, link) = (file.to_str().unwrap(), link.to_str().unwrap());
    let to = ["--to", "h:1", "--pcap"];
    refuses(&[&["--from", &taken][..], &to, &[path]].concat(), &["cannot listen on"]);
    refuses(
        &[&["--from", LOCAL][..], &to, &[link]].concat(),
        &["cannot write the capture", "link"],
    );
    let served = [&["--from", LOCAL][..], &to, &[path, "--pcap-over-ip", &taken]].concat();
    refuses(&served, &["cannot serve the capture"]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

/// The inodes of all sockets that listen, of one table below `/proc/net`.
fn listening(table: &str, state: (usize, &str), inode: usize) -> Vec<String> {
    let table = fs::read_to_string(Path::new("/proc/net").join(table)).unwrap_or_default();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|row| row[state.0] == state.1);
    rows.map(|row| format!("socket:[{}]", row[inode])).collect()
}

#[test]
fn tunnel_opens_only_requested_listeners() {
    let folder = tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let upstream = Upstream::new();
    let mut tunnel = upstream.tunnel(&["--from", &socket, "--to", "h:1", "--pcap-over-ip", LOCAL]);
    tunnel.wait_for_line("capture on ");
    upstream.pass(&tunnel, b"hello");
    // Listening TCP and unix sockets, and any that UDP has.
    let mut all = listening("tcp", (3, "0A"), 9);
    all.extend(listening("tcp6", (3, "0A"), 9));
    all.extend(listening("unix", (3, "00010000"), 6));
    for table in ["udp", "udp6"] {
        all.extend(listening(table, (3, "07"), 9));
    }
    let files = fs::read_dir(format!("/proc/{}/fd", tunnel.id())).unwrap();
    let links = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    let mut own: Vec<_> = links.map(|link| link.to_str().unwrap().to_owned()).collect();
    own.retain(|link| all.contains(link));
    own.sort();
    own.dedup();
    assert_eq!(own.len(), 3, "{own:?}");
    assert_eq!(tunnel.stop().code, Some(0));
}
