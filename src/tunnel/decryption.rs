//! Whether sinks see the plaintext of TLS.

#[cfg(feature = "tls")]
use std::path::PathBuf;

#[cfg(feature = "tls")]
use crate::event::Views;
#[cfg(feature = "tls")]
use crate::sink::Decrypting;
use crate::sink::{Sink, SinkOptions};

/// By what the plaintext of TLS is shown, if it is.
#[derive(Default)]
pub(super) struct Decryption {
    #[cfg(feature = "tls")]
    pub(super) key_log: Option<PathBuf>,
}

impl Decryption {
    /// A sink as it is fed: one that wants plaintext gets it, where it can be had.
    pub(super) fn of(
        &self,
        (options, sink): (SinkOptions, Box<dyn Sink>),
    ) -> (SinkOptions, Box<dyn Sink>) {
        #[cfg(feature = "tls")]
        if let Some(key_log) = &self.key_log
            && sink.interest().views != Views::Wire
        {
            return (options, Box::new(Decrypting::new(sink, key_log)));
        }
        (options, sink)
    }
}
