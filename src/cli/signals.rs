//! Signals: SIGINT and SIGTERM end the tunnel, the first gracefully, the second at once; SIGHUP of
//! a terminal that closes ends it, too, and any other begins a new capture file, or ends the
//! tunnel where there is none; SIGUSR1 shows how it does.

use std::fs::File;
use std::future::pending;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tcp_tunn::capture::RotateHandle;
use tcp_tunn::console::summary::ConnectionTable;
use tcp_tunn::tunnel::Handle;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::counters::Gauge;
use super::ending::Ending;
use super::status::Stderr;
use super::systemd::Manager;

/// What signals act on.
pub(super) struct Signals {
    pub(super) handle: Handle,
    pub(super) rotate: Option<RotateHandle>,
    pub(super) table: ConnectionTable,
    pub(super) gauge: Gauge,
    pub(super) stderr: Stderr,
    /// What tells why it does not end, where that is to be told.
    pub(super) ending: Option<Ending>,
    pub(super) manager: Manager,
}

/// The signals that are caught.
struct Caught {
    interrupt: Signal,
    terminate: Signal,
    /// Not where it is ignored, as `nohup` has it, and there is no file to begin anew.
    hangup: Option<Signal>,
    user: Signal,
    /// A file has come to the limit of `ulimit -f`. Caught, it does not kill: the write fails.
    _file_size: Signal,
}

impl Caught {
    fn new(hangup: bool) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if hangup { Some(signal(SignalKind::hangup())?) } else { None },
            user: signal(SignalKind::user_defined1())?,
            _file_size: signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        })
    }
}

impl Signals {
    /// Watches for signals on a thread of its own, until the process ends. When this returns they
    /// are caught.
    pub(super) fn watch(self) -> io::Result<()> {
        // Once SIGHUP is caught, the kernel no longer tells that it was ignored.
        let is_protected = is_hangup_ignored();
        let hangup = self.rotate.is_some() || !is_protected;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (ready, is_ready) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                match Caught::new(hangup) {
                    Ok(caught) => {
                        let _ = ready.send(Ok(()));
                        self.obey(caught, is_protected).await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        })?;
        is_ready.recv().unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }

    /// Acts on signals as they come. A protected process outlives its terminal, as `nohup` asks.
    async fn obey(mut self, mut caught: Caught, is_protected: bool) {
        let terminal = ControllingTerminal::open();
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = caught.interrupt.recv() => {
                    self.leave_echo();
                    self.end(&mut is_stopping);
                }
                _ = caught.terminate.recv() => self.end(&mut is_stopping),
                () = received(caught.hangup.as_mut()) => match &self.rotate {
                    Some(_) if terminal.has_hung_up() && is_protected => {}
                    Some(rotate) if !terminal.has_hung_up() => rotate.rotate(),
                    _ => self.end(&mut is_stopping),
                },
                _ = caught.user.recv() => self.show(),
            }
        }
    }

    /// A terminal shows `^C` for the key that sent the signal: what follows begins a new line.
    fn leave_echo(&self) {
        if io::stderr().is_terminal() {
            self.stderr.tell("");
        }
    }

    /// The first time gracefully, the second at once.
    fn end(&mut self, is_stopping: &mut bool) {
        if std::mem::replace(is_stopping, true) {
            return self.handle.abort();
        }
        self.manager.stopping();
        self.handle.stop();
        if let Some(ending) = self.ending.take() {
            tokio::spawn(ending.tell());
        }
    }

    /// Shows the connections and the counters.
    fn show(&mut self) {
        if !self.table.is_empty() {
            self.table.update(self.handle.connections());
            self.stderr.tell(self.table.to_string().trim_end());
        }
        self.stderr.tell(self.gauge.full());
    }
}

/// The terminal that started this process, if one did.
struct ControllingTerminal(Option<File>);

impl ControllingTerminal {
    fn open() -> Self {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        Self(File::options().read(true).custom_flags(flags).open("/dev/tty").ok())
    }

    /// Whether it was closed, as by its window or by the end of an ssh connection.
    fn has_hung_up(&self) -> bool {
        let Some(terminal) = &self.0 else { return false };
        let mut polled = [PollFd::new(terminal, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }
}

/// Waits for a signal, for ever where it is not caught.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Whether whoever started this process wants it to outlive the terminal.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}
