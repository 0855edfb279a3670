//! Times as RFC 3339 writes them, to the nanosecond, and the calendar that this needs.

use std::fmt::Write;

use crate::event::Timestamp;

const NANOS: i128 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Writes a time in UTC, with nine digits after the point.
pub(super) fn write(time: Timestamp, out: &mut String) {
    let (seconds, nanos) = time.seconds_and_nanos();
    // At most 2^64 / 10^9.
    let seconds = seconds as i64;
    let (year, month, day) = date(seconds / DAY);
    let [hour, minute, second] = [seconds / 3600 % 24, seconds / 60 % 60, seconds % 60];
    // Writing to memory does not fail.
    let _ =
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z");
}

/// Reads a time; none if it is not one, or one that a [`Timestamp`] does not hold.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day)?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    let nanos = i128::from(seconds) * NANOS + i128::from(fraction.map_or(Some(0), nanos)?);
    u64::try_from(nanos).ok().map(Timestamp)
}

/// Numbers with a given count of digits each, and `separator` between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// The digits after the point in nanoseconds; what is finer is cut off.
fn nanos(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = &fraction[..fraction.len().min(9)];
    format!("{digits:0<9}").parse().ok()
}

/// How many seconds a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at(1) {
        ("Z" | "z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The days from 1970-01-01 to a date of the Gregorian calendar; none if there is no such date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    // Years that begin in March have their leap day last.
    let (year, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + (153 * from_march + 2) / 5 + day - 1 - EPOCH;
    // A day that the month does not have comes back as one of the next.
    (date(days).2 == day).then_some(days)
}

/// The days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
const DAYS_IN_400_YEARS: i64 = 146_097;

/// The year, month and day of a number of days after 1970-01-01.
const fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let (era, day) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let (month, next) = if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_written_reads_back() {
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800_000_000_001, "2000-03-01T00:00:00.000000001Z"),
            (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
            (u64::MAX, "2554-07-21T23:34:33.709551615Z"),
        ] {
            let mut written = String::new();
            write(Timestamp(nanos), &mut written);
            assert_eq!(written, text);
            assert_eq!(parse(text), Some(Timestamp(nanos)), "{text}");
        }
    }

    #[test]
    fn day_written_reads_back() {
        for day in 0..200_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn zone_and_short_fraction_are_read() {
        let noon = parse("2026-01-02T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(parse("2026-01-02T14:30:00+02:30"), noon);
        assert_eq!(parse("2026-01-02t07:00:00.0-05:00"), noon);
        assert_eq!(parse("1970-01-01T00:00:00.25z"), Some(Timestamp(250_000_000)));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T12:00:00",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-01-00T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T12:60:00Z",
            "2026-01-02T12:00:60Z",
            "2026-1-2T12:00:00Z",
            "2026-01-02T12:00:00.Z",
            "2026-01-02T12:00:00.xZ",
            "2026-01-02T12:00:00.12345678éZ",
            "2026-01-02T12:00:00+2:00",
            "1969-12-31T23:59:59Z",
            "2555-01-01T00:00:00Z",
            "+026-01-02T12:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
