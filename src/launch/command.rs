//! A program to be started, and one that runs.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{self, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tempfile::TempPath;

use super::error::LaunchError;
use super::redirect::Mechanism;
use super::request::Handler;
use super::setup::{Report, Setup, Step, receive};
use super::signals::{Signals, wait_for_end};
use super::supervisor::{Probed, Resources, Supervisor};
use super::sys::before_exec;
use crate::os_error::Sentence;

/// Where programs write the secrets of their TLS connections (NSS key log format).
const KEY_LOG: &str = "SSLKEYLOGFILE";

/// A program whose connects are to be caught; built as a [`std::process::Command`].
#[derive(Debug)]
pub struct Command {
    inner: process::Command,
    mechanism: Option<Mechanism>,
    owns_signals: bool,
    private_key_log: Option<TempPath>,
}

impl From<process::Command> for Command {
    fn from(inner: process::Command) -> Self {
        Self { inner, mechanism: None, owns_signals: false, private_key_log: None }
    }
}

impl Command {
    /// A program by its name, which is looked up in `PATH`, or by its path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        process::Command::new(program).into()
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.inner.args(args);
        self
    }

    /// Sets an environment variable of the program.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.inner.env(name, value);
        self
    }

    /// All else that the standard library can set, such as the program's output.
    pub const fn as_std_mut(&mut self) -> &mut process::Command {
        &mut self.inner
    }

    /// Has the program's sockets connected in one way only. By default their descriptors are
    /// copied where that is permitted, and their addresses rewritten where it is not.
    pub const fn mechanism(&mut self, mechanism: Mechanism) -> &mut Self {
        self.mechanism = Some(mechanism);
        self
    }

    /// Gives this process's signals to the program, from [`spawn`](Self::spawn) until
    /// [`Child::wait`] returns or the [`Child`] is dropped.
    ///
    /// `SIGINT` and `SIGQUIT` are ignored, since a terminal sends them to the program itself.
    /// `SIGTERM` and `SIGHUP` are passed on to it. When the terminal stops the program, this
    /// process stops, too, so that a shell's job control sees one job. The program itself does on
    /// all signals what it would do without this. By default no signal is touched.
    pub const fn owns_signals(&mut self) -> &mut Self {
        self.owns_signals = true;
        self
    }

    /// Has the program write the secrets of its TLS connections to a file, and says to which: the
    /// one that `SSLKEYLOGFILE` names already, in the program's environment or in this process's,
    /// or else a new one, which only this user can read and which the [`Child`] removes when it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// There is no such variable and no file could be made.
    pub fn key_log(&mut self) -> io::Result<PathBuf> {
        let mut own = self.inner.get_envs().filter(|(name, _)| *name == KEY_LOG);
        let named = match own.next() {
            Some((_, value)) => value.map(OsStr::to_owned),
            None => std::env::var_os(KEY_LOG),
        };
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            return Ok(named.into());
        }
        let file = tempfile::Builder::new().prefix("tcp_tunn-keys-").tempfile()?;
        let path = file.into_temp_path();
        self.inner.env(KEY_LOG, &path);
        let shown = path.to_path_buf();
        self.private_key_log = Some(path);
        Ok(shown)
    }

    /// Starts the program. Its connects and those of all its descendants go to `handler`, which
    /// lives on a thread of its own until the last of them has ended.
    ///
    /// # Errors
    ///
    /// There is no such program, it cannot be executed, or the kernel forbids to catch connects.
    /// The program has not run then.
    pub fn spawn(mut self, handler: impl Handler) -> Result<Child, LaunchError> {
        // What is known of a program stands there.
        std::fs::metadata("/proc/self/fd").map_err(LaunchError::of_probe)?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(io::Error::from)?;
        let resources = Resources::open()?;
        let signals = if self.owns_signals { Some(Signals::take()?) } else { None };
        let actions = signals.as_ref().map(Signals::actions).unwrap_or_default();
        let setup = Setup::new(theirs, actions)?;
        before_exec(&mut self.inner, move || setup.run());

        let (failed, failures) = channel();
        let (probe, probed) = channel();
        let mechanism = self.mechanism;
        let run = move || supervise(&ours, resources, handler, mechanism, probe, &failed);
        let supervisor = thread::Builder::new().name("launch".to_owned()).spawn(run)?;
        let program = self.inner.get_program().to_string_lossy().into_owned();
        let spawned = self.inner.spawn();
        // With it goes this process's copy of the child's end of the channel, so that the thread
        // sees the channel's end.
        drop(self.inner);
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                let _ = supervisor.join();
                return Err(reason(program, error, &failures, &probed));
            }
        };
        let mechanism = match probed.recv() {
            Ok(Ok(mechanism)) => mechanism,
            // The program runs, and its connects cannot be caught.
            result => {
                let _ = child.kill();
                let _ = child.wait();
                let gone = || io::Error::other("the launcher's thread has ended");
                let error = result.ok().and_then(Result::err).unwrap_or_else(gone);
                return Err(LaunchError::of_probe(error));
            }
        };
        if let Some(signals) = &signals {
            signals.pass_to(child.id());
        }
        Ok(Child {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            inner: child,
            supervisor: Some(supervisor),
            signals,
            mechanism,
            _private_key_log: self.private_key_log,
        })
    }
}

