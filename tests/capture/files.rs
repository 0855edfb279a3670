//! What a capture is written to: files, compressed files, FIFOs, and what others put in the way.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tcp_tunn::capture::{PcapngSink, Rotation};
use tcp_tunn::event::{Event, Side};
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::Sink;
use tempfile::tempdir;

use super::{options, talk};
use crate::support::events::PATIENCE;
use crate::support::skip::skip_without_root;
use crate::support::talk::Talk;
use crate::support::verdict::{follow, judge};

/// A connection that has reached its server.
pub(super) fn connected() -> Talk {
    let mut talk = talk(1);
    talk.connect();
    talk
}

pub(super) fn create(path: &Path) -> std::io::Result<PcapngSink> {
    PcapngSink::create(path, options(Legs::Direct))
}

pub(super) fn record(sink: &mut PcapngSink, events: &[Event]) {
    events.iter().for_each(|event| sink.record(event).unwrap());
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A folder that everybody may write to.
fn shared(folder: &Path) -> PathBuf {
    let shared = folder.join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    shared
}

#[test]
fn capture_is_private_and_replaces_old_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    fs::write(&path, vec![0; 100_000]).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let fresh = folder.path().join("fresh.pcapng");
    for path in [&path, &fresh] {
        let mut sink = create(path).unwrap();
        let mut talk = connected();
        talk.say(Side::Client, b"x").end(Side::Client);
        record(&mut sink, &talk.events);
        sink.finish().unwrap();
        assert_eq!(judge(path, &[]).completeness.len(), 1);
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn unwritable_file_is_left_unchanged() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("not/there.pcapng");
    assert_eq!(create(&path).err().unwrap().kind(), ErrorKind::NotFound);
    assert!(!path.parent().unwrap().exists());
    assert!(create(folder.path()).is_err(), "a folder");
}

#[test]
fn link_in_shared_directory_is_refused() {
    let folder = tempdir().unwrap();
    let shared = shared(folder.path());
    let target = folder.path().join("target");
    for (link, followed) in [(folder.path().join("link"), true), (shared.join("link"), false)] {
        fs::write(&target, b"precious").unwrap();
        symlink(&target, &link).unwrap();
        match create(&link) {
            Ok(_) => assert!(followed),
            Err(error) => {
                assert!(!followed && error.to_string().contains("link"), "{error}");
                assert_eq!(fs::read(&target).unwrap(), b"precious");
            }
        }
    }
    // Nor to a FIFO, at whose other end anybody may read.
    let (fifo, link) = (folder.path().join("fifo"), shared.join("to-fifo"));
    mkfifo(&fifo);
    symlink(&fifo, &link).unwrap();
    assert_eq!(create(&link).err().unwrap().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn foreign_file_in_shared_directory_is_refused() {
    let folder = tempdir().unwrap();
    let shared = shared(folder.path());
    let (file, fifo) = (shared.join("file"), shared.join("fifo"));
    fs::write(&file, b"theirs").unwrap();
    mkfifo(&fifo);
    for path in [&file, &fifo] {
        if let Err(error) = std::os::unix::fs::chown(path, Some(1), None) {
            skip_without_root(&format!("cannot give a file to another user: {error}"));
            return;
        }
        assert_eq!(create(path).err().unwrap().kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(fs::read(&file).unwrap(), b"theirs");
}

#[test]
fn late_fifo_reader_gets_whole_capture() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("fifo");
    mkfifo(&path);
    let mut sink = create(&path).unwrap();
    let mut talk = connected();
    record(&mut sink, &talk.say(Side::Client, b"early").take());
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            File::open(path).unwrap().read_to_end(&mut all).unwrap();
            all
        })
    };
    let mut closing = Some(sink);
    talk.say(Side::Server, b"late").end(Side::Client);
    record(closing.as_mut().unwrap(), &talk.events);
    // The reader opens it when it comes to it.
    let end = Instant::now() + PATIENCE;
    while let Err(error) = closing.as_mut().unwrap().finish() {
        assert!(error.kind() == ErrorKind::NotConnected && Instant::now() < end, "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(closing.take());
    let file = folder.path().join("out.pcapng");
    fs::write(&file, reader.join().unwrap()).unwrap();
    assert_eq!(follow(&file, 1)[0], [b"early".to_vec(), b"late".to_vec()]);
}

#[test]
fn fifo_without_reader_fails_at_end() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("fifo");
    mkfifo(&path);
    let mut sink = create(&path).unwrap();
    let mut talk = connected();
    talk.end(Side::Client);
    record(&mut sink, &talk.events);
    assert_eq!(sink.finish().unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn long_comment_is_cut_at_character() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let mut options = options(Legs::Direct);
    // As of a command line with very many tunnels. An option has 65535 bytes.
    options.comment = Some("é".repeat(40_000));
    let mut sink = PcapngSink::create(&path, options).unwrap();
    record(&mut sink, &connected().events);
    sink.finish().unwrap();
    let info = Command::new("capinfos").arg("-k").arg(&path).output().unwrap();
    assert!(info.status.success() && info.stderr.is_empty(), "{info:?}");
    assert!(String::from_utf8(info.stdout).unwrap().contains(&"é".repeat(32_767)));
}

#[test]
fn rotation_of_non_file_is_refused() {
    let folder = tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    mkfifo(&fifo);
    let mut rotation = Rotation::default();
    rotation.size = Some(1_000_000);
    for path in [&fifo, folder.path()] {
        let sink = PcapngSink::create_series(path, options(Legs::Direct), rotation);
        assert_eq!(sink.err().map(|error| error.kind()), Some(ErrorKind::InvalidInput));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a file was made beside it");
}
