//! The rules, and what breaks them.

use super::source::{
    Words, functions, has_attribute, lines_of_code, mentions, parse, paths, without_tests,
};

const COLUMNS_MAX: usize = 100;
/// Of a file, with comments; and of its code alone.
const LINES_MAX: usize = 500;
const CODE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Words that only some places may use.
const ONLY: &[(&[&str], &[&str])] = &[
    (&["tokio_uring", "io_uring"], &["src/net/"]),
    (&["unsafe"], &["src/net/", "src/launch/sys.rs"]),
    // What a collector has acknowledged, only a call of the kernel tells.
    (&["crate::net"], &["src/net/", "src/tunnel/", "src/capture/push/link.rs"]),
    (&["etherparse"], &["src/packet/"]),
    (&["pcap_file"], &["src/capture/"]),
    (&["async_nats", "crate::fleet"], &["src/fleet/"]),
    (&["axum"], &["src/web/", "src/metrics/"]),
    (&["prometheus_client"], &["src/metrics/"]),
    (
        &["anyhow", "clap", "clap_complete", "clap_mangen", "tracing_subscriber"],
        &["src/cli/", "src/main.rs"],
    ),
];

/// What a pure layer does not do: read, write, look at the clock, draw lots.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "Utc::now",
    "Local::now",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "std::hash::RandomState",
    "RandomState",
    "rand",
    "getrandom",
    "tokio",
];

/// Words that some places may not use.
const NEVER: &[(&[&str], &[&str])] = &[
    (&["super"], &["src/event.rs"]),
    (
        IMPURE,
        &[
            "src/event",
            "src/verdict",
            "src/ingress",
            "src/tls/decrypt",
            "src/packet",
            "src/console/hexdump",
        ],
    ),
    (
        &["crate::tunnel", "tcp_tunn::tunnel"],
        &["src/sink", "src/capture", "src/console", "src/web", "src/metrics", "src/fleet"],
    ),
    (&["crate::tunnel", "crate::sink", "std::net"], &["src/transform"]),
    (&["crate::event", "crate::sink", "crate::tunnel", "crate::transform"], &["src/net"]),
    (&["crate::sink", "crate::tunnel", "crate::transform"], &["src/ingress"]),
    (&["crate::event", "crate::sink", "crate::tunnel", "crate::transform"], &["src/launch"]),
    (
        &["crate::console", "crate::capture", "crate::web", "crate::metrics", "crate::packet"],
        &["src/tunnel"],
    ),
];

/// Macros and attributes of unfinished work.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];
const UNFINISHED_ATTRIBUTES: &[&str] = &["ignore"];

/// All that breaks a rule in the file at `path`, a line for each.
pub(super) fn check(path: &str, text: &str) -> Vec<String> {
    let file = parse(text);
    let mut broken = Vec::new();
    check_size(text, lines_of_code(&file), &mut broken);
    for (name, lines) in functions(&file).into_iter().filter(|(_, n)| *n > FUNCTION_LINES_MAX) {
        broken.push(format!("{name}() has {lines} lines; let it do one thing"));
    }
    let all = paths(&file);
    for word in UNFINISHED.iter().filter(|word| named(&all, word)) {
        broken.push(format!("{word} is not for keeping"));
    }
    for name in UNFINISHED_ATTRIBUTES.iter().filter(|name| has_attribute(&file, name)) {
        broken.push(format!("#[{name}] is not for keeping"));
    }
    if path.starts_with("src/") && !path.ends_with("/tests.rs") {
        check_layers(path, &paths(&without_tests(&file)), &mut broken);
    }
    broken.iter().map(|what| format!("{path}: {what}")).collect()
}

fn named(paths: &[Words], wanted: &str) -> bool {
    paths.iter().any(|path| mentions(path, wanted))
}