/// What a thread that supervises a program reports when it fails.
enum Failure {
    Step(Step, io::Error),
    Supervisor(io::Error),
}

/// The thread that supervises a program, from before its start.
fn supervise(
    channel: &OwnedFd,
    resources: Resources,
    handler: impl Handler,
    mechanism: Option<Mechanism>,
    probe: Sender<Probed>,
    failed: &Sender<Failure>,
) {
    let notifications = match receive(channel) {
        Ok(Report::Filtered(notifications)) => notifications,
        Ok(Report::Failed(step, error)) => {
            let _ = failed.send(Failure::Step(step, error));
            return;
        }
        Ok(Report::Closed) => return,
        Err(error) => {
            let _ = failed.send(Failure::Supervisor(error));
            return;
        }
    };
    let ran = Supervisor::new(notifications, resources, handler, mechanism, probe)
        .and_then(Supervisor::run);
    if let Err(error) = ran {
        tracing::error!("connects are caught no longer, and fail: {}", Sentence(&error));
        let _ = failed.send(Failure::Supervisor(error));
    }
    // The child may have failed after it was under the filter.
    if let Ok(Report::Failed(step, error)) = receive(channel) {
        let _ = failed.send(Failure::Step(step, error));
    }
}

/// Why a start has failed: what came first counts.
fn reason(
    program: String,
    error: io::Error,
    failures: &Receiver<Failure>,
    probed: &Receiver<Probed>,
) -> LaunchError {
    if let Ok(Err(error)) = probed.try_recv() {
        return LaunchError::of_probe(error);
    }
    match failures.try_recv() {
        Ok(Failure::Step(step, error)) => LaunchError::of_step(step, error),
        Ok(Failure::Supervisor(error)) => LaunchError::Resources(error),
        Err(_) => LaunchError::of_start(program, error),
    }
}

/// A program that runs, and whose connects are caught.
///
/// Dropped, it goes on: the connects of the program and its descendants are caught until the last
/// of them, or this process, has ended. After this process has ended, their connects fail with
/// `ENOSYS`, those of unix and UDP sockets, too; they do not hang.
#[derive(Debug)]
pub struct Child {
    /// The program's input, where it was set to a pipe.
    pub stdin: Option<ChildStdin>,
    /// The program's output, where it was set to a pipe.
    pub stdout: Option<ChildStdout>,
    /// The program's error output, where it was set to a pipe.
    pub stderr: Option<ChildStderr>,
    inner: process::Child,
    supervisor: Option<JoinHandle<()>>,
    signals: Option<Signals>,
    mechanism: Mechanism,
    _private_key_log: Option<TempPath>,
}

impl Child {
    /// The number of the program's process.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// How its sockets are connected to this process.
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Waits until the program has ended, and gives this process its signals back.
    ///
    /// The program may have left others behind, such as daemons. Their connects go on being
    /// caught: see [`wait_for_descendants`](Self::wait_for_descendants).
    ///
    /// # Errors
    ///
    /// The operating system refuses to wait.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        // A program that reads to the end of its input would wait for it.
        drop(self.stdin.take());
        wait_for_end(self.inner.id(), self.signals.is_some())?;
        // Before the process is reaped and its number can be another's.
        drop(self.signals.take());
        self.inner.wait()
    }

    /// Whether the program or a descendant of it still runs.
    pub fn has_descendants(&self) -> bool {
        self.supervisor.as_ref().is_some_and(|supervisor| !supervisor.is_finished())
    }

    /// Waits until the program and all its descendants have ended.
    ///
    /// Whoever ends this process earlier breaks every later connect of those that are left. So a
    /// command that runs a program best waits here, as `strace -f` does, and says so.
    pub fn wait_for_descendants(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.join();
        }
    }

    /// Kills the program. Its descendants are left alone.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }
}

/// The exit status that a shell gives a program: its own, or 128 + N after signal N.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(1)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    #[test]
    fn key_log_of_the_environment_is_kept() {
        let mut command = Command::new("true");
        command.env(KEY_LOG, "/a/file");
        assert_eq!(command.key_log().unwrap(), Path::new("/a/file"));
    }

    #[test]
    fn private_key_log_is_readable_by_its_user_alone_and_removed() {
        let mut command = Command::new("true");
        command.env(KEY_LOG, "");
        let path = command.key_log().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(command.key_log().unwrap(), path, "it is set now");
        drop(command);
        assert!(!path.exists());
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        for (raw, code) in [(0, 0), (3 << 8, 3), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code);
        }
    }
}
