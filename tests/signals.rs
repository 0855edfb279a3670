//! What the command does when it is sent signals while it runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use socket2::SockRef;
use tempfile::tempdir;

use crate::support::events::PATIENCE;
use crate::support::process::{Ended, Process};
use crate::support::tshark::until;
use crate::support::verdict::{RESET, follow, judge};

const LOCAL: &str = "127.0.0.1:0";

/// A client and a server that know each other through a tunnel.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn meet(process: &Process, listener: &TcpListener) -> Self {
        let client = process.connect();
        let server = listener.accept().unwrap().0;
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { client, server }
    }

    /// The client says something, no more than sockets take, that the server hears.
    fn say(&mut self, words: &str) {
        self.client.write_all(words.as_bytes()).unwrap();
        let mut heard = vec![0; words.len()];
        self.server.read_exact(&mut heard).unwrap();
        assert_eq!(heard, words.as_bytes());
    }

    fn end(mut self) {
        self.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.server.read(&mut [0]).unwrap(), 0);
        drop(self.server);
        assert_eq!(self.client.read(&mut [0]).unwrap(), 0);
    }
}

/// Starts a tunnel to a server of its own, with more arguments.
fn start(more: &[&str]) -> (Process, TcpListener) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    (Process::start(&[&["--from", LOCAL, "--to", &to], more].concat()), listener)
}

/// The captures in a folder, as soon as there are `count`, in order of their numbers.
fn captures(folder: &Path, count: usize) -> Vec<PathBuf> {
    until("there are too few captures", || {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = entries.collect();
        // `out.pcapng` is the first, and comes after `out_00002...` in the alphabet.
        paths.sort_by_key(|path| path.to_str().unwrap().replace("out.", "out_00001."));
        (paths.len() >= count).then_some(paths)
    })
}

/// Waits until somebody is heard to say `words` in a capture that is being written.
fn until_it_holds(path: &Path, words: &str) {
    until("it is not written", || {
        let bytes = fs::read(path).unwrap();
        bytes.windows(words.len()).any(|part| part == words.as_bytes()).then_some(())
    });
}

fn succeeded(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn sighup_begins_new_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let (process, listener) = start(&["--pcap", path.to_str().unwrap()]);
    let mut pair = Pair::meet(&process, &listener);
    pair.say("before");
    // The capture may be a moment behind, and what comes later is in the next file.
    until_it_holds(&path, "before");
    process.signal("HUP");
    let files = captures(folder.path(), 2);
    assert_eq!(files[0], path);
    pair.say("after");
    until_it_holds(&files[1], "after");
    process.signal("HUP");
    captures(folder.path(), 3);
    pair.end();
    succeeded(&process.stop());
    let files = captures(folder.path(), 3);
    assert_eq!(files.len(), 3, "{files:?}");
    for (file, said) in files.iter().zip(["before", "after", ""]) {
        assert_eq!(judge(file, &[]).completeness.len(), 1, "{}", file.display());
        assert_eq!(follow(file, 1).concat().concat(), said.as_bytes());
    }
}

#[test]
fn sighup_without_file_ends_tunnel() {
    for more in [&[][..], &["--pcap", "-"], &["--pcap", "/dev/null"]] {
        let (process, listener) = start(more);
        Pair::meet(&process, &listener).end();
        process.signal("HUP");
        let ended = process.wait();
        succeeded(&ended);
        assert!(ended.stderr.last().unwrap().starts_with("1 connection, "), "{ended:?}");
    }
}

#[test]
fn ignored_sighup_stays_ignored() {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let process = Process::start_by(&["nohup"], &["--from", LOCAL, "--to", &to]);
    process.signal("HUP");
    let mut pair = Pair::meet(&process, &listener);
    process.signal("HUP");
    pair.say("still there");
    pair.end();
    succeeded(&process.stop());
}

/// Runs a tunnel in a terminal, which is closed when the tunnel has captured something; the files
/// of the capture, and whether the tunnel is still there.
fn close_the_terminal(prefix: &[&str], folder: &Path) -> (Vec<PathBuf>, bool) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    // Where nohup writes, too.
    let elsewhere = tempdir().unwrap();
    let (errors, path) = (elsewhere.path().join("errors"), folder.join("out.pcapng"));
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    unlockpt(&terminal).unwrap();
    let slave = ioctl_tiocgptpeer(&terminal, flags).unwrap();
    // The session of the terminal is the tunnel's own, as that of a window that runs it.
    let mut tunnel = Command::new("setsid");
    tunnel.arg("--ctty").args(prefix).arg(env!("CARGO_BIN_EXE_tcp_tunn"));
    tunnel.args(["--from", LOCAL, "--to", &to, "--pcap", path.to_str().unwrap()]);
    tunnel.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap());
    tunnel.stderr(File::create(&errors).unwrap()).current_dir(elsewhere.path());
    let mut tunnel = tunnel.spawn().unwrap();
    drop(slave);
    let address = until("it does not listen", || {
        let said = fs::read_to_string(&errors).unwrap();
        let (_, rest) = said.split_once("listening on ")?;
        rest.split_once(" -> ").map(|(address, _)| address.to_owned())
    });
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"captured").unwrap();
    until_it_holds(&path, "captured");
    drop((terminal, client, listener));
    let is_there = if prefix.is_empty() {
        until("it goes on", || tunnel.try_wait().unwrap());
        let ended = tunnel.wait().unwrap();
        let said = fs::read_to_string(&errors).unwrap();
        assert!(said.contains("\n1 connection, 8 bytes"), "no summary: {said}");
        assert_eq!(ended.code(), Some(0), "{said}");
        false
    } else {
        let pid = rustix::process::Pid::from_child(&tunnel);
        // Signals are handled one after another: when a later one was answered, so was the hangup.
        for answered in 1..=3 {
            rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
            until("it does not answer", || {
                let said = fs::read_to_string(&errors).unwrap();
                (said.matches(" open of ").count() >= answered).then_some(())
            });
        }
        let alive = tunnel.try_wait().unwrap().is_none();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = until("it goes on", || tunnel.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
        alive
    };
    (captures(folder, 1), is_there)
}

