//! Wrong usage: one line that says what is wrong and what to try, and exit code 2.
//!
//! `tests/usage.txt` holds the wrong command lines, each with its line below. After a change
//! that is meant: `UPDATE_FIXTURES=1 cargo test usage`, and read the difference.

use std::fs;
use std::path::Path;

use crate::support::process::Process;

/// The command lines, and what each printed.
fn usage() -> Vec<(String, String)> {
    let text = fs::read_to_string(path()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let pair = |pair: &[&str]| (pair[0].to_owned(), (*pair.get(1).unwrap_or(&"")).to_owned());
    lines.chunks(2).map(pair).collect()
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/usage.txt")
}

#[test]
fn wrong_command_lines_match_usage_list() {
    let mut printed = String::new();
    let usage = usage();
    assert!(usage.len() >= 60, "{} command lines", usage.len());
    for (line, _) in &usage {
        let words = line.strip_prefix("$ tcp_tunn").unwrap_or_else(|| panic!("{line}"));
        // `_` stands for a space within a word.
        let words: Vec<_> = words.split_whitespace().map(|word| word.replace("\\_", " ")).collect();
        let args: Vec<_> = words.iter().map(String::as_str).collect();
        let ended = Process::run(&args);
        assert_eq!((ended.code, ended.stderr.len()), (Some(2), 1), "{line}: {ended:?}");
        assert!(ended.stdout.is_empty() && ended.stderr[0].starts_with("tcp_tunn: "), "{ended:?}");
        assert!(!ended.stderr[0].contains("os error"), "{line}: {ended:?}");
        printed += &format!("{line}\n{}\n\n", ended.stderr[0]);
    }
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path(), printed).unwrap();
        return;
    }
    for ((line, expected), now) in usage.iter().zip(printed.split("\n\n")) {
        assert_eq!(now, format!("{line}\n{expected}"));
    }
}

/// Runs it with a value of an option; whether that was accepted, and all that it said.
fn accepts(option: &str, value: &str) -> (bool, String) {
    let end = ["--from", "127.0.0.1:0", "--to", "h:1", "--stop-after", "duration:1ms", "-q"];
    let folder = tempfile::tempdir().unwrap();
    let pcap = folder.path().join("out.pcapng");
    let more = ["--pcap", pcap.to_str().unwrap(), option, value];
    let ended = Process::run(&[&end[..], &more].concat());
    (ended.code != Some(2), ended.stderr.join("\n"))
}

#[test]
fn range_edges_are_accepted_and_beyond_refused() {
    let ranges = [
        ("--workers", ["1", "64"], &["0", "1025"][..]),
        ("--max-connections", ["1", "1000000"], &["0", "1000001"]),
        ("--segment-size", ["64", "65475"], &["63", "65476"]),
        ("--snaplen", ["1", "4294967295"], &["0", "4294967296"]),
        ("--rotate-size", ["1", "1TB"], &["0"]),
        ("--sink-buffer", ["1", "1TB"], &["0"]),
        ("--max-print", ["1", "1TB"], &["0"]),
        ("--connection", ["1", "18446744073709551615"], &["0", "18446744073709551616"]),
        ("--connect-timeout", ["1ns", "1year"], &["0s", "-1s"]),
        ("--idle-timeout", ["1ns", "1year"], &["0s", "-1s"]),
        ("--half-close-timeout", ["1ns", "1year"], &["0s", "-1s"]),
        ("--shutdown-timeout", ["0s", "1year"], &["-1s"]),
        ("--rotate-interval", ["1ns", "1year"], &["0s", "-1s"]),
        ("--keepalive", ["1ns", "1year"], &["0s", "-1s"]),
    ];
    for (option, edges, beyond) in ranges {
        for value in edges {
            let (accepted, said) = accepts(option, value);
            assert!(accepted, "{option} {value}: {said}");
        }
        for value in beyond {
            let (accepted, said) = accepts(option, value);
            assert!(!accepted && said.contains("invalid"), "{option} {value}: {said}");
        }
    }
}

/// The range that the parser enforces stands in the help.
#[test]
fn help_names_the_ranges() {
    let help = String::from_utf8(Process::run(&["--help"]).stdout).unwrap();
    for range in ["1 to 1024", "1 to 1000000", "64 to 65475"] {
        assert!(help.contains(range), "no '{range}' in the help");
    }
}
