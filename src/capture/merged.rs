//! One capture of many tunnels.

use std::io::{self, Write};
use std::path::Path;

use super::options::{CaptureStats, PcapngOptions};
use super::secrets_block::push_block;
use super::{BATCH, PcapngSink};
use crate::event::{ConnectionId, Event};
use crate::sink::Sink;

/// A capture with an interface for each tunnel. Connections have numbers that are unique among all
/// tunnels, and events come in the order of time.
pub(crate) struct MergedCapture(PcapngSink);

impl MergedCapture {
    /// A capture into a file, as [`PcapngSink::create`].
    pub(crate) fn create(path: &Path, options: PcapngOptions) -> io::Result<Self> {
        PcapngSink::create(path, Self::merged(options)).map(Self)
    }

    /// A capture into anything that can be written to.
    pub(crate) fn new(
        output: impl Write + Send + 'static,
        options: PcapngOptions,
    ) -> io::Result<Self> {
        PcapngSink::new(output, Self::merged(options)).map(Self)
    }

    fn merged(options: PcapngOptions) -> PcapngOptions {
        PcapngOptions { is_merged: true, ..options }
    }

    /// What the capture holds.
    pub(crate) fn stats(&self) -> CaptureStats {
        self.0.stats()
    }

    /// Adds an interface; its number.
    pub(crate) fn add_interface(&mut self, name: &str, description: &str) -> io::Result<usize> {
        self.0.encoder.add_interface(name, description, &mut self.0.pending)
    }

    /// Records an event on an interface.
    pub(crate) fn record(&mut self, interface: usize, event: &Event) -> io::Result<()> {
        self.0.encoder.select_interface(interface);
        self.0.encoder.record(event, &mut self.0.pending)?;
        if self.0.pending.len() >= BATCH { self.0.write_out() } else { Ok(()) }
    }

    /// Continues a connection that was just opened: its client and server sent `said` bytes before.
    pub(crate) fn begin_at(&mut self, id: ConnectionId, said: [u64; 2]) {
        self.0.encoder.begin_at(id, said);
    }

    /// Puts secrets before all packets that come from now on.
    pub(crate) fn add_secrets(&mut self, lines: &[String]) {
        let log: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        push_block(&mut self.0.pending, log.as_bytes());
    }

    /// Writes what is pending.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.write_out()?;
        self.0.output.flush()
    }

    /// Completes the capture.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.0.finish()
    }
}
