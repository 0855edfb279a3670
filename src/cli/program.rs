//! `tcp_tunn run`: a program whose connects go through the tunnel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::JoinHandle;
use std::{io, thread};

use tcp_tunn::launch::{Child, Command, LaunchError, exit_code};
use tcp_tunn::tunnel::{Handle, Launched};

/// A program that is to be started.
pub(super) struct Program(Command);

/// A program that runs.
pub(super) struct Running(JoinHandle<(Child, io::Result<ExitStatus>)>);

impl Program {
    /// `None` without words.
    pub(super) fn new(words: &[OsString]) -> Option<Self> {
        let (name, args) = words.split_first()?;
        let mut command = Command::new(name);
        command.args(args).owns_signals();
        Some(Self(command))
    }

    /// Where the program will write the secrets of its TLS connections.
    pub(super) fn key_log(&mut self) -> io::Result<PathBuf> {
        self.0.key_log()
    }

    /// Has the program write the secrets of its TLS connections to this file.
    pub(super) fn log_keys_to(&mut self, path: &Path) -> io::Result<()> {
        self.0.env("SSLKEYLOGFILE", std::path::absolute(path)?);
        Ok(())
    }

    /// Sets a variable of its environment to a path.
    pub(super) fn set(&mut self, name: &str, path: &Path) {
        self.0.env(name, path);
    }

    /// Starts it; at its end the tunnel stops.
    pub(super) fn start(self, launched: Launched, tunnel: Handle) -> Result<Running, LaunchError> {
        let mut child = self.0.spawn(launched)?;
        let wait = move || {
            let status = child.wait();
            tunnel.stop();
            // It holds the program's key log, which the capture reads to its end.
            (child, status)
        };
        Ok(Running(thread::Builder::new().name("program".to_owned()).spawn(wait)?))
    }
}

impl Running {
    /// Waits for the end of the program; its own exit code, as a shell gives it.
    pub(super) fn wait(self) -> io::Result<u8> {
        let panicked = |_| io::Error::other("its thread panicked");
        let (_child, status) = self.0.join().map_err(panicked)?;
        Ok(exit_code(status?))
    }
}
