//! Whether a capture is perfect, as capinfos, tshark and tcpdump see it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// Every payload is taken for plain data, since arbitrary bytes on arbitrary ports would be
/// malformed in some protocol or other; every checksum is verified.
const TSHARK: &[&str] = &[
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

const FIELDS: &[&str] = &[
    "frame.number",
    "ip.checksum.status",
    "tcp.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
    "_ws.expert.severity",
    "_ws.expert.message",
    "tcp.stream",
    "tcp.completeness",
    "tcp.analysis.flags",
    "_ws.malformed",
    "ip.addr",
    "ipv6.addr",
    "tcp.port",
    "tcp.len",
];

const COMMENT: &str = "1048576";

/// What Wireshark says of any connection.
const ALWAYS: &[&str] = &[
    "Connection establish request (SYN)",
    "Connection establish acknowledge (SYN+ACK)",
    "Connection finish (FIN)",
    "This frame initiates the connection closing",
    "This frame undergoes the connection closing",
];
const RESET: &str = "Connection reset (RST)";
const REUSED: &str = "A new tcp session is started with the same ports";
const GAPS: &[&str] = &[
    "Previous segment(s) not captured",
    // By who has seen what the capture has not.
    "ACKed segment that wasn't captured",
];

/// A connection that had a handshake, data and both FINs, as `tcp.completeness` has it.
pub(crate) const FULL: u32 = 31;

/// What a capture is expected to have beside the ordinary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expect {
    /// How many TCP streams.
    pub(crate) streams: Option<usize>,
    /// What all streams have in `tcp.completeness`: 31 with data and both FINs, 23 without data,
    /// 47 reset after data, 63 both, 37 refused, 1 a SYN alone.
    pub(crate) completeness: Option<u32>,
    /// Streams may end with RST.
    pub(crate) allow_rst: bool,
    /// Two streams may have the same addresses, one after the other.
    pub(crate) allow_reuse: bool,
    /// Bytes may be missing, as with a slow sink that was told to drop.
    pub(crate) allow_gaps: bool,
    /// Packets are cut short, so that their checksums cannot be verified.
    pub(crate) cut: bool,
}

/// One TCP stream of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JudgedStream {
    /// Its client, `address:port`.
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) completeness: u32,
    pub(crate) packets: usize,
    /// Bytes of data of both directions, kept or cut.
    pub(crate) len: u64,
}

/// A capture that was found perfect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    pub(crate) packets: usize,
    /// By their number in tshark.
    pub(crate) streams: BTreeMap<u32, JudgedStream>,
}

impl Judged {
    /// The number of the only stream of this client.
    pub(crate) fn stream_of(&self, client: &str) -> u32 {
        let mut found = self.streams.iter().filter(|(_, stream)| stream.client == client);
        let (number, _) = found.next().unwrap_or_else(|| panic!("no stream of {client}"));
        assert!(found.next().is_none(), "{client} has two streams");
        *number
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Output {
    let output = Command::new(program).args(arguments).arg(path).output();
    output.unwrap_or_else(|error| panic!("{program} cannot be run (is it installed?): {error}"))
}

/// What a run says of itself that is a complaint.
fn complaints(program: &str, output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let harmless =
        |line: &&str| line.contains("Running as user") || line.starts_with("reading from");
    let said: Vec<_> = said.lines().filter(|line| !line.is_empty() && !harmless(line)).collect();
    let failed = !output.status.success() || !said.is_empty();
    failed.then(|| format!("{program}: {}: {}", output.status, said.join("; ")))
}

/// Judges the capture at `path`: what it holds, or every complaint that is not expected.
pub(crate) fn judge(path: &Path, expect: Expect) -> Result<Judged, Vec<String>> {
    let mut bad = Vec::new();
    judge_file(path, &mut bad);
    let judged = judge_packets(path, expect, &mut bad);
    judge_checksums(path, expect, judged.packets, &mut bad);
    if expect.streams.is_some_and(|streams| streams != judged.streams.len()) {
        bad.push(format!("{} streams instead of {:?}", judged.streams.len(), expect.streams));
    }
    for (number, stream) in &judged.streams {
        if expect.completeness.is_some_and(|expected| expected != stream.completeness) {
            bad.push(format!("stream {number} has completeness {}", stream.completeness));
        }
    }
    if bad.is_empty() { Ok(judged) } else { Err(bad) }
}

fn judge_file(path: &Path, bad: &mut Vec<String>) {
    let output = run("capinfos", &["-M"], path);
    bad.extend(complaints("capinfos", &output));
    let said = String::from_utf8_lossy(&output.stdout);
    for (name, value) in
        [("Strict time order", "True"), ("File timestamp precision", "nanoseconds (9)")]
    {
        let line = said.lines().find(|line| line.starts_with(name));
        if !line.is_some_and(|line| line.ends_with(value)) {
            bad.push(format!("capinfos: {line:?} instead of {name}: {value}"));
        }
    }
}

fn judge_packets(path: &Path, expect: Expect, bad: &mut Vec<String>) -> Judged {
    let mut arguments = vec!["-2"];
    arguments.extend(TSHARK);
    arguments.extend(["-T", "fields", "-E", "occurrence=a"]);
    arguments.extend(["-E", "aggregator=\x1f", "-E", "separator=\x1e"]);
    arguments.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
    arguments.push("-r");
    let output = run("tshark", &arguments, path);
    bad.extend(complaints("tshark", &output));
    let mut judged = Judged::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        judge_packet(line, expect, &mut judged, bad);
    }
    judged
}

fn judge_packet(line: &str, expect: Expect, judged: &mut Judged, bad: &mut Vec<String>) {
    let fields: Vec<Vec<&str>> =
        line.split('\x1e').map(|field| field.split('\x1f').collect()).collect();
    let field = |name: &str| {
        let index = FIELDS.iter().position(|field| *field == name).unwrap();
        fields.get(index).unwrap_or_else(|| panic!("tshark said: {line}"))
    };
    judged.packets += 1;
    let number = field("frame.number")[0];
    let mut complain = |what: String| bad.push(format!("packet {number}: {what}"));
    let is_icmp =
        ["icmp.checksum.status", "icmpv6.checksum.status"].iter().any(|name| field(name)[0] == "1");
    // A packet that ICMP quotes comes after, and is not verified.
    let tcp = if expect.cut { "2" } else { "1" };
    if !["1", ""].contains(&field("ip.checksum.status")[0]) {
        complain("IP checksum".to_owned());
    }
    if !is_icmp && field("tcp.checksum.status")[0] != tcp && !is_full(expect, field) {
        complain(format!("TCP checksum {:?}", field("tcp.checksum.status")));
    }
    if !field("_ws.malformed")[0].is_empty() {
        complain("malformed".to_owned());
    }
    let allowed = |message: &str| {
        let starts = |start: &&str| message.starts_with(start);
        ALWAYS.iter().any(starts)
            || expect.allow_rst && message.starts_with(RESET)
            || expect.allow_reuse && message.starts_with(REUSED)
            || expect.allow_gaps && GAPS.iter().any(starts)
    };
    let mut excused = false;
    for (severity, message) in field("_ws.expert.severity").iter().zip(field("_ws.expert.message"))
    {
        excused |= message.starts_with(REUSED) || GAPS.iter().any(|gap| message.starts_with(gap));
        if *severity != COMMENT && !message.is_empty() && !allowed(message) {
            complain((*message).to_owned());
        }
    }
    if !field("tcp.analysis.flags")[0].is_empty() && !excused {
        complain("analysis flags".to_owned());
    }
    if !is_icmp {
        note_stream(judged, field);
    }
}

/// A packet without data is whole even where others are cut.
fn is_full<'a>(expect: Expect, field: impl Fn(&str) -> &'a Vec<&'a str>) -> bool {
    expect.cut && field("tcp.checksum.status")[0] == "1"
}

