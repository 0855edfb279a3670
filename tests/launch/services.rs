//! Clients of databases. The servers listen on unix sockets, with a bridge before them.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use tempfile::tempdir;

use super::caught::Launcher;
use crate::support::server::Server;

/// An address on which a server that listens on a unix socket is reached.
fn bridge(server: &Server) -> SocketAddr {
    let path = PathBuf::from(server.address.strip_prefix("unix:").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), UnixStream::connect(&path).unwrap());
            thread::spawn(move || relay(&client, &server));
        }
    });
    address
}

fn relay(mut client: &TcpStream, mut server: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = io::copy(&mut client, &mut server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Write);
    });
}

#[test]
fn redis_cli_is_caught() {
    let launcher = Launcher::new();
    let folder = tempdir().unwrap();
    let server = Server::redis(folder.path());
    let address = bridge(&server);
    let port = address.port().to_string();
    let (ran, seen) = launcher.same(&["redis-cli", "-p", &port, "echo", "hello"]);
    assert_eq!(ran.stdout, "hello\n", "{ran:?}");
    assert_eq!(seen, [format!("{address} connected")]);
}

#[test]
fn psql_is_caught() {
    let launcher = Launcher::new();
    let folder = tempdir().unwrap();
    let server = Server::postgres(folder.path());
    let address = bridge(&server);
    let port = address.port();
    let target = format!("host=127.0.0.1 port={port} user=postgres sslmode=disable");
    let (ran, seen) = launcher.same(&["psql", "-XAtq", "-d", &target, "-c", "SELECT 6 * 7"]);
    assert_eq!(ran.stdout, "42\n", "{ran:?}");
    assert_eq!(seen, [format!("{address} connected")]);
}
