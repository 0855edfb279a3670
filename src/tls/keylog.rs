//! The lines of a key log, by connection.

use std::collections::HashMap;

/// Lines of one connection that are kept; TLS 1.3 writes five, and more with key updates.
const LINES_MAX: usize = 64;
/// Connections whose keys are kept while they wait to be wanted.
const CONNECTIONS_MAX: usize = 100_000;
/// A line is shorter, or it is none: a label, 64 and at most 128 hexadecimal digits.
pub(super) const LINE_MAX: usize = 1024;

/// The random number of a ClientHello, by which a key log names the connection.
pub(crate) type Random = [u8; 32];

/// The lines without which TLS 1.3 cannot be decrypted; programs log them one by one. TLS 1.2 has
/// one line.
#[cfg(feature = "capture")]
pub(crate) const SECRETS: [&str; 4] = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET ",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET ",
    "CLIENT_TRAFFIC_SECRET_0 ",
    "SERVER_TRAFFIC_SECRET_0 ",
];
#[cfg(feature = "capture")]
pub(crate) const MASTER_SECRET: &str = "CLIENT_RANDOM ";

/// The secrets of TLS connections, read from lines in the format of NSS
/// (draft-ietf-tls-keylogfile): a label, the client's random number and a secret.
///
/// Lines that are not of this form, such as comments, are left out. The same line may come twice.
///
/// ```
/// use tcp_tunn::tls::KeyLog;
///
/// let mut keys = KeyLog::default();
/// let random = "01".repeat(32);
/// keys.add(format!("CLIENT_RANDOM {random} {}", "ab".repeat(48)).as_bytes());
/// assert_eq!(keys.lines(&[1; 32]).len(), 1);
/// ```
#[derive(Debug, Default)]
pub struct KeyLog {
    lines: HashMap<Random, Vec<String>>,
}

impl KeyLog {
    /// Adds what a line says, if it is a line of keys. It may end in a line feed.
    pub fn add(&mut self, line: &[u8]) {
        let Some((random, line)) = parse(line) else { return };
        if self.lines.len() >= CONNECTIONS_MAX && !self.lines.contains_key(&random) {
            self.lines.clear();
        }
        let known = self.lines.entry(random).or_default();
        if known.len() < LINES_MAX && !known.contains(&line) {
            known.push(line);
        }
    }

    /// Forgets a connection.
    #[cfg(feature = "tls")]
    pub(crate) fn forget(&mut self, random: &Random) {
        self.lines.remove(random);
    }

    /// The lines of the connection whose ClientHello has this random number, in the order in which
    /// they came, without line feeds.
    pub fn lines(&self, random: &[u8; 32]) -> &[String] {
        self.lines.get(random).map_or(&[], Vec::as_slice)
    }

    /// Whether all lines have come that it takes to decrypt a connection.
    #[cfg(feature = "capture")]
    pub(crate) fn is_complete(&self, random: &Random) -> bool {
        let lines = self.lines(random);
        let has = |label: &str| lines.iter().any(|line| line.starts_with(label));
        has(MASTER_SECRET) || SECRETS.iter().all(|label| has(label))
    }

    /// The secrets of a connection under a label: usually one, and more where programs disagree.
    #[cfg(feature = "tls")]
    pub(super) fn secrets(&self, random: &Random, label: &str) -> impl Iterator<Item = Vec<u8>> {
        self.lines(random).iter().filter_map(move |line| {
            let mut words = line.split(' ');
            let secret = (words.next() == Some(label)).then(|| words.nth(1)).flatten()?;
            secret.as_bytes().chunks(2).map(hex_byte).collect()
        })
    }
}

/// The client's random number in a line of keys.
#[cfg(feature = "tls")]
pub(crate) fn random_of(line: &str) -> Option<Random> {
    parse(line.as_bytes()).map(|(random, _)| random)
}

/// The client's random number and the line, if it is a line of keys.
fn parse(line: &[u8]) -> Option<(Random, String)> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.len() < LINE_MAX)?.trim();
    let mut words = line.split(' ');
    let label = words.next()?;
    let random = words.next().filter(|random| random.len() == 64 && random.is_ascii())?;
    let secret = words.next()?;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if label.is_empty() || label.starts_with('#') || !is_hex(secret) || words.next().is_some() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(random.as_bytes().chunks(2)) {
        *byte = hex_byte(pair)?;
    }
    Some((bytes, line.to_owned()))
}

/// The byte that two hexadecimal digits stand for.
fn hex_byte(pair: &[u8]) -> Option<u8> {
    let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
    u8::from_str_radix(pair, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_forms_are_left_out() {
        let mut keys = KeyLog::default();
        let random = "07".repeat(32);
        for line in ["", "# CLIENT_RANDOM", "nonsense", &format!("A {random}"), "A 07 ab"] {
            keys.add(line.as_bytes());
        }
        keys.add(format!("A {random} xy").as_bytes());
        keys.add(format!("A {random} ab cd").as_bytes());
        keys.add(&[255, 254]);
        assert!(keys.lines.is_empty());
    }

    #[test]
    fn line_that_comes_twice_counts_once() {
        let mut keys = KeyLog::default();
        let line = format!("CLIENT_RANDOM {} abcd\n", "07".repeat(32));
        keys.add(line.as_bytes());
        keys.add(line.as_bytes());
        assert_eq!(keys.lines(&[7; 32]), [line.trim()]);
    }
}
