//! What every output makes of events written by hand, byte for byte.
//!
//! `fixtures/README.md` tells what stands there. After a change that is meant:
//! `UPDATE_FIXTURES=1 cargo test fixtures`, and read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tcp_tunn::capture::{Environment, PcapngOptions, PcapngSink};
use tcp_tunn::console::summary::TopConnections;
use tcp_tunn::console::{Console, ConsoleOptions, Format, TimeStyle};
use tcp_tunn::event::Event;
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::replay::{parse, render, replay};

use crate::support::events::check_contract;
use crate::support::verdict::{RESET, judge};

/// The ending of the file, and what makes its contents.
type Golden = (&'static str, fn(&[Event]) -> Vec<u8>);

/// An output is tested when it has a line here.
const GOLDEN: [Golden; 9] = [
    ("hexdump", |events| console(events, Format::Hexdump, false)),
    ("hexdump-color", |events| console(events, Format::Hexdump, true)),
    ("text", |events| console(events, Format::Text, false)),
    ("text-color", |events| console(events, Format::Text, true)),
    ("json", |events| console(events, Format::Json, false)),
    ("raw", |events| console(events, Format::Raw, false)),
    ("summary", summary),
    ("pcapng", |events| capture(events, Legs::Direct)),
    ("both.pcapng", |events| capture(events, Legs::Both)),
];

fn console(events: &[Event], format: Format, color: bool) -> Vec<u8> {
    let mut options = ConsoleOptions::default();
    (options.format, options.color, options.time) = (format, color, TimeStyle::Utc);
    options.info = true;
    let mut out = Vec::new();
    replay(events, &mut Console::new(&mut out, options)).unwrap();
    out
}

fn summary(events: &[Event]) -> Vec<u8> {
    let mut sink = TopConnections::new(20);
    replay(events, &mut sink).unwrap();
    sink.table().to_string().into_bytes()
}

fn capture(events: &[Event], legs: Legs) -> Vec<u8> {
    let mut options = PcapngOptions::default();
    (options.legs, options.isn_seed) = (legs, Some(1));
    options.info = true;
    options.environment = Environment::new("an operating system", "tcp_tunn in its tests");
    let file = tempfile::NamedTempFile::new().unwrap();
    replay(events, &mut PcapngSink::new(file.reopen().unwrap(), options).unwrap()).unwrap();
    fs::read(file.path()).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn path(name: &str, ending: &str) -> PathBuf {
    folder().join(format!("{name}.{ending}"))
}

/// The names and events of all fixtures.
pub(crate) fn all() -> Vec<(String, Vec<Event>)> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut fixtures: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|ending| ending == "events"))
        .map(|file| {
            let events = parse(&fs::read_to_string(&file).unwrap()).unwrap();
            (file.file_stem().unwrap().to_str().unwrap().to_owned(), events)
        })
        .collect();
    fixtures.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(fixtures.len() >= 5, "fixtures are missing: {fixtures:?}");
    fixtures
}

#[test]
fn outputs_of_fixtures_match_committed_files() {
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    let mut differing = Vec::new();
    for (name, events) in all() {
        for (ending, make) in GOLDEN {
            let file = path(&name, ending);
            let kept = fs::read(&file).unwrap_or_default();
            let made = make(&events);
            let same = file.exists() && kept == made;
            if !same && update {
                fs::write(&file, &made).unwrap();
            } else if !same {
                differing.push(format!("{name}.{ending}"));
            }
        }
    }
    assert!(
        differing.is_empty(),
        "{differing:?} in fixtures/ are not what is made now\n\
         (if it is meant, run 'UPDATE_FIXTURES=1 cargo test fixtures')"
    );
}

#[test]
fn wireshark_accepts_captures_of_fixtures() {
    for (name, _) in all() {
        for ending in ["pcapng", "both.pcapng"] {
            judge(&path(&name, ending), &[RESET]);
        }
    }
}

#[test]
fn fixtures_folder_has_only_known_files() {
    // The sessions of TLS are looked at by the tests beside the code that decrypts them.
    let mut expected = BTreeSet::from(["README.md".to_owned(), "tls".to_owned()]);
    for (name, _) in all() {
        let endings = GOLDEN.iter().map(|(ending, _)| *ending).chain(["events"]);
        expected.extend(endings.map(|ending| format!("{name}.{ending}")));
    }
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let found: BTreeSet<_> = files.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn fixtures_keep_event_contract() {
    for (_, events) in all() {
        check_contract(&events);
    }
}

#[test]
fn fixtures_parse_back_after_render() {
    for (name, events) in all() {
        assert_eq!(parse(&render(&events)).as_ref(), Ok(&events), "{name}");
    }
}
