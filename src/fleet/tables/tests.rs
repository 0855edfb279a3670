use std::fs;

use bytes::Bytes;
use tempfile::tempdir;

use super::*;
use crate::event::{BothTotals, CloseReason, Direction, Endpoint, Leg, Open, View};

fn batch(number: u64) -> Batch {
    let open = Open::new(Endpoint::Unix(None), Endpoint::Unix(None), "h:1");
    let direction = Direction::ClientToServer;
    let (leg, view, bytes) = (Leg::Received, View::Wire, Bytes::from_static(b"hello"));
    let totals = BothTotals::default();
    let kinds = [
        EventKind::Open(Arc::new(open)),
        EventKind::Data { direction, leg, view, offset: 0, bytes },
        EventKind::Close { reason: CloseReason::Stopped, totals },
    ];
    let event = |kind| Event { connection: ConnectionId(number), time: Timestamp(1), kind };
    Batch { number, records: kinds.map(event).map(Record::Event).into() }
}

/// The names of all files below, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn files_have_the_messages_in_their_names() {
    let (folder, origin) = (tempdir().unwrap(), Origin::new_run("site", "web"));
    let mut tables = Tables::open(folder.path()).unwrap();
    assert_eq!(tables.sequence(), None);
    for (number, sequence, added) in
        [(1, 7, Added::Yes), (2, 9, Added::Yes), (2, 10, Added::Duplicate)]
    {
        assert_eq!(tables.add(&origin, batch(number), sequence), added);
    }
    tables.commit().unwrap();
    // There is nothing new.
    tables.commit().unwrap();
    let name = "000000000007-000000000010.parquet";
    assert_eq!(files(folder.path()), [name, name, "_progress"]);
    let place = folder.path().join("chunks/date=1970-01-01/host=web");
    assert_eq!(files(&place), [name]);
    let mut again = Tables::open(folder.path()).unwrap();
    assert_eq!(again.sequence(), Some(10));
    assert_eq!(again.add(&origin, batch(2), 11), Added::Duplicate);
}

#[test]
fn what_a_crash_left_half_is_removed() {
    let (folder, origin) = (tempdir().unwrap(), Origin::new_run("site", "web"));
    let mut tables = Tables::open(folder.path()).unwrap();
    tables.add(&origin, batch(1), 1);
    tables.commit().unwrap();
    let progress = fs::read(folder.path().join("_progress")).unwrap();
    tables.add(&origin, batch(2), 2);
    tables.commit().unwrap();
    // As if it had crashed before it noted how far it was.
    fs::write(folder.path().join("_progress"), progress).unwrap();
    fs::write(folder.path().join("chunks/x.part"), "").unwrap();
    let mut tables = Tables::open(folder.path()).unwrap();
    let name = "000000000001-000000000001.parquet";
    assert_eq!(files(folder.path()), [name, name, "_progress"]);
    assert_eq!(tables.sequence(), Some(1));
    assert_eq!(tables.add(&origin, batch(2), 2), Added::Yes);
}
