//! Finding the places that a target stands for.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::address::Address;
use super::connect::Candidate;
use crate::event::CloseReason;
use crate::os_error::Sentence;

/// Names that are looked up at once; further ones wait for their turn.
const LOOKUPS_MAX: usize = 64;

/// This machine.
pub(super) fn here(port: u16) -> [Candidate; 2] {
    let ips: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    ips.map(|ip| Candidate::Tcp(SocketAddr::new(ip, port)))
}

/// Asks the system's resolver, which may take its time.
pub(super) struct Resolver {
    turns: Arc<Semaphore>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// The places that a target stands for, in the resolver's order; never none. May be dropped
    /// at any time.
    pub(super) async fn resolve(&self, target: &Address) -> Result<Vec<Candidate>, CloseReason> {
        match target {
            Address::Ip(address) => Ok(vec![Candidate::Tcp(*address)]),
            Address::Scoped { address, .. } => Ok(vec![Candidate::Tcp((*address).into())]),
            Address::Any { port } => Ok(here(*port).to_vec()),
            Address::Unix(path) => Ok(vec![Candidate::Unix(path.as_path().into())]),
            Address::Name { host, port } => {
                let failed = |error| Sentence(&error).to_string().into();
                let found = self.look_up(host.clone(), *port).await;
                found.map_err(|error| CloseReason::ResolveFailed { message: failed(error) })
            }
        }
    }

    async fn look_up(&self, host: String, port: u16) -> io::Result<Vec<Candidate>> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(io::Error::other)?;
        let (answer, answered) = oneshot::channel();
        // A thread of its own and not tokio's: a runtime does not end before its threads do, and
        // a tunnel that is told to end shall not wait for a name server.
        std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let _ = answer.send(found.map(Iterator::collect::<Vec<_>>));
            drop(turn);
        })?;
        let mut addresses: Vec<SocketAddr> = answered.await.map_err(io::Error::other)??;
        let mut seen = HashSet::new();
        addresses.retain(|address| seen.insert(*address));
        if addresses.is_empty() {
            return Err(io::Error::other("it has no address"));
        }
        Ok(addresses.into_iter().map(Candidate::Tcp).collect())
    }
}
