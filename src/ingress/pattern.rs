//! Patterns of destinations, as people write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use super::destination::is_host_name;

/// A pattern of destinations: `HOST`, `*.HOST`, an IP address or a CIDR block, each with or
/// without `:PORT`; or `:PORT` alone.
///
/// An IPv6 address or block with a port is written in brackets: `[2001:db8::/32]:443`. `*.HOST`
/// means every name below `HOST`, not `HOST` itself. Case and a final dot do not matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub(super) host: HostPattern,
    /// `None` is every port.
    pub(super) port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum HostPattern {
    Any,
    /// In lower case, without a final dot.
    Name(String),
    /// As `Name`, without `*.`.
    Below(String),
    Block {
        ip: IpAddr,
        prefix: u8,
    },
}

/// A pattern that makes no sense. Its text names the pattern and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid pattern '{input}': {problem}")]
pub struct PatternError {
    input: String,
    problem: PatternProblem,
}

impl PatternError {
    /// The pattern as it was given.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// What is wrong with it. Its text does not repeat the pattern.
    pub const fn problem(&self) -> &PatternProblem {
        &self.problem
    }
}

/// What is wrong with a pattern, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PatternProblem {
    /// The port is not a number from 0 to 65535.
    #[error("invalid port '{port}' (expected 0 to 65535)")]
    Port {
        /// The part of the pattern that should be the port.
        port: String,
    },
    /// The length of a block's prefix is not valid.
    #[error("invalid prefix length '{prefix}' (IPv4: 0 to 32, IPv6: 0 to 128)")]
    Prefix {
        /// The part of the pattern that should be the prefix's length.
        prefix: String,
    },
    /// The host is neither a name, nor an address, nor a block.
    #[error(
        "unknown form (expected one such as 'example.com', '*.example.com', '10.0.0.0/8', \
         '[2001:db8::/32]:443' or ':443')"
    )]
    Host,
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(input: &str) -> Result<Self, PatternError> {
        parse(input).map_err(|problem| PatternError { input: input.to_owned(), problem })
    }
}

fn parse(input: &str) -> Result<Pattern, PatternProblem> {
    let (host, port) = split_port(input);
    let port = port.map(parse_port).transpose()?;
    let host = match host {
        "" if port.is_some() => HostPattern::Any,
        "*" => HostPattern::Any,
        host => parse_host(host)?,
    };
    Ok(Pattern { host, port })
}

/// The host and the text of the port. Brackets are left out.
fn split_port(input: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = input.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        match rest.strip_prefix(':') {
            Some(port) => return (host, Some(port)),
            None if rest.is_empty() => return (host, None),
            // Not valid, as `parse_host` will find.
            None => return (input, None),
        }
    }
    // Without brackets more than one colon is an IPv6 address.
    match input.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (input, None),
    }
}

fn parse_port(port: &str) -> Result<u16, PatternProblem> {
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| PatternProblem::Port { port: port.to_owned() })
}

fn parse_host(host: &str) -> Result<HostPattern, PatternProblem> {
    if let Some((ip, prefix)) = host.split_once('/') {
        let ip: IpAddr = ip.parse().map_err(|_| PatternProblem::Host)?;
        let max = bits(ip);
        let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let number = prefix.parse().ok().filter(|number| *number <= max && is_number);
        let wrong = || PatternProblem::Prefix { prefix: prefix.to_owned() };
        return Ok(HostPattern::Block { ip, prefix: number.ok_or_else(wrong)? });
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        return Ok(HostPattern::Block { ip, prefix: bits(ip) });
    }
    let (name, is_below) = match host.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (host, false),
    };
    if !is_host_name(name) {
        return Err(PatternProblem::Host);
    }
    let name = normal_name(name);
    Ok(if is_below { HostPattern::Below(name) } else { HostPattern::Name(name) })
}

/// How many bits an address has.
const fn bits(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A host's name in the form in which names are compared.
pub(super) fn normal_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_lowercase()
}

impl HostPattern {
    pub(super) fn matches_name(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(wanted) => name == wanted,
            Self::Below(parent) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            Self::Block { .. } => false,
        }
    }

    /// An IPv4-mapped IPv6 address counts as the IPv4 address.
    pub(super) fn matches_ip(&self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Name(_) | Self::Below(_) => false,
            Self::Block { ip: block, prefix } => match (block, ip.to_canonical()) {
                (IpAddr::V4(block), IpAddr::V4(ip)) => {
                    let differing = u32::from(*block) ^ u32::from(ip);
                    differing.leading_zeros() >= u32::from(*prefix)
                }
                (IpAddr::V6(block), IpAddr::V6(ip)) => {
                    let differing = u128::from(*block) ^ u128::from(ip);
                    differing.leading_zeros() >= u32::from(*prefix)
                }
                _ => false,
            },
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (HostPattern::Any, None) => f.write_str("*"),
            (HostPattern::Any, Some(_)) => Ok(()),
            (HostPattern::Name(name), _) => f.write_str(name),
            (HostPattern::Below(name), _) => write!(f, "*.{name}"),
            (HostPattern::Block { ip, prefix }, port) => {
                let is_bracketed = ip.is_ipv6() && port.is_some();
                let (open, close) = if is_bracketed { ("[", "]") } else { ("", "") };
                write!(f, "{open}{ip}")?;
                if *prefix < bits(*ip) {
                    write!(f, "/{prefix}")?;
                }
                f.write_str(close)
            }
        }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
