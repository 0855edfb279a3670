//! The ways into a tunnel beside a listener with one target: proxies, the PROXY protocol, the
//! firewall's redirections, and connects that were caught.

mod caught;
mod filter;
mod outgoing;
mod proxy;
mod proxy_protocol;
mod route;
mod transparent;
pub(crate) mod ways;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::end::patient;

const LOCAL: &str = "127.0.0.1:0";

/// A listener on a free port, and its address.
fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The next client of a server.
fn accept(listener: &TcpListener) -> TcpStream {
    patient(listener.accept().unwrap().0)
}

fn read<const N: usize>(mut stream: &TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// All that comes until the peer's FIN.
fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A port of this machine on which nobody listens.
fn refusing() -> SocketAddr {
    // The listener is closed before anybody connects.
    server().1
}
