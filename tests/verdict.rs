//! Where the time went, with peers that behave that way for real.
//!
//! The peers wait, and what is judged is whom the tunnel blames, with wide margins: how long the
//! machine takes for the rest is not known.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tcp_tunn::event::{Bound, Event, EventKind, Phase, Side, TimeSpent, Verdict};
use tcp_tunn::sink::{Interest, Sink, SinkOptions};
use tcp_tunn::tunnel::{Limits, Tunnel};

use crate::support::confined::confined;
use crate::support::end::patient;
use crate::support::events::{Events, PATIENCE, check_contract};
use crate::support::tunnel::{Running, backend};

/// How long a peer waits that is to be blamed: much longer than all the rest takes.
const WAIT: Duration = Duration::from_millis(600);

/// A tunnel to `to`, and a sink that asks for the verdict.
fn judged(to: impl ToString) -> (Running, Events) {
    let events = Events::default();
    let sink = events.sink_with(Interest::ALL.verdict());
    let builder = Tunnel::builder("127.0.0.1:0", to.to_string()).sink(sink);
    (Running::start(builder), events)
}

/// The verdict over the only connection, when it has closed. The tunnel ends.
fn verdict(tunnel: Running, events: &Events) -> Verdict {
    events.wait_for_close();
    tunnel.stop();
    let all = events.all();
    check_contract(&all);
    let verdicts = all.iter().filter_map(|event| match &event.kind {
        EventKind::Verdict(verdict) => Some(verdict),
        _ => None,
    });
    let verdicts: Vec<_> = verdicts.collect();
    let [one] = verdicts[..] else { panic!("{all:?}") };
    let (first, last) = (all.first().unwrap(), all.last().unwrap());
    let life = Duration::from_nanos(last.time.nanos_since(first.time));
    assert_eq!(one.spent.total(), life, "each moment is in one phase: {one:?}");
    assert_eq!(one.spent.shares().map(|(_, share)| u32::from(share)).iter().sum::<u32>(), 100);
    Verdict::clone(one)
}

/// Holds that `phase` took more than half of the time.
#[track_caller]
fn assert_blames(phase: Phase, spent: &TimeSpent) {
    assert!(spent.get(phase) * 2 > spent.total(), "not {phase:?}: {spent:?}");
}

/// A server for one client.
fn serve(serve: impl FnOnce(TcpStream) + Send + 'static) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, thread::spawn(move || serve(patient(listener.accept().unwrap().0))))
}

fn hear(mut stream: &TcpStream, count: usize) {
    stream.read_exact(&mut vec![0; count]).unwrap();
}

#[test]
fn server_that_thinks_is_waited_for_and_its_slow_request_named() {
    let (address, server) = serve(|mut stream| {
        for wait in [Duration::ZERO, WAIT, Duration::ZERO] {
            hear(&stream, 10);
            thread::sleep(wait);
            stream.write_all(b"answer").unwrap();
        }
    });
    let (tunnel, events) = judged(address);
    let mut client = patient(tunnel.connect());
    for _ in 0..3 {
        client.write_all(b"0123456789").unwrap();
        hear(&client, 6);
    }
    drop(client);
    server.join().unwrap();
    let verdict = verdict(tunnel, &events);
    assert_blames(Phase::WaitingFor(Side::Server), &verdict.spent);
    assert_eq!(verdict.requests, 3);
    let slowest = &verdict.slowest[0];
    assert!(slowest.offset == 10 && slowest.answered_after * 2 > WAIT, "{slowest:?}");
}

#[test]
fn client_that_is_idle_is_waited_for() {
    let (address, server) = serve(|mut stream| {
        hear(&stream, 2);
        stream.write_all(b"answer").unwrap();
        hear(&stream, 2);
    });
    let (tunnel, events) = judged(address);
    let mut client = patient(tunnel.connect());
    client.write_all(b"ab").unwrap();
    hear(&client, 6);
    thread::sleep(WAIT);
    client.write_all(b"cd").unwrap();
    server.join().unwrap();
    drop(client);
    assert_blames(Phase::WaitingFor(Side::Client), &verdict(tunnel, &events).spent);
}

#[test]
fn client_that_reads_slowly_fills_its_window() {
    const PIECE: usize = 1 << 20;
    const PIECES: u32 = 48;
    let (address, server) = serve(|mut stream| {
        // More than the buffers of two kernels take, by much.
        (0..PIECES).for_each(|_| stream.write_all(&[7; PIECE]).unwrap());
    });
    let (tunnel, events) = judged(address);
    let client = patient(tunnel.connect());
    socket2::SockRef::from(&client).set_recv_buffer_size(64 << 10).unwrap();
    for _ in 0..PIECES {
        thread::sleep(WAIT * 4 / PIECES);
        hear(&client, PIECE);
    }
    server.join().unwrap();
    drop(client);
    let spent = verdict(tunnel, &events).spent;
    assert_blames(Phase::Transferring(Bound::Window(Side::Client)), &spent);
    assert_eq!(spent.main_bound(), Some(Bound::Window(Side::Client)));
}

