//! What the command reports to its user on stderr.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};

use tcp_tunn::os_error::Sentence;

/// Something failed at run time.
pub(super) const FAILED: u8 = 1;

/// An error and its causes, without those that its own text names.
pub(super) fn with_causes(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(text_of(&**error), |text, cause| {
        let cause = text_of(cause);
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn text_of(error: &(dyn Error + 'static)) -> String {
    let of_system = error.downcast_ref::<io::Error>();
    of_system.map_or_else(|| error.to_string(), |error| Sentence(error).to_string())
}

/// Tells the user one line. Where nobody reads it there is nobody else to tell.
pub(super) fn complain(what: impl Display) {
    tell(format_args!("tcp_tunn: {what}"));
}

/// Puts one line on stderr, at once, or several.
pub(super) fn tell(lines: impl Display) {
    let lines = printable(&lines.to_string());
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{lines}").and_then(|()| stderr.flush());
}

/// The lines, with nothing in them that a terminal would obey: a path may hold anything.
fn printable(lines: &str) -> String {
    let escaped = |c: char| match c {
        '\n' => c.to_string(),
        '\0'..='\x7f' if c.is_control() => format!("\\x{:02x}", c as u32),
        c if c.is_control() || turns_writing(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    lines.chars().map(escaped).collect()
}

/// Whether what follows is written the other way round, or on another line.
const fn turns_writing(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

/// What to try where a file cannot be written.
pub(super) fn file_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create the directory first",
        io::ErrorKind::StorageFull => "make room, or choose another place",
        io::ErrorKind::IsADirectory => "name a file in it",
        io::ErrorKind::ResourceBusy => "choose another file, or end that process",
        _ => "choose another file, or a directory of your own",
    }
}
