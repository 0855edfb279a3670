//! Every way in which a connection can live and end.

use bytes::Bytes;
use tcp_tunn::event::{CloseReason, Endpoint, Side};

use crate::support::bytes::bytes;
use crate::support::talk::{Ends, Talk};

use Side::{Client, Server};

/// The default size of a segment.
const SEGMENT: usize = 32768;

/// A way to live, and its end in the terms of `tcp.completeness`: in the direct view, then on the
/// client's and the server's leg.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) play: fn(&mut Talk),
    pub(super) completeness: [u32; 3],
}

const fn scenario(name: &'static str, play: fn(&mut Talk), completeness: u32) -> Scenario {
    Scenario { name, play, completeness: [completeness; 3] }
}

const DATA: u32 = 31;
const NO_DATA: u32 = 23;
const RESET: u32 = 47;
const RESET_NO_DATA: u32 = 39;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("client closes", |talk| exchange(talk, |talk| talk.end(Client)), DATA),
    scenario("server closes", |talk| exchange(talk, |talk| talk.end(Server)), DATA),
    scenario("both close at once", |talk| exchange(talk, close_at_once), DATA),
    scenario("late data to the client", |talk| half_close(talk, Client), DATA),
    scenario("late data to the server", |talk| half_close(talk, Server), DATA),
    scenario("client resets", |talk| exchange(talk, |talk| reset(talk, Client)), RESET),
    scenario("server resets", |talk| exchange(talk, |talk| reset(talk, Server)), RESET),
    scenario("reset in flight", reset_in_flight, RESET),
    scenario("reset after a half-close", reset_after_half_close, 63),
    scenario("idle time-out", |talk| ended_by_tunnel(talk, CloseReason::IdleTimeout), RESET),
    scenario("stopped", |talk| ended_by_tunnel(talk, CloseReason::Stopped), RESET),
    attempt("refused", |talk| talk.close(CloseReason::Refused), 37, 37),
    attempt("time-out", |talk| talk.close(CloseReason::ConnectTimeout), 1, 1),
    attempt("host unreachable", |talk| unreachable(talk, 113), 1, 1),
    attempt("network unreachable", |talk| unreachable(talk, 101), 1, 1),
    attempt("client gives up", |talk| reset(talk, Client), 33, 1),
    attempt("stopped early", |talk| talk.close(CloseReason::Stopped), 37, 1),
    scenario("zero bytes", |talk| connected(talk, |talk| talk.end(Client)), NO_DATA),
    scenario("zero bytes reset", |talk| connected(talk, |talk| reset(talk, Server)), RESET_NO_DATA),
    scenario("one byte", |talk| one_way(talk, &[1]), DATA),
    scenario("exactly one segment", |talk| one_way(talk, &[SEGMENT]), DATA),
    scenario("one segment and one byte", |talk| one_way(talk, &[SEGMENT + 1]), DATA),
    scenario("the window of a SYN", |talk| one_way(talk, &[65535]), DATA),
    scenario("chunks of 1 MiB", |talk| one_way(talk, &[1 << 20; 2]), DATA),
    scenario("server first", server_first, DATA),
    scenario("1000 chunks without an answer", |talk| one_way(talk, &[3; 1000]), DATA),
    scenario("1000 chunks not delivered", undelivered, DATA),
    scenario("both talk at once", both_at_once, DATA),
];

const fn attempt(name: &'static str, play: fn(&mut Talk), direct: u32, server: u32) -> Scenario {
    Scenario { name, play, completeness: [direct, RESET_NO_DATA, server] }
}

fn connected(talk: &mut Talk, then: fn(&mut Talk)) {
    talk.connect();
    then(talk);
}

fn exchange(talk: &mut Talk, then: fn(&mut Talk)) {
    talk.connect();
    for turn in 0..3 {
        talk.say(Client, &bytes(talk.id.0, 100 + turn));
        talk.say(Server, &bytes(talk.id.0, 40_000 + turn));
    }
    then(talk);
}

fn close_at_once(talk: &mut Talk) {
    talk.pace = 0;
    talk.end(Client);
}

fn half_close(talk: &mut Talk, first: Side) {
    talk.connect();
    talk.say(first, b"that is all from me");
    talk.finish(first);
    for turn in 0..20 {
        talk.say(!first, &bytes(turn, 5000));
    }
    talk.finish(!first);
    talk.close(CloseReason::Finished { first });
}

