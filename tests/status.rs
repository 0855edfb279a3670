//! The status line on a terminal.

use std::time::Instant;

use tempfile::tempdir;

use crate::support::events::PATIENCE;
use crate::support::process::{Ended, Process};

const LOCAL: &str = "127.0.0.1:0";
const COLUMNS: u16 = 80;
const BACK_AND_ERASE: &str = "\r\u{1b}[2K";

/// A server that takes what it is told and says nothing.
fn server() -> std::net::TcpListener {
    std::net::TcpListener::bind(LOCAL).unwrap()
}

/// What a terminal shows in the end of what was written to it: each row as it was left.
fn rows(written: &[String]) -> Vec<String> {
    let row = |line: &String| {
        let line = line.trim_end_matches('\r');
        let last = line.rsplit(BACK_AND_ERASE).next().unwrap();
        last.trim_end().to_owned()
    };
    written.iter().map(row).collect()
}

/// All states of the status line.
fn states(written: &[String]) -> Vec<String> {
    let parts = written.iter().flat_map(|line| line.split(['\r', '\u{1b}']));
    let parts = parts.map(|part| part.strip_prefix("[2K").unwrap_or(part).trim_end());
    parts
        .filter(|part| part.contains(" open of ") && part.contains(", -> "))
        .map(str::to_owned)
        .collect()
}

fn succeeded(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Has it print its counters until `done` with what was written so far.
fn until(process: &mut Process, what: &str, done: impl Fn(&[String]) -> bool) {
    let started = Instant::now();
    while !done(&process.stderr) {
        assert!(started.elapsed() < PATIENCE, "{what}: {:#?}", process.stderr);
        process.signal("USR1");
        process.wait_for_line(" connection");
    }
}

#[test]
fn status_line_is_refreshed_and_removed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let server = server();
    let to = server.local_addr().unwrap().to_string();
    let args = ["--from", LOCAL, "--to", &to, "--quiet", "-vv", "--pcap", path.to_str().unwrap()];
    let mut process = Process::start_on_terminal(&args, COLUMNS);
    until(&mut process, "no line", |written| {
        states(written).iter().any(|state| state.starts_with("0 open of 0, -> 0 B/s, <- 0 B/s, "))
    });
    let client = process.connect();
    let served = server.accept().unwrap();
    until(&mut process, "no connection", |written| {
        let connected = |state: &String| state.starts_with("1 open of 1, ");
        states(written).iter().any(connected)
    });
    std::io::Write::write_all(&mut &client, &[0; 3000]).unwrap();
    until(&mut process, "no rate, or no size", |written| {
        let states = states(written);
        let has = |words: &str| states.iter().any(|state| state.contains(words));
        has(" KiB captured, 0 B dropped") && states.iter().any(|state| !state.contains("-> 0 B/s"))
    });
    drop((client, served));
    // It is logged, while the line stands.
    process.wait_for_line("connection 1: ");
    let ended = process.stop();
    succeeded(&ended);
    let rows = rows(&ended.stderr);
    assert!(
        rows.last().unwrap().starts_with("1 connection, 3000 bytes client to server"),
        "{rows:#?}"
    );
    let left = rows.iter().filter(|row| row.contains(", -> ")).collect::<Vec<_>>();
    assert!(left.is_empty(), "a status line stays behind: {left:#?}");
    for row in rows.iter().filter(|row| row.contains(" queued")) {
        assert!(row.contains("connection") && row.find(" open of ") < Some(14), "torn: {row}");
    }
    let longest = states(&ended.stderr).iter().map(String::len).max();
    assert!(longest <= Some(COLUMNS.into()), "{longest:?}");
}

#[test]
fn status_line_needs_terminal_and_quiet() {
    let to = server().local_addr().unwrap().to_string();
    let args = ["--from", LOCAL, "--to", &to, "--stop-after", "duration:700ms"];
    let quiet = [&args[..], &["--quiet"]].concat();
    let none = [&args[..], &["--console", "none"]].concat();
    let lines = |ended: Ended| {
        succeeded(&ended);
        states(&ended.stderr).len()
    };
    assert_eq!(lines(Process::run(&quiet)), 0, "no terminal");
    assert_eq!(lines(Process::start_on_terminal(&args, COLUMNS).wait()), 0, "a console");
    for args in [&quiet, &none] {
        assert!(lines(Process::start_on_terminal(args, COLUMNS).wait()) >= 2);
    }
}

#[test]
fn status_line_is_cut_at_narrow_edge() {
    let to = server().local_addr().unwrap().to_string();
    let args = ["--from", LOCAL, "--to", &to, "--stop-after", "duration:700ms", "--quiet"];
    let ended = Process::start_on_terminal(&args, 24).wait();
    succeeded(&ended);
    let states = states(&ended.stderr);
    assert!(!states.is_empty() && states.iter().all(|state| state.len() <= 24), "{states:?}");
}
