//! The process's limits.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files this process may have open.
pub(crate) fn open_files_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit of open files to the hard one, and returns what it is then.
///
/// Every connection takes two descriptors; the usual soft limit of 1024 is there for programs
/// that use `select`, which a tunnel does not.
///
/// # Errors
///
/// What `setrlimit` said.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current < maximum || maximum.is_none() && current.is_some() {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(open_files_limit())
}
