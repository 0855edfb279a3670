//! Times as people read them.

use chrono::{DateTime, Local, Utc};

use super::TimeStyle;
use crate::event::Timestamp;

/// Shows times in one style.
pub(super) struct Times {
    style: TimeStyle,
    first: Option<Timestamp>,
    /// The second that was shown last, and how: most events share it with the one before.
    second: Option<(u64, String)>,
}

impl Times {
    pub(super) const fn new(style: TimeStyle) -> Self {
        Self { style, first: None, second: None }
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
        let (second, nanos) = time.seconds_and_nanos();
        if self.second.as_ref().is_none_or(|(shown, _)| *shown != second) {
            self.second = Some((second, format(utc(time))));
        }
        let shown = self.second.as_ref().map_or("", |(_, shown)| shown);
        format!("{shown}.{nanos:09} ")
    }
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
    }
}
