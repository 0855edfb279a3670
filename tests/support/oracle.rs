//! The judge of captures: Wireshark's and tcpdump's opinion, and every byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// What Wireshark says of any good connection: that it was opened, and that it was closed.
const ALWAYS: [&str; 5] = [
    "Connection establish request (SYN)",
    "Connection establish acknowledge (SYN+ACK)",
    "Connection finish (FIN)",
    "This frame initiates the connection closing",
    "This frame undergoes the connection closing",
];
/// What it says of a reset, where there was one.
pub(crate) const RESET: &str = "Connection reset (RST)";
/// What it says when a client's port is used again for the same server.
pub(crate) const REUSED: &str = "A new tcp session is started with the same ports";

/// All payload is data: or what is carried by a port would be taken for its protocol.
const PREFERENCES: [&str; 11] = [
    "-n",
    "-d",
    "tcp.port==0-65535,data",
    "-o",
    "ip.check_checksum:TRUE",
    "-o",
    "tcp.check_checksum:TRUE",
    "-o",
    "tcp.analyze_sequence_numbers:TRUE",
    "-o",
    "tcp.track_bytes_in_flight:TRUE",
];

/// What a good capture holds.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) packets: usize,
    /// How many of them are ICMPv6; tcpdump shows the checksum of what ICMP quotes, but not of
    /// what that does.
    icmpv6: usize,
    /// Wireshark's measure of how much of a connection is there, by stream; see
    /// `tcp.completeness`.
    pub(crate) completeness: BTreeMap<u32, u32>,
}

/// Runs a program that must succeed and have nothing to say on stderr.
fn run(program: &str, args: &[&str], path: &Path) -> (String, Vec<String>) {
    let Output { status, stdout, stderr } =
        Command::new(program).args(args).arg(path).output().expect(program);
    let stderr = String::from_utf8_lossy(&stderr);
    let mut bad: Vec<String> = stderr
        .lines()
        .filter(|line| !line.is_empty() && !line.contains("Running as user"))
        .filter(|line| !(program == "tcpdump" && line.starts_with("reading from file")))
        .map(|line| format!("{program}: {line}"))
        .collect();
    if !status.success() {
        bad.push(format!("{program}: {status}"));
    }
    (String::from_utf8_lossy(&stdout).into_owned(), bad)
}

/// Judges a capture in which `allowed` may be said beside what is always.
#[track_caller]
pub(crate) fn judge(path: &Path, allowed: &[&str]) -> Judged {
    let (judged, bad) = opinion(path, allowed);
    let few: Vec<_> = bad.iter().take(12).collect();
    assert!(bad.is_empty(), "{} is imperfect, {} times: {few:#?}", path.display(), bad.len());
    judged
}

/// What a capture holds, and what is wrong with it.
pub(crate) fn opinion(path: &Path, allowed: &[&str]) -> (Judged, Vec<String>) {
    let (info, mut bad) = run("capinfos", &["-M"], path);
    for fact in ["Strict time order: True", "Time precision = nanoseconds"] {
        let squeezed = info.split_whitespace().collect::<Vec<_>>().join(" ");
        if !squeezed.contains(fact) {
            bad.push(format!("capinfos does not say: {fact}"));
        }
    }
    let judged = dissect(path, allowed, &mut bad);
    let (checked, complaints) = run("tcpdump", &["-nvv", "-r"], path);
    bad.extend(complaints);
    let tcp = checked.matches("(correct)").count();
    if tcp != judged.packets - judged.icmpv6
        || checked.contains("(incorrect")
        || checked.contains("bad cksum")
    {
        bad.push(format!("tcpdump finds {tcp} good checksums in {judged:?}"));
    }
    (judged, bad)
}

/// Asks Wireshark about every packet.
fn dissect(path: &Path, allowed: &[&str], bad: &mut Vec<String>) -> Judged {
    const FIELDS: [&str; 10] = [
        "frame.number",
        "ip.checksum.status",
        "tcp.checksum.status",
        "_ws.expert.message",
        "_ws.expert.severity",
        "tcp.stream",
        "tcp.completeness",
        "tcp.analysis.flags",
        "_ws.malformed",
        "frame.protocols",
    ];
    const COMMENT: &str = "1048576";
    let mut args = vec!["-2"];
    args.extend(PREFERENCES);
    args.extend(["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=\x1f", "-E"]);
    args.push("separator=\x1e");
    FIELDS.iter().for_each(|field| args.extend(["-e", field]));
    args.push("-r");
    let (out, complaints) = run("tshark", &args, path);
    bad.extend(complaints);
    let mut judged = Judged::default();
    for line in out.lines() {
        let fields: Vec<_> = line.split('\x1e').collect();
        let [number, ip, tcp, messages, severities, stream, complete, flags, malformed, protocols] =
            fields[..]
        else {
            bad.push(format!("tshark: {line}"));
            continue;
        };
        judged.packets += 1;
        let mut complain = |what: &str| bad.push(format!("frame {number}: {what}"));
        let is_icmp = protocols.contains(":icmp");
        judged.icmpv6 += usize::from(protocols.contains(":icmpv6"));
        if !ip.split('\x1f').all(|status| matches!(status, "1" | "")) {
            complain("IP checksum");
        }
        if !is_icmp && tcp != "1" {
            complain("TCP checksum");
        }
        if !malformed.is_empty() {
            complain("malformed");
        }
        if !flags.is_empty() && !allowed.contains(&REUSED) {
            complain("has analysis flags");
        }
        for (message, severity) in messages.split('\x1f').zip(severities.split('\x1f')) {
            let known = |good: &&&str| message.starts_with(**good);
            let good = ALWAYS.iter().chain(allowed.iter()).any(|good| known(&good));
            if !message.is_empty() && !good && severity != COMMENT {
                complain(&format!("{message} ({severity})"));
            }
        }
        if let (Ok(stream), Ok(complete)) = (stream.parse(), complete.parse()) {
            judged.completeness.insert(stream, complete);
        }
    }
    judged
}

/// What client and server said in each of the first `streams` streams.
pub(crate) fn follow(path: &Path, streams: usize) -> Vec<[Vec<u8>; 2]> {
    let asked: Vec<_> = (0..streams).map(|stream| format!("follow,tcp,raw,{stream}")).collect();
    let mut args = vec!["-n", "-q"];
    asked.iter().for_each(|stream| args.extend(["-z", stream]));
    args.push("-r");
    let (out, bad) = run("tshark", &args, path);
    assert!(bad.is_empty(), "{bad:?}");
    let mut said = vec![[Vec::new(), Vec::new()]; streams];
    let mut stream = None;
    for line in out.lines() {
        if let Some(filter) = line.strip_prefix("Filter: tcp.stream eq ") {
            stream = filter.trim().parse::<usize>().ok();
        } else if line.starts_with("Node ") || line.starts_with("Follow") || line.starts_with('=') {
            continue;
        } else if let Some(stream) = stream {
            let (side, hex) = line.strip_prefix('\t').map_or((0, line), |hex| (1, hex));
            said[stream][side].extend(unhex(hex));
        }
    }
    said
}

fn unhex(hex: &str) -> impl Iterator<Item = u8> {
    hex.as_bytes().chunks_exact(2).map(|pair| {
        u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hexadecimal")
    })
}

/// The lines of tshark for `path` with more arguments.
pub(crate) fn tshark(path: &Path, args: &[&str]) -> Vec<String> {
    let mut all = args.to_vec();
    all.push("-r");
    let (out, bad) = run("tshark", &all, path);
    assert!(bad.is_empty(), "{bad:?}");
    out.lines().map(str::to_owned).collect()
}
