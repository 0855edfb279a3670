//! Captures over TCP: readers that come late, leave, sleep, or half-close.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tcp_tunn::capture::PcapOverIpSink;
use tcp_tunn::event::{Side, Timestamp};
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::{OnSlow, Sink};
use tcp_tunn::tunnel::Tunnel;
use tempfile::tempdir;

use super::{options, talk};
use crate::support::bytes::bytes;
use crate::support::events::PATIENCE;
use crate::support::talk::BEGIN;
use crate::support::tunnel::Running;
use crate::support::verdict::{follow, judge};

const HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

fn bind(on_slow: OnSlow, buffer_bytes: usize) -> (PcapOverIpSink, SocketAddr) {
    let sink =
        PcapOverIpSink::bind("127.0.0.1:0", options(Legs::Direct), on_slow, buffer_bytes).unwrap();
    let address = sink.address();
    (sink, address)
}

/// A reader that is being served.
fn reader(address: SocketAddr) -> TcpStream {
    let mut reader = TcpStream::connect(address).unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut first = [0; 4];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(first, HEADER);
    reader
}

/// Reads to the end, into a file.
fn read_on(reader: TcpStream, path: &Path) -> JoinHandle<PathBuf> {
    read_on_telling(reader, path, channel().0)
}

/// The same, telling how much each time that something was read.
fn read_on_telling(mut reader: TcpStream, path: &Path, told: Sender<usize>) -> JoinHandle<PathBuf> {
    let path = path.to_owned();
    std::thread::spawn(move || {
        let (mut all, mut buffer) = (HEADER.to_vec(), vec![0; 1 << 16]);
        while let read @ 1.. = reader.read(&mut buffer).unwrap() {
            all.extend_from_slice(&buffer[..read]);
            // Not everybody wants to know.
            let _ = told.send(read);
        }
        fs::write(&path, all).unwrap();
        path
    })
}

#[test]
fn late_reader_in_bulk_gets_valid_capture() {
    let folder = tempdir().unwrap();
    let (sink, address) = bind(OnSlow::Block, 1 << 20);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let tunnel = Running::start(Tunnel::builder("127.0.0.1:0", upstream).sink(sink));
    let first = read_on(reader(address), &folder.path().join("first"));
    let mut client = tunnel.connect();
    let (mut server, _) = listener.accept().unwrap();
    let said = bytes(3, 32 << 20);
    let (before, after) = said.split_at(8 << 20);
    let (late, upload) = std::thread::scope(|scope| {
        let (come, coming) = channel();
        let sending = scope.spawn(move || {
            client.write_all(before).unwrap();
            come.send(()).unwrap();
            // Without a pause: the late one comes while this is under way.
            client.write_all(after).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client.read_to_end(&mut Vec::new()).unwrap();
        });
        let receiving = scope.spawn(move || {
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).unwrap();
            heard
        });
        coming.recv().unwrap();
        let late = read_on(reader(address), &folder.path().join("late"));
        let heard = receiving.join().unwrap();
        sending.join().unwrap();
        (late, heard)
    });
    assert!(upload == said);
    tunnel.stop();
    let [first, late] = [first, late].map(|thread| thread.join().unwrap());
    for path in [&first, &late] {
        assert_eq!(judge(path, &[]).completeness[&0], 31);
    }
    assert!(follow(&first, 1)[0][0] == said);
    let seen = &follow(&late, 1)[0][0];
    assert!(!seen.is_empty() && seen.len() < said.len(), "{} bytes", seen.len());
    assert!(said.ends_with(seen));
}

#[test]
fn wireshark_reads_served_capture() {
    let folder = tempdir().unwrap();
    let (sink, address) = bind(OnSlow::Block, 1 << 20);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let tunnel = Running::start(Tunnel::builder("127.0.0.1:0", upstream).sink(sink));
    let path = folder.path().join("out.pcapng");
    let mut tshark = Command::new("tshark")
        .args(["-n", "-i", &format!("TCP@{address}"), "-c", "6", "-w"])
        .arg(&path)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Connections until it has seen enough: it takes its time to start.
    let end = Instant::now() + PATIENCE;
    while tshark.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "tshark does not end");
        let mut client = tunnel.connect();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        (&server).read_to_end(&mut Vec::new()).unwrap();
    }
    tunnel.stop();
    assert_eq!(crate::support::verdict::tshark(&path, &["-n"]).len(), 6);
}

