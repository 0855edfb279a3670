//! Reading a key log while it is written.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// Lines of one connection that are kept; TLS 1.3 writes five, and more with key updates.
const LINES_MAX: usize = 64;
/// Connections whose keys are kept while they wait to be wanted.
const CONNECTIONS_MAX: usize = 100_000;
/// A line is shorter, or it is none: a label, 64 and at most 128 hexadecimal digits.
const LINE_MAX: usize = 1024;
/// How much is read at once: the log of another program may have become large.
const READ: u64 = 1 << 20;
/// By so many of the bytes before the next ones a file is known again: an inode's number is given
/// to the next file soon. They hold part of a secret, which no other file has.
const KNOWN_BY: usize = 64;

/// What a ClientHello has at random, and a key log calls the connection by.
pub(super) type Random = [u8; 32];

/// The lines without which TLS 1.3 stays dark; they are logged one by one. Before it, one did.
pub(super) const SECRETS: [&str; 4] = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET ",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET ",
    "CLIENT_TRAFFIC_SECRET_0 ",
    "SERVER_TRAFFIC_SECRET_0 ",
];
pub(super) const MASTER_SECRET: &str = "CLIENT_RANDOM ";

/// A key log in the format of NSS (draft-ietf-tls-keylogfile): lines of a label, the client's
/// random number and a secret. It may not exist yet, be cut off, or be replaced.
pub(super) struct Keylog {
    path: PathBuf,
    /// Which file it was, and how far it has been read.
    file: Option<(u64, u64)>,
    /// The last bytes of what has been read.
    read: Vec<u8>,
    partial: Vec<u8>,
    lines: HashMap<Random, Vec<String>>,
}

impl Keylog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, read: Vec::new(), partial: Vec::new(), lines: HashMap::new() }
    }

    /// Reads what is new; a file that is not there has nothing new.
    pub(super) fn poll(&mut self) -> io::Result<()> {
        // A FIFO would be waited for here, and the capture with it.
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path);
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

    /// The lines of a connection that have come so far.
    pub(super) fn lines(&self, random: &Random) -> &[String] {
        self.lines.get(random).map_or(&[], Vec::as_slice)
    }

    /// Whether all lines of a connection have come that it takes to decrypt it.
    pub(super) fn is_complete(&self, random: &Random) -> bool {
        let lines = self.lines(random);
        let has = |label: &str| lines.iter().any(|line| line.starts_with(label));
        has(MASTER_SECRET) || SECRETS.iter().all(|label| has(label))
    }

    fn take_lines(&mut self) {
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            self.partial.truncate(LINE_MAX);
            return;
        };
        let rest = self.partial.split_off(end + 1);
        for line in std::mem::replace(&mut self.partial, rest).split(|byte| *byte == b'\n') {
            let Some((random, line)) = parse(line) else { continue };
            if self.lines.len() >= CONNECTIONS_MAX && !self.lines.contains_key(&random) {
                self.lines.clear();
            }
            let known = self.lines.entry(random).or_default();
            if known.len() < LINES_MAX {
                known.push(line);
            }
        }
    }

    fn explained(&self, error: io::Error) -> io::Error {
        let path = self.path.display();
        io::Error::new(error.kind(), format!("cannot read the key log {path}: {error}"))
    }
}

/// The client's random number and the line, if it is a line of keys.
fn parse(line: &[u8]) -> Option<(Random, String)> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.len() < LINE_MAX)?.trim();
    let mut words = line.split(' ');
    let label = words.next()?;
    let random = words.next().filter(|random| random.len() == 64 && random.is_ascii())?;
    let secret = words.next()?;
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if label.is_empty() || label.starts_with('#') || !is_hex(secret) || words.next().is_some() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(random.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some((bytes, line.to_owned()))
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
        let mut log = Keylog::new(path.clone());
        log.poll().unwrap();
        assert!(log.lines(&[7; 32]).is_empty(), "there is no file yet");
        let mut file = File::create(&path).unwrap();
        let whole = line("CLIENT_RANDOM", 7);
        write!(file, "# comment\n{}", &whole[..50]).unwrap();
        log.poll().unwrap();
        assert!(log.lines(&[7; 32]).is_empty(), "half a line is none");
        write!(file, "{}nonsense\n{}", &whole[50..], line("OTHER", 8)).unwrap();
        log.poll().unwrap();
        assert_eq!(log.lines(&[7; 32]), [whole.trim()]);
        assert_eq!(log.lines(&[8; 32]).len(), 1);
    }

    #[test]
    fn rewritten_file_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        let mut log = Keylog::new(path.clone());
        for random in 1..=3 {
            // The same inode, and no shorter.
            std::fs::write(&path, line("A", random)).unwrap();
            log.poll().unwrap();
            log.poll().unwrap();
            assert_eq!(log.lines(&[random; 32]).len(), 1);
        }
    }

    #[test]
    fn non_file_is_an_error_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        for path in [folder.path(), &fifo] {
            let error = Keylog::new(path.to_owned()).poll().unwrap_err();
            assert!(error.to_string().ends_with("it is no file"), "{error}");
        }
    }

    #[test]
    fn emptied_or_replaced_file_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        std::fs::write(&path, line("A", 1) + &line("B", 1)).unwrap();
        let mut log = Keylog::new(path.clone());
        log.poll().unwrap();
        std::fs::write(&path, line("C", 2)).unwrap();
        log.poll().unwrap();
        assert_eq!(log.lines(&[2; 32]).len(), 1);
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        std::fs::write(&path, line("D", 3) + &line("E", 3)).unwrap();
        log.poll().unwrap();
        assert_eq!(log.lines(&[3; 32]).len(), 2);
    }
}
