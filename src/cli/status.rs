//! The status line, and what else goes to stderr while it stands there.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use super::counters::Gauge;
use super::report::tell;

/// How often the line is refreshed: its figures shall be readable.
const REFRESH: Duration = Duration::from_millis(500);

/// Stderr, whose last line may be one that is refreshed in place. Clones are the same.
#[derive(Clone)]
pub(super) struct Stderr(ProgressBar);

impl Stderr {
    /// Without a status line, so far.
    pub(super) fn new() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Puts one line on stderr, at once, above the status line.
    pub(super) fn tell(&self, line: impl Display) {
        self.0.suspend(|| tell(line));
    }

    /// Shows the status line until what this returns is dropped; nothing where stderr is no
    /// terminal.
    pub(super) fn show_status(&self, mut gauge: Gauge) -> io::Result<StatusLine> {
        let bar = self.0.clone();
        // Cut at the terminal's edge: what wraps around cannot be refreshed in place.
        let style = ProgressStyle::with_template("{wide_msg}").map_err(io::Error::other)?;
        bar.set_style(style);
        bar.set_message(gauge.short());
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let (end, ended) = channel();
        let refresh = move || refresh(&bar, gauge, || ended.recv_timeout(REFRESH));
        let thread = std::thread::Builder::new().name("status".to_owned()).spawn(refresh)?;
        Ok(StatusLine { end: Some(end), thread: Some(thread) })
    }
}

/// Refreshes until `next` says that it is over.
fn refresh(bar: &ProgressBar, mut gauge: Gauge, next: impl Fn() -> Result<(), RecvTimeoutError>) {
    bar.tick();
    while !bar.is_hidden() && next() == Err(RecvTimeoutError::Timeout) {
        bar.set_message(gauge.short());
    }
    bar.finish_and_clear();
}

/// The status line, which is gone when this is dropped.
pub(super) struct StatusLine {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic but in the terminal's library; what is at stake is one line.
            let _ = thread.join();
        }
    }
}

/// Writes what is logged above the status line.
impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Stderr {
    /// Each call has whole lines: that is how the log hands them over.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().lock().write_all(lines))?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
