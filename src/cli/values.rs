//! Values as people write them.

use std::num::NonZero;
use std::time::Duration;

/// A span of time such as `10s`, `500ms` or `1m 30s`; may be none at all.
pub(super) fn duration(input: &str) -> Result<Duration, String> {
    let is_bare = input.chars().all(|c| c.is_ascii_digit());
    if is_bare && input.chars().any(|c| c != '0') {
        return Err(format!("'{input}' has no unit (try '{input}s')"));
    }
    humantime::parse_duration(input)
        .map_err(|error| format!("'{input}' is no duration: {error} (try '10s')"))
}

/// A span of time that is not zero.
pub(super) fn some_duration(input: &str) -> Result<Duration, String> {
    match duration(input)? {
        Duration::ZERO => Err("zero would leave no time at all (try '10s')".to_owned()),
        some => Ok(some),
    }
}

/// A number of bytes such as `65536`, `64KiB` or `1.5GB`, at least 1.
pub(super) fn size(input: &str) -> Result<NonZero<u64>, String> {
    let bytes =
        parse_size::parse_size(input).map_err(|_| format!("'{input}' is no size (try '64MiB')"))?;
    NonZero::new(bytes).ok_or_else(|| format!("'{input}' is nothing (try '64MiB')"))
}

/// A number from 1 up.
pub(super) fn count(input: &str) -> Result<NonZero<u64>, String> {
    input.parse().map_err(|_| format!("'{input}' is no number from 1 up (try '1000')"))
}

/// The same where it counts what memory holds.
pub(super) fn some(input: &str) -> Result<NonZero<usize>, String> {
    count(input)?.try_into().map_err(|_| format!("'{input}' is too large (try '1000')"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (input, millis) in
            [("10s", 10_000), ("500ms", 500), ("1m 30s", 90_000), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(duration(input), Ok(Duration::from_millis(millis)), "{input}");
        }
        for (input, words) in [
            ("10", "'10' has no unit (try '10s')"),
            ("", "'' is no duration"),
            ("soon", "'soon' is no duration"),
            ("-1s", "'-1s' is no duration"),
        ] {
            let error = duration(input).expect_err(input);
            assert!(error.contains(words), "{error}");
        }
        assert!(some_duration("0s").is_err());
        assert_eq!(some_duration("1ns"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
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
