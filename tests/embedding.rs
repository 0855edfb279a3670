//! The tunnel inside other programs, whatever runtime they have.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tcp_tunn::event::{CloseReason, Event, EventKind};
use tcp_tunn::sink::{Interest, OnError, Sink, SinkOptions};
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
    let address = tunnel.listening()[0].address().socket_addr().unwrap();
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
fn tunnel_runs_beside_tokio_program() {
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
fn tunnel_runs_on_callers_tokio_uring() {
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

/// Ends the test if `what` takes for ever, as a runtime that stands still could not.
fn in_time(what: impl FnOnce() + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        what();
        let _ = done.send(());
    });
    let ended = is_done.recv_timeout(PATIENCE);
    assert_ne!(ended, Err(std::sync::mpsc::RecvTimeoutError::Timeout), "it stands still");
    thread.join().unwrap();
}

#[test]
fn sink_may_wait_for_tunnels_runtime() {
    let (server, serving) = echo();
    in_time(move || {
        tokio_uring::start(async move {
            let (sender, mut seen) = tokio::sync::mpsc::channel(1);
            let sink = move |event: &Event| {
                sender.blocking_send(event.clone()).map_err(std::io::Error::other)
            };
            let events = Events::default();
            let tunnel = Tunnel::builder("127.0.0.1:0", server)
                .sink(sink.interested_in(Interest::ALL))
                .sink(events.lifecycle_sink())
                .bind()
                .unwrap();
            let talking = talk_and_stop(&tunnel);
            // Takes nothing before all connections are closed and only the sink is left.
            let taking = tokio_uring::spawn(async move {
                tokio::task::spawn_blocking(move || events.wait_for_close()).await.unwrap();
                let mut taken = Vec::new();
                while let Some(event) = seen.recv().await {
                    taken.push(event);
                }
                taken
            });
            let summary = tunnel.run_here().await.unwrap();
            assert!(summary.sinks[0].error.is_none(), "{summary:?}");
            check_contract(&taking.await.unwrap());
            talking.join().unwrap();
        });
    });
    serving.join().unwrap();
}

#[test]
fn dropped_tunnel_future_aborts_tunnel() {
    let events = Events::default();
    let (sink, seen) = (events.sink(), events.clone());
    tokio_uring::start(async move {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let tunnel = Tunnel::builder("127.0.0.1:0", to).sink(sink).bind().unwrap();
        let address = tunnel.listening()[0].address().socket_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let is_connected = |event: &Event| matches!(event.kind, EventKind::Connected(_));
        let (connecting, closing) = (seen.clone(), seen);
        let connected = tokio::task::spawn_blocking(move || connecting.wait_for(is_connected));
        tokio::select! {
            ended = tunnel.run_here() => panic!("{ended:?}"),
            connected = connected => drop(connected.unwrap()),
        }
        let reading = tokio::task::spawn_blocking(move || {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.read(&mut [0]).unwrap_err().kind()
        });
        assert_eq!(reading.await.unwrap(), ErrorKind::ConnectionReset);
        // The runtime has to last until the connection has come to its end.
        let closed = tokio::task::spawn_blocking(move || closing.wait_for_close());
        assert_eq!(closed.await.unwrap(), CloseReason::Stopped);
        let end = Instant::now() + PATIENCE;
        while TcpListener::bind(address).is_err() {
            assert!(Instant::now() < end, "it still listens");
            // Nobody tells that a port is free.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    check_contract(&events.all());
}

#[test]
fn failing_closure_is_a_failed_sink() {
    let (server, serving) = echo();
    let options = SinkOptions::named("closure").on_error(OnError::Detach);
    let tunnel = Tunnel::builder("127.0.0.1:0", server)
        .sink_with(options, |event: &Event| {
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

#[test]
fn sink_accepts_any_name() {
    for name in ["", "a\0b", "\u{1f980} of more bytes than a thread's name may have", "/\n"] {
        let sink = |_: &Event| Ok(());
        let tunnel = Tunnel::builder("127.0.0.1:0", "127.0.0.1:1")
            .sink_with(SinkOptions::named(name), sink)
            .bind()
            .unwrap();
        tunnel.handle().stop();
        assert_eq!(tunnel.run().unwrap().sinks[0].name, name);
    }
}

/// What a program may hand to another thread; that this compiles is the test.
#[test]
fn handle_and_tunnel_move_to_threads() {
    fn sent<T: Send + 'static>() {}
    fn shared<T: Send + Sync + Clone + 'static>() {}
    sent::<Tunnel>();
    sent::<Builder>();
    shared::<Handle>();
}

#[test]
fn too_many_sinks_are_refused() {
    let mut tunnel = Tunnel::builder("127.0.0.1:0", "127.0.0.1:1").bind().unwrap();
    for _ in 0..65 {
        tunnel.add_sink(SinkOptions::default(), |_: &Event| Ok(()));
    }
    let error = tunnel.run().unwrap_err();
    assert!(error.to_string().starts_with("65 sinks are more than 64 ("), "{error}");
}
