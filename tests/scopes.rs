//! Link-local addresses, whose interface is part of the address.

use std::io::{Read, Write};
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::process::Command;

use crate::support::confined::confined;
use crate::support::end::patient;
use crate::support::process::Process;
use crate::support::verdict::tshark;

/// Runs the test again where the interface `v0` has the address `fe80::5`.
fn beside_an_interface() -> bool {
    let veth = "ip link set lo up; ip link add v0 type veth peer name v1; ip link set v1 up;\
                ip link set v0 up; ip addr add fe80::5/64 dev v0 nodad;";
    confined(&format!("exec unshare --net sh -ec '{veth} exec \"$@\"' sh"))
}

/// The number of `v0`.
fn interface() -> u32 {
    let shown = Command::new("ip").args(["-oneline", "link", "show", "v0"]).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().split(':').next().unwrap().parse().unwrap()
}

#[test]
fn interface_of_an_address_is_shown_by_its_name() {
    if !beside_an_interface() {
        return;
    }
    let address = |port| SocketAddrV6::new("fe80::5".parse().unwrap(), port, 0, interface());
    let listener = TcpListener::bind(address(0)).unwrap();
    let to = format!("[fe80::5%v0]:{}", listener.local_addr().unwrap().port());
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("out.pcapng");
    let more = ["-vv", "--console", "text", "--pcap", capture.to_str().unwrap()];
    let from = ["--from", "[fe80::5%v0]:0", "--to", &to];
    let tunnel = Process::start(&[&from[..], &more].concat());
    let (line, ends) = (tunnel.stderr.last().unwrap(), format!(" -> {to}"));
    let from = line.strip_prefix("listening on [fe80::5%v0]:").expect(line);
    let port = from.strip_suffix(&ends).expect(line).parse().expect(line);
    let mut client = patient(TcpStream::connect(address(port)).unwrap());
    let mut server = patient(listener.accept().unwrap().0);
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop((server, listener));
    // Nobody listens there any more, which the log says.
    let mut refused = patient(TcpStream::connect(address(port)).unwrap());
    refused.read(&mut [0]).unwrap_err();
    let ended = tunnel.stop();
    let logged = format!("connect to {to}: refused");
    assert!(ended.stderr.iter().any(|line| line.contains(&logged)), "{ended:?}");
    let console = String::from_utf8(ended.stdout).unwrap();
    assert!(console.contains(&format!(" -> {to}")), "{console}");
    // Only tshark: tcpdump wants to become another user, which a user namespace does not have.
    let comments = tshark(&capture, &["-T", "fields", "-e", "frame.comment"]);
    assert!(comments.iter().any(|comment| comment.contains(&ends)), "{comments:?}");
}
