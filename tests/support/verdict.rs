//! The oracle in short: what is allowed beside the ordinary, and what a capture holds then.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::oracle::{self, Expect};

/// Streams may end with RST.
pub(crate) const RESET: &str = "RST";
/// Two streams may have the same addresses, one after the other.
pub(crate) const REUSED: &str = "reuse";

/// What a perfect capture holds.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// `tcp.completeness` of each stream.
    pub(crate) completeness: BTreeMap<u32, u32>,
}

/// Fails unless the capture is perfect but for what is `allowed`.
#[track_caller]
pub(crate) fn judge(path: &Path, allowed: &[&str]) -> Verdict {
    let expect = Expect {
        allow_rst: allowed.contains(&RESET),
        allow_reuse: allowed.contains(&REUSED),
        ..Expect::default()
    };
    match oracle::judge(path, expect) {
        Ok(judged) => {
            let complete =
                |(number, stream): (_, oracle::JudgedStream)| (number, stream.completeness);
            Verdict { completeness: judged.streams.into_iter().map(complete).collect() }
        }
        Err(bad) => panic!("{} is imperfect: {:#?}", path.display(), &bad[..bad.len().min(12)]),
    }
}

/// What client and server said in each of the first `streams` streams.
pub(crate) fn follow(path: &Path, streams: usize) -> Vec<[Vec<u8>; 2]> {
    let numbers: Vec<_> = (0..streams as u32).collect();
    let said = oracle::follow_all(path, &numbers);
    said.into_values().map(|(client, server)| [client, server]).collect()
}

/// The lines of tshark for `path` with more arguments; it must have nothing to complain of.
pub(crate) fn tshark(path: &Path, args: &[&str]) -> Vec<String> {
    let output = Command::new("tshark").args(args).arg("-r").arg(path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let complaint = stderr.lines().find(|line| !line.is_empty() && !line.contains("as user"));
    assert!(output.status.success() && complaint.is_none(), "{stderr}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
