//! SIGKILL in the middle of traffic: what is left opens, and misses the last moment at most.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::process::Process;

/// What may be missing. No more than this, however late the machine is: what a write must hold is
/// judged by the time of that write, which the kernel puts down.
const MISSING_MAX: Duration = Duration::from_millis(100);
const ROUNDS: u64 = 20;

/// Sends everybody's bytes back.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &stream, &mut &stream);
            });
        }
    });
    address
}

/// Says one number after another, each when the one before has come back; when each had.
fn count_aloud(mut stream: TcpStream) -> Vec<SystemTime> {
    let mut heard = Vec::new();
    let mut answer = [0; 8];
    while stream.write_all(&(heard.len() as u64).to_be_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
    {
        assert_eq!(answer, (heard.len() as u64).to_be_bytes());
        heard.push(SystemTime::now());
    }
    heard
}

/// Says much, but no more than the capture can keep up with: what waits in a sink's queue is lost.
fn talk_on(mut stream: TcpStream) {
    let chunk = vec![0; 8 << 10];
    let mut answers = stream.try_clone().unwrap();
    let hearing = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    while stream.write_all(&chunk).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = hearing.join();
}

/// The numbers in a capture that may have been cut short: they are all from 0 on.
fn numbers(path: &Path, port: u16) -> u64 {
    let args = ["-n", "-d", "tcp.port==0-65535,data", "-T", "fields", "-e", "data.data"];
    let filter = format!("tcp.srcport == {port} and tcp.len > 0");
    let output = Command::new("tshark").args(args).args(["-Y", &filter, "-r"]).arg(path).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().find(|line| !line.is_empty() && !line.contains("as user"));
    assert!(complaint.is_none_or(|line| line.contains("cut short")), "{said}");
    let mut count = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        assert_eq!(u64::from_str_radix(line, 16).unwrap(), count, "something is missing");
        count += 1;
    }
    count
}

#[test]
fn capture_after_sigkill_opens_and_is_recent() {
    // On a disk, where direct writes make it harder.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = echo().to_string();
    let (mut held, mut prompt) = (0, 0);
    for round in 0..ROUNDS {
        let path = folder.path().join(format!("{round}.pcapng"));
        let args = ["--from", "127.0.0.1:0", "--to", &server, "-q", "--pcap"];
        let process = Process::start(&[&args[..], &[path.to_str().unwrap()]].concat());
        let counting = process.connect();
        let port = counting.local_addr().unwrap().port();
        let talking = (round % 2 == 0).then(|| process.connect());
        let (heard, killed) = std::thread::scope(|scope| {
            let counting = scope.spawn(move || count_aloud(counting));
            let talking = talking.map(|stream| scope.spawn(move || talk_on(stream)));
            // Any moment will do; each round has its own.
            std::thread::sleep(Duration::from_millis(300 + round * 13));
            let killed = SystemTime::now();
            drop(process);
            if let Some(thread) = talking {
                thread.join().unwrap();
            }
            (counting.join().unwrap(), killed)
        });
        let written = path.metadata().unwrap().modified().unwrap();
        let old_enough = |at: &&SystemTime| **at + MISSING_MAX <= written;
        let must = heard.iter().take_while(old_enough).count() as u64;
        let has = numbers(&path, port);
        assert!(has >= must, "round {round}: {has} of {must} ({} in all)", heard.len());
        held += must;
        prompt += u64::from(written + MISSING_MAX >= killed);
    }
    assert!(held > 0, "nothing was said in time");
    // A machine that is late may delay a write, but not most of them.
    assert!(prompt > ROUNDS / 2, "{prompt} of {ROUNDS} files were written to just before the end");
}
