//! Two tunnels in a row that scramble what passes between them; together they change nothing.
//!
//! Runs by itself: `cargo run --example xor_pair`

use std::io;
use std::sync::mpsc;

use tcp_tunn::event::{Direction, Event, EventKind};
use tcp_tunn::sink::{Interest, Sink};
use tcp_tunn::tunnel::Tunnel;

mod support;

fn xor(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x20).collect()
}

fn main() -> support::Outcome {
    let (sender, scrambled) = mpsc::channel();
    let sent: Box<dyn Sink> = Box::new(move |event: &Event| match &event.kind {
        EventKind::Data { direction: Direction::ClientToServer, bytes, .. } => {
            sender.send(bytes.clone()).map_err(io::Error::other)
        }
        _ => Ok(()),
    });
    let echo = support::echo_server()?;
    let far = Tunnel::builder("127.0.0.1:0", echo).encoder(xor).decoder(xor).bind()?;
    let answer = support::run(far, |far| {
        let near = Tunnel::builder("127.0.0.1:0", far).encoder(xor).decoder(xor);
        let near =
            near.sink(sent.interested_in(Interest::SENT)).bind().map_err(io::Error::other)?;
        support::run(near, |near| support::say(near, "Hello")).map_err(io::Error::other)
    })?;
    let scrambled: Vec<u8> = scrambled.iter().flatten().collect();
    println!("said 'Hello', between the tunnels '{}'", scrambled.escape_ascii());
    println!("heard '{answer}'");
    Ok(())
}
