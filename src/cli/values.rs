//! Values as people write them.

use std::ffi::OsString;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use tcp_tunn::tunnel::Address;

/// An address to listen on. A unix socket's path keeps its bytes.
pub(super) fn address() -> impl TypedValueParser<Value = Address> {
    OsStringValueParser::new().try_map(|input: OsString| Address::try_from(input))
}

/// An address to connect to.
pub(super) fn target() -> impl TypedValueParser<Value = Address> {
    let target = |input: OsString| Address::try_from(input).and_then(Address::into_target);
    OsStringValueParser::new().try_map(target)
}

/// A span of time such as `10s`, `500ms` or `1m 30s`; may be none at all.
pub(super) fn duration(input: &str) -> Result<Duration, String> {
    let is_bare = input.chars().all(|c| c.is_ascii_digit());
    if is_bare && input.chars().any(|c| c != '0') {
        return Err(format!("missing unit in '{input}' (try '{input}s')"));
    }
    if input.starts_with('-') {
        return Err(format!("invalid duration '{input}' (must be positive, such as '10s')"));
    }
    humantime::parse_duration(input).map_err(|_| {
        format!("invalid duration '{input}' (expected a form such as '10s' or '1h30m')")
    })
}

/// A span of time that is not zero.
pub(super) fn some_duration(input: &str) -> Result<Duration, String> {
    match duration(input)? {
        Duration::ZERO => {
            Err(format!("invalid duration '{input}' (must be more than 0, such as '10s')"))
        }
        some => Ok(some),
    }
}

/// A number of bytes such as `65536`, `64KiB` or `1.5GB`, at least 1.
pub(super) fn size(input: &str) -> Result<NonZero<u64>, String> {
    if input.starts_with('-') {
        return Err(format!("invalid size '{input}' (must be positive, such as '64MiB')"));
    }
    let invalid = || format!("invalid size '{input}' (expected at least 1, such as '64MiB')");
    parse_size::parse_size(input).ok().and_then(NonZero::new).ok_or_else(invalid)
}

/// A number from 1 up.
pub(super) fn count(input: &str) -> Result<NonZero<u64>, String> {
    if input.starts_with('-') {
        return Err(format!("invalid number '{input}' (must be positive)"));
    }
    input.parse().map_err(|_| format!("invalid number '{input}' (expected at least 1)"))
}

/// A number of a range.
pub(super) fn within(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |input| {
        let expected = format!("expected {} to {}", range.start(), range.end());
        let number = input.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("invalid number '{input}' ({expected})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_durations_are_parsed() {
        for (input, millis) in
            [("10s", 10_000), ("500ms", 500), ("1m 30s", 90_000), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(duration(input), Ok(Duration::from_millis(millis)), "{input}");
        }
        for (input, words) in [
            ("10", "missing unit in '10' (try '10s')"),
            ("", "invalid duration ''"),
            ("soon", "invalid duration 'soon'"),
            ("-1s", "must be positive"),
        ] {
            let error = duration(input).expect_err(input);
            assert!(error.contains(words), "{error}");
        }
        assert!(some_duration("0s").is_err());
        assert_eq!(some_duration("1ns"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn written_sizes_are_parsed() {
        for (input, bytes) in
            [("1", 1), ("64KiB", 65_536), ("64MiB", 1 << 26), ("1.5 GB", 1_500_000_000)]
        {
            assert_eq!(size(input).map(NonZero::get), Ok(bytes), "{input}");
        }
        for input in ["", "0", "-1", "lots", "1 parsec"] {
            assert!(size(input).is_err(), "{input}");
        }
    }
}
