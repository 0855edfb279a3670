//! The runtime of a ring thread.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::task::{JoinHandle, LocalSet};

use super::io::Io;
use crate::os_error::Sentence;

/// The way to the kernel that a tunnel takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// [`Uring`](Self::Uring) where the kernel permits it, [`Epoll`](Self::Epoll) elsewhere.
    #[default]
    Auto,
    /// io_uring, which needs Linux 6.1 or newer: cheaper where many connections are busy.
    Uring,
    /// epoll, which every kernel and every container permits.
    Epoll,
}

impl Backend {
    /// `auto`, `uring` or `epoll`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why io_uring could not be set up, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RingError {
    /// The system forbids io_uring (`EPERM`, `EACCES`).
    #[error(
        "io_uring is not permitted here: {}; likely by the sysctl kernel.io_uring_disabled \
         or a container's seccomp profile (try '--io epoll', 'sysctl -w \
         kernel.io_uring_disabled=0', or a profile that permits io_uring)",
        Sentence(.source)
    )]
    Forbidden {
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no io_uring (`ENOSYS`): the kernel has none, or a sandbox hides it.
    #[error(
        "there is no io_uring here: {}; the kernel lacks it, or a container's seccomp \
         profile hides it (try '--io epoll')",
        Sentence(.source)
    )]
    Unsupported {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel's io_uring lacks what is needed (`EINVAL`): deferred task work, which came with
    /// Linux 6.1.
    #[error("the kernel's io_uring is too old: Linux 6.1 or newer is needed (try '--io epoll')")]
    Outdated {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no memory for it (`ENOMEM`); some versions count it against
    /// `RLIMIT_MEMLOCK`, as before Linux 5.12 and since about 6.14.
    #[error(
        "no memory for io_uring: {} (try '--io epoll', fewer workers, or a higher \
         RLIMIT_MEMLOCK: 'ulimit -l')",
        Sentence(.source)
    )]
    NoMemory {
        /// What the kernel said.
        source: io::Error,
    },
    /// There are no descriptors left for it (`EMFILE`, `ENFILE`).
    #[error(
        "no descriptor for a worker: {}; raise the limit of open files ('ulimit -n') or use \
         fewer workers",
        Sentence(.source)
    )]
    NoFiles {
        /// What the kernel said.
        source: io::Error,
    },
    /// Something else.
    #[error("a worker could not be set up: {}", Sentence(.source))]
    Other {
        /// What the kernel said.
        source: io::Error,
    },
}

impl RingError {
    /// Why epoll has to stand in, in a few words; `None` where it would fail as well.
    pub(crate) const fn why_epoll(&self) -> Option<&'static str> {
        match self {
            Self::Forbidden { .. } => Some("io_uring is not permitted here"),
            Self::Unsupported { .. } => Some("there is no io_uring here"),
            Self::Outdated { .. } => Some("the kernel's io_uring is too old"),
            Self::NoMemory { .. } => Some("no memory for io_uring"),
            Self::NoFiles { .. } | Self::Other { .. } => None,
        }
    }
}

impl From<io::Error> for RingError {
    fn from(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden { source },
            Some(libc::ENOSYS | libc::EOPNOTSUPP) => Self::Unsupported { source },
            Some(libc::EINVAL) => Self::Outdated { source },
            Some(libc::ENOMEM) => Self::NoMemory { source },
            Some(libc::EMFILE | libc::ENFILE) => Self::NoFiles { source },
            _ => Self::Other { source },
        }
    }
}

/// Submissions that fit before the queue is handed to the kernel early.
const SUBMISSIONS: u32 = 64;
/// Where little memory may be locked a ring makes do with as few: two pages.
const SUBMISSIONS_MIN: u32 = 8;
/// Completions that may wait for each submission; more are kept by the kernel, at a cost.
const COMPLETIONS: u32 = 4;

/// How long the kernel may take to give back the locked memory of rings that are gone.
const RELEASE: Duration = Duration::from_millis(500);

/// No fewer descriptors than a runtime opens: a ring, an epoll, pipes and events.
const DESCRIPTORS: usize = 8;

/// One thread at a time sets up its runtime, so that what it found free is still free for it.
static TURN: Mutex<()> = Mutex::new(());

/// Makes sure that there are descriptors for a runtime: tokio panics where there are none.
fn find_descriptors() -> io::Result<()> {
    (0..DESCRIPTORS).map(|_| UnixDatagram::unbound()).collect::<io::Result<Vec<_>>>().map(drop)
}

/// Sets up a tokio-uring runtime on this thread.
fn uring_runtime() -> Result<tokio_uring::Runtime, RingError> {
    let started = Instant::now();
    let mut submissions = SUBMISSIONS;
    loop {
        match uring_runtime_of(submissions).map_err(RingError::from) {
            Err(RingError::NoMemory { .. }) if submissions > SUBMISSIONS_MIN => submissions /= 2,
            // The kernel gives back the memory of a ring that is gone a little late, such as that
            // of a tunnel that has just ended.
            Err(RingError::NoMemory { .. }) if started.elapsed() < RELEASE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// With the flags that spare interrupts.
fn uring_runtime_of(submissions: u32) -> io::Result<tokio_uring::Runtime> {
    let mut flags = tokio_uring::uring_builder();
    flags.setup_cqsize(submissions * COMPLETIONS).setup_coop_taskrun().setup_single_issuer();
    let mut builder = tokio_uring::builder();
    tokio_uring::Runtime::new(builder.entries(submissions).uring_builder(&flags))
}

/// Runs what `work` makes on a new runtime on this thread, by io_uring unless `backend` is epoll.
pub(crate) fn block_on<F: Future>(
    backend: Backend,
    work: impl FnOnce(Io) -> F,
) -> Result<F::Output, RingError> {
    let turn = TURN.lock();
    find_descriptors()?;
    if backend == Backend::Epoll {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        drop(turn);
        return Ok(LocalSet::new().block_on(&runtime, work(Io::Epoll)));
    }
    let runtime = uring_runtime()?;
    runtime.block_on(async {
        let io = Io::uring();
        drop(turn);
        let io = io?;
        let output = work(io.clone()).await;
        io.drained().await;
        Ok(output)
    })
}

/// Starts a task on this thread, which goes on to its end whoever waits for it.
pub(crate) fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    tokio::task::spawn_local(future)
}
