//! Events in any order and with anything in them. The fuzz target shares this file.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tcp_tunn::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, Event, EventKind, Leg,
    Open, Side, Timestamp, Totals, View,
};

/// Numbers that lie where something may break.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 1000, 32768, 65535, 65536, 1 << 20, (1 << 31) + 1, 1 << 32, u64::MAX - 1, u64::MAX];

const LENGTHS: [usize; 9] = [0, 1, 3, 1000, 32767, 32768, 32769, 65536, 200_000];

/// Decisions read from a series of bytes; after its end, always the first.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn side(&mut self) -> Side {
        self.one(&[Side::Client, Side::Server])
    }

    fn endpoint(&mut self) -> Endpoint {
        const ADDRESSES: [&str; 6] = [
            "127.0.0.1:1",
            "127.0.0.1:65535",
            "[::1]:80",
            "[::ffff:127.0.0.1]:1",
            "255.255.255.255:0",
            "[fe80::1%3]:9",
        ];
        match self.below(ADDRESSES.len() + 2) {
            0 => Endpoint::Unix(None),
            1 => Endpoint::Unix(Some(Arc::from(Path::new("/run/.s.PGSQL.5432")))),
            index => Endpoint::Tcp(ADDRESSES[index - 2].parse::<SocketAddr>().unwrap()),
        }
    }

    fn open(&mut self) -> EventKind {
        let targets = ["", ":", "example.com:80", "[::1]:80", "unix:/x", "a:b:c", "[:1", "1.2.3.4"];
        let target = self.one(&targets);
        let server = (self.below(2) == 0).then(|| self.endpoint());
        let (client, listener) = (self.endpoint(), self.endpoint());
        EventKind::Open(Arc::new(Open::new(client, listener, target).server(server)))
    }

    fn totals(&mut self) -> Totals {
        Totals { received: self.one(&NUMBERS), sent: self.one(&NUMBERS) }
    }

    fn reason(&mut self) -> CloseReason {
        let message: Arc<str> = "no".into();
        let (side, errno) = (self.side(), self.one(&[0, 101, 113, -1]));
        match self.below(13) {
            0 => CloseReason::Finished { first: side },
            1 => CloseReason::Reset { by: side },
            2 => CloseReason::Refused,
            3 => CloseReason::ConnectTimeout,
            4 => CloseReason::Unreachable { errno },
            5 => CloseReason::ResolveFailed { message },
            6 => CloseReason::ConnectFailed { message },
            7 => CloseReason::IdleTimeout,
            8 => CloseReason::HalfCloseTimeout,
            9 => CloseReason::Stopped,
            10 => CloseReason::Failed { side, errno },
            11 => CloseReason::Transform { direction: Direction::from(side), message },
            _ => CloseReason::Internal,
        }
    }

    fn data(&mut self) -> EventKind {
        EventKind::Data {
            direction: Direction::from(self.side()),
            leg: self.one(&[Leg::Received, Leg::Sent]),
            view: View::Wire,
            offset: self.one(&NUMBERS),
            bytes: Bytes::from(vec![b'x'; self.one(&LENGTHS)]),
        }
    }

    fn kind(&mut self) -> EventKind {
        match self.below(8) {
            0 => self.open(),
            1 => {
                let (server, local) = (self.endpoint(), self.endpoint());
                EventKind::Connected(Arc::new(Connected { server, local }))
            }
            2 => {
                let direction = Direction::from(self.side());
                EventKind::Shutdown { direction, view: View::Wire, totals: self.totals() }
            }
            3 => {
                let client_to_server = self.totals();
                let totals = BothTotals { client_to_server, server_to_client: self.totals() };
                EventKind::Close { reason: self.reason(), totals }
            }
            _ => self.data(),
        }
    }
}

/// The events that `bytes` decide on.
pub(crate) fn events(bytes: &[u8]) -> Vec<Event> {
    let mut choices = Choices(bytes.iter());
    let mut events = Vec::new();
    let mut time = 0_u64;
    while choices.0.len() > 0 {
        let connection = ConnectionId(choices.one(&[1, 2, 3, u64::MAX]));
        // It may well go backwards.
        time = time.wrapping_add(choices.one(&[0, 1, 1000, u64::MAX]));
        events.push(Event { connection, time: Timestamp(time), kind: choices.kind() });
    }
    events
}