fn reset(talk: &mut Talk, by: Side) {
    talk.close(CloseReason::Reset { by });
}

/// Both have said something that the other will never hear.
fn reset_in_flight(talk: &mut Talk) {
    talk.connect();
    talk.hear(Client, Bytes::from_static(b"never heard"));
    talk.hear(Server, Bytes::from_static(b"this neither"));
    // Only what was sent on shows on the far legs.
    talk.tell(Client, Bytes::from_static(b"never heard"));
    talk.tell(Server, Bytes::from_static(b"this neither"));
    talk.hear(Client, Bytes::new());
    reset(talk, Server);
}

fn reset_after_half_close(talk: &mut Talk) {
    talk.connect();
    talk.say(Client, b"I am done");
    talk.finish(Client);
    talk.say(Server, b"I am not");
    talk.close(CloseReason::HalfCloseTimeout);
}

fn ended_by_tunnel(talk: &mut Talk, reason: CloseReason) {
    talk.connect();
    talk.say(Server, b"220 ready");
    talk.close(reason);
}

fn unreachable(talk: &mut Talk, errno: i32) {
    talk.close(CloseReason::Unreachable { errno });
}

fn one_way(talk: &mut Talk, sizes: &[usize]) {
    talk.connect();
    for (turn, size) in sizes.iter().enumerate() {
        talk.say(Client, &bytes(turn as u64, *size));
    }
    talk.end(Client);
}

fn server_first(talk: &mut Talk) {
    talk.connect();
    talk.say(Server, b"220 ready\r\n");
    talk.say(Client, b"QUIT\r\n");
    talk.say(Server, b"221 bye\r\n");
    talk.end(Server);
}

/// The tunnel reads on and on before the receiver takes anything.
fn undelivered(talk: &mut Talk) {
    talk.connect();
    let chunks: Vec<_> = (0..1000).map(|turn| Bytes::from(bytes(turn, 300))).collect();
    chunks.iter().for_each(|chunk| talk.hear(Server, chunk.clone()));
    chunks.iter().for_each(|chunk| talk.tell(Server, chunk.clone()));
    talk.end(Client);
}

fn both_at_once(talk: &mut Talk) {
    talk.connect();
    for turn in 0..8 {
        let (question, answer) = (bytes(turn, 70_000), bytes(turn + 1, 50_000));
        let (question, answer) = (Bytes::from(question), Bytes::from(answer));
        talk.hear(Client, question.clone());
        talk.hear(Server, answer.clone());
        talk.tell(Server, answer);
        talk.tell(Client, question);
    }
    talk.end(Server);
}

/// What a connection's addresses are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    Mixed,
    Unix,
    /// A name whose address is not certain before the connect.
    Named,
}

pub(super) const FAMILIES: &[Family] =
    &[Family::V4, Family::V6, Family::Mixed, Family::Unix, Family::Named];

impl Family {
    /// The addresses of the connection with this number.
    pub(super) fn ends(self, id: u64) -> Ends {
        let (client, local) = (10_000 + id, 30_000 + id);
        match self {
            Self::V4 => Ends::new(
                &format!("10.0.0.1:{client}"),
                "10.0.0.9:80",
                &format!("10.0.0.9:{local}"),
                "10.0.0.2:8000",
            ),
            Self::V6 => Ends::new(
                &format!("[2001:db8::1]:{client}"),
                "[2001:db8::9]:80",
                &format!("[2001:db8::9]:{local}"),
                "[2001:db8::2]:8000",
            ),
            Self::Mixed => Ends::new(
                &format!("[2001:db8::1]:{client}"),
                "[2001:db8::9]:80",
                &format!("10.0.0.9:{local}"),
                "10.0.0.3:8000",
            ),
            Self::Unix => Ends {
                target: "unix:/run/postgresql/.s.PGSQL.5432".to_owned(),
                local: Endpoint::Unix(None),
                ..Ends::new(
                    "unix:",
                    "unix:/run/tunnel",
                    "unix:",
                    "unix:/run/postgresql/.s.PGSQL.5432",
                )
            },
            Self::Named => {
                Ends { target: "example.com:8000".to_owned(), certain: false, ..Self::V4.ends(id) }
            }
        }
    }
}