#[test]
fn stalled_reader_is_disconnected_and_others_lose_nothing() {
    let folder = tempdir().unwrap();
    let (mut sink, address) = bind(OnSlow::Drop, 4 << 20);
    let mut talk = talk(1);
    let sleeper = serve_new(&mut sink, address);
    let awake = serve_new(&mut sink, address);
    let (told, reads) = channel();
    let awake = read_on_telling(awake, &folder.path().join("awake"), told);
    talk.connect();
    let said = bytes(9, 64 << 10);
    let mut read = 0;
    for round in 1..=1000 {
        talk.say(Side::Client, &said);
        talk.events.drain(..).for_each(|event| sink.record(&event).unwrap());
        sink.flush().unwrap();
        // The one who is awake has the time to read: how fast it is is not what is tested here.
        while read < round * said.len() {
            read += reads.recv_timeout(PATIENCE).unwrap();
        }
    }
    talk.end(Side::Client);
    talk.take().iter().for_each(|event| sink.record(event).unwrap());
    sink.finish().unwrap();
    let path = awake.join().unwrap();
    assert_eq!(judge(&path, &[]).completeness[&0], 31);
    assert!(follow(&path, 1)[0][0] == talk.said[0]);
    // Sent away long before the end.
    let mut rest = Vec::new();
    let _ = (&sleeper).read_to_end(&mut rest);
    assert!(rest.len() < talk.said[0].len() / 2, "{} bytes", rest.len());
}

/// A reader that a sink without a tunnel serves.
fn serve_new(sink: &mut PcapOverIpSink, address: SocketAddr) -> TcpStream {
    let serving = std::thread::spawn(move || reader(address));
    while !serving.is_finished() {
        sink.tick(Timestamp(BEGIN)).unwrap();
        // As a tunnel ticks, which is what brings a reader in.
        std::thread::sleep(Duration::from_millis(1));
    }
    serving.join().unwrap()
}

#[test]
fn half_closed_reader_reads_on() {
    let folder = tempdir().unwrap();
    let (mut sink, address) = bind(OnSlow::Block, 1 << 20);
    let reader = serve_new(&mut sink, address);
    reader.shutdown(Shutdown::Write).unwrap();
    // Long enough to be asked whether it is still there.
    let end = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < end {
        sink.tick(Timestamp(BEGIN)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let reading = read_on(reader, &folder.path().join("out"));
    let mut talk = talk(1);
    talk.connect().say(Side::Client, b"still there").end(Side::Client);
    talk.events.iter().for_each(|event| sink.record(event).unwrap());
    sink.finish().unwrap();
    let path = reading.join().unwrap();
    judge(&path, &[]);
    assert_eq!(follow(&path, 1)[0][0], b"still there");
}

/// How many of this port's connections the other side has closed and this one not.
fn half_closed(port: u16) -> usize {
    const CLOSE_WAIT: &str = "08";
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let local = format!(":{port:04X}");
    fields.filter(|line| line[1].ends_with(&local) && line[3] == CLOSE_WAIT).count()
}

#[test]
fn departed_reader_is_removed_while_idle() {
    let (mut sink, address) = bind(OnSlow::Block, 1 << 20);
    for _ in 0..10 {
        // With something unread it would reset the connection.
        let count = serve_new(&mut sink, address).read(&mut [0; 4096]).unwrap();
        assert!(count < 4096);
    }
    let end = Instant::now() + PATIENCE;
    // The last of them has only just left.
    while half_closed(address.port()) == 0 {
        assert!(Instant::now() < end, "nobody has left");
        std::thread::sleep(Duration::from_millis(1));
    }
    while half_closed(address.port()) > 0 {
        assert!(Instant::now() < end, "their sockets stay open");
        sink.tick(Timestamp(BEGIN)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
}
