//! The ranges of the options' values: one table, which the parser and the help read.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command};
use tcp_tunn::packet::SegmentSize;
use tcp_tunn::tunnel::ranges::{
    KEEPALIVE, MAX_CONNECTIONS, SAMPLE, SHUTDOWN_TIMEOUT, TIMEOUT, WORKERS,
};
use tcp_tunn::{capture, sink, web};

/// What a value is, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Bytes,
    /// In nanoseconds.
    Time,
}

/// The values that an option may have.
#[derive(Debug)]
pub(super) struct Range {
    option: &'static str,
    /// What stands before the number, as `size:` in `--stop-after size:1GiB`.
    key: &'static str,
    unit: Unit,
    least: u64,
    most: u64,
}

/// From 1 up.
const POSITIVE: RangeInclusive<u64> = 1..=u64::MAX;
const SEGMENT_SIZE: RangeInclusive<u64> = SegmentSize::MIN as u64..=SegmentSize::MAX as u64;

/// Each option whose value is a number or begins with one.
pub(super) const RANGES: [Range; 21] = [
    Range::bytes("max-print", "", &POSITIVE),
    Range::count("connection", "", &POSITIVE),
    Range::bytes("segment-size", "", &SEGMENT_SIZE),
    Range::bytes("snaplen", "", &capture::SNAPLEN),
    Range::bytes("rotate-size", "", &POSITIVE),
    Range::time("rotate-interval", "", &TIMEOUT),
    Range::count("rotate-files", "", &POSITIVE),
    Range::time("stop-after", "duration:", &TIMEOUT),
    Range::bytes("stop-after", "size:", &POSITIVE),
    Range::count("stop-after", "packets:", &POSITIVE),
    Range::count("stop-after", "connections:", &POSITIVE),
    Range::time("keepalive", "", &KEEPALIVE),
    Range::time("connect-timeout", "", &TIMEOUT),
    Range::time("idle-timeout", "", &TIMEOUT),
    Range::time("half-close-timeout", "", &TIMEOUT),
    Range::time("shutdown-timeout", "", &SHUTDOWN_TIMEOUT),
    Range::count("max-connections", "", &MAX_CONNECTIONS),
    Range::count("workers", "", &WORKERS),
    Range::bytes("sink-buffer", "", &sink::BUFFER_BYTES),
    Range::time("sample", "", &SAMPLE),
    Range::bytes("web-buffer", "", &web::BUFFER_BYTES),
];

/// Each such option of `tcp_tunn collect`.
#[cfg(feature = "fleet")]
const RANGES_OF_COLLECT: [Range; 1] = [Range::time("max-delay", "", &TIMEOUT)];
#[cfg(not(feature = "fleet"))]
const RANGES_OF_COLLECT: [Range; 0] = [];

/// All of both.
fn ranges() -> impl Iterator<Item = &'static Range> {
    RANGES.iter().chain(&RANGES_OF_COLLECT)
}

impl Range {
    const fn count(option: &'static str, key: &'static str, range: &RangeInclusive<u64>) -> Self {
        Self { option, key, unit: Unit::Count, least: *range.start(), most: *range.end() }
    }

    const fn bytes(option: &'static str, key: &'static str, range: &RangeInclusive<u64>) -> Self {
        Self { unit: Unit::Bytes, ..Self::count(option, key, range) }
    }

    const fn time(
        option: &'static str,
        key: &'static str,
        range: &RangeInclusive<Duration>,
    ) -> Self {
        let (least, most) = (range.start().as_nanos() as u64, range.end().as_nanos() as u64);
        Self { option, key, unit: Unit::Time, least, most }
    }

