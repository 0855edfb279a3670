//! The tunnel's main job with nothing else installed: a client and a server talk through it, the
//! console shows what they send, and `demo.pcapng` is left for Wireshark. Then a program is run
//! whose connection goes through a tunnel without its help, into `demo_run.pcapng`.
//!
//! Runs by itself: `cargo run --release --example demo [FOLDER]`, by default in this folder.

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};

use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::console::{Console, ConsoleOptions};
use tcp_tunn::ingress::Filter;
use tcp_tunn::launch::Command;
use tcp_tunn::tunnel::{Builder, Launched, Tunnel};

mod support;

/// The argument before a server's address: the demo is then the program that is run.
const CLIENT: &str = "--client";
const REQUEST: &str = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn main() -> support::Outcome {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [mode, server] = &args[..]
        && mode == CLIENT
    {
        support::say(server.parse()?, REQUEST)?;
        return Ok(());
    }
    let folder = args.first().map(PathBuf::from).unwrap_or_default();
    relay(&folder.join("demo.pcapng"))?;
    run(&folder.join("demo_run.pcapng"))
}

fn console() -> Console<std::io::Stdout> {
    let mut options = ConsoleOptions::default();
    options.color = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    Console::new(stdout(), options)
}

/// A client talks to a tunnel.
fn relay(capture: &Path) -> support::Outcome {
    println!("A client and a server talk through a tunnel:");
    let tunnel = Tunnel::builder("127.0.0.1:0", support::http_server()?)
        .sink(console())
        .sink(PcapngSink::create(capture, PcapngOptions::default())?)
        .bind()?;
    support::run(tunnel, |address| support::say(address, REQUEST))?;
    say_where(capture);
    Ok(())
}

/// A program talks to its server; that it goes through a tunnel, it does not notice.
fn run(capture: &Path) -> support::Outcome {
    println!("\nA program is run, and its connection is caught:");
    let server = support::http_server()?;
    let mut tunnel = Builder::default()
        .sink(console())
        .sink(PcapngSink::create(capture, PcapngOptions::default())?)
        .bind()?;
    let launched = Launched::new(tunnel.catcher(), Filter::default());
    let handle = tunnel.handle();
    let running = std::thread::spawn(|| tunnel.run());
    let mut program = Command::new(std::env::current_exe()?);
    program.args([CLIENT, &server.to_string()]);
    let ended = program.spawn(launched).map(|mut child| child.wait());
    handle.stop();
    running.join().map_err(|_| "the tunnel panicked")??;
    match ended {
        Ok(status) => {
            println!("The program has ended: {}", status?);
            say_where(capture);
        }
        // Such as in a container that forbids it.
        Err(error) => println!("It cannot be caught here: {error}"),
    }
    Ok(())
}

fn say_where(capture: &Path) {
    let path = capture.display();
    println!("To see the same as packets: wireshark {path} (or: tshark -r {path})");
}
