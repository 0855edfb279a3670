//! What goes away without a word: killed peers, full disks, readers that leave.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::event::{CloseReason, EventKind, Side};
use tcp_tunn::sink::{OnError, SinkOptions};
use tcp_tunn::tunnel::Tunnel;

use crate::support::bytes::bytes;
use crate::support::confined::confined;
use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

const ROLE: &str = "TCP_TUNN_TEST_PEER";

/// Not a test of its own: the peer that other tests kill. Says that it is there, and stays.
#[test]
fn the_peer_that_is_killed() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let stream = match role.strip_prefix("connect ") {
        Some(address) => TcpStream::connect(address).unwrap(),
        None => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            println!("\nlistening {}", listener.local_addr().unwrap());
            listener.accept().unwrap().0
        }
    };
    (&stream).write_all(b"here").unwrap();
    // Until the test that started it ends, at the latest.
    let _ = io::stdin().read(&mut [0; 1]);
}

/// Killed when dropped, with SIGKILL.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peer(role: &str) -> Peer {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::the_peer_that_is_killed", "--exact", "--nocapture"])
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    Peer(child.unwrap())
}

/// The address that a listening peer tells.
fn address_of(peer: &mut Peer) -> String {
    let mut told = String::new();
    let out = peer.0.stdout.as_mut().unwrap();
    loop {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        told.push(char::from(byte[0]));
        if let Some((_, address)) = told.split_once("listening ")
            && address.ends_with('\n')
        {
            return address.trim().to_owned();
        }
    }
}

fn hears(mut stream: &TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard, expected);
}

/// Kills the process that talks to `survivor`: with nothing unheard, which the kernel ends with
/// FIN, or else, which it ends with RST.
fn survives(peer: Peer, survivor: &TcpStream, events: &Events, unheard: bool, killed: Side) {
    hears(survivor, b"here");
    if unheard {
        (&*survivor).write_all(b"never heard").unwrap();
        events.wait_for(|event| match &event.kind {
            EventKind::Data { direction, leg, .. } => {
                direction.receiver() == killed && *leg == tcp_tunn::event::Leg::Sent
            }
            _ => false,
        });
    }
    drop(peer);
    let end = (&*survivor).read(&mut [0; 1]);
    match unheard {
        true => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
        false => assert_eq!(end.unwrap(), 0),
    }
    survivor.shutdown(std::net::Shutdown::Both).unwrap_or_default();
    let expected = match unheard {
        true => CloseReason::Reset { by: killed },
        false => CloseReason::Finished { first: killed },
    };
    assert_eq!(events.wait_for_close(), expected);
}

#[test]
fn killed_client_ends_as_its_kernel_does() {
    for unheard in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (tunnel, events) = Running::recorded(listener.local_addr().unwrap());
        let peer = peer(&format!("connect {}", tunnel.address));
        let server = patient(listener.accept().unwrap().0);
        survives(peer, &server, &events, unheard, Side::Client);
        tunnel.stop();
        check_contract(&events.all());
    }
}

#[test]
fn killed_server_ends_as_its_kernel_does() {
    for unheard in [false, true] {
        let mut peer = peer("listen");
        let (tunnel, events) = Running::recorded(address_of(&mut peer));
        let client = patient(tunnel.connect());
        survives(peer, &client, &events, unheard, Side::Server);
        tunnel.stop();
        check_contract(&events.all());
    }
}

/// Passes 4 MiB through a tunnel that records into `output`; what became of that sink.
fn pass_much(output: impl Write + Send + 'static) -> (Option<io::Error>, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = PcapngSink::new(output, PcapngOptions::default()).unwrap();
    let options = SinkOptions::default().on_error(OnError::Detach);
    let events = Events::default();
    let builder = Tunnel::builder("127.0.0.1:0", listener.local_addr().unwrap());
    let tunnel = Running::start(builder.sink_with(options, sink).sink(events.sink()));
    let client = patient(tunnel.connect());
    let mut server = patient(listener.accept().unwrap().0);
    let said = bytes(1, 4 << 20);
    std::thread::scope(|scope| {
        let said = &said;
        scope.spawn(move || {
            (&client).write_all(said).unwrap();
            drop(client);
        });
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).unwrap();
        assert!(heard == *said);
    });
    drop(server);
    assert!(events.wait_for_close().is_clean());
    let mut summary = tunnel.stop();
    check_contract(&events.all());
    let capture = summary.sinks.remove(0);
    (capture.error, capture.dropped_bytes)
}

#[test]
fn full_disk_ends_capture_only() {
    let mount = "mount -t tmpfs -o size=1m none /mnt;";
    if !confined(&format!("exec unshare --mount sh -ec '{mount} exec \"$@\"' sh")) {
        return;
    }
    let file = std::fs::File::create("/mnt/full.pcapng").unwrap();
    let (error, dropped) = pass_much(file);
    assert_eq!(error.unwrap().kind(), io::ErrorKind::StorageFull);
    assert!(dropped > 0);
}

#[test]
fn closed_fifo_ends_capture_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Both ways, so that neither open waits for the other.
    let open = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let writer =
        std::fs::OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(&path).unwrap();
    let mut reader = std::fs::File::open(&path).unwrap();
    drop(open);
    let leaving = std::thread::spawn(move || {
        reader.read_exact(&mut [0; 1000]).unwrap();
    });
    let (error, dropped) = pass_much(writer);
    leaving.join().unwrap();
    assert_eq!(error.unwrap().kind(), io::ErrorKind::BrokenPipe);
    assert!(dropped > 0);
}
