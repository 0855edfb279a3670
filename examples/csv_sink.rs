//! A sink that writes what is said as comma-separated values (RFC 4180), a line a chunk.
//!
//! Runs by itself: `cargo run --example csv_sink`

use std::io::{self, Write};

use tcp_tunn::event::{Event, EventKind};
use tcp_tunn::sink::Sink;
use tcp_tunn::tunnel::Tunnel;

mod support;

struct Csv<W>(W);

impl<W: Write + Send> Sink for Csv<W> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let EventKind::Data { direction, offset, bytes, .. } = &event.kind else { return Ok(()) };
        let (seconds, nanos) = event.time.seconds_and_nanos();
        let (connection, from) = (event.connection, direction.sender());
        let text = bytes.escape_ascii().to_string().replace('"', "\"\"");
        let len = bytes.len();
        writeln!(self.0, "{seconds}.{nanos:09},{connection},{from},{offset},{len},\"{text}\"")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn main() -> support::Outcome {
    println!("time,connection,from,offset,length,text");
    let csv = Csv(io::BufWriter::new(io::stdout()));
    let tunnel = Tunnel::builder("127.0.0.1:0", support::echo_server()?).sink(csv).bind()?;
    support::run(tunnel, |address| support::say(address, "hello, \"world\"\n"))?;
    Ok(())
}
