//! Takes down the secrets of the tunnel's own legs.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::KeyLog;

/// The lines of a key log (draft-ietf-tls-keylogfile) that were not taken yet. Both legs of one
/// connection write here.
#[derive(Debug, Default)]
pub(super) struct Secrets(Mutex<Vec<String>>);

impl Secrets {
    pub(super) fn take(&self) -> Option<Arc<[String]>> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (!lines.is_empty()).then(|| lines.into())
    }
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        let mut hex = |bytes: &[u8]| {
            for byte in bytes {
                // A String takes all that is written to it.
                let _ = write!(line, "{byte:02x}");
            }
        };
        hex(client_random);
        line.push(' ');
        for byte in secret {
            let _ = write!(line, "{byte:02x}");
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
