//! JSON, written piece by piece.

use std::fmt::{Display, Write};

use chrono::{DateTime, SecondsFormat};

use crate::event::Timestamp;

/// A text that grows into one JSON value.
#[derive(Default)]
pub(super) struct Json {
    text: String,
    /// Whether a comma has to come before the next member or element.
    is_later: bool,
}

impl Json {
    /// The text so far.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Takes the text so far, to go on after it.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// How long the text is so far.
    pub(super) const fn len(&self) -> usize {
        self.text.len()
    }

    fn comma(&mut self) {
        if std::mem::replace(&mut self.is_later, true) {
            self.text.push(',');
        }
    }

    /// Begins an object or array, as the bracket says.
    pub(super) fn begin(&mut self, bracket: char) {
        self.comma();
        self.text.push(bracket);
        self.is_later = false;
    }

    /// Ends it.
    pub(super) fn end(&mut self, bracket: char) {
        self.text.push(bracket);
        self.is_later = true;
    }

    /// The name of the next value.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.text.push(':');
        self.is_later = false;
        self
    }

    /// A number, or a word of JSON.
    pub(super) fn value(&mut self, value: impl Display) {
        self.comma();
        // Writing to a string does not fail.
        let _ = write!(self.text, "{value}");
    }

    pub(super) fn string(&mut self, value: &str) {
        self.comma();
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                    let _ = write!(self.text, "\\u{:04x}", c as u32);
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    /// A time as RFC 3339 has it, in UTC and with nanoseconds.
    pub(super) fn time(&mut self, time: Timestamp) {
        self.string(&rfc3339(time));
    }
}

fn rfc3339(time: Timestamp) -> String {
    let (seconds, nanos) = time.seconds_and_nanos();
    let time = DateTime::from_timestamp(seconds as i64, nanos).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_separated() {
        let mut json = Json::default();
        json.begin('{');
        json.name("a").value(1);
        json.name("b").begin('[');
        json.string("x\"\\\n\u{7f}\u{202e}");
        json.begin('{');
        json.end('}');
        json.value(true);
        json.end(']');
        json.name("t").time(Timestamp(1_000_000_001));
        json.end('}');
        let expected = concat!(
            r#"{"a":1,"b":["x\"\\\u000a\u007f"#,
            "\u{202e}",
            r#"",{},true],"t":"1970-01-01T00:00:01.000000001Z"}"#
        );
        assert_eq!(json.into_text(), expected);
    }
}
