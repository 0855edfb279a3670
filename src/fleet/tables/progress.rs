//! How far the tables have come, on disk: what makes each batch be in them exactly once.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::fleet::origin::{Kind, Origin};

/// The file, beside the tables.
const NAME: &str = "_progress";

/// What the tables hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last message of the stream that is in them.
    pub(super) sequence: u64,
    /// The batches of each worker that are, so that one which was stored twice is known.
    seen: BTreeMap<String, Seen>,
}

/// Numbers of batches, as ranges: the first and the last of each. There are few, though a batch
/// that is sent again may come long after its neighbors, and the first ones may be gone for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen(BTreeMap<u64, u64>);

impl Seen {
    /// Adds a number; false where it was there before.
    fn add(&mut self, number: u64) -> bool {
        let before = self.0.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return false;
        }
        let follows = before.filter(|(_, last)| last + 1 == number);
        let first = follows.map_or(number, |(first, _)| first);
        let next = number.checked_add(1).and_then(|next| self.0.remove(&next));
        self.0.insert(first, next.unwrap_or(number));
        true
    }
}

impl Progress {
    /// Reads it; nothing where there are no tables yet.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        match fs::read_to_string(folder.join(NAME)) {
            Ok(text) => Self::parse(&text).ok_or_else(|| {
                let why = format!("'{NAME}' in it makes no sense");
                io::Error::new(io::ErrorKind::InvalidData, why)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let part = folder.join("_progress.part");
        fs::write(&part, self.to_string())?;
        fs::rename(part, folder.join(NAME))
    }

    /// Notes a batch; false where it was there before.
    pub(super) fn add(&mut self, origin: &Origin, number: u64) -> bool {
        self.seen.entry(origin.subject(Kind::Data)).or_default().add(number)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut progress = Self { sequence: lines.next()?.parse().ok()?, seen: BTreeMap::new() };
        for line in lines {
            let mut words = line.split(' ');
            let subject = words.next()?.to_owned();
            let range = |word: &str| {
                let (first, last) = word.split_once('-')?;
                Some((first.parse().ok()?, last.parse().ok()?))
            };
            progress.seen.insert(subject, Seen(words.map(range).collect::<Option<_>>()?));
        }
        Some(progress)
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.sequence)?;
        for (subject, seen) in &self.seen {
            f.write_str(subject)?;
            seen.0.iter().try_for_each(|(first, last)| write!(f, " {first}-{last}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_added_once() {
        let origin = Origin::new_run("a", "b");
        let mut progress = Progress::default();
        for (number, is_new) in
            [(1, true), (1, false), (4, true), (3, true), (4, false), (2, true), (3, false)]
        {
            assert_eq!(progress.add(&origin, number), is_new, "{number}");
        }
        assert!(progress.add(&origin, 5));
        progress.add(&origin, 9);
        let again = Progress::parse(&progress.to_string()).unwrap();
        assert_eq!(again, progress);
        assert!(progress.to_string().ends_with(".data 1-5 9-9\n"), "{progress}");
        assert_eq!(Progress::parse("x"), None);
    }

    #[test]
    fn batch_may_come_long_after_its_neighbors() {
        let origin = Origin::new_run("a", "b");
        let mut progress = Progress::default();
        assert!((2..=5000).all(|number| progress.add(&origin, number)));
        assert!(progress.add(&origin, 1));
        assert!(!(1..=5000).any(|number| progress.add(&origin, number)));
        assert!(progress.to_string().ends_with(".data 1-5000\n"), "{progress}");
    }
}
