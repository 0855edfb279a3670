//! What the command reports to its user on stderr.

use std::fmt::Display;
use std::io::{self, Write};

/// Something failed at run time.
pub(super) const FAILED: u8 = 1;

/// An error and its causes, without those that its own text names.
pub(super) fn with_causes(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Tells the user one line. Where nobody reads it there is nobody else to tell.
pub(super) fn complain(what: impl Display) {
    tell(format_args!("tcp_tunn: {what}"));
}

/// Puts one line on stderr, at once, or several.
pub(super) fn tell(lines: impl Display) {
    let lines = printable(&without_errno(&lines.to_string()));
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{lines}").and_then(|()| stderr.flush());
}

/// The text without the number that [`io::Error`] puts after its sentence, as in `(os error 2)`.
fn without_errno(text: &str) -> String {
    const MARK: &str = " (os error ";
    let mut parts = text.split(MARK);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        match part.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(')') {
            Some(rest) => shown + rest,
            None => shown + MARK + part,
        }
    })
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
