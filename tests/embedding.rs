//! The tunnel inside other programs, whatever runtime they have.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use tcp_tunn::sink::{OnError, SinkOptions};
use tcp_tunn::tunnel::{Builder, Handle, Tunnel};

use crate::support::events::{Events, PATIENCE, check_contract};

/// A thread that echoes for one client.
fn echo() -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::copy(&mut &stream, &mut &stream).unwrap();
    });
    (address, thread)
}

/// A thread that talks through `tunnel` once, and then stops it.
fn talk_and_stop(tunnel: &Tunnel) -> std::thread::JoinHandle<()> {
    let address = tunnel.routes()[0].listening().socket_addr().unwrap();
    let handle = tunnel.handle();
    std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"embedded").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "embedded");
        handle.stop();
    })
}

#[test]
fn within_a_tokio_program_it_runs_beside_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (server, serving) = echo();
    runtime.block_on(async {
        let tunnel = Tunnel::builder("127.0.0.1:0", server).bind().unwrap();
        let talking = talk_and_stop(&tunnel);
        let summary = tokio::task::spawn_blocking(|| tunnel.run()).await.unwrap().unwrap();
        assert_eq!(summary.counts.totals.client_to_server.sent, 8);
        talking.join().unwrap();
    });
    serving.join().unwrap();
}

#[test]
fn within_a_tokio_uring_program_it_runs_on_its_ring() {
    let (server, serving) = echo();
    let events = Events::default();
    let sink = events.sink();
    tokio_uring::start(async move {
        let tunnel = Tunnel::builder("127.0.0.1:0", server).sink(sink).bind().unwrap();
        let talking = talk_and_stop(&tunnel);
        let summary = tunnel.run_here().await.unwrap();
        assert_eq!(summary.counts.connections, 1);
        assert_eq!(summary.sinks.len(), 1);
        talking.join().unwrap();
    });
    serving.join().unwrap();
    check_contract(&events.all());
}

#[test]
fn a_closure_that_fails_is_a_sink_that_failed() {
    let (server, serving) = echo();
    let options = SinkOptions::named("closure").on_error(OnError::Detach);
    let tunnel = Tunnel::builder("127.0.0.1:0", server)
        .sink_with(options, |event: &tcp_tunn::event::Event| {
            Err(std::io::Error::other(format!("no room for {}", event.connection)))
        })
        .bind()
        .unwrap();
    let talking = talk_and_stop(&tunnel);
    let summary = tunnel.run().unwrap();
    let report = &summary.sinks[0];
    assert_eq!(report.name, "closure");
    assert_eq!(report.error.as_ref().unwrap().to_string(), "no room for 1");
    talking.join().unwrap();
    serving.join().unwrap();
}

/// What a program may hand to another thread; that this compiles is the test.
#[test]
fn handles_and_tunnels_may_go_to_other_threads() {
    fn sent<T: Send + 'static>() {}
    fn shared<T: Send + Sync + Clone + 'static>() {}
    sent::<Tunnel>();
    sent::<Builder>();
    shared::<Handle>();
}

#[test]
fn more_sinks_than_can_be_fed_are_refused_in_words() {
    let mut tunnel = Tunnel::builder("127.0.0.1:0", "127.0.0.1:1").bind().unwrap();
    for _ in 0..65 {
        tunnel.add_sink(SinkOptions::default(), |_: &tcp_tunn::event::Event| Ok(()));
    }
    let error = tunnel.run().unwrap_err();
    assert!(error.to_string().starts_with("65 sinks are more than 64 ("), "{error}");
}
