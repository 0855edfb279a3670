//! Reading a key log while it is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

#[cfg(feature = "tls")]
use super::keylog::Random;
use super::keylog::{KeyLog, LINE_MAX};
use crate::os_error::Sentence;

/// How much is read at once: the log of another program may have become large.
const READ: u64 = 1 << 20;
/// This many bytes before the next ones identify a file: the number of an inode is soon given to
/// another file. They hold part of a secret, which no other file has.
const KNOWN_BY: usize = 64;

/// Follows a key log that programs append to. The file may not exist yet, be cut off, or be
/// replaced.
pub(crate) struct KeyLogFollower {
    path: Option<PathBuf>,
    /// Which file it was, and how far it has been read.
    file: Option<(u64, u64)>,
    /// The last bytes of what has been read.
    read: Vec<u8>,
    partial: Vec<u8>,
    keys: KeyLog,
    /// Whether it was reported that the file cannot be read.
    is_reported: bool,
}

impl KeyLogFollower {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: Some(path), ..Self::of_nothing() }
    }

    /// Follows no file: its keys are those that are [added](Self::add).
    pub(crate) fn of_nothing() -> Self {
        let (read, partial) = (Vec::new(), Vec::new());
        Self { path: None, file: None, read, partial, keys: KeyLog::default(), is_reported: false }
    }

    /// Reads what is new; a file that is not there has nothing new. One that cannot be read is
    /// reported once, and has no keys: what passes goes on all the same.
    pub(crate) fn poll(&mut self) {
        if let Err(error) = self.try_poll()
            && !std::mem::replace(&mut self.is_reported, true)
        {
            tracing::warn!("{error} (nothing is decrypted by it)");
        }
    }

    /// Adds a line that came in another way.
    pub(crate) fn add(&mut self, line: &str) {
        self.keys.add(line.as_bytes());
    }

    /// Forgets the keys of a connection that is over.
    #[cfg(feature = "tls")]
    pub(crate) fn forget(&mut self, random: &Random) {
        self.keys.forget(random);
    }

    /// Takes a last line that has no end, now that nothing will be appended.
    #[cfg(feature = "tls")]
    pub(crate) fn finish(&mut self) {
        self.poll();
        self.keys.add(&self.partial);
    }

    fn try_poll(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        // A FIFO would be waited for here, and the capture with it.
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = match open {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.explained(error)),
        };
        let meta = file.metadata()?;
        if meta.is_dir() || meta.file_type().is_fifo() {
            return Err(self.explained(io::Error::other("it is no file")));
        }
        let read = match self.file {
            Some((inode, read)) if inode == meta.ino() && self.is_known(&file, read) => read,
            _ => {
                self.partial.clear();
                self.read.clear();
                0
            }
        };
        self.file = Some((meta.ino(), read));
        if meta.len() > read {
            self.read_on(file, read).map_err(|error| self.explained(error))?;
        }
        Ok(())
    }

    /// Whether `file` still has what was read of it last, before `read`.
    fn is_known(&self, file: &File, read: u64) -> bool {
        let mut found = [0; KNOWN_BY];
        let found = &mut found[..self.read.len()];
        let at = read - found.len() as u64;
        file.read_exact_at(found, at).is_ok() && *found == *self.read
    }

    fn read_on(&mut self, mut file: File, from: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(from))?;
        loop {
            let count = file.by_ref().take(READ).read_to_end(&mut self.partial)?;
            if let Some((_, read)) = &mut self.file {
                *read += count as u64;
            }
            self.read.extend_from_slice(&self.partial[self.partial.len() - count..]);
            self.read.drain(..self.read.len().saturating_sub(KNOWN_BY));
            self.take_lines();
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// What it has read so far.
    pub(crate) const fn keys(&self) -> &KeyLog {
        &self.keys
    }

    fn take_lines(&mut self) {
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            self.partial.truncate(LINE_MAX);
            return;
        };
        let rest = self.partial.split_off(end + 1);
        for line in std::mem::replace(&mut self.partial, rest).split(|byte| *byte == b'\n') {
            self.keys.add(line);
        }
    }

    fn explained(&self, error: io::Error) -> io::Error {
        let path = self.path.as_deref().unwrap_or_else(|| "".as_ref()).display();
        let what = format!("cannot read the key log {path}: {}", Sentence(&error));
        io::Error::new(error.kind(), what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(label: &str, random: u8) -> String {
        format!("{label} {} abcdef\n", format!("{random:02x}").repeat(32))
    }

    #[test]
    fn written_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        let mut log = KeyLogFollower::new(path.clone());
        log.try_poll().unwrap();
        assert!(log.keys().lines(&[7; 32]).is_empty(), "there is no file yet");
        let mut file = File::create(&path).unwrap();
        let whole = line("CLIENT_RANDOM", 7);
        write!(file, "# comment\n{}", &whole[..50]).unwrap();
        log.try_poll().unwrap();
        assert!(log.keys().lines(&[7; 32]).is_empty(), "half a line is none");
        write!(file, "{}nonsense\n{}", &whole[50..], line("OTHER", 8)).unwrap();
        log.try_poll().unwrap();
        assert_eq!(log.keys().lines(&[7; 32]), [whole.trim()]);
        assert_eq!(log.keys().lines(&[8; 32]).len(), 1);
    }

    #[test]
    fn rewritten_file_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        let mut log = KeyLogFollower::new(path.clone());
        for random in 1..=3 {
            // The same inode, and no shorter.
            std::fs::write(&path, line("A", random)).unwrap();
            log.try_poll().unwrap();
            log.try_poll().unwrap();
            assert_eq!(log.keys().lines(&[random; 32]).len(), 1);
        }
    }

    #[test]
    fn non_file_is_an_error_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        for path in [folder.path(), &fifo] {
            let error = KeyLogFollower::new(path.to_owned()).try_poll().unwrap_err();
            assert!(error.to_string().ends_with("it is no file"), "{error}");
        }
    }

    #[test]
    fn emptied_or_replaced_file_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        std::fs::write(&path, line("A", 1) + &line("B", 1)).unwrap();
        let mut log = KeyLogFollower::new(path.clone());
        log.try_poll().unwrap();
        std::fs::write(&path, line("C", 2)).unwrap();
        log.try_poll().unwrap();
        assert_eq!(log.keys().lines(&[2; 32]).len(), 1);
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        std::fs::write(&path, line("D", 3) + &line("E", 3)).unwrap();
        log.try_poll().unwrap();
        assert_eq!(log.keys().lines(&[3; 32]).len(), 2);
    }
}
