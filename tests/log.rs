//! The lines of the log.

use std::io::Read;

use crate::support::end::patient;
use crate::support::process::Process;

#[test]
fn failed_connect_is_logged_without_the_systems_number() {
    let to = "unix:/no/such/socket";
    let mut process = Process::start(&["--from", "127.0.0.1:0", "--to", to, "-vv"]);
    let mut client = patient(process.connect());
    client.read(&mut [0]).unwrap_err();
    let line = process.wait_for_line("connect failed: ");
    assert!(line.ends_with("connect failed: No such file or directory"), "{line}");
    let ended = process.stop();
    let numbered: Vec<_> = ended.stderr.iter().filter(|line| line.contains("os error")).collect();
    assert!(numbered.is_empty(), "{numbered:?}");
}
