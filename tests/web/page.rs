//! The page in a real Chromium, with real traffic. What happens is in `page.py`.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use crate::support::bytes::bytes;
use crate::support::verdict::{follow, judge};

/// Plays a scene of `page.py`; what it prints.
#[track_caller]
fn play(scene: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/page.py");
    let played = Command::new("python3")
        .args(["-B".as_ref(), script.as_os_str(), scene.as_ref()])
        .args([env!("CARGO_BIN_EXE_tcp_tunn").as_ref(), folder.as_os_str()])
        .output()
        .unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
    assert!(played.status.success(), "{scene}: {said}\n{errors}");
    println!("{said}");
    said.into_owned()
}

#[test]
fn rows_appear_change_and_close_as_it_happens() {
    play("live", tempdir().unwrap().path());
}

#[test]
fn conversation_shows_every_byte_in_order() {
    play("conversation", tempdir().unwrap().path());
}

#[test]
fn third_reply_is_found_by_keys_alone() {
    play("third_reply", tempdir().unwrap().path());
}

#[test]
fn filter_chooses_rows_and_tells_its_errors() {
    play("filter", tempdir().unwrap().path());
}

#[test]
fn long_block_is_shown_in_parts_and_jumped_into() {
    play("long_block", tempdir().unwrap().path());
}

#[test]
fn copied_command_sends_the_request_again() {
    play("copy", tempdir().unwrap().path());
}

#[test]
fn downloaded_capture_is_perfect() {
    let folder = tempdir().unwrap();
    let said = bytes(3, 300_000);
    fs::write(folder.path().join("said"), &said).unwrap();
    play("download", folder.path());
    let [one, all, side] = ["connection-2.pcapng", "tcp_tunn.pcapng", "connection-2-client.bin"]
        .map(|name| folder.path().join(name));
    assert_eq!(judge(&one, &[]).completeness.len(), 1);
    assert!(follow(&one, 1)[0][0] == said);
    assert_eq!(judge(&all, &[]).completeness.len(), 3);
    assert!(fs::read(side).unwrap() == said);
}

#[test]
fn hostile_payload_is_inert() {
    play("hostile", tempdir().unwrap().path());
}

#[test]
fn connection_is_made_again_after_the_network_is_cut() {
    play("cut", tempdir().unwrap().path());
}

#[test]
fn end_of_the_tunnel_is_shown() {
    play("end", tempdir().unwrap().path());
}

#[test]
fn narrow_window_needs_no_sideways_scrolling() {
    play("narrow", tempdir().unwrap().path());
}

#[test]
fn crowd_of_ten_thousand_connections_is_scrolled() {
    play("crowd", tempdir().unwrap().path());
}
