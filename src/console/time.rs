//! Times as people read them.

use chrono::{DateTime, Local, Utc};

use super::options::TimeStyle;
use crate::event::Timestamp;

/// Shows times in one style.
pub(super) struct Times {
    style: TimeStyle,
    first: Option<Timestamp>,
    /// The second that was shown last, and how: most events share it with the one before.
    second: Option<(u64, String)>,
    /// The same for the full time.
    full: Option<(u64, String)>,
}

impl Times {
    pub(super) const fn new(style: TimeStyle) -> Self {
        Self { style, first: None, second: None, full: None }
    }

    /// Notes that something happened, shown or not: relative times count from the first one.
    pub(super) fn note(&mut self, time: Timestamp) {
        self.first.get_or_insert(time);
    }

    /// A time, with a space after it; nothing where none is wanted. `last` is that of the
    /// connection's event before.
    pub(super) fn show(&mut self, time: Timestamp, last: Timestamp) -> String {
        let first = *self.first.get_or_insert(time);
        match self.style {
            TimeStyle::None => String::new(),
            TimeStyle::Relative => seconds("", time.nanos_since(first)),
            TimeStyle::Delta => seconds("+", time.nanos_since(last)),
            TimeStyle::Local => {
                self.of_day(time, |at| at.with_timezone(&Local).format("%T").to_string())
            }
            TimeStyle::Utc => self.of_day(time, |at| at.format("%T").to_string()),
        }
    }

    fn of_day(&mut self, time: Timestamp, format: impl Fn(DateTime<Utc>) -> String) -> String {
        let (_, nanos) = time.seconds_and_nanos();
        let shown = cached(&mut self.second, time, format);
        format!("{shown}.{nanos:09} ")
    }

    /// Date and time as in RFC 3339, in UTC and with nanoseconds, whatever the style.
    pub(super) fn push_rfc3339(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let format = |at: DateTime<Utc>| at.format("%FT%T").to_string();
        out.extend_from_slice(cached(&mut self.full, time, format).as_bytes());
        let mut fraction = *b".000000000Z";
        let mut nanos = time.seconds_and_nanos().1;
        for digit in fraction[1..10].iter_mut().rev() {
            *digit += (nanos % 10) as u8;
            nanos /= 10;
        }
        out.extend_from_slice(&fraction);
    }
}

/// The second of `time` as `format` has it, which is asked only when it is another than before.
fn cached(
    shown: &mut Option<(u64, String)>,
    time: Timestamp,
    format: impl Fn(DateTime<Utc>) -> String,
) -> &str {
    let (second, _) = time.seconds_and_nanos();
    if shown.as_ref().is_none_or(|(before, _)| *before != second) {
        *shown = Some((second, format(utc(time))));
    }
    shown.as_ref().map_or("", |(_, text)| text)
}

fn seconds(sign: &str, nanos: u64) -> String {
    format!("{sign}{}.{:09} ", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// The time for a calendar.
pub(super) fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::try_from(time.0).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_right_in_every_style() {
        let at = Timestamp(1_700_000_000_000_000_001);
        let later = Timestamp(at.0 + 1_500_000_000);
        let mut utc = Times::new(TimeStyle::Utc);
        assert_eq!(utc.show(at, at), "22:13:20.000000001 ");
        assert_eq!(utc.show(later, at), "22:13:21.500000001 ");
        let mut relative = Times::new(TimeStyle::Relative);
        assert_eq!(relative.show(at, at), "0.000000000 ");
        assert_eq!(relative.show(later, later), "1.500000000 ");
        assert_eq!(Times::new(TimeStyle::Delta).show(later, at), "+1.500000000 ");
        assert_eq!(Times::new(TimeStyle::None).show(at, at), "");
        for (time, expected) in [
            (at, "2023-11-14T22:13:20.000000001Z"),
            (later, "2023-11-14T22:13:21.500000001Z"),
            (Timestamp(999_999_999), "1970-01-01T00:00:00.999999999Z"),
        ] {
            let mut full = Vec::new();
            utc.push_rfc3339(time, &mut full);
            assert_eq!(full, expected.as_bytes());
        }
    }
}
