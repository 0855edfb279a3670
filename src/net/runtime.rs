//! The runtime of a ring thread.

use std::future::Future;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::task::JoinHandle;

/// Why no ring could be set up, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RingError {
    /// The system forbids io_uring (`EPERM`, `EACCES`).
    #[error(
        "io_uring is forbidden here: {source}; likely the sysctl kernel.io_uring_disabled or a \
         container's seccomp profile (try 'sysctl -w kernel.io_uring_disabled=0', or start the \
         container with '--security-opt seccomp=unconfined' or a profile that allows io_uring)"
    )]
    Forbidden {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no io_uring (`ENOSYS`).
    #[error(
        "the kernel has no io_uring: {source}; Linux 5.11 or newer is needed, with \
         CONFIG_IO_URING, and no sandbox that hides it"
    )]
    Unsupported {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no memory for it (`ENOMEM`); some versions count it against
    /// `RLIMIT_MEMLOCK`, as before Linux 5.12 and since about 6.14.
    #[error(
        "no memory for an io_uring: {source}; raise RLIMIT_MEMLOCK ('ulimit -l') or use fewer \
         workers"
    )]
    NoMemory {
        /// What the kernel said.
        source: io::Error,
    },
    /// There are no descriptors left for it (`EMFILE`, `ENFILE`).
    #[error(
        "no descriptor for an io_uring: {source}; raise the limit of open files ('ulimit -n') or \
         use fewer workers"
    )]
    NoFiles {
        /// What the kernel said.
        source: io::Error,
    },
    /// Something else.
    #[error("io_uring could not be set up: {source}")]
    Other {
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<io::Error> for RingError {
    fn from(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden { source },
            Some(libc::ENOSYS) => Self::Unsupported { source },
            Some(libc::ENOMEM) => Self::NoMemory { source },
            Some(libc::EMFILE | libc::ENFILE) => Self::NoFiles { source },
            _ => Self::Other { source },
        }
    }
}

/// Submissions that fit before the queue is handed to the kernel early.
const SUBMISSIONS: u32 = 1024;
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

/// Sets up a ring on this thread, as large as the kernel allows.
fn new_runtime() -> Result<tokio_uring::Runtime, RingError> {
    let _turn = TURN.lock();
    find_descriptors()?;
    let started = Instant::now();
    let mut submissions = SUBMISSIONS;
    loop {
        match runtime_of(submissions) {
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

/// Sets up a ring with the flags that spare interrupts; a kernel that does not know one of them
/// (before 6.0) gets fewer.
fn runtime_of(submissions: u32) -> Result<tokio_uring::Runtime, RingError> {
    let mut last = None;
    for (coop, single) in [(true, true), (true, false), (false, false)] {
        let mut flags = tokio_uring::uring_builder();
        flags.setup_cqsize(submissions * COMPLETIONS);
        if coop {
            flags.setup_coop_taskrun();
        }
        if single {
            flags.setup_single_issuer();
        }
        let mut builder = tokio_uring::builder();
        builder.entries(submissions).uring_builder(&flags);
        match tokio_uring::Runtime::new(&builder) {
            Ok(runtime) => return Ok(runtime),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::Unsupported.into()).into())
}

/// Runs `future` on a new ring on this thread.
///
/// The future must end with no operation in flight: leaving earlier would free buffers that the
/// kernel still writes to.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, RingError> {
    Ok(new_runtime()?.block_on(future))
}

/// Starts a task on this thread's ring, which goes on to its end whoever waits for it.
pub(crate) fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    tokio_uring::spawn(future)
}
