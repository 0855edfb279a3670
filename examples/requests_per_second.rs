//! Counts requests from inside a tokio program: a tunnel has threads of its own, so it runs beside
//! whatever the program does.
//!
//! Runs by itself: `cargo run --example requests_per_second`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tcp_tunn::event::{ConnectionId, Open};
use tcp_tunn::transform::{Delimiter, Messages, Pair};
use tcp_tunn::tunnel::Tunnel;
use tokio::task::spawn_blocking;

mod support;

#[tokio::main(flavor = "current_thread")]
async fn main() -> support::Outcome {
    let requests = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&requests);
    // Changes nothing; it is there because a head of a request is a message, and a read is none.
    let codec = move |_: ConnectionId, _: &Open| {
        let counted = Arc::clone(&counted);
        Pair::default().encoder(Messages::new(Delimiter::new("\r\n\r\n"), move |head: &[u8]| {
            counted.fetch_add(1, Relaxed);
            head.to_vec()
        }))
    };
    let tunnel = Tunnel::builder("127.0.0.1:0", support::http_server()?).codec(codec).bind()?;
    let address = tunnel.listening()[0].address().socket_addr().ok_or("no TCP address")?;
    let handle = tunnel.handle();
    let running = spawn_blocking(|| tunnel.run());
    let client = spawn_blocking(move || {
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(10);
        (0..100).try_for_each(|_| support::say(address, &request).map(drop))
    });
    let mut before = 0;
    while !client.is_finished() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = requests.load(Relaxed);
        println!("{} requests per second", now - before);
        before = now;
    }
    client.await??;
    handle.stop();
    let summary = running.await??;
    println!("{} requests, {} connections", requests.load(Relaxed), summary.counts.connections);
    Ok(())
}
