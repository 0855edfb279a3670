//! Traffic as text, with nothing in it that a terminal would obey.

use std::ops::Range;
use std::str;

use crate::console::hexdump::MARK;

/// Where a direction stands in the middle of its text.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The last line shown has not ended.
    pub(super) is_open: bool,
    /// The first bytes of a character that came in two chunks.
    partial: Vec<u8>,
    /// The offset of what goes on here.
    next: u64,
}

impl Line {
    /// Begins a new line where the bytes at `offset` do not follow those shown last: what lies
    /// between was not chosen to be shown, or dropped.
    pub(super) fn seek(&mut self, offset: u64, show: impl FnMut(&str, bool)) {
        if offset != self.next {
            self.end(show);
            self.is_open = false;
            self.next = offset;
        }
    }

    /// Hands every line of `chunk` to `show`, escaped, with whether it goes on the one before. What
    /// lies in `marks` (ranges in `chunk`, in order) is in reverse video.
    pub(super) fn chunk(
        &mut self,
        chunk: &[u8],
        marks: &[Range<usize>],
        mut show: impl FnMut(&str, bool),
    ) {
        self.next += chunk.len() as u64;
        let mut bytes = std::mem::take(&mut self.partial);
        let mut marks = Marks { rest: marks, shift: bytes.len() };
        let mut start = 0;
        bytes.extend_from_slice(chunk);
        let cut = bytes.len() - incomplete_tail(&bytes);
        self.partial = bytes.split_off(cut);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ended = line.ends_with(b"\n");
            show(&marks.escape(without_end(line), start), self.is_open);
            self.is_open = !ended;
            start += line.len();
        }
    }

    /// Hands out what will never be complete.
    pub(super) fn end(&mut self, mut show: impl FnMut(&str, bool)) {
        let partial = std::mem::take(&mut self.partial);
        if !partial.is_empty() {
            show(&escape(&partial), self.is_open);
            self.is_open = true;
        }
    }
}

/// Goes through marked ranges once, line by line.
struct Marks<'a> {
    rest: &'a [Range<usize>],
    /// How many bytes come before that which the ranges are in.
    shift: usize,
}

impl Marks<'_> {
    /// A line that begins at `start`, escaped and marked.
    fn escape(&mut self, line: &[u8], start: usize) -> String {
        let mut out = String::new();
        let mut done = 0;
        while let Some((mark, rest)) = self.rest.split_first() {
            let within = |at: usize| (at + self.shift).saturating_sub(start).min(line.len());
            let (from, to) = (within(mark.start), within(mark.end));
            if from < to {
                out.push_str(&escape(&line[done..from]));
                out.push_str(MARK[0]);
                out.push_str(&escape(&line[from..to]));
                out.push_str(MARK[1]);
                done = to;
            }
            if mark.end + self.shift > start + line.len() {
                break;
            }
            self.rest = rest;
        }
        out + &escape(&line[done..])
    }
}

/// Without `\n` or `\r\n`, which the end of the shown line stands for.
fn without_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

/// How many bytes at the end may be the beginning of a character.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let end = &bytes[bytes.len().saturating_sub(4)..];
    match end.utf8_chunks().last() {
        Some(last) => {
            let tail = last.invalid();
            let is_cut = str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
            if is_cut { tail.len() } else { 0 }
        }
        None => 0,
    }
}

/// Printable characters as they are; everything else as Rust and most languages write it.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n"),
                c if c.is_ascii_control() => push_hex(c as u8, &mut out),
                c if prints(c) => out.push(c),
                c => out.push_str(&format!("\\u{{{:x}}}", c as u32)),
            }
        }
        for byte in chunk.invalid() {
            push_hex(*byte, &mut out);
        }
    }
    out
}

/// Without `format!`: traffic that is no text has one of these for every other byte.
fn push_hex(byte: u8, out: &mut String) {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
    out.extend(['\\', 'x', digit(byte >> 4), digit(byte)]);
}

/// Whether a character takes its place on a line and does nothing else. Left out are controls,
/// what turns the direction of writing or joins and hides characters (Unicode category Cf), line
/// separators, fillers and selectors that look like nothing, and what has no meaning or no glyph.
pub(super) fn prints(c: char) -> bool {
    !matches!(
        c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}'
            | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{110bd}'
            | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut line = Line::default();
        let mut shown = Vec::new();
        for chunk in chunks {
            line.chunk(chunk, &[], |text, goes_on| shown.push((text.to_owned(), goes_on)));
        }
        line.end(|text, goes_on| shown.push((text.to_owned(), goes_on)));
        shown
    }

    #[test]
    fn lines_end_at_line_feeds_of_traffic() {
        let shown = lines(&[b"GET / HTTP/1.1\r\nHost: x\n\r\nbo", b"dy"]);
        let expected = [("GET / HTTP/1.1", false), ("Host: x", false), ("", false)];
        let expected = expected.into_iter().chain([("bo", false), ("dy", true)]);
        assert_eq!(shown, expected.map(|(s, b)| (s.to_owned(), b)).collect::<Vec<_>>());
    }

    #[test]
    fn character_in_two_chunks_is_joined() {
        assert_eq!(lines(&[b"a\xc3", b"\xbcb"]), [("a".into(), false), ("üb".into(), true)]);
        assert_eq!(lines(&[b"\xe2\x82"]), [("\\xe2\\x82".into(), false)]);
    }

    #[test]
    fn mark_over_several_lines_is_set_on_each() {
        let mut line = Line::default();
        let mut shown = Vec::new();
        line.chunk(b"\xc3", &[], |_, _| panic!("that is not all of a character"));
        line.chunk(b"\xbcab\r\ncd\nef", &[1..2, 2..6, 7..9], |text, _| shown.push(text.to_owned()));
        let [on, off] = MARK;
        let expected =
            [format!("ü{on}a{off}{on}b{off}"), format!("{on}c{off}d"), format!("{on}e{off}f")];
        assert_eq!(shown, expected);
    }

    #[test]
    fn gap_begins_new_line() {
        let mut line = Line::default();
        let mut shown = Vec::new();
        for (offset, chunk) in [(0, b"a\xc3"), (2, b"\xbcb"), (9, b"c\xc3"), (12, b"\xbcd")] {
            line.seek(offset, |text, goes_on| shown.push((text.to_owned(), goes_on)));
            line.chunk(chunk, &[], |text, goes_on| shown.push((text.to_owned(), goes_on)));
        }
        let expected = [("a", false), ("üb", true), ("c", false), ("\\xc3", true)];
        let expected = expected.into_iter().chain([("\\xbcd", false)]);
        assert_eq!(shown, expected.map(|(s, b)| (s.to_owned(), b)).collect::<Vec<_>>());
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape(b"\x1b[2J\x07\x7f"), "\\x1b[2J\\x07\\x7f");
        assert_eq!(escape("\u{9b}2J\u{202e}x\u{200b}".as_bytes()), "\\u{9b}2J\\u{202e}x\\u{200b}");
        assert_eq!(escape(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(escape(b"a\rb\tc"), "a\\rb\\tc");
    }

    proptest! {
        #[test]
        fn escaped_text_only_prints(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(escape(&bytes).chars().all(prints));
        }
    }
}
