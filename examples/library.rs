//! The example of `docs/library.md`: a tunnel with a sink of one's own.
//!
//! Runs by itself: `cargo run --example library`

use tcp_tunn::event::{Event, EventKind};
use tcp_tunn::tunnel::Tunnel;

mod support;

fn main() -> support::Outcome {
    // Any server; this one is of the example.
    let server = support::echo_server()?;

    let tunnel = Tunnel::builder("127.0.0.1:0", server)
        .encoder(|bytes| bytes.to_ascii_uppercase())
        .sink(|event: &Event| {
            if let EventKind::Data { direction, bytes, .. } = &event.kind {
                println!("the {} said {}", direction.sender(), bytes.escape_ascii());
            }
            Ok(())
        })
        .bind()?;

    // Runs it for as long as something talks through it.
    support::run(tunnel, |address| support::say(address, "hello"))?;
    Ok(())
}
