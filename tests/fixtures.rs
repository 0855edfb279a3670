//! Events written by hand, and what each format makes of them, byte for byte.
//!
//! `fixtures/NAME.events` are the events, as `tcp_tunn::sink::replay` reads them, and beside them
//! stands one file a format. After a change that is meant:
//! `UPDATE_FIXTURES=1 cargo test fixtures`, then read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tcp_tunn::event::{Event, Timestamp};
use tcp_tunn::sink::console::{Console, ConsoleOptions, Format, TimeStyle};
use tcp_tunn::sink::replay::{parse, render, replay};
use tcp_tunn::sink::summary::ConnectionTable;

/// The ending of the file, and what makes its contents.
type Golden = (&'static str, fn(&[Event]) -> Vec<u8>);

/// A format is tested when it has a line here.
const GOLDEN: [Golden; 6] = [
    ("hexdump", |events| console(events, Format::Hexdump, false)),
    ("hexdump-colour", |events| console(events, Format::Hexdump, true)),
    ("text", |events| console(events, Format::Text, false)),
    ("text-colour", |events| console(events, Format::Text, true)),
    ("json", |events| console(events, Format::Json, false)),
    ("summary", summary),
];

fn console(events: &[Event], format: Format, colour: bool) -> Vec<u8> {
    let mut options = ConsoleOptions::default();
    options.format = format;
    options.colour = colour;
    options.time = TimeStyle::Utc;
    let mut out = Vec::new();
    replay(events, &mut Console::new(&mut out, options)).unwrap();
    out
}

fn summary(events: &[Event]) -> Vec<u8> {
    let mut table = ConnectionTable::new(20);
    replay(events, &mut table).unwrap();
    let now = events.last().map_or(Timestamp(0), |event| event.time);
    table.render(now).into_bytes()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
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
    assert!(!fixtures.is_empty());
    fixtures
}

#[test]
fn every_format_makes_of_the_fixtures_what_is_committed() {
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    let mut differing = Vec::new();
    for (name, events) in all() {
        for (ending, make) in GOLDEN {
            let file = folder().join(format!("{name}.{ending}"));
            let made = make(&events);
            if update {
                fs::write(&file, &made).unwrap();
            }
            if fs::read(&file).unwrap_or_default() != made {
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
fn there_are_no_other_files_in_the_folder() {
    let mut expected = BTreeSet::new();
    for (name, _) in all() {
        let endings = GOLDEN.iter().map(|(ending, _)| *ending).chain(["events"]);
        expected.extend(endings.map(|ending| format!("{name}.{ending}")));
    }
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let found: BTreeSet<_> = files.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn fixtures_survive_being_written_and_read() {
    for (name, events) in all() {
        assert_eq!(parse(&render(&events)).as_ref(), Ok(&events), "{name}");
    }
}
