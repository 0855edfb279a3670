//! Addresses as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// Where to listen or to connect to: `IP:PORT`, `[IPv6]:PORT`, `HOST:PORT` or `unix:/path`.
///
/// ```
/// use tcp_tunn::tunnel::Address;
///
/// let address: Address = "[::1]:8080".parse().unwrap();
/// assert_eq!(address.to_string(), "[::1]:8080");
/// assert!("example.com".parse::<Address>().is_err(), "no port");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A host name, resolved whenever it is used, and a port.
    Name {
        /// The host's name.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is wrong with an address, and how it should look.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no port.
    #[error("'{input}' has no port (try '{input}:80')")]
    MissingPort {
        /// What was given.
        input: String,
    },
    /// The port is not a number from 0 to 65535.
    #[error("'{port}' in '{input}' is no port (a port is a number from 0 to 65535)")]
    BadPort {
        /// What was given.
        input: String,
        /// The part of it that should be the port.
        port: String,
    },
    /// An IPv6 address without brackets, whose port cannot be told from its last group.
    #[error("the IPv6 address in '{input}' needs brackets (try '[{suggested}]:{port}')")]
    MissingBrackets {
        /// What was given.
        input: String,
        /// What probably is the address.
        suggested: Ipv6Addr,
        /// What probably is the port.
        port: u16,
    },
    /// The host is empty or cannot be a host's name.
    #[error("'{host}' in '{input}' is no host (try '127.0.0.1:80' or 'example.com:80')")]
    BadHost {
        /// What was given.
        input: String,
        /// The part of it that should be the host.
        host: String,
    },
    /// `unix:` without a path.
    #[error("'{input}' has no path (try 'unix:/run/name.sock')")]
    MissingPath {
        /// What was given.
        input: String,
    },
    /// A path that is too long for a socket.
    #[error(
        "the path in '{input}' has {len} bytes (a socket's has at most {MAX_PATH}; try a shorter \
         one, or one relative to where this runs)"
    )]
    LongPath {
        /// What was given.
        input: String,
        /// The path's length in bytes.
        len: usize,
    },
}

/// What `sockaddr_un` has room for, without the NUL at the end (unix(7)).
const MAX_PATH: usize = 107;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(input: &str) -> Result<Self, AddressError> {
        let owned = || input.to_owned();
        if let Some(path) = input.strip_prefix("unix:") {
            return match path {
                "" => Err(AddressError::MissingPath { input: owned() }),
                path if path.len() > MAX_PATH => {
                    Err(AddressError::LongPath { input: owned(), len: path.len() })
                }
                path => Ok(Self::Unix(path.into())),
            };
        }
        if let Ok(address) = input.parse::<SocketAddr>() {
            return Ok(Self::Ip(address));
        }
        if let Some(error) = unbracketed_ipv6(input) {
            return Err(error);
        }
        if matches!(input, "" | ":") {
            return Err(AddressError::BadHost { input: owned(), host: String::new() });
        }
        let Some((host, port)) = input.rsplit_once(':') else {
            return Err(AddressError::MissingPort { input: owned() });
        };
        if port.is_empty() || host.ends_with(':') && !host.starts_with('[') {
            return Err(AddressError::MissingPort { input: owned() });
        }
        let Ok(number) = port.parse::<u16>() else {
            return Err(AddressError::BadPort { input: owned(), port: port.to_owned() });
        };
        if !is_host_name(host) {
            return Err(AddressError::BadHost { input: owned(), host: host.to_owned() });
        }
        Ok(Self::Name { host: host.to_owned(), port: number })
    }
}

/// `::1:80` and `[::1]`: what is meant is clear, what is missing too.
fn unbracketed_ipv6(input: &str) -> Option<AddressError> {
    let bare = input.trim_matches(|c| matches!(c, '[' | ']'));
    if bare.len() < input.len() && bare.parse::<IpAddr>().is_ok() {
        return Some(AddressError::MissingPort { input: input.to_owned() });
    }
    let (host, port) = input.rsplit_once(':')?;
    if let (Ok(suggested), Ok(port)) = (host.parse(), port.parse()) {
        return Some(AddressError::MissingBrackets { input: input.to_owned(), suggested, port });
    }
    let suggested = input.parse().ok()?;
    Some(AddressError::MissingBrackets { input: input.to_owned(), suggested, port: 80 })
}

/// Whether a resolver could know it: letters, digits, `-`, `_` and dots (RFC 952, 1123; the
/// underscore is there in practice), or anything beyond ASCII.
fn is_host_name(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || !c.is_ascii();
    // All digits and dots is an IP address gone wrong, which some resolvers would take.
    let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    !host.is_empty() && host.len() <= 253 && host.chars().all(fits) && !numeric
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(input: &str) -> String {
        input.parse::<Address>().expect_err(input).to_string()
    }

    #[test]
    fn good_addresses_are_written_as_they_were_read() {
        for good in ["127.0.0.1:80", "[::1]:0", "example.com:65535", "a_b-c:1", "unix:/run/x y"] {
            assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
        }
    }

    #[test]
    fn bad_addresses_say_what_to_try() {
        for (input, words) in [
            ("example.com", "'example.com' has no port (try 'example.com:80')"),
            ("127.0.0.1", "'127.0.0.1' has no port (try '127.0.0.1:80')"),
            ("[::1]", "'[::1]' has no port (try '[::1]:80')"),
            ("example.com:", "has no port"),
            ("example.com:http", "'http' in 'example.com:http' is no port"),
            ("example.com:65536", "'65536' in 'example.com:65536' is no port"),
            ("::1:8080", "needs brackets (try '[::1]:8080')"),
            ("fe80::1", "needs brackets"),
            (":80", "'' in ':80' is no host"),
            ("http://x:80", "is no host"),
            ("127.0.0:80", "is no host"),
            ("unix:", "'unix:' has no path"),
            ("", "'' in '' is no host (try '127.0.0.1:80'"),
            (":", "'' in ':' is no host (try"),
        ] {
            assert!(error(input).contains(words), "{input}: {}", error(input));
        }
    }
}
