//! Tunnels that lead back to themselves: one client would become thousands of connections.
//!
//! Routes of one tunnel may lead into each other, as long as none is reached again. Where that is
//! evident when the tunnel is bound, it is refused then; where it shows only when a name is
//! resolved, the connection is. A circle through other processes of this machine ends because each
//! tunnel takes a hop off what the client's packets had left (RFC 791, time to live).

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::address::Address;
use super::connect::Candidate;
use super::listening::Listening;
use super::resolve::here;
use super::routing::Target;
use crate::event::Endpoint;
use crate::net;

/// Which routes are known to lead into which others.
#[derive(Default)]
pub(super) struct Loops {
    /// From one route's target to another's listener.
    leads: Mutex<HashSet<(usize, usize)>>,
}

impl Loops {
    /// What is evident from the addresses; the numbers of the routes that go round in a circle,
    /// where some do.
    pub(super) fn of(routes: &[Listening]) -> Result<Self, Vec<usize>> {
        let mut leads = HashSet::new();
        for (from, route) in routes.iter().enumerate() {
            let Target::Address(target) = &route.target else { continue };
            for target in evident(target) {
                leads.extend(reached(routes, &target).map(|to| (from, to)));
            }
        }
        match (0..routes.len()).find_map(|route| circle(&leads, route)) {
            Some(circle) => Err(circle),
            None => Ok(Self { leads: Mutex::new(leads) }),
        }
    }

    /// Whether connecting the clients of route `from` to `candidate` would lead back to them.
    pub(super) fn closes(&self, routes: &[Listening], from: usize, candidate: &Candidate) -> bool {
        let reached: Vec<_> = reached(routes, candidate).map(|to| (from, to)).collect();
        if reached.is_empty() {
            return false;
        }
        let mut leads = self.leads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut with = leads.clone();
        with.extend(reached);
        if circle(&with, from).is_some() {
            return true;
        }
        *leads = with;
        false
    }
}

/// The circle through `start`, if there is one.
fn circle(leads: &HashSet<(usize, usize)>, start: usize) -> Option<Vec<usize>> {
    let mut paths = vec![vec![start]];
    let mut seen = HashSet::new();
    while let Some(path) = paths.pop() {
        let last = *path.last()?;
        for (_, next) in leads.iter().filter(|(from, _)| *from == last) {
            if *next == start {
                return Some(path);
            }
            if seen.insert(*next) {
                paths.push([&path[..], &[*next]].concat());
            }
        }
    }
    None
}

/// Where a target leads that needs no resolver.
fn evident(target: &Address) -> Vec<Candidate> {
    match target {
        Address::Ip(address) => vec![Candidate::Tcp(*address)],
        Address::Scoped { address, .. } => vec![Candidate::Tcp((*address).into())],
        Address::Unix(path) => vec![Candidate::Unix(path.as_path().into())],
        Address::Name { host, port } if host.eq_ignore_ascii_case("localhost") => {
            here(*port).into()
        }
        Address::Any { port } => here(*port).into(),
        Address::Name { .. } => Vec::new(),
    }
}

/// The routes whose listeners a connect to `candidate` would reach.
fn reached<'a>(
    routes: &'a [Listening],
    candidate: &'a Candidate,
) -> impl Iterator<Item = usize> + 'a {
    let is_reached = move |route: &Listening| match (route.address(), candidate) {
        (Endpoint::Tcp(listening), Candidate::Tcp(address)) => is_at(*listening, *address),
        (Endpoint::Unix(Some(listening)), Candidate::Unix(path)) => is_same_file(listening, path),
        _ => false,
    };
    routes.iter().enumerate().filter(move |(_, route)| is_reached(route)).map(|(index, _)| index)
}

/// Whether a socket that listens at `listening` takes what connects to `address`.
fn is_at(listening: SocketAddr, address: SocketAddr) -> bool {
    let mut ip = address.ip().to_canonical();
    // Connecting to no address in particular reaches this machine.
    if ip.is_unspecified() {
        ip = if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    }
    let own = listening.ip().to_canonical();
    listening.port() == address.port()
        && (own == ip
            || own.is_unspecified() && (ip.is_ipv4() || own.is_ipv6()) && net::is_own_address(ip))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    one == other || id(one).is_some_and(|one| id(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(listening: &str, address: &str) -> bool {
        is_at(listening.parse().expect("an address"), address.parse().expect("an address"))
    }

    #[test]
    fn address_of_a_listener_is_known_again_in_each_of_its_spellings() {
        for (listening, address) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
            ("127.0.0.1:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("0.0.0.0:80", "127.9.9.9:80"),
            ("[::]:80", "127.0.0.1:80"),
            ("[::]:80", "[::]:80"),
        ] {
            assert!(at(listening, address), "{listening} {address}");
        }
        for (listening, address) in [
            ("127.0.0.1:80", "127.0.0.1:81"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("0.0.0.0:80", "192.0.2.1:80"),
            ("[::1]:80", "127.0.0.1:80"),
        ] {
            assert!(!at(listening, address), "{listening} {address}");
        }
    }

    #[test]
    fn circles_are_found_and_chains_are_not() {
        let leads = |pairs: &[(usize, usize)]| pairs.iter().copied().collect::<HashSet<_>>();
        assert_eq!(circle(&leads(&[(0, 0)]), 0), Some(vec![0]));
        assert_eq!(circle(&leads(&[(0, 1), (1, 0)]), 0), Some(vec![0, 1]));
        assert_eq!(circle(&leads(&[(0, 1), (1, 2), (0, 2)]), 0), None);
        assert_eq!(circle(&leads(&[(0, 1), (1, 1)]), 0), None);
        assert_eq!(circle(&leads(&[(0, 1), (1, 1)]), 1), Some(vec![1]));
    }
}