    /// The range of an option of this table.
    pub(super) fn of(option: &str, key: &str) -> &'static Self {
        let found = ranges().find(|range| range.option == option && range.key == key);
        found.unwrap_or_else(|| panic!("--{option} {key} has no range"))
    }

    /// Reads a value. An error does not repeat it.
    pub(super) fn parse(&self, input: &str) -> Result<u64, String> {
        let number = match self.unit {
            _ if input.starts_with('-') => {
                return Err(format!("must be positive ({})", self.expected()));
            }
            Unit::Count => input.parse().ok(),
            Unit::Bytes => parse_size::parse_size(input).ok(),
            Unit::Time => {
                let is_bare = input.bytes().all(|byte| byte.is_ascii_digit());
                if is_bare && input.bytes().any(|byte| byte != b'0') {
                    return Err(format!("missing unit (try '{input}s')"));
                }
                let time = humantime::parse_duration(input).ok();
                time.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
            }
        };
        match number {
            None if self.unit == Unit::Time => Err(format!("not a duration ({})", self.expected())),
            None if is_large(input) => Err(format!("out of range ({})", self.expected())),
            None => Err(format!("not a number ({})", self.expected())),
            Some(0) if self.least == 1 => Err(format!("must be more than 0 ({})", self.expected())),
            Some(number) if number < self.least || number > self.most => {
                Err(format!("out of range (expected {self})"))
            }
            Some(number) => Ok(number),
        }
    }

    /// What a user should write, by an example where the range alone does not show the form.
    fn expected(&self) -> String {
        match self.unit {
            Unit::Count => format!("expected {self}"),
            Unit::Bytes if self.most < 1 << 20 => format!("expected {self}"),
            Unit::Bytes => format!("expected {self}, such as '64MiB'"),
            Unit::Time => "expected a form such as '10s' or '1h30m'".to_owned(),
        }
    }

    /// The text after the range's key, if it has one.
    fn keyed(&self, text: &str) -> String {
        if self.key.is_empty() { text.to_owned() } else { format!("{} {text}", self.key) }
    }

    /// A value of the option, as a user would write it.
    fn written(&self, value: u64) -> String {
        match self.unit {
            Unit::Count | Unit::Bytes => value.to_string(),
            Unit::Time => humantime::format_duration(Duration::from_nanos(value)).to_string(),
        }
    }
}

/// Whether all that is wrong with a number is that it is too large.
fn is_large(input: &str) -> bool {
    !input.is_empty() && input.bytes().all(|byte| byte.is_ascii_digit())
}

/// `1 to 1024`, or `at least 1`.
impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.most {
            u64::MAX => write!(f, "at least {}", self.written(self.least)),
            most => write!(f, "{} to {}", self.written(self.least), self.written(most)),
        }
    }
}

