//! A capture that finds no more room keeps what fits, and what it lost is counted to the byte.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::event::Side;
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::{Kept, Sink};

use crate::support::bytes::bytes;
use crate::support::confined::confined;
use crate::support::end::patient;
use crate::support::process::{Ended, Process};
use crate::support::talk::{Ends, Talk};

const SENT: usize = 3_000_000;
const ANSWERED: usize = 400_000;

/// A talk of `SENT` bytes in portions of `portion`, and answers of `ANSWERED` bytes at the end of
/// each tenth, through a tunnel with this capture; how it ended, and the server's port.
fn talk(portion: usize, options: &[&str]) -> (Ended, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let args = ["--from", "127.0.0.1:0", "--to", &to, "-q", "--on-sink-error", "detach"];
    let tunnel = Process::start(&[&args[..], options].concat());
    let (sent, answers) = (bytes(1, SENT), bytes(2, ANSWERED));
    let mut client = patient(tunnel.connect());
    let mut server = patient(listener.accept().unwrap().0);
    for (tenth, answer) in sent.chunks(SENT / 10).zip(answers.chunks(ANSWERED / 10)) {
        thread::scope(|scope| {
            let mut received = vec![0; tenth.len()];
            let server = &mut server;
            let serving = scope.spawn(move || {
                server.read_exact(&mut received).unwrap();
                server.write_all(answer).unwrap();
                received
            });
            for portion in tenth.chunks(portion) {
                client.write_all(portion).unwrap();
            }
            let mut heard = vec![0; answer.len()];
            client.read_exact(&mut heard).unwrap();
            assert!(serving.join().unwrap() == tenth && heard == answer);
        });
    }
    client.shutdown(Shutdown::Write).unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    (tunnel.stop(), listener.local_addr().unwrap().port())
}

/// The bytes of each direction that were dropped, as the summary says.
fn dropped(ended: &Ended) -> [u64; 2] {
    let summary = ended.stderr.last().unwrap();
    let (_, by_direction) = summary.split_once(" dropped (").expect(summary);
    let numbers = by_direction.split_whitespace().filter_map(|word| word.parse().ok());
    numbers.collect::<Vec<_>>().try_into().unwrap()
}

/// The bytes of each direction that a capture holds, read by tshark, which complains of nothing.
fn kept(path: &Path, server: u16) -> [u64; 2] {
    let fields = ["-T", "fields", "-e", "tcp.srcport", "-e", "tcp.len"];
    let read = Command::new("tshark").args(["-n", "-r"]).arg(path).args(fields).output().unwrap();
    let complaints = String::from_utf8_lossy(&read.stderr).into_owned();
    let complaint = complaints.lines().find(|line| !line.contains("as user"));
    assert!(complaint.is_none() && read.status.success(), "{}: {complaints}", path.display());
    let mut sums = [0; 2];
    for line in String::from_utf8(read.stdout).unwrap().lines() {
        let numbers: Vec<u64> = line.split('\t').map(|field| field.parse().unwrap()).collect();
        sums[usize::from(numbers[0] == u64::from(server))] += numbers[1];
    }
    sums
}

/// Holds that the captures, and what was dropped, are all that passed; that the error was named
/// once by the log and once at the end.
#[track_caller]
fn nothing_is_missing((ended, server): &(Ended, u16), captures: &[PathBuf], error: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let named = |mark: &str| {
        let lines = ended.stderr.iter().filter(|line| line.contains(mark) && line.contains(error));
        lines.count()
    };
    assert_eq!((named(" WARN "), named("tcp_tunn: the capture")), (1, 1), "{ended:?}");
    let dropped = dropped(ended);
    let mut held = [0; 2];
    for capture in captures {
        let [sent, answered] = kept(capture, *server);
        held = [held[0] + sent, held[1] + answered];
    }
    let passed = [held[0] + dropped[0], held[1] + dropped[1]];
    assert_eq!(passed, [SENT as u64, ANSWERED as u64], "kept {held:?}, dropped {dropped:?}");
}

/// Runs the test again where /mnt has room for a mebibyte.
fn on_a_small_disk() -> bool {
    let mount = "mount -t tmpfs -o size=1m none /mnt;";
    confined(&format!("exec unshare --mount sh -ec '{mount} exec \"$@\"' sh"))
}

