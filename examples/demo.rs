//! The tunnel's main job with nothing else installed: a client and a server talk through it, the
//! console shows what they say, and `demo.pcapng` is left for Wireshark.
//!
//! Runs by itself: `cargo run --release --example demo`

use std::io::{IsTerminal, stdout};

use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::console::{Console, ConsoleOptions};
use tcp_tunn::tunnel::Tunnel;

mod support;

const CAPTURE: &str = "demo.pcapng";

fn main() -> support::Outcome {
    let mut console = ConsoleOptions::default();
    console.colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let tunnel = Tunnel::builder("127.0.0.1:0", support::http_server()?)
        .sink(Console::new(stdout(), console))
        .sink(PcapngSink::create(CAPTURE, PcapngOptions::default())?)
        .bind()?;
    support::run(tunnel, |address| {
        support::say(address, "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    })?;
    println!("To see the same as packets: wireshark {CAPTURE} (or: tshark -r {CAPTURE})");
    Ok(())
}
