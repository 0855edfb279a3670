//! Which system calls carry the payload, as strace sees it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;

use crate::support::end::patient;
use crate::support::process::Process;
use crate::support::skip::skip_without_kernel_feature;
use crate::support::tshark::until;

const CLIENTS: usize = 64;
const REQUESTS: usize = 20;
const CAPTURE: &str = "out.pcapng";
/// Stands in each message, and nowhere else.
const MARK: &str = "a-marked-message";

/// Every call that could carry payload through a socket other than by the ring.
const CALLS: &str = "trace=read,write,readv,writev,preadv,pwritev,preadv2,pwritev2,recvfrom,sendto,\
                     recvmsg,sendmsg,recvmmsg,sendmmsg,sendfile,splice,tee";

/// Sends back what each client sends.
fn echo_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = patient(stream.unwrap());
            std::thread::spawn(move || {
                let mut message = [0; MARK.len()];
                while stream.read_exact(&mut message).is_ok() {
                    stream.write_all(&message).unwrap();
                }
            });
        }
    });
    address
}

fn ping_pong(stream: TcpStream) {
    let mut stream = patient(stream);
    stream.set_nodelay(true).unwrap();
    let mut answer = [0; MARK.len()];
    for _ in 0..REQUESTS {
        stream.write_all(MARK.as_bytes()).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, MARK.as_bytes());
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut answer).unwrap(), 0);
}

/// Runs the chatter through a tunnel with a capture, and returns the summary and the calls
/// that carried payload through a socket, as strace prints them.
fn payload_calls(io: &str, folder: &Path) -> (Vec<String>, Vec<String>) {
    let (trace, pcap) = (folder.join("trace"), folder.join(CAPTURE));
    let to = echo_server();
    let stop = format!("connections:{CLIENTS}");
    let process = Process::start_by(
        // The traced program keeps its process id; each socket is printed with its protocol.
        &[
            "strace",
            "-D",
            "-f",
            "-q",
            "-yy",
            "-s",
            "64",
            "-e",
            CALLS,
            "-o",
            trace.to_str().unwrap(),
        ],
        &[
            "--from",
            "127.0.0.1:0",
            "--to",
            &to,
            "--io",
            io,
            "--quiet",
            "--stop-after",
            &stop,
            "--pcap",
            pcap.to_str().unwrap(),
        ],
    );
    let id = process.id();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| process.connect())
        .map(|stream| std::thread::spawn(move || ping_pong(stream)))
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let ended = process.wait();
    assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
    // Both directions of both legs are in the capture.
    let captured = String::from_utf8_lossy(&fs::read(&pcap).unwrap()).matches(MARK).count();
    assert_eq!(captured, 2 * CLIENTS * REQUESTS);
    // The tracer outlives what it traces, and writes this line last. It pads short numbers.
    let id = id.to_string();
    let is_end = |line: &str| {
        line.split_once(' ')
            .is_some_and(|(of, event)| of == id && event.trim() == "+++ exited with 0 +++")
    };
    let calls = until("the end of the trace", || {
        fs::read_to_string(&trace).ok().filter(|calls| calls.lines().any(is_end))
    });
    let calls = calls.lines().filter(|line| is_payload(line)).map(str::to_owned).collect();
    (ended.stderr, calls)
}

/// Whether a line shows payload on a socket: in full, or as the second half of a call that another
/// thread interrupted. Bytes that are spliced are not printed, so that any splice counts.
fn is_payload(line: &str) -> bool {
    line.contains(MARK) && !line.contains(CAPTURE)
        || ["splice(", "sendfile(", "tee("].iter().any(|call| line.contains(call))
}

#[test]
fn chatter_with_a_capture_goes_through_the_ring_only() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, calls) = payload_calls("auto", folder.path());
    if summary.iter().any(|line| line.contains("io epoll: ")) {
        return skip_without_kernel_feature("io_uring");
    }
    assert!(calls.is_empty(), "{} calls, such as {:?}", calls.len(), calls.first());
}

/// Proves that strace would show it.
#[test]
fn chatter_by_epoll_shows_in_the_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (_, calls) = payload_calls("epoll", folder.path());
    assert!(calls.len() >= 4 * CLIENTS * REQUESTS, "{} calls", calls.len());
}
