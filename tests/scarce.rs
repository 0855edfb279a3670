//! Scarce resources and broken networks, for real: each in a process of its own under limits,
//! or in namespaces of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use tcp_tunn::event::{CloseReason, EventKind};
use tcp_tunn::tunnel::{Limits, Tunnel};

use crate::support::bytes::bytes;
use crate::support::confined::{NOBODY, confined};
use crate::support::end::patient;
use crate::support::events::check_contract;
use crate::support::skip::skip;
use crate::support::tunnel::Running;

/// Serves clients with what they say.
fn echo_server(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A test may take all descriptors away for a moment; it measures processor time too.
            let Ok(stream) = stream else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            std::thread::spawn(move || {
                let mut stream = patient(stream);
                let mut said = Vec::new();
                let _ = stream.read_to_end(&mut said).and_then(|_| stream.write_all(&said));
            });
        }
    });
    address
}

fn exchange(mut client: TcpStream, said: &[u8]) {
    let mut speaker = client.try_clone().unwrap();
    let said_too = said.to_owned();
    let speaking = std::thread::spawn(move || {
        speaker.write_all(&said_too).unwrap();
        speaker.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    speaking.join().unwrap();
    assert!(heard == said);
}

/// The client's end of a connection through a tunnel whose upstream cannot be reached.
fn not_reached(to: impl ToString) -> (CloseReason, Duration) {
    let (tunnel, events) = Running::recorded(to);
    let started = Instant::now();
    let mut client = patient(tunnel.connect());
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let close = events.wait_for_close();
    let took = started.elapsed();
    tunnel.stop();
    check_contract(&events.all());
    (close, took)
}

/// The processor time that this process has used, from `/proc/self/stat`, in hundredths of a
/// second.
fn cpu_time(mut stat: std::fs::File) -> u64 {
    let mut line = String::new();
    stat.read_to_string(&mut line).unwrap();
    let after_name = line.rsplit_once(')').unwrap().1;
    after_name.split(' ').skip(12).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn exhausted_descriptors_make_clients_wait() {
    if !confined("exec prlimit --nofile=256:256") {
        return;
    }
    // One worker: another might still be starting, and need descriptors for that.
    let echo = echo_server("127.0.0.1:0");
    let (tunnel, events) = Running::recorded_with(echo, |builder| builder.workers(1));
    exchange(patient(tunnel.connect()), b"first");
    let clients: Vec<_> = (0..10)
        .map(|_| socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap())
        .collect();
    let stat = || std::fs::File::open("/proc/self/stat").unwrap();
    let stats = [stat(), stat()];
    // Nobody opens another file from here on, least of all the tunnel.
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    let clients: Vec<TcpStream> = clients
        .into_iter()
        .map(|client| {
            client.connect(&tunnel.address.into()).unwrap();
            patient(client.into())
        })
        .collect();
    // Nothing can be waited for: that nothing happens is the point.
    let [before, after] = stats;
    let before = cpu_time(before);
    std::thread::sleep(Duration::from_millis(500));
    let used = cpu_time(after) - before;
    assert!(used < 25, "{used} of 50 hundredths of a second: it turns in circles");
    drop(hoard);
    for client in clients {
        exchange(client, b"waited");
    }
    events.wait_for_closes(11);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn bound_tunnel_has_workers_ready() {
    if !confined("exec prlimit --nofile=256:256") {
        return;
    }
    let mut bound = Vec::new();
    for free in 0..100 {
        let mut hoard = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file);
        }
        hoard.truncate(hoard.len() - free);
        let result = Tunnel::builder("127.0.0.1:0", "127.0.0.1:1").workers(4).bind();
        bound.push(result.is_ok());
        match result {
            Ok(tunnel) => {
                // Its workers look at this when all of them could begin.
                tunnel.handle().stop();
                tunnel.run().unwrap();
            }
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("('ulimit -n')"), "with {free} descriptors: {error}");
            }
        }
    }
    assert!(!bound[0] && bound.is_sorted() && bound[99], "{bound:?}");
}

