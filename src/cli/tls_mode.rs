//! The values of `--tls`.

use clap::ValueEnum;

/// What is done with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TlsMode {
    Off,
    Decrypt,
    Intercept,
    Terminate,
    Originate,
}

impl TlsMode {
    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Decrypt => "decrypt",
            Self::Intercept => "intercept",
            Self::Terminate => "terminate",
            Self::Originate => "originate",
        }
    }

    /// Whether TLS ends in the tunnel.
    pub(super) const fn is_ending(self) -> bool {
        matches!(self, Self::Intercept | Self::Terminate | Self::Originate)
    }
}
