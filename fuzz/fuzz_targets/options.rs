//! The command line: no arguments make the parser panic, and what it refuses is told in one line.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../src/cli/mod.rs"]
mod cli;

/// What a mutation seldom finds by itself, each a byte.
const WORDS: &[&str] = &[
    "--from",
    "--to",
    "--console",
    "--color",
    "--time",
    "--max-print",
    "--only",
    "--connection",
    "--grep",
    "--pcap",
    "--legs",
    "--segment-size",
    "--snaplen",
    "--pcap-over-ip",
    "--push",
    "--rotate-size",
    "--rotate-interval",
    "--rotate-files",
    "--stop-after",
    "--tls-keylog",
    "--connect-timeout",
    "--idle-timeout",
    "--half-close-timeout",
    "--max-connections",
    "--workers",
    "--shutdown-timeout",
    "--on-slow-sink",
    "--sink-buffer",
    "--on-sink-error",
    "-v",
    "-q",
    "127.0.0.1:0",
    "[::1]:80",
    "unix:/x",
    "example.com:80",
    "-",
    "10s",
    "64MiB",
    "packets:",
    "size:",
];

fuzz_target!(|input: (&[u8], Vec<&str>)| {
    let (numbers, given) = input;
    let mut given = given.into_iter();
    let mut args = vec!["tcp_tunn"];
    for number in numbers {
        // A word of the list, or one of the fuzzer's own.
        match WORDS.get(usize::from(*number)) {
            Some(word) => args.push(word),
            None => args.extend(given.next()),
        }
    }
    if let Err(error) = cli::args::parse(args)
        && error.use_stderr()
    {
        let told = cli::usage::one_line(&error);
        assert!(!told.is_empty() && !told.contains('\n'), "{told}");
    }
});
