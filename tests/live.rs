//! The command and the real tshark, while it happens: through a pipe, a FIFO and TCP.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tempfile::tempdir;

use crate::support::bytes::bytes;
use crate::support::end::patient;
use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::tshark::{Tshark, until};
use crate::support::verdict::{follow, judge};

const LOCAL: &str = "127.0.0.1:0";
/// Prints what is said, whatever a dissector may make of the port.
const PAYLOADS: [&str; 6] = ["-Y", "tcp.len > 0", "-T", "fields", "-e", "tcp.payload"];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn meet(process: &Process, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = process.connect();
    (patient(client), patient(listener.accept().unwrap().0))
}

/// Says it to the other end, which hears it.
fn say(words: &[u8], mut from: &TcpStream, mut to: &TcpStream) {
    from.write_all(words).unwrap();
    let mut heard = vec![0; words.len()];
    to.read_exact(&mut heard).unwrap();
    assert_eq!(heard, words);
}

fn end(client: TcpStream, server: TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&server).read(&mut [0]).unwrap(), 0);
    drop(server);
    assert_eq!((&client).read(&mut [0]).unwrap(), 0);
}

#[test]
fn pipe_shows_chunks_at_once_until_reader_leaves() {
    let (listener, to) = listener();
    let args = ["--from", LOCAL, "--to", &to, "--pcap", "-", "--shutdown-timeout", "100ms"];
    let (mut process, stdout) = Process::start_piped(&args);
    // A handshake, a chunk with its ACK, and the next chunk.
    let enough = ["-i", "-", "-c", "6"];
    let tshark = Tshark::start(stdout.into(), &[&enough, &PAYLOADS[..]].concat());
    let (client, server) = meet(&process, &listener);
    for (words, from, to) in [("ping", &client, &server), ("pong", &server, &client)] {
        say(words.as_bytes(), from, to);
        tshark.wait_for(&hex(words.as_bytes()));
    }
    // Nothing more is said, and all the same it notices.
    assert!(tshark.ended().success());
    until("it does not end", || process.has_ended().then_some(()));
    let ended = process.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stderr.iter().any(|line| line.contains("failed")), "{ended:?}");
}

#[test]
fn closed_fifo_is_noticed_while_idle() {
    let folder = tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (_listener, to) = listener();
    let args = ["--from", LOCAL, "--to", &to, "--pcap", fifo.to_str().unwrap()];
    let mut process = Process::start(&args);
    let mut reader = fs::File::open(&fifo).unwrap();
    reader.read_exact(&mut [0; 4]).unwrap();
    drop(reader);
    until("it does not end", || process.has_ended().then_some(()));
    let ended = process.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.iter().any(|line| line.contains("(its reader is gone)")), "{ended:?}");
}

#[test]
fn fifo_shows_chunks_at_once() {
    let folder = tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (fifo, copy) = (fifo.to_str().unwrap(), folder.path().join("out.pcapng"));
    let (listener, to) = listener();
    let process = Process::start(&["--from", LOCAL, "--to", &to, "--pcap", fifo]);
    let args =
        ["-i", fifo, "-P", "-w", copy.to_str().unwrap(), "-T", "fields", "-e", "tcp.payload"];
    let tshark = Tshark::start(Stdio::null(), &args);
    let (client, server) = meet(&process, &listener);
    say(b"ping", &client, &server);
    tshark.wait_for(&hex(b"ping"));
    let much = bytes(1, 1 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| say(&much, &server, &client));
    });
    end(client, server);
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(tshark.ended().success());
    judge(&copy, &[]);
    assert!(follow(&copy, 1) == [[b"ping".to_vec(), much]]);
}

/// Starts the real tshark on what is served, and waits until it has begun to write.
fn reader_over_ip(address: &str, path: &Path) -> Tshark {
    let interface = format!("TCP@{address}");
    let args = ["-q", "-i", &interface, "-w", path.to_str().unwrap()];
    let tshark = Tshark::start(Stdio::null(), &args);
    let begun = || fs::metadata(path).is_ok_and(|file| file.len() > 0);
    until("tshark writes nothing", || begun().then_some(()));
    tshark
}

/// The address in a line such as `capture on 127.0.0.1:40001 (try ...`.
fn served(process: &mut Process) -> String {
    process.wait_for_line("capture on ").split(' ').nth(2).unwrap().to_owned()
}