#[test]
fn closed_terminal_ends_tunnel() {
    let folder = tempdir().unwrap();
    let (files, is_there) = close_the_terminal(&[], folder.path());
    assert!(!is_there && files.len() == 1, "{files:?}");
    // The server went away together with the terminal.
    judge(&files[0], &[RESET]);
}

#[test]
fn closed_terminal_under_nohup_is_ignored() {
    let folder = tempdir().unwrap();
    let (files, is_there) = close_the_terminal(&["nohup"], folder.path());
    assert!(is_there && files.len() == 1, "{files:?}");
}

#[test]
fn sigusr1_prints_counters() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let path = path.to_str().unwrap();
    let (mut process, listener) = start(&["--quiet", "--pcap", path, "--sink-buffer", "1MiB"]);
    let started = Instant::now();
    let first = loop {
        process.signal("USR1");
        let told = process.wait_for_line(" open of ");
        // The sinks' threads may not have started yet.
        if told.contains(" queued") {
            break told;
        }
        assert!(started.elapsed() < PATIENCE, "{told}");
    };
    let nothing = "0 connections open of 0, 0 bytes client to server at 0 bytes/s, \
                   0 bytes server to client at 0 bytes/s; ";
    assert!(first.starts_with(nothing), "{first}");
    let queue = format!("; the capture to {path}: 0 of 1048576 bytes queued, 0 bytes dropped");
    assert!(first.contains(&queue), "{first}");
    let mut pair = Pair::meet(&process, &listener);
    let said = "x".repeat(100_000);
    pair.say(&said);
    process.signal("USR1");
    let told = process.wait_for_line(" open of ");
    let more = "1 connection open of 1, 100000 bytes client to server at ";
    let rate = told.strip_prefix(more).unwrap_or_else(|| panic!("{told}"));
    let (rate, rest) = rate.split_once(" bytes/s, ").unwrap();
    // It was said since the first time, which is not long ago.
    assert!(rate.parse::<u64>().unwrap() > 1000, "{told}");
    assert!(rest.starts_with("0 bytes server to client at 0 bytes/s; "), "{told}");
    let started = Instant::now();
    // The table's own thread may be a moment behind the relay.
    while !process.stderr.iter().any(|line| line.contains("from client")) {
        assert!(started.elapsed() < PATIENCE, "no table in {:?}", process.stderr);
        process.signal("USR1");
        let told = process.wait_for_line(" open of ");
        assert!(told.starts_with(more), "{told}");
    }
    let row = process.stderr.iter().find(|line| line.ends_with("  is open")).unwrap();
    assert!(row.contains(" ms  ") || row.contains(" s  "), "no duration: {row}");
    let columns: Vec<_> = row.split_whitespace().rev().collect();
    assert_eq!(columns[..4], ["open", "is", "0", "100000"], "{row}");
    pair.end();
    succeeded(&process.stop());
}

#[test]
fn slow_shutdown_names_what_it_waits_for() {
    let folder = tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // A reader who reads nothing.
    let reader = File::options().read(true).write(true).open(&fifo).unwrap();
    let (mut process, listener) =
        start(&["--quiet", "--pcap", fifo.to_str().unwrap(), "--shutdown-timeout", "2s"]);
    let mut pair = Pair::meet(&process, &listener);
    pair.say(&"x".repeat(200_000));
    process.signal("TERM");
    let again = " (a second signal ends it at once)";
    let told = process.wait_for_line("waiting for ");
    assert!(told.ends_with(&format!("waiting for connections to finish, 1 left{again}")), "{told}");
    let told = process.wait_for_line("waiting for ");
    let capture = format!("waiting for the capture to {}, ", fifo.display());
    assert!(told.contains(&capture) && told.ends_with(&format!(" queued{again}")), "{told}");
    process.signal("TERM");
    let ended = process.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.iter().any(|line| line.contains("did not finish in time")), "{ended:?}");
    drop(reader);
}

/// Waits until the process is in a state, as proc(5) names them.
fn wait_for_state(process: &Process, state: &str) {
    until("it is in another state", || {
        let threads = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
        let stats = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")));
        let mut states = stats.map(|stat| stat.unwrap().rsplit_once(") ").unwrap().1.to_owned());
        states.all(|rest| rest.starts_with(state)).then_some(())
    });
}

#[test]
fn bytes_during_sigstop_are_relayed_after_sigcont() {
    let (process, listener) = start(&[]);
    let mut pair = Pair::meet(&process, &listener);
    SockRef::from(&pair.server).set_out_of_band_inline(true).unwrap();
    pair.say("hello");
    process.signal("STOP");
    wait_for_state(&process, "T");
    // A read ends before the urgent byte; that more has come by then is not told again.
    pair.client.write_all(b"ab").unwrap();
    SockRef::from(&pair.client).send_out_of_band(b"!").unwrap();
    pair.client.write_all(b"cd").unwrap();
    process.signal("CONT");
    let mut heard = [0; 5];
    pair.server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ab!cd");
    pair.end();
    process.stop();
}
