//! Runs a test again in a process of its own, under limits that would harm the other tests.

use std::process::Command;

use super::skip::skip;

const INSIDE: &str = "TCP_TUNN_TEST_CONFINED";

/// Whether this is a process that [`confined`] has started.
pub(crate) fn is_confined() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether this is the confined process. Outside it, runs the test of this thread again by
/// `sh -c`: `confine` is shell text that ends where the test is to be put, as in
/// `exec prlimit --memlock=0`. Where the machine does not allow that (`probe` fails the same
/// way), the test is skipped, which fails in CI.
pub(crate) fn confined(confine: &str) -> bool {
    if is_confined() {
        return true;
    }
    let shell = |what: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", &format!("{confine} \"$@\""), "sh"]).arg(what);
        command
    };
    let probe = shell("true").output().unwrap();
    if !probe.status.success() {
        let why = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
        skip(&format!("this machine does not allow '{confine}': {why}"));
        return false;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let test = std::env::current_exe().unwrap();
    let ran = shell(test.to_str().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    print!("{out}{err}");
    assert!(ran.status.success() && out.contains("1 passed"), "it failed under: {confine}");
    false
}