/// Says the same again and again, at the pace of a fast network, until told to end; how often.
fn talk_on(mut client: &TcpStream, chunk: &[u8], ended: &AtomicBool) -> usize {
    let mut times = 0;
    while !ended.load(Relaxed) {
        client.write_all(chunk).unwrap();
        times += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    client.shutdown(Shutdown::Write).unwrap();
    times
}

#[test]
fn second_reader_in_bulk_gets_valid_capture() {
    let folder = tempdir().unwrap();
    let [first, late] = ["first", "late"].map(|name| folder.path().join(name));
    let (listener, to) = listener();
    let mut process = Process::start(&["--from", LOCAL, "--to", &to, "--pcap-over-ip", LOCAL]);
    let address = served(&mut process);
    let first_reader = reader_over_ip(&address, &first);
    let (client, server) = meet(&process, &listener);
    let (chunk, ended) = (bytes(3, 60_000), AtomicBool::new(false));
    let (late_reader, said) = std::thread::scope(|scope| {
        let talking = scope.spawn(|| chunk.repeat(talk_on(&client, &chunk, &ended)));
        let hearing = scope.spawn(|| std::io::copy(&mut &server, &mut std::io::sink()).unwrap());
        let late_reader = reader_over_ip(&address, &late);
        let seen = fs::metadata(&late).unwrap().len();
        let more = || fs::metadata(&late).unwrap().len() > seen + 3_000_000;
        until("the second one sees no data", || more().then_some(()));
        ended.store(true, Relaxed);
        let said = talking.join().unwrap();
        assert_eq!(hearing.join().unwrap(), said.len() as u64);
        (late_reader, said)
    });
    drop((client, server));
    let ended = process.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(first_reader.ended().success() && late_reader.ended().success());
    for path in [&first, &late] {
        assert_eq!(judge(path, &[]).completeness[&0], 31);
    }
    let [[from_first, _]] = &follow(&first, 1)[..] else { panic!("one stream") };
    let [[from_late, _]] = &follow(&late, 1)[..] else { panic!("one stream") };
    assert!(*from_first == said);
    assert!(said.ends_with(from_late), "it does not go on to the end");
    assert!((3_000_000..said.len()).contains(&from_late.len()), "{}", from_late.len());
}

#[test]
fn pcap_over_ip_accepts_names_and_addresses() {
    let (listener, to) = listener();
    for (asked, told) in [
        ("localhost:0", ["127.0.0.1:", "[::1]:"]),
        ("[::1]:0", ["[::1]:", "[::1]:"]),
        ("0.0.0.0:0", ["0.0.0.0:", "0.0.0.0:"]),
    ] {
        let args = ["--from", LOCAL, "--to", &to, "--pcap-over-ip", asked];
        let mut process = Process::start(&args);
        let line = process.wait_for_line("capture on ");
        let address = line.split(' ').nth(2).unwrap();
        assert!(told.iter().any(|told| address.starts_with(told)), "{line}");
        assert!(!address.ends_with(":0") && !line.contains("TCP@0.0.0.0"), "{line}");
        // As the line says to do, but for the screen.
        let (_, reachable) = line.trim_end_matches("')").split_once("TCP@").unwrap();
        let interface = format!("TCP@{reachable}");
        let tshark = Tshark::start(Stdio::null(), &[&["-i", &interface], &PAYLOADS[..]].concat());
        let (client, server) = meet(&process, &listener);
        // It takes its time to start, and sees what is said from then on.
        let is_seen = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_seen.load(Relaxed) {
                    say(b"hello", &client, &server);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            tshark.wait_for(&hex(b"hello"));
            is_seen.store(true, Relaxed);
        });
        end(client, server);
        assert_eq!(process.stop().code, Some(0));
    }
}

/// Gets a page by TLS, as a client does whose keys are logged.
fn get(process: &Process, version: &str, page: &str, keylog: &Path) {
    let url = format!("https://{}/{page}", process.addresses[0]);
    let said = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--noproxy", "*", "--max-time", "60"])
        .args(["--header", "Connection: close", "--tlsv1.2", "--tls-max", version, &url])
        .env("SSLKEYLOGFILE", keylog)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn wireshark_decrypts_without_configuration() {
    let folder = tempdir().unwrap();
    let server = Server::https(folder.path());
    let at = |name: &str| folder.path().join(name);
    let (keylog, file, copy) = (at("keys.log"), at("out.pcapng"), at("copy.pcapng"));
    let keys = ["--tls-keylog", keylog.to_str().unwrap()];
    let args = [&["--from", LOCAL, "--to", &server.address], &keys[..]].concat();
    let (piped, stdout) = Process::start_piped(&[&args[..], &["--pcap", "-"]].concat());
    let more = ["--pcap", file.to_str().unwrap(), "--pcap-over-ip", LOCAL];
    let mut served_one = Process::start(&[&args[..], &more].concat());
    let reader = reader_over_ip(&served(&mut served_one), &copy);
    let requests = ["-o", "tls.keylog_file:", "-Y", "http.request", "-T", "fields", "-e"];
    let requests = [&requests[..], &["http.request.uri"]].concat();
    let on_pipe = [&["-i", "-"], &requests[..]].concat();
    let pipe = Tshark::start(stdout.into(), &on_pipe);
    for version in ["1.2", "1.3"] {
        let page = format!("page-{version}");
        get(&piped, version, &page, &keylog);
        pipe.wait_for(&format!("/{page}"));
        get(&served_one, version, &page, &keylog);
    }
    assert_eq!(piped.stop().code, Some(0));
    assert!(pipe.ended().success());
    assert_eq!(served_one.stop().code, Some(0));
    assert!(reader.ended().success());
    for path in [file, copy] {
        let pages = crate::support::verdict::tshark(&path, &[&["-n"], &requests[..]].concat());
        assert_eq!(pages, ["/page-1.2", "/page-1.3"], "{}", path.display());
    }
}
