//! Standard output as a capture needs it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Standard output without the standard library's line buffer, which would cut blocks apart.
///
/// A flush fails once nobody reads it any more, so that a reader that leaves is noticed also
/// while there is nothing to write.
pub(super) struct Stdout(File);

impl Stdout {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stdout = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut stdout, Some(&Timespec::default()))?;
        if stdout[0].revents().contains(PollFlags::ERR) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}
