//! Signals while a program runs: its terminal's are its own, requests to end are passed on.

use std::io;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpid, kill_process, waitid};

use super::sys::{SavedAction, ignore, pass_on, set_receiver};

/// The terminal sends these to its whole foreground group, of which the program is a member. This
/// process must neither end nor stop before the program does.
const IGNORED: [i32; 5] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
/// These are sent to this process alone, and mean the program.
const PASSED_ON: [i32; 2] = [libc::SIGTERM, libc::SIGHUP];

/// The signals of this process while a program runs. Dropped, they are what they were before.
#[derive(Debug)]
pub(super) struct Signals(Saved);

#[derive(Default)]
struct Saved(Vec<SavedAction>);

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saved").field("signals", &self.0.len()).finish()
    }
}

impl Signals {
    pub(super) fn take() -> io::Result<Self> {
        let mut signals = Self(Saved::default());
        for signal in IGNORED {
            signals.0.0.push(ignore(signal)?);
        }
        for signal in PASSED_ON {
            signals.0.0.push(pass_on(signal)?);
        }
        Ok(signals)
    }

    /// What the program is to do on them: what this process did before.
    pub(super) fn actions(&self) -> Vec<SavedAction> {
        self.0.0.clone()
    }

    /// Passes signals on to a child, also those that came before. It must not have been reaped.
    pub(super) fn pass_to(&self, child: u32) {
        set_receiver(i32::try_from(child).ok());
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        set_receiver(None);
        self.0.0.iter().for_each(SavedAction::restore);
    }
}

/// Waits until a child has ended, and does not reap it. With `stops_too`, this process stops when
/// the terminal stops the child, so that a shell sees the job stop, and goes on with it.
pub(super) fn wait_for_end(child: u32, stops_too: bool) -> io::Result<()> {
    let child = i32::try_from(child).ok().and_then(Pid::from_raw);
    let child = WaitId::Pid(child.ok_or(io::ErrorKind::InvalidInput)?);
    let stopped = if stops_too { WaitIdOptions::STOPPED } else { WaitIdOptions::empty() };
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | stopped;
        let status = match waitid(child.clone(), options) {
            Ok(status) => status,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(signal) = status.and_then(|status| status.stopping_signal()) else {
            return Ok(());
        };
        // Each stop is seen once.
        let _ = waitid(child.clone(), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG);
        if matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
            kill_process(getpid(), Signal::STOP)?;
        }
    }
}