fn note_stream<'a>(judged: &mut Judged, field: impl Fn(&str) -> &'a Vec<&'a str>) {
    let number = field("tcp.stream")[0].parse().unwrap();
    let stream = judged.streams.entry(number).or_insert_with(|| {
        let v4 = field("ipv6.addr")[0].is_empty();
        let end = |index: usize| match field("tcp.port")[index] {
            port if v4 => format!("{}:{port}", field("ip.addr")[index]),
            port => format!("[{}]:{port}", field("ipv6.addr")[index]),
        };
        JudgedStream { client: end(0), server: end(1), ..JudgedStream::default() }
    });
    stream.packets += 1;
    stream.len += field("tcp.len")[0].parse::<u64>().unwrap();
    stream.completeness = field("tcp.completeness")[0].parse().unwrap();
}

/// tcpdump verifies checksums by code of its own.
fn judge_checksums(path: &Path, expect: Expect, packets: usize, bad: &mut Vec<String>) {
    let output = run("tcpdump", &["-nvv", "-r"], path);
    bad.extend(complaints("tcpdump", &output));
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = ["(incorrect", "bad cksum", "wrong icmp", "bad icmp6 cksum"];
    bad.extend(
        said.lines()
            .filter(|line| wrong.iter().any(|wrong| line.contains(wrong)))
            .map(|line| format!("tcpdump: {line}")),
    );
    let correct = said.lines().filter(|line| line.contains("(correct)")).count();
    // Of what ICMP quotes it says so too, but of what ICMPv6 quotes it does not.
    let quoted = said.lines().filter(|line| line.contains("ICMP6, destination unreachable"));
    let verified = correct + quoted.count();
    if verified != packets && !expect.cut {
        bad.push(format!("tcpdump verified {verified} of {packets} packets"));
    }
}

/// What client and server said in a stream, as "Follow TCP Stream" shows it.
pub(crate) fn follow(path: &Path, stream: u32) -> (Vec<u8>, Vec<u8>) {
    follow_all(path, &[stream]).remove(&stream).unwrap_or_default()
}

/// [`follow`] of many streams at once.
pub(crate) fn follow_all(path: &Path, streams: &[u32]) -> BTreeMap<u32, (Vec<u8>, Vec<u8>)> {
    let taps: Vec<_> = streams.iter().map(|stream| format!("follow,tcp,raw,{stream}")).collect();
    let mut arguments = TSHARK.to_vec();
    arguments.push("-q");
    arguments.extend(taps.iter().flat_map(|tap| ["-z", tap]));
    arguments.push("-r");
    let output = run("tshark", &arguments, path);
    assert_eq!(complaints("tshark", &output), None);
    let mut found = BTreeMap::new();
    let mut current = None;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(number) = line.strip_prefix("Filter: tcp.stream eq ") {
            current = Some(number.parse::<u32>().unwrap());
        } else if let (Some(number), Some(bytes)) = (current, from_hex(line.trim_start())) {
            let (client, server): &mut (Vec<u8>, Vec<u8>) = found.entry(number).or_default();
            let from = if line.starts_with('\t') { server } else { client };
            from.extend(bytes);
        }
    }
    found
}

/// The bytes of a line of hexadecimal digits, `None` where it is something else.
fn from_hex(line: &str) -> Option<Vec<u8>> {
    if line.is_empty() || !line.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    Some(line.as_bytes().chunks_exact(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect())
}