fn captures() -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir("/mnt").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn full_disk_keeps_what_fits_and_counts_the_rest() {
    if !on_a_small_disk() {
        return;
    }
    for portion in [32 << 10, 700] {
        for ending in ["pcapng", "pcapng.gz", "pcapng.zst"] {
            let path = format!("/mnt/out.{ending}");
            let ended = talk(portion, &["--pcap", &path]);
            nothing_is_missing(&ended, &captures(), "No space left on device");
            let len = fs::metadata(&path).unwrap().len();
            assert!(len >= 900_000, "{path}, {portion}: {len} bytes of 1 MiB");
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn full_disk_ends_a_series_with_what_fits() {
    if !on_a_small_disk() {
        return;
    }
    let ended = talk(700, &["--pcap", "/mnt/out.pcapng", "--rotate-size", "300kB"]);
    let captures = captures();
    assert!(captures.len() >= 3, "{captures:?}");
    nothing_is_missing(&ended, &captures, "No space left on device");
    let len: u64 = captures.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(len >= 900_000, "{len} bytes of 1 MiB");
}

/// On a disk, where writes go past the page cache, and a limit of the user's.
#[test]
fn limit_of_file_size_keeps_what_fits_and_counts_the_rest() {
    // In blocks of 512 bytes.
    if !confined("ulimit -f 2000; exec") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (portion, ending) in [(32 << 10, "pcapng"), (700, "pcapng"), (32 << 10, "pcapng.zst")] {
        let path = folder.path().join(format!("{portion}.{ending}"));
        let ended = talk(portion, &["--pcap", path.to_str().unwrap()]);
        nothing_is_missing(&ended, std::slice::from_ref(&path), "File too large");
        let len = fs::metadata(&path).unwrap().len();
        assert!((900_000..=1_024_000).contains(&len), "{portion}: {len}");
    }
}

/// Takes a number of bytes, and then fails.
struct Failing {
    room: usize,
    errno: i32,
    taken: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.room);
        if len == 0 {
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        self.room -= len;
        self.taken.lock().unwrap().extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn failing_output_keeps_and_counts_whole_blocks() {
    for legs in [Legs::Direct, Legs::Both] {
        for (room, errno) in (1..25).map(|n| (n * 2393, [libc::EIO, libc::EDQUOT][n % 2])) {
            let mut options = PcapngOptions::default();
            options.legs = legs;
            let taken = std::sync::Arc::default();
            let output = Failing { room, errno, taken: std::sync::Arc::clone(&taken) };
            let mut sink = PcapngSink::new(output, options).unwrap();
            let (listener, local) = ("127.0.0.1:8080", "10.0.0.9:40000");
            let ends = Ends::new("127.0.0.1:50000", listener, local, "192.0.2.7:80");
            let mut talk = Talk::open(1, 0, ends);
            talk.connect();
            for turn in 0..40_usize {
                talk.say(Side::Client, &bytes(turn as u64, 900));
                talk.say(Side::Server, &bytes(turn as u64, 300));
            }
            let events = talk.take();
            let failed = events.iter().try_for_each(|event| sink.record(event));
            let failed = failed.and_then(|()| sink.finish()).unwrap_err();
            assert_eq!(failed.raw_os_error(), Some(errno));
            let kept = sink.salvage().unwrap();
            let whole = whole_blocks(&taken.lock().unwrap());
            let path = tempfile::NamedTempFile::with_suffix(".pcapng").unwrap();
            fs::write(path.path(), whole).unwrap();
            assert_eq!(kept, read(path.path(), legs), "{legs:?}, room for {room}");
        }
    }
}

/// The blocks that are whole.
fn whole_blocks(bytes: &[u8]) -> Vec<u8> {
    let mut end = 0;
    while let Some(len) = bytes.get(end + 4..end + 8) {
        let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
        if end + len > bytes.len() {
            break;
        }
        end += len;
    }
    bytes[..end].to_vec()
}

/// What a capture holds of the conversation of `output_that_fails_anywhere…`: on two legs, what a
/// peer said on its own.
fn read(path: &Path, legs: Legs) -> Kept {
    if fs::metadata(path).unwrap().len() == 0 {
        return Kept::default();
    }
    let fields = ["-T", "fields", "-e", "frame.interface_id", "-e", "tcp.srcport", "-e", "tcp.len"];
    let read = Command::new("tshark").args(["-n", "-r"]).arg(path).args(fields).output().unwrap();
    let mut kept = Kept::default();
    for line in String::from_utf8(read.stdout).unwrap().lines() {
        let numbers: Vec<u64> = line.split('\t').map(|field| field.parse().unwrap()).collect();
        let [interface, port, len] = numbers[..] else { panic!("{line}") };
        let from_server = [80, 8080].contains(&port);
        if legs == Legs::Both && from_server != (interface == 1) {
            continue;
        }
        let sum = if from_server { &mut kept.server_to_client } else { &mut kept.client_to_server };
        *sum += len;
    }
    kept
}
