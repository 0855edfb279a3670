//! Recorded events, to be given to any sink with no network.
//!
//! Events are written as text, one a line: the time (RFC 3339), the connection, what happened,
//! then fields. Empty lines and those that start with `#` are skipped.
//!
//! ```text
//! 2026-01-02T12:00:00Z 1 open client=127.0.0.1:5000 listener=127.0.0.1:8080 target=db:5432
//! 2026-01-02T12:00:00.01Z 1 connected server=192.0.2.7:5432 local=192.0.2.1:40000
//! 2026-01-02T12:00:00.02Z 1 data from=client leg=received offset=0 bytes="GET /\r\n"
//! 2026-01-02T12:00:00.020000001Z 1 data from=client leg=sent offset=0 bytes="GET /\r\n"
//! 2026-01-02T12:00:00.03Z 1 shutdown from=client received=7 sent=7
//! 2026-01-02T12:00:00.04Z 1 close reason=reset by=server client=7/7 server=0/0
//! ```
//!
//! The fields, in any order:
//!
//! * `open`: `client`, `listener`, `target`; `server` and `process` (as `PID/NAME`) where known.
//! * `process`: `pid`, `name`.
//! * `connected`: `server`, `local`.
//! * `data`: `from` (`client` or `server`), `leg` (`received` or `sent`), `offset`, `bytes`;
//!   `times=N` repeats the bytes; `view=plain` says that TLS carried them.
//! * `tls`: `state` (`decrypted` or `closed`); `version`, `suite`, `sni`, `alpn` and `why` where
//!   known.
//! * `secrets`: `lines`, with a line feed between two.
//! * `shutdown`: `from`; the direction's totals as `received` and `sent`; `view` as for `data`.
//! * `info`: `leg` (`client` or `server`); the [figures](crate::event::TcpInfo::NAMES) that are
//!   known.
//! * `verdict`: the nanoseconds that each [phase](crate::event::Phase::name) took, where it took
//!   any; `requests`; `slowest` as `OFFSET/NANOSECONDS`, with a comma between two.
//! * `close`: `reason` (a [name](crate::event::CloseReason::name)) with what belongs to it out of
//!   `first`, `by`, `side`, `from`, `errno` and `message`; what each side said as `client` and
//!   `server`, both `RECEIVED/SENT`.
//!
//! A value is bare, or in double quotes with the escapes `\n`, `\r`, `\t`, `\"`, `\\` and `\xNN`.

mod parse;
mod render;
#[cfg(test)]
mod tests;
mod time;

use std::io;

pub use parse::{ParseError, parse};
pub use render::render;

use super::Sink;
use crate::event::Event;

/// Gives `events` to `sink` as a tunnel would: those that it is interested in, in order, then
/// [`finish`](Sink::finish). Nothing waits, and the times in the events are taken as they are.
///
/// ```
/// use tcp_tunn::event::Event;
/// use tcp_tunn::sink::replay::{parse, replay};
///
/// let line = r#"2026-01-02T12:00:00Z 1 data from=client leg=received offset=0 bytes="Hi!""#;
/// let events = parse(line)?;
/// let mut seen = Vec::new();
/// replay(&events, &mut |event: &Event| {
///     seen.push(event.clone());
///     Ok(())
/// })?;
/// assert_eq!(seen, events);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first one of the sink, which is then given nothing more.
pub fn replay(events: &[Event], sink: &mut (impl Sink + ?Sized)) -> io::Result<()> {
    let interest = sink.interest();
    for event in events {
        if interest.takes(&event.kind) {
            sink.record(event)?;
        }
    }
    sink.finish()
}
