//! Unix sockets: whose file is replaced, whose is removed, and what only they can say.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tcp_tunn::tunnel::{BindError, Tunnel};

use crate::support::events::PATIENCE;

fn bind(path: &Path) -> Result<Tunnel, BindError> {
    Tunnel::builder(format!("unix:{}", path.display()), "127.0.0.1:1").workers(1).bind()
}

#[test]
fn stale_socket_is_replaced_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let tunnel = bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(tunnel);
    assert!(!path.exists());
}

#[test]
fn live_socket_or_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (file, live) = (folder.path().join("file"), folder.path().join("live"));
    std::fs::write(&file, "precious").unwrap();
    let listener = UnixListener::bind(&live).unwrap();
    for path in [&file, &live] {
        let error = bind(path).unwrap_err().to_string();
        assert!(error.contains("something listens there, or it is no socket"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    UnixStream::connect(&live).unwrap();
    drop(listener);
}

#[test]
fn full_backlog_of_other_listener_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full");
    let socket = || Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
    let address = SockAddr::unix(&path).unwrap();
    let listener = socket();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        waiting.push(socket());
        if let Err(error) = waiting[waiting.len() - 1].connect(&address) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
    let error = bind(&path).unwrap_err().to_string();
    assert!(error.contains("something listens there"), "{error}");
}

#[test]
fn socket_of_successor_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let tunnel = bind(&path).unwrap();
    // Moved first, so that its inode is not free for the other one.
    std::fs::rename(&path, folder.path().join("old")).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(tunnel);
    UnixStream::connect(&path).unwrap();
    drop(other);
}

#[test]
fn impossible_socket_path_is_refused() {
    let long = format!("unix:/{}", "x".repeat(107));
    for (from, to) in [(&*long, "127.0.0.1:1"), ("127.0.0.1:0", &*long)] {
        let error = Tunnel::builder(from, to).bind().unwrap_err().to_string();
        assert!(error.contains("has 108 bytes") && error.contains("at most 107"), "{error}");
    }
    let longest = &long[..long.len() - 1];
    Tunnel::builder("127.0.0.1:0", longest).bind().unwrap();
}

/// Says `a` with a descriptor along, where the kernel ends a read, and then `b`.
fn say_with_a_descriptor(mut client: &UnixStream) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let descriptors = [client.as_fd()];
    assert!(along.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(client, &[IoSlice::new(b"a")], &mut along, SendFlags::empty()).unwrap();
    client.write_all(b"b").unwrap();
}

/// Says a byte out of its turn, where the kernel ends a read, too.
fn say_urgently(mut client: &UnixStream) {
    client.write_all(b"a").unwrap();
    SockRef::from(client).send_out_of_band(b"!").unwrap();
    client.write_all(b"b").unwrap();
}

#[test]
fn bytes_after_descriptor_or_urgent_byte_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let listener = UnixListener::bind(path("server")).unwrap();
    let [from, to] = ["client", "server"].map(|name| format!("unix:{}", path(name).display()));
    let tunnel = Tunnel::builder(from, to).workers(1).bind().unwrap();
    let handle = tunnel.handle();
    let running = std::thread::spawn(move || tunnel.run().unwrap());
    for round in 0..40 {
        let (say, said) = if round % 2 == 0 {
            (say_with_a_descriptor as fn(&UnixStream), &b"ab"[..])
        } else {
            (say_urgently as fn(&UnixStream), &b"a!b"[..])
        };
        let client = UnixStream::connect(path("client")).unwrap();
        // Said before the tunnel has a server to pass it to, it comes as one.
        say(&client);
        let (mut server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = vec![0; said.len()];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(heard, said);
    }
    handle.stop();
    running.join().unwrap();
}
