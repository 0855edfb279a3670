//! What every output makes of events written by hand, byte for byte.
//!
//! After a change that is meant: `UPDATE_FIXTURES=1 cargo test fixtures`, and read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use tcp_tunn::event::Event;
use tcp_tunn::packet::View;
use tcp_tunn::sink::Sink;
use tcp_tunn::sink::console::{Console, ConsoleOptions, Format, TimeStyle};
use tcp_tunn::sink::pcapng::{PcapngOptions, PcapngSink};

use crate::support::fixture;
use crate::support::verdict::{RESET, judge};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "events"))
        .collect();
    files.sort();
    assert!(files.len() >= 3, "fixtures are missing: {files:?}");
    files
}

fn feed(mut sink: impl Sink, events: &[Event]) {
    events.iter().for_each(|event| sink.record(event).unwrap());
    sink.flush().unwrap();
    sink.finish().unwrap();
}

fn console(events: &[Event], format: Format, colour: bool) -> Vec<u8> {
    let mut options = ConsoleOptions::default();
    (options.format, options.colour, options.time) = (format, colour, TimeStyle::Utc);
    let file = tempfile::NamedTempFile::new().unwrap();
    feed(Console::new(file.reopen().unwrap(), options), events);
    fs::read(file.path()).unwrap()
}

fn capture(events: &[Event], view: View) -> Vec<u8> {
    let mut options = PcapngOptions::default();
    (options.view, options.isn_seed) = (view, Some(1));
    let file = tempfile::NamedTempFile::new().unwrap();
    feed(PcapngSink::new(file.reopen().unwrap(), options).unwrap(), events);
    fs::read(file.path()).unwrap()
}

/// All of a capture but the section header, which names the machine and the version.
fn after_header(capture: &[u8]) -> &[u8] {
    let len = u32::from_le_bytes(capture[4..8].try_into().unwrap());
    &capture[len as usize..]
}

/// Holds `made` against the golden file, or makes it the golden one where that is asked for.
#[track_caller]
fn compare(golden: &Path, made: &[u8], part: fn(&[u8]) -> &[u8]) {
    let kept = fs::read(golden).unwrap_or_default();
    if !kept.is_empty() && part(&kept) == part(made) {
        return;
    }
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(golden, made).unwrap();
        return;
    }
    let (name, made) = (golden.display(), String::from_utf8_lossy(made));
    let kept = String::from_utf8_lossy(&kept);
    panic!(
        "{name} should be\n{kept}\nbut is\n{made}\n(meant? UPDATE_FIXTURES=1 cargo test fixtures)"
    );
}

#[test]
fn fixtures_look_the_same_on_the_console() {
    for path in fixtures() {
        let events = fixture::parse(&fs::read_to_string(&path).unwrap());
        for (extension, format, colour) in [
            ("hexdump", Format::Hexdump, false),
            ("colour", Format::Hexdump, true),
            ("text", Format::Text, false),
            ("json", Format::Json, false),
            ("raw", Format::Raw, false),
        ] {
            let made = console(&events, format, colour);
            compare(&path.with_extension(extension), &made, |all| all);
        }
    }
}

#[test]
fn fixtures_make_the_same_captures() {
    for path in fixtures() {
        let events = fixture::parse(&fs::read_to_string(&path).unwrap());
        for (extension, view) in [("pcapng", View::Direct), ("both.pcapng", View::Both)] {
            let golden = path.with_extension(extension);
            compare(&golden, &capture(&events, view), after_header);
            judge(&golden, &[RESET]);
        }
    }
}
