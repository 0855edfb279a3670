//! The connects of a program that the launcher has started, on their way into a tunnel.

use std::io;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};

use super::catching::{Catcher, Caught};
use crate::event::Process;
use crate::ingress::{Filter, Subject};
use crate::launch::{Attempt, Handler, Request};
use crate::os_error::Sentence;

/// Has a tunnel relay the connects of a program; to be given to
/// [`launch::Command::spawn`](crate::launch::Command::spawn).
///
/// ```no_run
/// use tcp_tunn::ingress::Filter;
/// use tcp_tunn::launch::Command;
/// use tcp_tunn::tunnel::{Builder, Launched};
///
/// let mut tunnel = Builder::default().bind()?;
/// let launched = Launched::new(tunnel.catcher(), Filter::default());
/// let handle = tunnel.handle();
/// let running = std::thread::spawn(move || tunnel.run());
/// let mut program = Command::new("curl");
/// program.arg("http://example.com");
/// let status = program.spawn(launched)?.wait()?;
/// handle.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Launched {
    catcher: Catcher,
    filter: Filter,
    /// The addresses of the names in the filter: a program connects to an address, and does not
    /// tell the name it found it by.
    names: Vec<(String, IpAddr)>,
}

impl Launched {
    /// Brings the connects that `filter` lets through to a tunnel. The others are left wholly
    /// alone. The host names in the filter are resolved now, which may take its time; a name that
    /// is not found matches nothing.
    pub fn new(catcher: Catcher, filter: Filter) -> Self {
        let mut names = Vec::new();
        for name in filter.host_names() {
            match (name, 0).to_socket_addrs() {
                Ok(found) => names.extend(found.map(|address| (name.to_owned(), address.ip()))),
                Err(error) => {
                    let error = Sentence(&error);
                    tracing::warn!("'{name}' was not found, and matches nothing: {error}");
                }
            }
        }
        Self { catcher, filter, names }
    }
}

impl Handler for Launched {
    fn wants(&mut self, attempt: &Attempt) -> bool {
        let ip = attempt.destination.ip().to_canonical();
        let names = self.names.iter().filter(|(_, of)| of.to_canonical() == ip);
        let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
        let port = Some(attempt.destination.port());
        self.filter.matches(Subject { names: &names, ip: Some(ip), port })
    }

    fn connect(&mut self, request: Request) {
        let process = Process::new(request.process.pid, request.process.name.clone());
        self.catcher.catch(request.destination, Some(process), request);
    }
}

impl Caught for Request {
    fn connected(self: Box<Self>, take: Box<dyn FnOnce(io::Result<TcpStream>) + Send>) {
        (*self).connected(take);
    }

    fn failed(self: Box<Self>, errno: i32) {
        (*self).failed(errno);
    }
}
