//! What the kernel knows of both legs, as events.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tcp_tunn::event::{Event, EventKind, Info, Side};
use tcp_tunn::sink::Interest;
use tcp_tunn::tunnel::Tunnel;

use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

/// A tunnel with two sinks, of which the first asks for samples.
fn sampled(to: &str) -> (Running, Events, Events) {
    let (asking, other) = (Events::default(), Events::default());
    let builder = Tunnel::builder("127.0.0.1:0", to)
        .sample(Duration::from_millis(10))
        .sink(asking.sink_with(Interest::ALL.info()))
        .sink(other.sink());
    (Running::start(builder), asking, other)
}

fn info(event: &Event) -> Option<&Info> {
    match &event.kind {
        EventKind::Info(info) => Some(info),
        _ => None,
    }
}

/// Whether an event tells of a leg to which so much was sent and has arrived.
fn has_arrived(leg: Side, bytes: u64) -> impl Fn(&Event) -> bool {
    // An end counts as a byte.
    let is_enough = move |acked: Option<u64>| acked.is_some_and(|acked| acked >= bytes);
    move |event| info(event).is_some_and(|info| info.leg == leg && is_enough(info.tcp.bytes_acked))
}

#[test]
fn legs_are_looked_at_after_the_connect_while_they_are_open_and_at_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tunnel, asking, other) = sampled(&listener.local_addr().unwrap().to_string());
    let mut client = patient(tunnel.connect());
    let mut server = patient(listener.accept().unwrap().0);
    for leg in [Side::Client, Side::Server] {
        let first = asking.wait_for(|event| info(event).is_some_and(|info| info.leg == leg));
        let tcp = &info(&first).unwrap().tcp;
        assert!(tcp.rtt.is_some() && tcp.cwnd.is_some(), "{tcp:?}");
        assert_eq!(tcp.retransmits, Some(0));
    }
    client.write_all(&[1; 1000]).unwrap();
    server.read_exact(&mut [0; 1000]).unwrap();
    asking.wait_for(has_arrived(Side::Server, 1000));
    server.write_all(&[1; 3000]).unwrap();
    client.read_exact(&mut [0; 3000]).unwrap();
    asking.wait_for(has_arrived(Side::Client, 3000));
    drop((client, server));
    asking.wait_for_close();
    tunnel.stop();
    let events = asking.all();
    check_contract(&events);
    let at = |found: &dyn Fn(&Event) -> bool| events.iter().position(found).unwrap();
    let connected = at(&|event| matches!(event.kind, EventKind::Connected(_)));
    assert!(info(&events[connected + 1]).is_some() && info(&events[connected + 2]).is_some());
    let last = events.iter().rposition(|event| matches!(event.kind, EventKind::Shutdown { .. }));
    let [client, server] = [2, 1].map(|before| info(&events[last.unwrap() - before]).unwrap());
    assert_eq!([client.leg, server.leg], [Side::Client, Side::Server]);
    assert!(client.tcp.bytes_received.is_none_or(|bytes| bytes >= 1000), "{client:?}");
    assert!(other.all().iter().all(|event| info(event).is_none()), "a sink that does not ask");
}

#[test]
fn reset_leg_is_looked_at_before_it_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tunnel, asking, _) = sampled(&listener.local_addr().unwrap().to_string());
    let mut client = patient(tunnel.connect());
    let mut server = patient(listener.accept().unwrap().0);
    client.write_all(&[1; 1000]).unwrap();
    server.read_exact(&mut [0; 1000]).unwrap();
    asking.wait_for(has_arrived(Side::Server, 1000));
    crate::support::end::reset(client);
    asking.wait_for_close();
    tunnel.stop();
    let events = asking.all();
    let last = events.iter().rfind(|event| info(event).is_some_and(|i| i.leg == Side::Server));
    assert!(has_arrived(Side::Server, 1000)(last.unwrap()), "{last:?}");
    assert!(matches!(events.last().unwrap().kind, EventKind::Close { .. }), "{events:?}");
}

#[test]
fn client_that_is_not_connected_has_one_leg() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (tunnel, asking, _) = sampled(&free.to_string());
    patient(tunnel.connect()).read(&mut [0]).unwrap_err();
    asking.wait_for_close();
    tunnel.stop();
    let legs: Vec<_> = asking.all().iter().filter_map(info).map(|info| info.leg).collect();
    assert_eq!(legs, [Side::Client]);
}

#[cfg(feature = "cli")]
#[test]
fn sample_option_shows_both_legs_on_the_console_and_in_the_capture() {
    use crate::support::process::Process;
    use crate::support::verdict::{judge, tshark};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let args = ["--from", "127.0.0.1:0", "--to", &to, "--pcap", path.to_str().unwrap()];
    let more = ["--sample", "1h", "--console", "json", "--stop-after", "connections:1"];
    let tunnel = Process::start(&[&args[..], &more].concat());
    let mut client = TcpStream::connect(tunnel.addresses[0]).unwrap();
    client.write_all(b"hello").unwrap();
    drop(client);
    patient(listener.accept().unwrap().0).read_to_end(&mut Vec::new()).unwrap();
    let ended = tunnel.wait();
    let shown = String::from_utf8(ended.stdout).unwrap();
    let legs: Vec<_> = shown
        .lines()
        .filter_map(|line| line.split_once(r#""event":"info","leg":""#))
        .map(|(_, rest)| rest.split_once('"').unwrap().0)
        .collect();
    // At the connect and at the end.
    assert_eq!(legs, ["client", "server", "client", "server"], "{shown}");
    assert!(shown.contains(r#""verdict":{"percent":{"#), "{shown}");
    judge(&path, &[]);
    let comments = tshark(&path, &["-T", "fields", "-e", "frame.comment"]);
    let last = comments.last().unwrap();
    assert!(last.starts_with("TCP to the client: rtt ") && last.contains("; TCP to the server: "));
}
