//! Creating a capture file without harm to anybody.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens `path` for a new capture, readable by its owner alone.
///
/// An existing file loses its content only once it is open. In a directory that others may write
/// to, a link is not followed and another user's file is not written to: both may have been put
/// there for us to fall into.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let shared = parent.metadata().is_ok_and(|meta| meta.mode() & 0o022 != 0);
    let flags = if shared { libc::O_NOFOLLOW } else { 0 };
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if shared => {
            let what = "it is a link in a directory that others may write to";
            io::Error::new(io::ErrorKind::PermissionDenied, what)
        }
        _ => error,
    })?;
    let meta = file.metadata()?;
    let mine = std::fs::metadata("/proc/self")?.uid();
    if shared && meta.uid() != mine {
        let what = "it belongs to another user, in a directory that others may write to";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    if meta.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}
