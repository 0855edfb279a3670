//! The files of a capture: one, or a series of numbered ones.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Local};

use super::open::open;
use super::options::Rotation;
use super::output::Output;
use crate::event::Timestamp;
use crate::os_error::Sentence;

/// Opens the files of a capture one after another.
pub(super) struct Series {
    path: PathBuf,
    rotation: Rotation,
    number: u32,
    kept: VecDeque<PathBuf>,
    opened: Timestamp,
}

impl Series {
    pub(super) fn new(path: &Path, rotation: Rotation) -> Self {
        let (kept, opened) = (VecDeque::new(), Timestamp(0));
        Self { path: path.to_owned(), rotation, number: 0, kept, opened }
    }

    /// Opens the next file; the oldest goes if there are too many.
    pub(super) fn next(&mut self, now: Timestamp) -> io::Result<Box<dyn Output>> {
        self.number += 1;
        self.opened = now;
        let path = self.path(now);
        let output = match open(&path) {
            // The first is the one that the caller named.
            Err(error) if self.number > 1 => {
                let what = format!("cannot write {}: {}", path.display(), Sentence(&error));
                return Err(io::Error::new(error.kind(), what));
            }
            opened => opened?,
        };
        self.kept.push_back(path);
        let too_many = self.rotation.files.is_some_and(|files| self.kept.len() > files.max(1));
        if too_many && let Some(oldest) = self.kept.pop_front() {
            // Whoever took it away already did it for us.
            let _ = std::fs::remove_file(oldest);
        }
        Ok(output)
    }

    /// Whether what was opened last is a file, and nothing else that can be written to.
    pub(super) fn is_of_files(&self) -> bool {
        self.kept.back().is_some_and(|path| path.is_file())
    }

    /// Whether it is time for the next file, when this one has `bytes`.
    pub(super) fn is_due(&self, bytes: u64, first: u64, now: Timestamp) -> bool {
        let open_for = u128::from(now.nanos_since(self.opened));
        self.rotation.size.is_some_and(|size| bytes >= size.max(2 * first))
            || self.rotation.interval.is_some_and(|interval| open_for >= interval.as_nanos())
    }

    pub(super) fn is_rotating(&self) -> bool {
        self.rotation != Rotation::default()
    }

    /// `out.pcapng`, or `out_00001_20261122132642.pcapng`, as dumpcap names them, with the local
    /// time. A file after the first has a number in any case.
    fn path(&self, now: Timestamp) -> PathBuf {
        if !self.is_rotating() && self.number == 1 {
            return self.path.clone();
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let (stem, extension) = name.split_at(extension_at(&name));
        let time = DateTime::from_timestamp_nanos(i64::try_from(now.0).unwrap_or(i64::MAX));
        let time = time.with_timezone(&Local).format("%Y%m%d%H%M%S");
        self.path.with_file_name(format!("{stem}_{:05}_{time}{extension}", self.number))
    }
}

/// The time, for a file that is opened before any event.
pub(super) fn now() -> Timestamp {
    Timestamp(Local::now().timestamp_nanos_opt().unwrap_or(0).unsigned_abs())
}

/// Where the extension of a file's name begins; that of a compressed one has two parts.
fn extension_at(name: &str) -> usize {
    let bare = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    let is_hidden = |at: &usize| *at > 0;
    bare.rfind('.').filter(is_hidden).unwrap_or(bare.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_match_dumpcap() {
        let path = |name: &str| {
            let rotation = Rotation { files: Some(2), ..Rotation::default() };
            let mut series = Series::new(Path::new(name), rotation);
            series.number = 7;
            let made = series.path(Timestamp(1_700_000_000_000_000_000));
            let made = made.to_str().unwrap().to_owned();
            let digits = made.split('_').next_back().unwrap()[..14].to_owned();
            assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{made}");
            made.replace(&digits, "T")
        };
        assert_eq!(path("/x/out.pcapng"), "/x/out_00007_T.pcapng");
        assert_eq!(path("out.pcapng.gz"), "out_00007_T.pcapng.gz");
        assert_eq!(path("out.zst"), "out_00007_T.zst");
        assert_eq!(path("out"), "out_00007_T");
        assert_eq!(path(".out"), ".out_00007_T");
    }
}
