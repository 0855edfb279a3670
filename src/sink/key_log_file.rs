//! A sink that keeps the secrets of the tunnel's own TLS.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::file::append_to_file;
use super::{Interest, Sink};
use crate::event::{Event, EventKind};

/// Appends the secrets of connections whose TLS ends in the tunnel to a file, as programs do where
/// `SSLKEYLOGFILE` says (draft-ietf-tls-keylogfile). Whoever can read it can read the connections.
pub struct KeyLogFile(File);

impl KeyLogFile {
    /// Opens the file, or makes one that its owner alone may read. Others may append to it, too:
    /// each connection's lines are written at once.
    ///
    /// # Errors
    ///
    /// It cannot be opened or made, or is one that somebody else may have put there.
    pub fn append(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self(append_to_file(path.as_ref())?))
    }
}

impl Sink for KeyLogFile {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let EventKind::Secrets(lines) = &event.kind else { return Ok(()) };
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        self.0.write_all(text.as_bytes())
    }

    fn interest(&self) -> Interest {
        Interest::LIFECYCLE.secrets(true)
    }
}
