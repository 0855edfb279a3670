//! How far the tables have come, on disk: what makes each batch be in them exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::fleet::origin::{Kind, Origin};

/// The file, beside the tables.
const NAME: &str = "_progress";

/// No two batches of a worker come in an order that is this far off.
const APART: usize = 256;

/// What the tables hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last message of the stream that is in them.
    pub(super) sequence: u64,
    /// The batches of each worker that are, so that one which was stored twice is known.
    seen: BTreeMap<String, Seen>,
}

/// Numbers of batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// All up to this one.
    all: u64,
    /// And these.
    more: BTreeSet<u64>,
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
        let seen = self.seen.entry(origin.subject(Kind::Data)).or_default();
        if number <= seen.all || !seen.more.insert(number) {
            return false;
        }
        while seen.more.remove(&(seen.all + 1)) {
            seen.all += 1;
        }
        // The first ones may be gone from the stream, and never come.
        if seen.more.len() > APART
            && let Some(first) = seen.more.pop_first()
        {
            seen.all = first;
        }
        true
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut progress = Self { sequence: lines.next()?.parse().ok()?, seen: BTreeMap::new() };
        for line in lines {
            let mut words = line.split(' ');
            let (subject, all) = (words.next()?, words.next()?.parse().ok()?);
            let more = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
            progress.seen.insert(subject.to_owned(), Seen { all, more });
        }
        Some(progress)
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.sequence)?;
        for (subject, seen) in &self.seen {
            let mut line = format!("{subject} {}", seen.all);
            seen.more.iter().try_for_each(|number| write!(line, " {number}"))?;
            writeln!(f, "{line}")?;
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
        assert!(progress.to_string().ends_with(".data 5 9\n"), "{progress}");
        assert_eq!(Progress::parse("x"), None);
    }
}
