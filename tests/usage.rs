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
    let rotate: &[_] = if option == "--rotate-files" { &["--rotate-size", "1MB"] } else { &[] };
    let more = ["--pcap", pcap.to_str().unwrap(), option, value];
    let ended = Process::run(&[&end[..], &more, rotate].concat());
    (ended.code != Some(2), ended.stderr.join("\n"))
}

/// The options whose help names a range, each with its least value and its greatest, if any.
fn ranges() -> Vec<(String, Vec<String>)> {
    let help = String::from_utf8(Process::run(&["--help"]).stdout).unwrap();
    let mut found = Vec::new();
    for entry in help.split("\n      --").skip(1) {
        let text = entry.split_whitespace().collect::<Vec<_>>().join(" ");
        let Some((_, range)) = text.split_once("[range: ") else { continue };
        let range = range.split(']').next().unwrap();
        let edges: Vec<_> = match range.strip_prefix("at least ") {
            Some(least) => vec![least.to_owned()],
            None => range.split(" to ").map(str::to_owned).collect(),
        };
        found.push((format!("--{}", text.split(' ').next().unwrap()), edges));
    }
    found
}

#[test]
fn edges_of_each_range_work() {
    // `--stop-after` has one a key. What each range refuses, the parser's own tests hold.
    let ranges: Vec<_> = ranges().into_iter().filter(|(name, _)| name != "--stop-after").collect();
    assert!(ranges.len() >= 15, "{ranges:?}");
    for (option, edges) in &ranges {
        for edge in edges {
            // More threads than a test should start.
            let edge = if option == "--workers" && edge == "1024" { "64" } else { edge };
            let (accepted, said) = accepts(option, edge);
            assert!(accepted, "{option} {edge}: {said}");
        }
    }
}
