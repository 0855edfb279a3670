//! Two processes that would write one file: the second is refused, and the first loses nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

use crate::support::process::Process;
use crate::support::verdict::{follow, judge};

/// Starts a tunnel that writes a file, and then another; the first's file is whole, the second is
/// refused in one line.
fn second_is_refused(option: &str, name: &str, words: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let path = path.to_str().unwrap();
    // The file of a process that is gone is no obstacle.
    fs::write(path, "left by another").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let args = ["--from", "127.0.0.1:0", "--to", &to, option, path];
    let first = Process::start(&args);
    let mut client = first.connect();
    client.write_all(b"before").unwrap();
    let mut server = listener.accept().unwrap().0;
    server.read_exact(&mut [0; 6]).unwrap();

    let second = Process::run(&args);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.len() == 1 && second.stderr[0].contains(words), "{second:?}");
    assert!(second.stderr[0].contains(path), "{second:?}");

    client.write_all(b" after").unwrap();
    server.read_exact(&mut [0; 6]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    drop(server);
    client.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(first.stop().code, Some(0));
    (folder, path.to_owned())
}

#[test]
fn second_writer_of_a_capture_is_refused() {
    for name in ["out.pcapng", "out.pcapng.zst", "out.pcapng.gz"] {
        let words = "another process writes to it (choose another file";
        let (_folder, path) = second_is_refused("--pcap", name, words);
        // tcpdump reads no compressed files.
        if name == "out.pcapng" {
            judge(path.as_ref(), &[]);
        }
        assert_eq!(follow(path.as_ref(), 1)[0][0], b"before after", "{name}");
    }
}

#[test]
fn second_writer_of_a_console_is_refused() {
    let words = "another process writes to it (choose another file";
    let (_folder, path) = second_is_refused("--output", "out.txt", words);
    let printed = fs::read_to_string(path).unwrap();
    assert!(printed.starts_with("[1] ") && printed.contains("Close: finished"), "{printed}");
}

#[test]
fn devices_are_for_everybody() {
    let args = ["--from", "127.0.0.1:0", "--to", "127.0.0.1:1", "-q", "--pcap", "/dev/null"];
    let (first, second) = (Process::start(&args), Process::start(&args));
    for tunnel in [first, second] {
        assert_eq!(tunnel.stop().code, Some(0));
    }
}
