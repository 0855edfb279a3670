//! What the user is told on stderr.

use std::fmt::Display;
use std::io::{self, Write};

/// Something failed at run time.
pub(super) const FAILED: u8 = 1;

/// An error and its causes, but for those that it tells itself.
pub(super) fn with_causes(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.contains(&cause) { told } else { format!("{told}: {cause}") }
    })
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