fn check_size(text: &str, code_lines: usize, broken: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LINES_MAX || code_lines > CODE_LINES_MAX {
        broken.push(format!("{lines} lines, {code_lines} of code; split it by thought"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            broken.push(format!("line {number} has {columns} columns"));
        }
    }
}

fn check_layers(path: &str, names: &[Words], broken: &mut Vec<String>) {
    let within = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    for (words, places) in ONLY.iter().filter(|(_, places)| !within(places)) {
        for word in words.iter().filter(|word| named(names, word)) {
            broken.push(format!("{word} belongs in {} alone", places.join(" and ")));
        }
    }
    for (words, _) in NEVER.iter().filter(|(_, places)| within(places)) {
        for word in words.iter().filter(|word| named(names, word)) {
            broken.push(format!("{word} has no place in this layer"));
        }
    }
}

#[test]
fn broken_rule_is_found() {
    let long_line = format!("// {}", "x".repeat(98));
    let long_file = "\n".repeat(501);
    let long_code = "const _: () = ();\n".repeat(401);
    let long_function = format!("fn f() {{{}}}", "\n".repeat(70));
    for (path, text, word) in [
        ("src/tunnel/run.rs", "use tokio_uring::net;", "tokio_uring belongs in src/net/"),
        ("src/tunnel/run.rs", "fn g() { unsafe { f() } }", "unsafe belongs"),
        ("src/sink/mod.rs", "use etherparse::{TcpHeader};", "etherparse belongs"),
        ("src/packet/mod.rs", "use pcap_file::pcapng;", "pcap_file belongs"),
        ("src/tunnel/run.rs", "fn f() -> anyhow::Result<()> {}", "anyhow belongs"),
        ("src/sink/mod.rs", "#[derive(clap::ValueEnum)] enum E {}", "clap belongs"),
        ("src/event.rs", "use super::sink::Sink;", "super has no place"),
        (
            "src/packet/stream.rs",
            "fn f() { let now = Instant::now(); }",
            "Instant::now has no place",
        ),
        ("src/packet/stream.rs", "use std::{fmt, fs};", "std::fs has no place"),
        (
            "src/console/hexdump.rs",
            "use std::time::SystemTime;",
            "std::time::SystemTime has no place",
        ),
        ("src/capture/mod.rs", "use crate::tunnel::Limits;", "tunnel has no place"),
        ("src/sink/mod.rs", "use crate::{event, tunnel};", "tunnel has no place"),
        ("src/tunnel/run.rs", "use crate::capture::PcapngSink;", "capture has no place"),
        ("src/tunnel/run.rs", "use crate::web::WebSink;", "crate::web has no place"),
        ("src/console/mod.rs", "use axum::Router;", "axum belongs in src/web/"),
        ("src/net/mod.rs", "use crate::event::Event;", "crate::event has no place"),
        ("src/transform/mod.rs", "use std::net::TcpStream;", "std::net has no place"),
        ("src/ingress/via.rs", "use std::net::TcpStream;", "TcpStream has no place"),
        ("src/launch/command.rs", "fn g() { unsafe { f() } }", "unsafe belongs"),
        ("src/launch/command.rs", "use crate::net::Socket;", "crate::net belongs"),
        ("src/ingress/via.rs", "use crate::tunnel::Address;", "crate::tunnel has no place"),
        ("tests/relay.rs", "#[test]\n#[ignore]\nfn f() {}", "#[ignore] is not for keeping"),
        ("examples/demo.rs", "fn f() { todo!() }", "todo! is not for keeping"),
        ("benches/relay.rs", &long_line, "line 1 has 101 columns"),
        ("fuzz/x.rs", &long_file, "501 lines"),
        ("fuzz/x.rs", &long_code, "401 of code"),
        ("tests/relay.rs", &long_function, "f() has 71 lines"),
    ] {
        let broken = check(path, text);
        assert!(broken.iter().any(|what| what.contains(word)), "{path}: {text}: {broken:?}");
        assert!(broken.iter().all(|what| what.starts_with(path)), "{broken:?}");
    }
}

#[test]
fn kept_rules_are_not_reported() {
    let long_documentation = format!("{}fn f() {{}}", "/// a\n".repeat(450));
    for (path, text) in [
        ("src/net/mod.rs", "use tokio_uring::net; fn g() { unsafe { f() } }"),
        ("src/main.rs", "use clap::Parser; fn f() -> anyhow::Result<()> {}"),
        ("src/tunnel/run.rs", "// tokio_uring is not named here\nfn f() {}"),
        ("src/tunnel/run.rs", "const HINT: &str = \"unsafe, todo!\";"),
        ("src/tunnel/run.rs", "fn my_clap() {} fn unsafe_code() {}"),
        ("src/packet/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }"),
        ("src/packet/tests.rs", "use std::fs;"),
        ("tests/process.rs", "use std::net::TcpStream;"),
        ("tests/process.rs", &long_documentation),
    ] {
        assert_eq!(check(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