fn bind_error(from: &str) -> String {
    match Tunnel::builder(from, "127.0.0.1:1").bind() {
        Ok(_) => panic!("{from} was bound"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn privileged_port_is_refused() {
    if !confined(&format!("exec unshare --net {NOBODY}")) {
        return;
    }
    let error = bind_error("0.0.0.0:80");
    assert!(error.contains("ports below 1024 need rights"), "{error}");
}

#[test]
fn address_in_use_is_refused_and_free_after_end() {
    let to = echo_server("127.0.0.1:0");
    let (tunnel, events) = Running::recorded(to);
    exchange(patient(tunnel.connect()), b"leaves a socket in TIME_WAIT");
    events.wait_for_close();
    let address = tunnel.address;
    let error = bind_error(&address.to_string());
    assert!(error.contains("choose another port"), "{error}");
    tunnel.stop();
    drop(Tunnel::builder(address, to).bind().unwrap());
}

const LOOPBACK: &str = "ip link set lo up;";

#[test]
fn server_without_route_is_unreachable() {
    if !confined(&format!("exec unshare --net sh -ec '{LOOPBACK} exec \"$@\"' sh")) {
        return;
    }
    let (close, _) = not_reached("192.0.2.1:80");
    assert_eq!(close, CloseReason::Unreachable { errno: libc::ENETUNREACH });
}

#[test]
fn unreachable_address_is_skipped_at_once() {
    let no_ipv6 = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6;";
    if !confined(&format!("exec unshare --net sh -ec '{LOOPBACK} {no_ipv6} exec \"$@\"' sh")) {
        return;
    }
    let (close, took) = not_reached("[::1]:80");
    assert_eq!(close, CloseReason::Unreachable { errno: libc::EADDRNOTAVAIL });
    assert!(took < Limits::default().connect_timeout, "{took:?}");
}

#[test]
fn second_address_is_tried_after_refusal() {
    let hosts = "printf \"127.0.0.2 two.test\\n127.0.0.1 two.test\\n\" > /run/hosts;";
    let mount = "mount -t tmpfs none /run;";
    let bind = "mount --bind /run/hosts /etc/hosts;";
    let inner = format!("{LOOPBACK} {mount} {hosts} {bind} exec \"$@\"");
    if !confined(&format!("exec unshare --net --mount sh -ec '{inner}' sh")) {
        return;
    }
    let found: Vec<_> = ("two.test", 0).to_socket_addrs().unwrap().map(|a| a.ip()).collect();
    if found.len() != 2 {
        skip(&format!("the resolver here knows only {found:?} of two addresses"));
        return;
    }
    let server = echo_server(&format!("{}:0", found[1]));
    let (tunnel, events) = Running::recorded(format!("two.test:{}", server.port()));
    exchange(patient(tunnel.connect()), b"second");
    let connected = events.wait_for(|event| matches!(event.kind, EventKind::Connected(_)));
    let EventKind::Connected(connected) = connected.kind else { unreachable!() };
    assert_eq!(connected.server.socket_addr(), Some(server));
    assert!(events.wait_for_close().is_clean());
    tunnel.stop();
    check_contract(&events.all());
}

/// A network in which packets to 192.0.2.1 vanish, and a resolver that asks there.
fn silent_network() -> String {
    let veth = "ip link add v0 type veth peer name v1; ip addr add 192.0.2.2/24 dev v0;\
                ip link set v0 up; ip link set v1 up;\
                ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev v0 nud permanent;";
    let mount = "mount -t tmpfs none /run; echo nameserver 192.0.2.1 > /run/resolv.conf;\
                 mount --bind /run/resolv.conf /etc/resolv.conf;";
    format!("exec unshare --net --mount sh -ec '{LOOPBACK} {veth} {mount} exec \"$@\"' sh")
}

#[test]
fn stop_does_not_wait_for_resolver() {
    if !confined(&silent_network()) {
        return;
    }
    let (tunnel, events) = Running::recorded("nowhere.test:80");
    let _client = tunnel.connect();
    events.wait_for(|event| matches!(event.kind, EventKind::Open(_)));
    let started = Instant::now();
    tunnel.abort();
    // A resolver asks for 5 seconds at least.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(events.wait_for_close(), CloseReason::Stopped);
    check_contract(&events.all());
}

#[test]
fn silent_server_times_out() {
    if !confined(&silent_network()) {
        return;
    }
    let limits = Limits::default().connect_timeout(Duration::from_millis(200));
    let (tunnel, events) = Running::recorded_with("192.0.2.1:80", |b| b.limits(limits));
    let mut client = patient(tunnel.connect());
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(events.wait_for_close(), CloseReason::ConnectTimeout);
    tunnel.stop();
    check_contract(&events.all());
}

#[test]
fn packet_loss_loses_no_byte() {
    // Of all packets, acknowledgements and handshakes among them, one in fifty.
    let loss = "ip link set lo mtu 1500; nft \"add table inet loss;\
                add chain inet loss arriving { type filter hook input priority 0; };\
                add rule inet loss arriving numgen random mod 50 0 drop\";";
    if !confined(&format!("exec unshare --net sh -ec '{LOOPBACK} {loss} exec \"$@\"' sh")) {
        return;
    }
    let server = echo_server("127.0.0.1:0");
    let (tunnel, events) = Running::recorded(server);
    exchange(patient(tunnel.connect()), &bytes(1, 1 << 20));
    assert!(events.wait_for_close().is_clean());
    tunnel.stop();
    check_contract(&events.all());
    // Nor on the way that bytes take when nobody asks for them.
    let tunnel = Running::start(Tunnel::builder("127.0.0.1:0", server));
    exchange(patient(tunnel.connect()), &bytes(2, 1 << 20));
    assert!(retransmitted_segments() > 0, "no packet was lost");
}

/// How many segments were sent again in this network.
fn retransmitted_segments() -> u64 {
    let snmp = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut both = names.split(' ').zip(values.split(' '));
    both.find(|(name, _)| *name == "RetransSegs").unwrap().1.parse().unwrap()
}
