//! A sink for a format of one's own: each connection is written into a file of its own.
//!
//! Runs by itself: `cargo run --example file_per_connection`

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use tcp_tunn::event::{ConnectionId, Event, EventKind};
use tcp_tunn::sink::Sink;
use tcp_tunn::tunnel::Tunnel;

mod support;

struct FilePerConnection {
    directory: PathBuf,
    files: HashMap<ConnectionId, File>,
}

impl Sink for FilePerConnection {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let id = event.connection;
        if let EventKind::Open(_) = event.kind {
            self.files.insert(id, File::create(self.directory.join(format!("{id}.txt")))?);
        }
        let Some(file) = self.files.get_mut(&id) else { return Ok(()) };
        match &event.kind {
            EventKind::Open(open) => writeln!(file, "to {}", open.target)?,
            EventKind::Data { direction, bytes, .. } => {
                writeln!(file, "{}: {}", direction.sender(), bytes.escape_ascii())?;
            }
            EventKind::Close { reason, .. } => {
                writeln!(file, "{reason}")?;
                self.files.remove(&id);
            }
            _ => {}
        }
        Ok(())
    }
}

fn main() -> support::Outcome {
    let directory = std::env::temp_dir().join(format!("tcp_tunn-files-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let sink = FilePerConnection { directory: directory.clone(), files: HashMap::new() };
    let tunnel = Tunnel::builder("127.0.0.1:0", support::echo_server()?).sink(sink).bind()?;
    support::run(tunnel, |address| {
        support::say(address, "hello")?;
        support::say(address, "and goodbye\n")
    })?;
    for name in ["1.txt", "2.txt"] {
        println!("{name}:\n{}", fs::read_to_string(directory.join(name))?);
    }
    Ok(fs::remove_dir_all(directory)?)
}
