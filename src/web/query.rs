//! What a URL asks for.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::http::StatusCode;

use super::refusal::Refusal;
use crate::event::ConnectionId;

/// The names and values of a URL's query, in order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `name=value&name=value`, percent-encoded.
    pub(super) fn new(text: Option<&str>) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(pairs.map(pair).collect())
    }

    /// The value of a name, the last where there are several.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number, if it is given.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.get(name).map(|value| parsed(name, value, "a number such as 100")).transpose()
    }

    /// One of some words, if it is given.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = choices.iter().find(|(word, _)| *word == value);
        found.map(|(_, choice)| Some(*choice)).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            unexpected(name, value, words.join(" or "))
        })
    }

    /// The connections that are named: by number, by ranges such as `3-9`, or several with commas
    /// between; all where none is.
    pub(super) fn connections(&self) -> Result<Chosen, Refusal> {
        let mut ranges = Vec::new();
        let values = self.all("connection").flat_map(|value| value.split(','));
        for value in values {
            let (first, last) = value.split_once('-').unwrap_or((value, value));
            let expected = "a number, or a range such as 3-9";
            ranges.push(
                parsed("connection", first, expected)?..=parsed("connection", last, expected)?,
            );
        }
        Ok(Chosen(ranges))
    }
}

/// Connections by their numbers.
#[derive(Debug)]
pub(super) struct Chosen(Vec<RangeInclusive<u64>>);

impl Chosen {
    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.0.is_empty() || self.0.iter().any(|range| range.contains(&id.0))
    }

    /// The only one, if it is one.
    pub(super) fn only(&self) -> Option<ConnectionId> {
        match &self.0[..] {
            [one] if one.start() == one.end() => Some(ConnectionId(*one.start())),
            _ => None,
        }
    }
}

fn parsed<T: FromStr>(name: &str, value: &str, expected: &str) -> Result<T, Refusal> {
    value.parse().map_err(|_| unexpected(name, value, expected))
}

fn unexpected(name: &str, value: &str, expected: impl Display) -> Refusal {
    let what = format!("{name}={value:?} makes no sense (expected {expected})");
    Refusal::new(StatusCode::BAD_REQUEST, what)
}

/// Text whose bytes are written as `%xx` where they must not stand in a URL, and spaces as `+`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The bytes that hexadecimal digits stand for, with or without spaces.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| Some(hex(pair[0])? << 4 | hex(pair[1])?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_decoded() {
        let query = Query::new(Some("a=1&b=x+y%26%C3%A4%zz&a=2&c"));
        assert_eq!(query.get("a"), Some("2"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x y&ä%zz"));
        assert_eq!(query.get("c"), Some(""));
        assert_eq!(query.get("d"), None);
    }

    #[test]
    fn connections_are_numbers_ranges_and_lists() {
        let chosen = |text| Query::new(Some(text)).connections();
        let some = chosen("connection=1&connection=3-5,9").unwrap();
        let has: Vec<_> = (0..11).filter(|id| some.has(ConnectionId(*id))).collect();
        assert_eq!(has, [1, 3, 4, 5, 9]);
        assert_eq!(some.only(), None);
        assert_eq!(chosen("connection=7").unwrap().only(), Some(ConnectionId(7)));
        assert!(chosen("").unwrap().has(ConnectionId(1)));
        assert!(chosen("connection=all").is_err());
    }

    #[test]
    fn hex_digits_come_in_pairs() {
        assert_eq!(from_hex("0d 0A"), Some(vec![13, 10]));
        assert_eq!(from_hex("0d0"), None);
        assert_eq!(from_hex("xx"), None);
    }
}
