//! What is looked at while connections are open.

use std::time::Duration;

use super::ranges::time;

/// What is looked at, and how often.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Look options")]
pub(super) struct LookArgs {
    /// Record what the kernel knows of each connection this often
    ///
    /// Record what the kernel knows of the TCP connections to the client and to the server (round
    /// trips, retransmissions, what held it up) at their beginning, this often, and at their end.
    /// The console prints it, and the capture has it with the last packet of each connection.
    #[arg(long, value_name = "DUR", value_parser = time("sample"), hide_short_help = true)]
    pub(super) sample: Option<Duration>,
}

impl LookArgs {
    /// Whether the user asks for what the kernel knows of connections.
    pub(super) const fn wants_info(&self) -> bool {
        self.sample.is_some()
    }
}
