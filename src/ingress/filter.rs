//! Which destinations are recorded.

use std::net::IpAddr;

use super::destination::Destination;
use super::pattern::{HostPattern, Pattern, normal_name};

/// Patterns of what to record and what not.
///
/// A destination is recorded when a pattern of `include` matches it, or there is none, and no
/// pattern of `exclude` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// What is known of a destination when a filter decides on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The names by which it is known: the one that the client asked for, the one that was
    /// resolved, the one in its TLS hello.
    pub names: &'a [&'a str],
    /// Its IP address, where it is known.
    pub ip: Option<IpAddr>,
    /// Its port; a unix socket has none.
    pub port: Option<u16>,
}

impl Filter {
    /// A filter from two lists of patterns, of which each may be empty.
    pub const fn new(include: Vec<Pattern>, exclude: Vec<Pattern>) -> Self {
        Self { include, exclude }
    }

    /// Whether it lets everything through, so that nothing needs to be asked.
    pub const fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether a destination is recorded.
    pub fn matches(&self, subject: Subject<'_>) -> bool {
        let names: Vec<_> = subject.names.iter().map(|name| normal_name(name)).collect();
        let matches = |pattern: &Pattern| matches_one(pattern, &names, subject);
        let is_included = self.include.is_empty() || self.include.iter().any(matches);
        is_included && !self.exclude.iter().any(matches)
    }

    /// As [`matches`](Self::matches), for what a client asked for.
    pub fn matches_destination(&self, destination: &Destination) -> bool {
        let name = destination.name();
        self.matches(Subject {
            names: name.as_slice(),
            ip: destination.ip(),
            port: Some(destination.port()),
        })
    }

    /// The host names in the patterns, those after `*.` left out.
    ///
    /// A program that connects to an IP address does not tell the name it comes from. Who wants
    /// the patterns to work there resolves these names first.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        self.include.iter().chain(&self.exclude).filter_map(|pattern| match &pattern.host {
            HostPattern::Name(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

fn matches_one(pattern: &Pattern, names: &[String], subject: Subject<'_>) -> bool {
    let fits_port = pattern.port.is_none_or(|port| subject.port == Some(port));
    let host = &pattern.host;
    let fits_host = matches!(host, HostPattern::Any)
        || names.iter().any(|name| host.matches_name(name))
        || subject.ip.is_some_and(|ip| host.matches_ip(ip));
    fits_port && fits_host
}
