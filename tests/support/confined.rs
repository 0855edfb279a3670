//! Runs a test again in a process of its own, under limits that would harm the other tests.

use std::process::Command;

const INSIDE: &str = "TCP_TUNN_TEST_CONFINED";

/// Whether this is the confined process. Outside it, runs the test of this thread again by
/// `sh -c`: `confine` is shell text that ends where the test is to be put, as in
/// `exec prlimit --memlock=0`. Where the machine does not allow that (`probe` fails the same
/// way), the test is skipped with a printed line.
pub(crate) fn confined(confine: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
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
        println!("skipped: this machine does not allow it: {why}");
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
