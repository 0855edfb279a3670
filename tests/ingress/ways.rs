//! Each way into a tunnel, for tests that hold whatever the way is.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};

use tcp_tunn::ingress::ProxyVersion;
use tcp_tunn::sink::Sink;
use tcp_tunn::tunnel::{Builder, Caught, Outgoing, Tunnel};

use super::read;
use crate::support::end::patient;
use crate::support::events::PATIENCE;
use crate::support::tunnel::Running;

/// How a client's bytes come to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A listener with one target.
    Listener,
    /// The client asks for the server by SOCKS5.
    Proxy,
    /// As `Listener`, and the tunnel asks another one for the server by SOCKS5.
    Via,
    /// As `Listener`, behind a load balancer that sends the PROXY protocol.
    ProxyHeader,
    /// The client's connect was caught.
    Caught,
}

pub(crate) const WAYS: [Way; 5] =
    [Way::Listener, Way::Proxy, Way::Via, Way::ProxyHeader, Way::Caught];

/// A tunnel, the proxy that it needs, and the client's end of a connection through them.
pub(crate) struct Through {
    client: TcpStream,
    tunnels: Tunnels,
}

/// A tunnel, and the proxy that it needs.
pub(crate) struct Tunnels {
    tunnel: Running,
    proxy: Option<Running>,
}

impl Tunnels {
    pub(crate) fn stop(self) {
        self.tunnel.stop();
        if let Some(proxy) = self.proxy {
            proxy.stop();
        }
    }
}

impl Through {
    pub(crate) fn new(way: Way, server: SocketAddr, sink: impl Sink + 'static) -> Self {
        let builder = match way {
            Way::Listener | Way::ProxyHeader | Way::Via => Tunnel::builder("127.0.0.1:0", server),
            Way::Proxy => Builder::default().proxy("127.0.0.1:0", None),
            Way::Caught => Builder::default(),
        };
        let builder = builder.sink(sink);
        let mut proxy = None;
        let tunnel = match way {
            Way::Via => {
                let other = Running::start(Builder::default().proxy("127.0.0.1:0", None));
                let via = format!("socks5://{}", other.address).parse().unwrap();
                proxy = Some(other);
                Running::start(builder.outgoing(Outgoing::default().via(Some(via))))
            }
            Way::ProxyHeader => Running::start(builder.expect_proxy_header()),
            Way::Caught => return Self::caught(builder, server),
            Way::Listener | Way::Proxy => Running::start(builder),
        };
        let client = patient(tunnel.connect());
        match way {
            Way::Proxy => ask_by_socks5(&client, server),
            Way::ProxyHeader => {
                let source = "192.0.2.1:1234".parse::<SocketAddr>().unwrap();
                let version = ProxyVersion::V2;
                let header =
                    tcp_tunn::ingress::encode_proxy_header(version, &source.into(), &server.into());
                (&client).write_all(&header).unwrap();
            }
            _ => {}
        }
        Self { client, tunnels: Tunnels { tunnel, proxy } }
    }

    fn caught(builder: Builder, server: SocketAddr) -> Self {
        let (tunnel, catcher) = Running::start_catching(builder);
        let (sender, client) = channel();
        catcher.catch(server, None, Program(sender));
        let client = client.recv_timeout(PATIENCE).unwrap().unwrap();
        Self { client, tunnels: Tunnels { tunnel, proxy: None } }
    }

    /// The client's end, which is closed when it is dropped, and the tunnels.
    pub(crate) fn into_parts(self) -> (TcpStream, Tunnels) {
        (self.client, self.tunnels)
    }
}

/// Asks a proxy for `server`, and waits until it is reached.
pub(crate) fn ask_by_socks5(mut client: &TcpStream, server: SocketAddr) {
    let SocketAddr::V4(server) = server else { panic!("{server}") };
    let port = server.port().to_be_bytes();
    let request = [&[5, 1, 0, 5, 1, 0, 1][..], &server.ip().octets(), &port].concat();
    client.write_all(&request).unwrap();
    assert_eq!(read(client), [5, 0]);
    let reply: [u8; 10] = read(client);
    assert_eq!(reply[..4], [5, 0, 0, 1]);
}

/// Stands for a program whose connect was caught: gives its socket, or the error that it got.
pub(crate) struct Program(pub(crate) Sender<Result<TcpStream, i32>>);

impl Caught for Program {
    fn connected(self: Box<Self>, take: Box<dyn FnOnce(io::Result<TcpStream>) + Send>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        take(Ok(listener.accept().unwrap().0));
        self.0.send(Ok(client)).unwrap();
    }

    fn failed(self: Box<Self>, errno: i32) {
        self.0.send(Err(errno)).unwrap();
    }
}
