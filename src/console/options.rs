//! What a console shows, and how.

use super::expression::Expression;
use crate::event::{ConnectionId, Event, EventKind, Leg, Side, View};

/// How events are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A header and the rows of `hexdump -C` for each chunk.
    #[default]
    Hexdump,
    /// A line for each line of the traffic: what prints as it is, all else escaped.
    Text,
    /// A JSON object on a line for each event; `docs/console.md` has the schema.
    Json,
    /// The bytes alone, both directions as they come.
    Raw,
}

/// What time an event is shown with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// The time of day here.
    #[default]
    Local,
    /// The time of day in UTC.
    Utc,
    /// Since the first event.
    Relative,
    /// Since the event before it on the same connection.
    Delta,
    /// None.
    None,
}

/// What a console shows, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsoleOptions {
    /// How events are shown.
    pub format: Format,
    /// Whether to use colors.
    pub color: bool,
    /// What time is shown; JSON always has the full one.
    pub time: TimeStyle,
    /// How many columns the rows of a hexdump may have; any number by default.
    pub columns: Option<usize>,
    /// How many bytes of a chunk are shown; all by default.
    pub max_print: Option<usize>,
    /// Shows the data of this side alone.
    pub only: Option<Side>,
    /// Shows this connection alone.
    pub connection: Option<ConnectionId>,
    /// Shows the chunks that match, with the matches marked where there are colors. A match does
    /// not reach from one chunk into the next.
    pub grep: Option<Expression>,
    /// Shows that data passed, and how much, but not the data.
    pub hide_data: bool,
    /// Shows the certificates of servers whose handshakes are understood, a line each.
    #[cfg(feature = "tls")]
    pub certificates: bool,
    /// Shows what the kernel knows of each leg's socket, at the samples of the tunnel.
    pub info: bool,
}

impl ConsoleOptions {
    /// What is shown of a chunk whose data is shown.
    pub(super) fn printed<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[..bytes.len().min(self.max_print.unwrap_or(usize::MAX))]
    }
}

/// Whether the console shows it: of data, only what a peer sent, not what was sent on to the other;
/// no secrets; no verdict, which the close shows that follows; and of the ends of a direction that
/// of its socket, which says all.
pub(super) const fn is_shown(event: &Event) -> bool {
    !matches!(
        event.kind,
        EventKind::Data { leg: Leg::Sent, .. }
            | EventKind::Secrets(_)
            | EventKind::Verdict(_)
            | EventKind::Shutdown { view: View::Plain, .. }
    )
}
