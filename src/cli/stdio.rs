//! Stdout and stderr, which others may hold too.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

/// Waits where there is no room, also where somebody else who has the pipe or terminal open has
/// made it non-blocking: that holds for all who have it. A terminal that was closed is an output
/// whose reader has left.
pub(super) struct Patient(pub(super) File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut room = [PollFd::new(&self.0, PollFlags::OUT)];
                    retry_on_intr(|| poll(&mut room, None))?;
                }
                // Nothing else than a terminal that has hung up fails like this.
                Err(error) if error.raw_os_error() == Some(libc::EIO) && is_device(&self.0) => {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn is_device(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.file_type().is_char_device())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn blocked_output_is_written_later() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let mut output = Patient(OwnedFd::from(writer).into());
        let bytes: Vec<u8> = (0..1 << 20).map(|at: u32| at as u8).collect();
        let full = output.0.write(&bytes).unwrap();
        assert!(full < bytes.len(), "a pipe has less room");
        let rest = bytes[full..].to_vec();
        let writing = std::thread::spawn(move || output.write_all(&rest));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writing.join().unwrap().unwrap();
        assert!(read == bytes);
    }
}
