//! Listening sockets that whoever started this process opened for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::io::{FdFlags, fcntl_setfd};

/// The first of them (sd_listen_fds(3)).
const FIRST: RawFd = 3;

/// Takes the listening sockets that a service manager passed to this very process (`LISTEN_PID` and
/// `LISTEN_FDS` in the environment), for
/// [`Builder::listening_sockets`](crate::tunnel::Builder::listening_sockets). None where it passed
/// none, and from the second call on.
///
/// # Errors
///
/// One of them is not open.
pub fn inherited_sockets() -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let is_for_us = number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|_| is_for_us).unwrap_or_default();
    if TAKEN.swap(true, Relaxed) {
        return Ok(Vec::new());
    }
    let count = RawFd::try_from(count).unwrap_or(RawFd::MAX - FIRST);
    (FIRST..FIRST.saturating_add(count)).map(take).collect()
}

/// Takes a descriptor that was passed, if it is open.
fn take(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is only looked at here, and the call fails where it is not open. A
    // program that the tunnel starts shall not have it.
    fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, as was just seen; it was passed to this process for this purpose, and is
    // taken once.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    if socket2::SockRef::from(&owned.as_fd()).is_listener()? {
        return Ok(owned);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"))
}
