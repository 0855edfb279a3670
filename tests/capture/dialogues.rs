//! Random dialogues over real sockets, each judged by tshark and held against what was said.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};

use tcp_tunn::capture::PcapngSink;
use tcp_tunn::packet::Legs;
use tcp_tunn::tunnel::Tunnel;

use super::options;
use crate::support::oracle::{Expect, follow_all, judge};
use crate::support::random::Random;
use crate::support::talker::{Step, Talker, talk};
use crate::support::tunnel::Running;

/// Each goes on beside the others and has dialogues one after another.
const ROUTES: usize = 5;
const DIALOGUES_PER_ROUTE: usize = 10;

/// What was said, and what of it was heard, by the client and by the server.
type Dialogue = [(Vec<u8>, Vec<u8>); 2];

/// Mostly small talk, at times more than a segment holds.
fn len(random: &mut Random) -> usize {
    match random.below(12) {
        0 => 1 + random.below(300_000) as usize,
        1..4 => 1 + random.below(20_000) as usize,
        _ => 1 + random.below(200) as usize,
    }
}

fn steps(random: &mut Random) -> Vec<Step> {
    let step = |random: &mut Random| match random.below(15) {
        0 => Step::Reset(random.side()),
        1 | 2 => Step::Finish(random.side()),
        _ => Step::Say(random.side(), len(random)),
    };
    (0..random.below(20)).map(|_| step(random)).collect()
}

/// Who talks to whom in the streams of a dialogue, by legs and leg.
struct Ends {
    client: SocketAddr,
    tunnel: [SocketAddr; 2],
    server: SocketAddr,
}

impl Ends {
    fn streams(&self, legs: Legs) -> Vec<[String; 2]> {
        let Self { client, tunnel, server } = self;
        let streams = match legs {
            Legs::Direct => vec![[client, server]],
            _ => vec![[client, &tunnel[0]], [&tunnel[1], server]],
        };
        streams.into_iter().map(|ends| ends.map(SocketAddr::to_string)).collect()
    }
}

fn converse(
    mut random: Random,
    tunnel: SocketAddr,
    server: &TcpListener,
) -> Vec<(Ends, bool, Dialogue)> {
    let converse_once = |_| {
        let client = TcpStream::connect(tunnel).unwrap();
        let (server, leg) = server.accept().unwrap();
        let ends = Ends {
            client: client.local_addr().unwrap(),
            tunnel: [tunnel, leg],
            server: server.local_addr().unwrap(),
        };
        let steps = steps(&mut random);
        let clean = !steps.iter().any(|step| matches!(step, Step::Reset(_)));
        (ends, clean, talk(&steps, Talker::new(client), Talker::new(server)))
    };
    (0..DIALOGUES_PER_ROUTE).map(converse_once).collect()
}

/// What a stream shows of one side lies between what was said and what was heard of it, since what
/// a reset overtook was said in vain.
fn check(shown: &[u8], said: &[u8], heard: &[u8], clean: bool) {
    let lens = [said, shown, heard].map(<[u8]>::len);
    assert!(said.starts_with(shown) && shown.starts_with(heard), "said, shown, heard: {lens:?}");
    assert!(!clean || shown == said, "said, shown, heard: {lens:?}");
}

fn hold(legs: Legs, random: &mut Random) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let servers: Vec<_> = (0..ROUTES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut targets = servers.iter().map(|server| server.local_addr().unwrap());
    let mut builder = Tunnel::builder("127.0.0.1:0", targets.next().unwrap());
    for target in targets {
        builder = builder.route("127.0.0.1:0", target);
    }
    let sink = PcapngSink::create(&path, options(legs)).unwrap();
    let tunnel = Running::start(builder.sink(sink));
    let dialogues: Vec<_> = std::thread::scope(|scope| {
        let start = |(server, &address)| {
            let random = Random(random.below(1 << 31));
            scope.spawn(move || converse(random, address, server))
        };
        let threads: Vec<_> = servers.iter().zip(&tunnel.addresses).map(start).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    tunnel.stop();
    let streams: usize = dialogues.iter().map(|(ends, ..)| ends.streams(legs).len()).sum();
    let expect = Expect { allow_rst: true, streams: Some(streams), ..Expect::default() };
    let judged = judge(&path, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
    let followed = follow_all(&path, &judged.streams.keys().copied().collect::<Vec<_>>());
    let numbers: BTreeMap<_, _> = judged
        .streams
        .into_iter()
        .map(|(number, stream)| ([stream.client, stream.server], number))
        .collect();
    for (ends, clean, [client, server]) in &dialogues {
        for stream in ends.streams(legs) {
            // A client that is gone before the tunnel knew its own address on the way to the
            // server leaves a leg whose address is made up.
            let Some(number) = numbers.get(&stream) else {
                assert!(!clean && client.1.is_empty() && server.1.is_empty(), "no {stream:?}");
                continue;
            };
            let shown = followed.get(number).cloned().unwrap_or_default();
            check(&shown.0, &client.0, &server.1, *clean);
            check(&shown.1, &server.0, &client.1, *clean);
        }
    }
}

#[test]
fn random_dialogues_over_sockets_are_perfect() {
    let mut random = Random::seeded();
    hold(Legs::Direct, &mut random);
    hold(Legs::Both, &mut random);
}
