//! Series of files and ends by itself, through the real program and under load.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;

use tempfile::tempdir;

use crate::support::bytes::bytes;
use crate::support::end::patient;
use crate::support::process::Process;
use crate::support::tshark::until;
use crate::support::verdict::{RESET, judge, tshark};

const LOCAL: &str = "127.0.0.1:0";
const SIZE: u64 = 1_000_000;

/// Sends everybody's bytes back, and the end.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone()?, &mut stream));
        }
    });
    address
}

/// The files of the series by their numbers.
fn series(folder: &Path) -> BTreeMap<u32, PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (number(&path), path)).collect()
}

/// The number in a name such as `out_00001_20261122132642.pcapng`.
fn number(path: &Path) -> u32 {
    let name = path.file_name().unwrap().to_str().unwrap();
    let middle = name.strip_prefix("out_").and_then(|name| name.strip_suffix(".pcapng"));
    let (number, time) = middle.and_then(|middle| middle.split_once('_')).expect(name);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(number.len() == 5 && digits(number), "{name}");
    assert!(time.len() == 14 && digits(time) && time.starts_with("20"), "{name}");
    number.parse().unwrap()
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Says it all and hears it all again.
fn converse(mut client: &TcpStream, words: &[u8]) {
    let mut heard = vec![0; words.len()];
    std::thread::scope(|scope| {
        let mut talking = client;
        scope.spawn(move || talking.write_all(words).unwrap());
        client.read_exact(&mut heard).unwrap();
    });
    assert!(heard == words);
}

fn end(mut client: TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// A client each for what is said, all at once, that pause in the middle while `meanwhile` runs;
/// their addresses, in order.
fn bulk(process: &Process, said: &[Vec<u8>], meanwhile: impl FnOnce()) -> Vec<SocketAddr> {
    let pause = Barrier::new(said.len() + 1);
    std::thread::scope(|scope| {
        let pause = &pause;
        let start = |words| {
            let client = patient(process.connect());
            scope.spawn(move || talk(client, words, pause))
        };
        let clients: Vec<_> = said.iter().map(Vec::as_slice).map(start).collect();
        pause.wait();
        meanwhile();
        pause.wait();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

fn talk(client: TcpStream, words: &[u8], pause: &Barrier) -> SocketAddr {
    let address = client.local_addr().unwrap();
    let (before, after) = words.split_at(words.len() / 2);
    converse(&client, before);
    pause.wait();
    pause.wait();
    converse(&client, after);
    end(client);
    address
}

/// What was said in a capture, by the ports of who said it and who heard it: in the order of its
/// packets, since a connection is a stream anew in each file of a series.
fn said(path: &Path) -> BTreeMap<(u16, u16), Vec<u8>> {
    let fields = ["-n", "-d", "tcp.port==0-65535,data", "-Y", "tcp.len > 0", "-T", "fields"];
    let ports = ["-e", "tcp.srcport", "-e", "tcp.dstport", "-e", "tcp.payload"];
    let mut said: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for line in tshark(path, &[&fields[..], &ports].concat()) {
        let [from, to, payload] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let said = said.entry((from.parse().unwrap(), to.parse().unwrap())).or_default();
        let digits = payload.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        said.extend(digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
    }
    said
}

fn start(folder: &Path, more: &[&str]) -> Process {
    let (server, path) = (echo_server().to_string(), folder.join("out.pcapng"));
    let args = ["--from", LOCAL, "--to", &server, "--quiet", "--pcap", path.to_str().unwrap()];
    Process::start(&[&args[..], more].concat())
}

#[test]
fn files_under_load_lose_nothing() {
    let folder = tempdir().unwrap();
    let process = start(folder.path(), &["--rotate-size", "1MB"]);
    let words: Vec<_> = (1..=4).map(|seed| bytes(seed, 1_000_000)).collect();
    let mut complete = BTreeMap::new();
    let clients = bulk(&process, &words, || {
        // Half of it, both ways, is four files; the capture may be a moment behind.
        until("there are no four files", || (series(folder.path()).len() >= 4).then_some(()));
        let before = series(folder.path()).len();
        process.signal("HUP");
        until("a hangup begins no file", || (series(folder.path()).len() > before).then_some(()));
        // With a successor, a file is complete.
        let mut files = series(folder.path());
        files.pop_last();
        complete.extend(files.into_values().map(|path| (path.clone(), fs::read(path).unwrap())));
    });
    assert_eq!(process.stop().code, Some(0));
    let files = series(folder.path());
    assert!(files.len() >= 6 && complete.len() >= 3, "{files:?}");
    assert!(files.keys().copied().eq(1..=files.len() as u32), "{files:?}");
    for (path, bytes) in complete {
        assert!(fs::read(&path).unwrap() == bytes, "{} was not complete", path.display());
    }
    let (_, but_the_last) = files.values().next_back().zip(Some(files.len() - 1)).unwrap();
    let small = files.values().take(but_the_last).filter(|path| len(path) < SIZE).count();
    assert_eq!(small, 1, "the hangup alone cuts a file short: {files:?}");
    for path in files.values() {
        judge(path, &[]);
    }
    let merged = folder.path().join("merged");
    let ran = Command::new("mergecap").arg("-w").arg(&merged).args(files.values()).status();
    assert!(ran.unwrap().success());
    let strange = "tcp.analysis.flags and not tcp.analysis.reused_ports";
    assert_eq!(tshark(&merged, &["-n", "-Y", strange]), [""; 0]);
    let in_capture = said(&merged);
    assert_eq!(in_capture.len(), 2 * words.len());
    for ((from, to), said) in in_capture {
        let of = |client: &SocketAddr| [from, to].contains(&client.port());
        let client = clients.iter().position(of).unwrap();
        assert!(said == words[client], "{from} -> {to} is spliced");
    }
}

#[test]
fn ring_of_files_keeps_its_length() {
    let folder = tempdir().unwrap();
    let process = start(folder.path(), &["--rotate-size", "1MB", "--rotate-files", "3"]);
    let said: Vec<_> = (1..=4).map(|seed| bytes(seed, 2_000_000)).collect();
    bulk(&process, &said, || {
        process.signal("HUP");
        // The new one is made before the oldest goes.
        assert!(series(folder.path()).len() <= 4);
    });
    assert_eq!(process.stop().code, Some(0));
    let files = series(folder.path());
    let last = *files.keys().next_back().unwrap();
    assert!(last > 12 && files.keys().copied().eq(last - 2..=last), "{files:?}");
    files.values().for_each(|path| drop(judge(path, &[])));
}

#[test]
fn preamble_does_not_fill_file() {
    // Less than the headers have, and less than the room for keys.
    for size in ["100", "10KB"] {
        let folder = tempdir().unwrap();
        let keys = folder.path().join("keys.log");
        let keys = ["--tls-keylog", keys.to_str().unwrap()];
        let process = start(folder.path(), &[&["--rotate-size", size][..], &keys].concat());
        let client = patient(process.connect());
        converse(&client, b"hello");
        // Long enough for a few turns of the capture.
        std::thread::sleep(Duration::from_millis(400));
        end(client);
        assert_eq!(process.stop().code, Some(0));
        let files = series(folder.path());
        assert_eq!(files.len(), 1, "{size}: {files:?}");
        judge(&files[&1], &[]);
    }
}

#[test]
fn interval_begins_new_file() {
    let folder = tempdir().unwrap();
    let process = start(folder.path(), &["--rotate-interval", "300ms"]);
    let client = patient(process.connect());
    converse(&client, b"hello");
    until("there is no third file", || (series(folder.path()).len() >= 3).then_some(()));
    end(client);
    assert_eq!(process.stop().code, Some(0));
    let files = series(folder.path());
    files.values().for_each(|path| assert_eq!(judge(path, &[]).completeness.len(), 1));
}

/// Says more and more until it is cut off.
fn talk_until_it_ends(mut client: TcpStream) {
    let chunk = bytes(9, 30_000);
    let mut heard = client.try_clone().unwrap();
    let hearing = std::thread::spawn(move || std::io::copy(&mut heard, &mut std::io::sink()));
    while client.write_all(&chunk).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = hearing.join();
}

#[test]
fn stop_under_load_leaves_valid_capture() {
    for stop in ["duration:700ms", "size:2MB", "packets:333", "connections:2"] {
        let folder = tempdir().unwrap();
        let process = start(folder.path(), &["--stop-after", stop, "--shutdown-timeout", "50ms"]);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let client = process.connect();
                scope.spawn(|| talk_until_it_ends(client));
            }
            if stop.starts_with("connections:") {
                (0..2).for_each(|_| end(process.connect()));
            }
        });
        let ended = process.wait();
        assert_eq!(ended.code, Some(0), "{stop}: {ended:?}");
        let path = folder.path().join("out.pcapng");
        judge(&path, &[RESET]);
        let packets = tshark(&path, &["-n"]).len();
        match stop {
            "packets:333" => assert_eq!(packets, 333),
            "size:2MB" => assert!((2_000_000..5_000_000).contains(&len(&path)), "{}", len(&path)),
            _ => assert!(packets > 10, "{stop}: {packets}"),
        }
    }
}
