//! Two tunnels in a row that undo what each other does.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener};

use tcp_tunn::tunnel::Tunnel;

use super::{ClientToServer, Received, Sent, ServerToClient, patient, rest_of};
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

/// Bytes that say at each place which place it is.
fn pattern(len: usize) -> Vec<u8> {
    (0..len / 4).flat_map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn echo_one(listener: TcpListener) {
    let mut stream = patient(listener.accept().unwrap().0);
    let mut writer = stream.try_clone().unwrap();
    std::io::copy(&mut stream, &mut writer).unwrap();
}

#[test]
fn xor_twice_leaves_bulk_unchanged() {
    const LEN: usize = 64 << 20;
    let xor = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 0x5a).collect::<Vec<u8>>();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || echo_one(listener));
    let events = Events::default();
    let second = Running::start(Tunnel::builder("127.0.0.1:0", address).encoder(xor).decoder(xor));
    let first = Tunnel::builder("127.0.0.1:0", second.address).encoder(xor).decoder(xor);
    let first = Running::start(first.sink(events.sink()));

    let mut client = patient(first.connect());
    let mut writer = client.try_clone().unwrap();
    let pattern = pattern(LEN);
    let said = pattern.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&said).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let heard = rest_of(&mut client);
    writing.join().unwrap();
    server.join().unwrap();
    assert!(heard == pattern, "{} bytes of {LEN}, or others", heard.len());

    assert!(events.wait_for_close().is_clean());
    assert_eq!(second.stop().counts.totals.client_to_server.sent, LEN as u64);
    first.stop();
    check_contract(&events.all());
    let between = events.bytes(1, ClientToServer, Sent);
    assert!(between == xor(&pattern));
    assert!(events.bytes(1, ServerToClient, Received) == between);
}
