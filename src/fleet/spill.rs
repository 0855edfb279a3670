//! Batches on disk, until the server has acknowledged them.
//!
//! Each is a file of its own, `RUN.wN.KIND.NUMBER.ttb`: its subject, a line feed, and the batch. A
//! file has its name only once it is whole, so that a crash leaves nothing half.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::origin::Origin;
use super::outbox::Parcel;

const EXTENSION: &str = "ttb";

/// A folder of batches, of which one process at a time makes use.
pub(super) struct Spill {
    folder: PathBuf,
    _lock: File,
}

impl Spill {
    /// Makes use of a folder, which is made if it is not there.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).mode(0o600);
        let lock = lock.open(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match io::Error::from(error) {
                error if error.kind() == ErrorKind::WouldBlock => {
                    io::Error::new(ErrorKind::ResourceBusy, "another process makes use of it")
                }
                error => error,
            }
        })?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// What earlier runs have left, in the order in which it was made.
    pub(super) fn left(&self) -> io::Result<Vec<Parcel>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                found.push(path);
            }
        }
        found.sort();
        found.into_iter().filter_map(|path| parcel(path).transpose()).collect()
    }

    /// Writes a batch to disk.
    pub(super) fn keep(&self, parcel: &mut Parcel, payload: &[u8]) -> io::Result<()> {
        let path = self.folder.join(format!("{}.{EXTENSION}", sortable(&parcel.id)));
        let part = path.with_extension("part");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        let written = file
            .write_all(format!("{}\n", parcel.subject).as_bytes())
            .and_then(|()| file.write_all(payload))
            .and_then(|()| fs::rename(&part, &path));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written?;
        parcel.file = Some(path);
        Ok(())
    }
}

/// The batch in a file; `None` where it is none of ours.
fn parcel(path: PathBuf) -> io::Result<Option<Parcel>> {
    let (subject, payload) = read(&path)?;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.rsplit('.').next().and_then(|number| number.parse().ok());
    let (Some((origin, kind)), Some(number)) = (Origin::parse(&subject), number) else {
        tracing::warn!("'{}' is not a batch of tcp_tunn and stays where it is", path.display());
        return Ok(None);
    };
    let (id, len) = (origin.message_id(kind, number), payload.len());
    Ok(Some(Parcel { subject, id, len, payload: None, file: Some(path), data: [0; 2] }))
}

/// The subject and the batch in a file.
pub(super) fn read(path: &Path) -> io::Result<(String, Bytes)> {
    let all = Bytes::from(fs::read(path)?);
    let end = all.iter().position(|byte| *byte == b'\n').unwrap_or(all.len());
    let subject = String::from_utf8_lossy(&all[..end]).into_owned();
    Ok((subject, all.slice((end + 1).min(all.len())..)))
}

/// A message's name with a number whose names sort as it does.
fn sortable(id: &str) -> String {
    match id.rsplit_once('.') {
        Some((name, number)) => format!("{name}.{number:0>12}"),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::fleet::origin::Kind;

    fn made(spill: &Spill, origin: &Origin, number: u64, payload: &[u8]) -> Parcel {
        let (subject, id) = (origin.subject(Kind::Data), origin.message_id(Kind::Data, number));
        let len = payload.len();
        let mut parcel = Parcel { subject, id, len, payload: None, file: None, data: [1, 2] };
        spill.keep(&mut parcel, payload).unwrap();
        parcel
    }

    #[test]
    fn batches_are_found_again_in_order() {
        let folder = tempdir().unwrap();
        let origin = Origin::new_run("a", "b");
        let spill = Spill::open(folder.path()).unwrap();
        for number in [10, 9, 100] {
            made(&spill, &origin, number, format!("line\n{number}").as_bytes());
        }
        fs::write(folder.path().join("half.part"), "x").unwrap();
        fs::write(folder.path().join("other.ttb"), "x").unwrap();
        drop(spill);
        let left = Spill::open(folder.path()).unwrap().left().unwrap();
        let ids: Vec<_> = left.iter().map(|parcel| parcel.id.clone()).collect();
        assert_eq!(ids, [9, 10, 100].map(|number| origin.message_id(Kind::Data, number)));
        let (subject, payload) = read(left[1].file.as_ref().unwrap()).unwrap();
        assert_eq!(subject, origin.subject(Kind::Data));
        assert_eq!((&payload[..], left[1].len), (&b"line\n10"[..], 7));
    }

    #[test]
    fn folder_has_one_user_at_a_time() {
        let folder = tempdir().unwrap();
        let _spill = Spill::open(folder.path()).unwrap();
        let error = Spill::open(folder.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    }
}
