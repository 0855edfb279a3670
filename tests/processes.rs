//! The programs of clients, found beside the relay.

use std::io::{Read, Write};
use std::net::TcpListener;

use tcp_tunn::event::EventKind;
use tcp_tunn::sink::Interest;
use tcp_tunn::tunnel::Tunnel;

use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

/// The name of this very process.
fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned()
}

#[test]
fn client_on_this_machine_is_found_after_the_opening() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else {
            assert!(address.starts_with('['), "there may be no IPv6");
            continue;
        };
        let (asking, other) = (Events::default(), Events::default());
        let tunnel = Tunnel::builder(address, listener.local_addr().unwrap())
            .sink(asking.sink_with(Interest::ALL.process()))
            .sink(other.sink());
        let tunnel = Running::start(tunnel);
        let client = patient(tunnel.connect());
        let found = asking.wait_for(|event| matches!(event.kind, EventKind::Process(_)));
        let EventKind::Process(process) = found.kind else { unreachable!() };
        assert_eq!((process.pid, &*process.name), (std::process::id(), &*own_name()));
        drop(client);
        patient(listener.accept().unwrap().0).read_to_end(&mut Vec::new()).unwrap();
        asking.wait_for_close();
        tunnel.stop();
        check_contract(&asking.all());
        let unasked = |kind: &EventKind| matches!(kind, EventKind::Process(_));
        assert!(!other.all().iter().any(|event| unasked(&event.kind)), "a sink that does not ask");
    }
}

#[cfg(feature = "cli")]
mod shown {
    use std::io::{BufRead, BufReader};

    use super::*;
    use crate::support::process::Process;
    use crate::support::verdict::{judge, tshark};

    #[test]
    fn process_stands_on_the_console_and_with_the_next_packet() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.pcapng");
        let args = ["--from", "127.0.0.1:0", "--to", &to, "--pcap", path.to_str().unwrap()];
        let more = ["--time", "none", "--stop-after", "connections:1"];
        let (tunnel, stdout) = Process::start_piped(&[&args[..], &more].concat());
        let mut client = patient(tunnel.connect());
        let server = patient(listener.accept().unwrap().0);
        let line = format!("[1] process {} {}", std::process::id(), own_name());
        let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
        assert!(lines.any(|shown| shown == line), "no '{line}'");
        client.write_all(b"hello").unwrap();
        drop(client);
        assert_eq!({ server }.read_to_end(&mut Vec::new()).unwrap(), 5);
        assert!(lines.any(|shown| shown.starts_with("[1] Close: finished")));
        assert_eq!(tunnel.wait().code, Some(0));
        judge(&path, &[]);
        let comments = tshark(&path, &["-T", "fields", "-e", "frame.comment"]);
        let comment = format!("{} (process {})", own_name(), std::process::id());
        let with = comments.iter().filter(|shown| shown.contains(&comment)).count();
        assert_eq!(with, 1, "{comments:?}");
    }

    /// Runs a program as nobody.
    const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

    #[test]
    fn process_of_another_user_stays_unknown_without_root() {
        if !rustix::process::geteuid().is_root() {
            return crate::support::skip::skip_without_root("a client of another user");
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap().to_string();
        let shown = ["--console", "text", "--time", "none", "--from", "127.0.0.1:0", "--to"];
        let (tunnel, stdout) = Process::start_piped_by(&NOBODY, &[&shown[..], &[&to]].concat());
        let foreign = patient(tunnel.connect());
        let through = tunnel.addresses[0].to_string();
        let known = Process::start_by(&NOBODY, &["-q", "--from", "127.0.0.1:0", "--to", &through]);
        let client = patient(known.connect());
        let accepted = [(); 2].map(|()| listener.accept().unwrap().0);
        // It came after the other, and is looked for after it.
        let line = format!("[2] process {} tcp_tunn", known.id());
        let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
        let before: Vec<_> = lines.by_ref().take_while(|shown| *shown != line).collect();
        drop((foreign, client, accepted));
        known.stop();
        let after: Vec<_> = lines.take_while(|shown| !shown.starts_with("[2] Close")).collect();
        assert!(!after.is_empty(), "'{line}' is not in {before:?}");
        let mut foreign = before.iter().chain(&after);
        assert!(!foreign.any(|shown| shown.starts_with("[1] process")), "{before:?} {after:?}");
        tunnel.stop();
    }
}