/// Reads values of a range.
#[derive(Clone)]
struct Ranged(&'static Range);

impl TypedValueParser for Ranged {
    type Value = u64;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<u64, clap::Error> {
        let range = self.0;
        let parse = move |text: String| range.parse(&text);
        StringValueParser::new().try_map(parse).parse_ref(command, arg, value)
    }
}

/// Reads a number of the option's range; of bytes also as `64KiB` or `1.5GB`.
pub(super) fn number(option: &str) -> impl TypedValueParser<Value = u64> {
    Ranged(Range::of(option, ""))
}

/// Reads a span of time of the option's range, such as `10s`, `500ms` or `1m 30s`.
pub(super) fn time(option: &str) -> impl TypedValueParser<Value = Duration> {
    Ranged(Range::of(option, "")).map(Duration::from_nanos)
}

/// The command, whose help names the ranges.
pub(super) fn named_in_help(command: Command) -> Command {
    command.mut_args(|arg| {
        let ranges: Vec<_> = of_option(&arg).map(|range| range.keyed(&range.to_string())).collect();
        if ranges.is_empty() {
            return arg;
        }
        let help = arg.get_long_help().or_else(|| arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        arg.long_help(format!("{help} [range: {}]", ranges.join(", ")))
    })
}

fn of_option(arg: &Arg) -> impl Iterator<Item = &'static Range> {
    ranges().filter(|range| arg.get_long() == Some(range.option))
}

/// Parses the words. A negative number after an option of the table is its value, which is
/// refused, and not an unknown option.
pub(super) fn parse(command: Command, words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let parsed = command.clone().try_get_matches_from(words);
    let Err(error) = parsed else { return parsed };
    let lenient = command.mut_args(|arg| {
        let is_numeric = of_option(&arg).next().is_some();
        arg.allow_hyphen_values(is_numeric)
    });
    match lenient.try_get_matches_from(words) {
        Err(refused) if is_about_a_negative_number(&refused) => Err(refused),
        _ => Err(error),
    }
}

fn is_about_a_negative_number(error: &clap::Error) -> bool {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return false;
    };
    error.kind() == ErrorKind::ValueValidation
        && value
            .strip_prefix('-')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Generate, command, parse};
    use crate::cli::generate;

    fn parsed(range: &Range, value: &str) -> Result<(), String> {
        let value = format!("{}{value}", range.key);
        let end = ["tcp_tunn", "--from", "h:1", "--to", "h:1", "--pcap", "x", "--rotate-size=1"];
        let mut args = end.map(str::to_owned).to_vec();
        if range.option == "rotate-size" {
            args.pop();
        }
        args.extend([format!("--{}", range.option), value]);
        parse(args).map(drop).map_err(|error| crate::cli::usage::one_line(&error))
    }

    /// The number before `value`, or after it, as a user would write it.
    fn next(range: &Range, value: u64, step: i8) -> String {
        let next = i128::from(value) + i128::from(step);
        match range.unit {
            Unit::Time => format!("{next}ns"),
            Unit::Count | Unit::Bytes => next.to_string(),
        }
    }

    #[test]
    fn value_beyond_a_range_is_refused_and_its_edges_are_not() {
        for range in &RANGES {
            for edge in [range.least, range.most] {
                let edge = range.written(edge);
                assert_eq!(parsed(range, &edge), Ok(()), "{range:?}");
            }
            for beyond in [next(range, range.least, -1), next(range, range.most, 1)] {
                let error = parsed(range, &beyond).expect_err(&beyond);
                let words = ["out of range (", "must be positive (", "must be more than 0 ("];
                assert!(words.iter().any(|words| error.contains(words)), "{range:?}: {error}");
                let option = format!("--{}", range.option);
                assert!(error.contains(&option), "{option}: {error}");
            }
        }
    }

    #[test]
    fn help_and_manual_name_each_range() {
        let help = command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut page = Vec::new();
        generate::write(Generate::Man, &mut page).expect("a vector takes all");
        let page = String::from_utf8(page).expect("roff is text");
        for range in &RANGES {
            let shown = range.keyed(&range.to_string());
            let option = format!("--{}", range.option);
            let in_page = option.replace('-', "\\-") + "\\fR";
            for (text, option) in [(&help, &format!("{option} ")), (&page, &in_page)] {
                let (_, entry) = text.split_once(option).expect(option);
                let entry = entry.split(" [range: ").nth(1).expect(option);
                let entry = entry.split(']').next().expect(option);
                assert!(entry.split(", ").any(|range| range == shown), "{option}: {entry}");
            }
        }
    }

    #[test]
    fn each_option_with_a_number_has_a_range() {
        for arg in command().get_arguments() {
            let names = arg.get_value_names().unwrap_or_default();
            if names.iter().any(|name| ["DUR", "SIZE", "BYTES", "N"].contains(&name.as_str())) {
                Range::of(arg.get_long().expect("a long option"), "");
            }
        }
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        let timeout = Range::of("shutdown-timeout", "");
        for (input, millis) in
            [("10s", 10_000), ("500ms", 500), ("1m 30s", 90_000), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(timeout.parse(input), Ok(millis * 1_000_000), "{input}");
        }
        for (input, words) in [
            ("10", "missing unit (try '10s')"),
            ("", "not a duration"),
            ("soon", "not a duration"),
            ("-1s", "must be positive"),
            ("1000years", "out of range"),
        ] {
            let error = timeout.parse(input).expect_err(input);
            assert!(error.contains(words), "{error}");
        }
        let size = Range::of("rotate-size", "");
        for (input, bytes) in
            [("1", 1), ("64KiB", 65_536), ("64MiB", 1 << 26), ("1.5 GB", 1_500_000_000)]
        {
            assert_eq!(size.parse(input), Ok(bytes), "{input}");
        }
        for input in ["", "0", "-1", "lots", "1 parsec"] {
            assert!(size.parse(input).is_err(), "{input}");
        }
    }
}
