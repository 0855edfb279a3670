//! The process's limits.

use std::io;

fn open_files() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes to the struct it is given and nothing else.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many files this process may have open.
pub(crate) fn open_files_limit() -> io::Result<u64> {
    open_files().map(|limit| limit.rlim_cur)
}

/// Raises the soft limit of open files to the hard one, and returns what it is then.
///
/// Every connection takes two descriptors; the usual soft limit of 1024 is there for programs
/// that use `select`, which a tunnel does not.
///
/// # Errors
///
/// What `getrlimit` or `setrlimit` said.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let mut limit = open_files()?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: setrlimit reads the struct it is given and nothing else.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}