#[test]
fn server_that_sends_in_small_steps_sends_slowly() {
    let (address, server) = serve(|mut stream| {
        for _ in 0..20 {
            stream.write_all(&[7; 1000]).unwrap();
            thread::sleep(WAIT / 20);
        }
    });
    let (tunnel, events) = judged(address);
    hear(&patient(tunnel.connect()), 20_000);
    server.join().unwrap();
    let spent = verdict(tunnel, &events).spent;
    assert_blames(Phase::Transferring(Bound::Sender(Side::Server)), &spent);
}

#[test]
fn connect_that_gets_no_answer_is_connecting() {
    // A queue for one client, which is there already: the kernel answers no other.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    let events = Events::default();
    let sink = events.sink_with(Interest::LIFECYCLE.verdict());
    let mut limits = Limits::default();
    limits.connect_timeout = WAIT;
    let builder = Tunnel::builder("127.0.0.1:0", address).limits(limits).sink(sink);
    let tunnel = Running::start(builder);
    let client = patient(tunnel.connect());
    let verdict = verdict(tunnel, &events);
    drop(client);
    assert_blames(Phase::Connecting, &verdict.spent);
}

#[test]
fn peer_that_does_not_close_is_waited_for_in_closing() {
    let (address, server) = serve(|mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    let (tunnel, events) = judged(address);
    let mut client = patient(tunnel.connect());
    client.read_to_end(&mut Vec::new()).unwrap();
    thread::sleep(WAIT);
    drop(client);
    server.join().unwrap();
    assert_blames(Phase::Closing, &verdict(tunnel, &events).spent);
}

/// A sink that takes its first data only when the test says so.
#[derive(Clone, Default)]
struct Blocked(Arc<(Mutex<bool>, Condvar)>);

impl Blocked {
    fn release(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Sink for Blocked {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event.kind, EventKind::Data { .. }) {
            let (is_released, released) = &*self.0;
            let guard = is_released.lock().unwrap();
            drop(released.wait_timeout_while(guard, PATIENCE, |is_released| !*is_released));
        }
        Ok(())
    }
}

#[test]
fn sink_without_room_holds_the_transfer_up() {
    let (address, server) = serve(|stream| hear(&stream, 200_000));
    let (events, sink) = (Events::default(), Blocked::default());
    let options = SinkOptions::named("blocked").buffer_bytes(10_000);
    let builder = Tunnel::builder("127.0.0.1:0", address)
        .sink_with(options, sink.clone())
        .sink(events.sink_with(Interest::ALL.verdict()));
    let tunnel = Running::start(builder);
    let mut client = patient(tunnel.connect());
    let releasing = thread::spawn(move || {
        thread::sleep(WAIT);
        sink.release();
    });
    client.write_all(&[7; 200_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    server.join().unwrap();
    releasing.join().unwrap();
    assert_blames(Phase::Transferring(Bound::Sinks), &verdict(tunnel, &events).spent);
}

/// Runs the test again where the network lets 1 MB pass in a second, keeps what waits for up to
/// 60 KiB, and loses the rest.
fn behind_a_slow_link() -> bool {
    let slow = "ip link set lo mtu 1500 up; \
                tc qdisc add dev lo root tbf rate 8mbit burst 16kb limit 60kb;";
    confined(&format!("exec unshare --net sh -ec '{slow} exec \"$@\"' sh"))
}

#[test]
fn slow_network_to_the_client_holds_a_download_up() {
    if !behind_a_slow_link() {
        return;
    }
    // Only the client is behind the link.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(&[7; 1 << 20]).unwrap();
    });
    let (tunnel, events) = judged(format!("unix:{}", path.display()));
    let mut client = patient(tunnel.connect());
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    server.join().unwrap();
    let spent = verdict(tunnel, &events).spent;
    assert_blames(Phase::Transferring(Bound::Network(Side::Client)), &spent);
}

#[test]
fn slow_network_from_the_server_holds_a_download_up() {
    if !behind_a_slow_link() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tunnel");
    let (address, server) = serve(|mut stream| stream.write_all(&[7; 1 << 20]).unwrap());
    let events = Events::default();
    let sink = events.sink_with(Interest::LIFECYCLE.verdict());
    let from = format!("unix:{}", path.display());
    let tunnel = Tunnel::builder(from.as_str(), address.as_str()).sink(sink);
    let tunnel = tunnel.io(backend()).bind().unwrap();
    let handle = tunnel.handle();
    let running = thread::spawn(move || tunnel.run().unwrap());
    let mut client = UnixStream::connect(&path).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    drop(client);
    server.join().unwrap();
    events.wait_for_close();
    handle.stop();
    running.join().unwrap();
    let all = events.all();
    let spent = all.iter().find_map(|event| match &event.kind {
        EventKind::Verdict(verdict) => Some(verdict.spent),
        _ => None,
    });
    assert_blames(Phase::Transferring(Bound::Network(Side::Server)), &spent.unwrap());
}
