//! Tests that this machine cannot run: each says why, and none is skipped unseen.

use std::fs::OpenOptions;
use std::io::Write;

use rustix::process::geteuid;

/// Where `scripts/test.sh` wants a line for each test that was skipped.
const SKIPPED: &str = "TCP_TUNN_SKIPPED";

/// Skips the test of this thread because of what the machine lacks. With `CI=true` that is a
/// failure: the machine has to be set up.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "must not be skipped: {why}");
    record(why);
}

/// Skips the test of this thread because only root can do this, and the user is another. Root has
/// to be able to.
#[track_caller]
pub(crate) fn skip_without_root(what: &str) {
    if geteuid().is_root() {
        skip(what);
    } else {
        record(&format!("needs root: {what}"));
    }
}

/// Skips the test of this thread because the kernel lacks a feature, which no setup can change.
pub(crate) fn skip_without_kernel_feature(feature: &str) {
    record(&format!("missing kernel feature: {feature}"));
}

fn record(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a test"));
    print!("skipped: {line}");
    if let Some(path) = std::env::var_os(SKIPPED) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
