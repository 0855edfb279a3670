//! Why a program could not be started.

use std::io;

use thiserror::Error;

use super::setup::Step;
use crate::os_error::Sentence;

/// Why a program was not started. Nothing is left behind then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is no such program.
    #[error("cannot run '{program}': there is no such program (check its name, and PATH)")]
    NotFound {
        /// What was to be run.
        program: String,
    },
    /// The program is there and cannot be executed.
    #[error("cannot run '{program}': {} (is it an executable file?)", Sentence(.source))]
    NotExecutable {
        /// What was to be run.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The kernel, or the container that this runs in, forbids what catching connects needs.
    #[error("cannot catch a program's connects: {what}: {} ({hint})", Sentence(.source))]
    Forbidden {
        /// What is missing.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
        /// What to try.
        hint: &'static str,
    },
    /// This process lacks sockets, threads or memory.
    #[error(
        "cannot prepare to run a program: {} (raise the limits of open files ('ulimit -n') and \
         processes ('ulimit -u'))",
        Sentence(.0)
    )]
    Resources(#[from] io::Error),
}

impl LaunchError {
    /// The exit status that a shell would have: 127 where there is no such program, 126 where it
    /// cannot be executed, 1 for all else.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::Forbidden { .. } | Self::Resources(_) => 1,
        }
    }

    /// The error of a start that came as far as the program itself.
    pub(super) fn of_start(program: String, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Self::NotFound { program },
            Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
                Self::Resources(source)
            }
            _ => Self::NotExecutable { program, source },
        }
    }

    /// The error of a step before the program.
    pub(super) fn of_step(step: Step, source: io::Error) -> Self {
        const PROFILE: &str = "allow the system call 'seccomp' in the container's profile; Linux \
                               5.5 or newer is needed";
        const NESTED: &str = "another program already watches the calls of this one; a program \
                              under 'tcp_tunn run' cannot use it again";
        let (what, hint) = match step {
            Step::NoNewPrivileges => ("'no_new_privs' cannot be set", PROFILE),
            Step::Filter if source.raw_os_error() == Some(libc::EBUSY) => {
                ("a seccomp filter cannot be installed", NESTED)
            }
            Step::Filter => ("a seccomp filter cannot be installed", PROFILE),
            Step::Report => ("the filter's descriptor cannot be passed on", PROFILE),
            Step::Connect => ("a test connect has failed", WATCH),
            Step::PeerName => ("a test connect did not get its address", WATCH),
        };
        Self::Forbidden { what, source, hint }
    }

    /// The error of the launcher's own connect.
    pub(super) const fn of_probe(source: io::Error) -> Self {
        Self::Forbidden {
            what: "a program's memory and sockets in /proc cannot be read",
            source,
            hint: WATCH,
        }
    }
}

const WATCH: &str = "/proc has to be mounted, a loopback device has to be up, and \
                     kernel.yama.ptrace_scope must be 0 or 1";
