//! What `grep` looks for.

use std::ops::Range;
use std::str::FromStr;

use regex::bytes::Regex;

/// A regular expression over bytes, in the syntax of <https://docs.rs/regex>.
///
/// ```
/// use tcp_tunn::console::{ConsoleOptions, Expression};
///
/// let mut options = ConsoleOptions::default();
/// options.grep = Some("GET|POST".parse()?);
/// let error = "(GET".parse::<Expression>().unwrap_err().to_string();
/// assert!(error.starts_with("unclosed group"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Expression(Regex);

/// Why a text is no [`Expression`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} (the syntax is that of https://docs.rs/regex)")]
pub struct InvalidExpression(String);

impl FromStr for Expression {
    type Err = InvalidExpression;

    fn from_str(text: &str) -> Result<Self, InvalidExpression> {
        Regex::new(text).map(Self).map_err(|error| {
            let error = error.to_string();
            // A drawing of several lines comes before the reason.
            InvalidExpression(error.rsplit("error: ").next().unwrap_or_default().to_owned())
        })
    }
}

impl Expression {
    pub(super) fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    /// Where it matches, in order.
    pub(super) fn matches(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        self.0.find_iter(bytes).map(|found| found.range()).collect()
    }
}
