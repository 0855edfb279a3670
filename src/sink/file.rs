//! Opening what a sink writes to, without harm to anybody.

#[cfg(feature = "tls")]
use std::fs::Permissions;
use std::fs::{File, OpenOptions};
use std::io;
#[cfg(feature = "capture")]
use std::os::unix::fs::FileTypeExt;
#[cfg(feature = "tls")]
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Opens a file for a sink to write: readable by its owner alone, and locked, so that no other
/// process that opens its files in this way writes to it at the same time.
///
/// An existing file loses its content only once it is open. In a directory that others may write
/// to, a link is not followed and another user's file is not written to: both may have been put
/// there for us to fall into. Elsewhere links are followed.
///
/// # Errors
///
/// The file cannot be created, or is one that somebody else may have put there
/// (`PermissionDenied`); another process writes to it (`ResourceBusy`).
pub fn create_file(path: &Path) -> io::Result<File> {
    let file = open(path, OpenOptions::new().write(true).create(true).mode(0o600), 0)?;
    if file.metadata()?.is_file() {
        lock(&file)?;
        file.set_len(0)?;
    }
    Ok(file)
}

/// Opens a file to append to, which its owner alone may read from now on, under the same rules but
/// for the lock: others may append to it, too.
#[cfg(feature = "tls")]
pub(crate) fn append_to_file(path: &Path) -> io::Result<File> {
    // A FIFO without a reader would be waited for.
    let file =
        open(path, OpenOptions::new().append(true).create(true).mode(0o600), libc::O_NONBLOCK)?;
    if !file.metadata()?.is_file() {
        return Err(refused("it is no file"));
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Opens an existing FIFO to write to, under the same rules. Without a reader this waits for one,
/// or fails, as `flags` say.
#[cfg(feature = "capture")]
pub(crate) fn open_fifo(path: &Path, flags: i32) -> io::Result<File> {
    let fifo = open(path, OpenOptions::new().write(true), flags)?;
    if fifo.metadata()?.file_type().is_fifo() { Ok(fifo) } else { Err(refused("it is no FIFO")) }
}

/// Whether `path` is a FIFO, and one that may be written to.
#[cfg(feature = "capture")]
pub(crate) fn is_fifo(path: &Path) -> io::Result<bool> {
    if !std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
        return Ok(false);
    }
    // It has to be looked at without opening it; and a link is opened as such.
    let found = open(path, OpenOptions::new().read(true), libc::O_PATH)?;
    if found.metadata()?.is_symlink() { Err(refused(LINK)) } else { Ok(true) }
}

/// Takes the file for this process alone, as long as it is open; what another process writes to
/// it stays whole.
fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let what = "another process writes to it";
            Err(io::Error::new(io::ErrorKind::ResourceBusy, what))
        }
        // Some file systems know no locks.
        Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

const LINK: &str = "it is a link in a directory that others may write to";
const FOREIGN: &str = "it belongs to another user, in a directory that others may write to";

fn open(path: &Path, options: &mut OpenOptions, flags: i32) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let shared = parent.metadata().is_ok_and(|meta| meta.mode() & 0o022 != 0);
    let flags = if shared { flags | libc::O_NOFOLLOW } else { flags };
    let file = options.custom_flags(flags).open(path).map_err(|error| {
        let is_link = shared && error.raw_os_error() == Some(libc::ELOOP);
        if is_link { refused(LINK) } else { error }
    })?;
    let mine = std::fs::metadata("/proc/self")?.uid();
    if shared && file.metadata()?.uid() != mine { Err(refused(FOREIGN)) } else { Ok(file) }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
