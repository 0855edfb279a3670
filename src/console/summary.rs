//! A table of connections: the largest that ended, and those that are open; where their time
//! went, and which requests were slow.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lines::seconds;
use super::text::escape;
use crate::event::{
    BothTotals, ConnectionId, Event, EventKind, Progress, Request, TimeSpent, Timestamp, Verdict,
};
use crate::sink::{Interest, Sink};

/// A sink that remembers the connections which said most, whatever their number: as many that
/// have ended as it is told, and those that are open.
///
/// It takes no data, so it costs nothing while bytes pass; how much an open connection has said
/// it is [told](ConnectionTable::update).
#[derive(Debug)]
pub struct TopConnections {
    table: ConnectionTable,
}

impl TopConnections {
    /// Remembers at most `rows` connections that have ended.
    pub fn new(rows: usize) -> Self {
        let known = Known { rows, ..Known::default() };
        Self { table: ConnectionTable(Arc::new(Mutex::new(known))) }
    }

    /// The table, also after the sink was given away.
    pub fn table(&self) -> ConnectionTable {
        self.table.clone()
    }
}

/// What a [`TopConnections`] knows. [`Display`](fmt::Display) gives a table for people, with a
/// headline, and below it where the time of all connections that ended went, and their slowest
/// requests. It holds no control character but line feeds. Clones show the same.
#[derive(Clone, Debug)]
pub struct ConnectionTable(Arc<Mutex<Known>>);

impl ConnectionTable {
    /// Whether there was no connection so far.
    pub fn is_empty(&self) -> bool {
        let known = self.lock();
        known.open.is_empty() && known.ended.is_empty()
    }

    /// Takes down how far open connections have come, to be shown from then on; those that it
    /// does not know to be open are passed over.
    pub fn update(&self, progress: impl IntoIterator<Item = Progress>) {
        let mut known = self.lock();
        for now in progress {
            if let Some(opened) = known.open.get_mut(&now.connection) {
                opened.progress = Some(now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing is left half-done by whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Known {
    rows: usize,
    open: BTreeMap<ConnectionId, Opened>,
    ended: Vec<Ended>,
    left_out: u64,
    /// Where the time of all that ended went.
    spent: TimeSpent,
    /// The slowest of their requests, the slowest first.
    slowest: Vec<(ConnectionId, Request)>,
}

#[derive(Debug)]
struct Opened {
    at: Timestamp,
    client: String,
    server: String,
    /// As it was last told.
    progress: Option<Progress>,
}

#[derive(Debug)]
struct Ended {
    id: ConnectionId,
    opened: Opened,
    nanos: u64,
    said: [u64; 2],
    how: String,
}

impl Known {
    fn event(&mut self, event: &Event) {
        let id = event.connection;
        match &event.kind {
            EventKind::Open(open) => {
                let (client, server) = (printable(&open.client), printable(&open.target));
                let opened = Opened { at: event.time, client, server, progress: None };
                self.open.insert(id, opened);
            }
            EventKind::Verdict(verdict) => self.verdict(id, verdict),
            EventKind::Close { reason, totals } => {
                let Some(opened) = self.open.remove(&id) else { return };
                let nanos = event.time.nanos_since(opened.at);
                let said = said(totals);
                self.end(Ended { id, opened, nanos, said, how: printable(reason) });
            }
            _ => {}
        }
    }

    /// Adds up where the time went, and remembers the slowest requests.
    fn verdict(&mut self, id: ConnectionId, verdict: &Verdict) {
        self.spent += verdict.spent;
        self.slowest.extend(verdict.slowest.iter().map(|request| (id, *request)));
        // Stable, so that of two that took as long the earlier stays.
        self.slowest.sort_by_key(|(_, request)| std::cmp::Reverse(request.answered_after));
        self.slowest.truncate(Verdict::SLOWEST_MAX);
    }

    /// Remembers one more, and forgets the one that said least where they are too many.
    fn end(&mut self, ended: Ended) {
        self.ended.push(ended);
        if self.ended.len() > self.rows {
            let least = self.ended.iter().enumerate().min_by_key(|(_, ended)| ended.rank());
            if let Some((index, _)) = least {
                self.ended.swap_remove(index);
                self.left_out += 1;
            }
        }
    }
}

/// Greater for what said more, and for the earlier of two that said as much.
type Rank = (u64, std::cmp::Reverse<ConnectionId>);

impl Ended {
    fn rank(&self) -> Rank {
        (self.said.iter().sum(), std::cmp::Reverse(self.id))
    }
}

impl Opened {
    fn rank(&self, id: ConnectionId) -> Rank {
        let said = self.progress.map(|progress| said(&progress.totals).iter().sum());
        (said.unwrap_or_default(), std::cmp::Reverse(id))
    }

    /// The duration, what the client and what the server said; empty where it was never told.
    fn figures(&self) -> [String; 3] {
        let Some(progress) = self.progress else { return Default::default() };
        let nanos = u64::try_from(progress.open_for.as_nanos()).unwrap_or(u64::MAX);
        let [client, server] = said(&progress.totals).map(|bytes| bytes.to_string());
        [seconds(nanos), client, server]
    }
}

/// What the client said, and the server.
const fn said(totals: &BothTotals) -> [u64; 2] {
    [totals.client_to_server.received, totals.server_to_client.received]
}

impl Sink for TopConnections {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.table.lock().event(event);
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest::LIFECYCLE.verdict()
    }
}

const HEADLINE: [&str; 7] =
    ["conn", "client", "server", "duration", "from client", "from server", "end"];

impl fmt::Display for ConnectionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.lock();
        let mut ended: Vec<_> = known.ended.iter().collect();
        ended.sort_by_key(|ended| std::cmp::Reverse(ended.rank()));
        let mut rows = vec![HEADLINE.map(str::to_owned)];
        rows.extend(ended.into_iter().map(|Ended { id, opened, nanos, said, how }| {
            let [client, server] = said.map(|bytes| bytes.to_string());
            let names = [opened.client.clone(), opened.server.clone()];
            row(*id, names, [seconds(*nanos), client, server, how.clone()])
        }));
        let mut open: Vec<_> = known.open.iter().collect();
        open.sort_by_key(|(id, opened)| std::cmp::Reverse(opened.rank(**id)));
        rows.extend(open.into_iter().take(known.rows).map(|(id, opened)| {
            let names = [opened.client.clone(), opened.server.clone()];
            let [duration, client, server] = opened.figures();
            row(*id, names, [duration, client, server, "is open".to_owned()])
        }));
        draw(&rows, f)?;
        let hidden = known.open.len().saturating_sub(known.rows) as u64;
        match known.left_out + hidden {
            0 => {}
            more => writeln!(f, "and {more} more")?,
        }
        known.time(f)
    }
}

impl Known {
    /// Tells where the time went, and which requests took longest.
    fn time(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.spent.total().is_zero() {
            writeln!(f, "time of all that ended: {}", self.spent)?;
        }
        self.slowest.iter().try_for_each(|(id, Request { offset, answered_after, .. })| {
            let nanos = u64::try_from(answered_after.as_nanos()).unwrap_or(u64::MAX);
            let after = seconds(nanos);
            writeln!(f, "slow: [{id}] request at offset {offset}, answered after {after}")
        })
    }
}

fn row(id: ConnectionId, names: [String; 2], more: [String; 4]) -> [String; 7] {
    let ([client, server], [duration, from_client, from_server, how]) = (names, more);
    [id.to_string(), client, server, duration, from_client, from_server, how]
}

fn draw(rows: &[[String; 7]], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let [id, client, server, duration, said, heard, _] = widths;
    for [a, b, c, d, e, g, how] in rows {
        writeln!(
            f,
            "{a:>id$}  {b:client$}  {c:server$}  {d:>duration$}  {e:>said$}  {g:>heard$}  {how}"
        )?;
    }
    Ok(())
}

/// The words, with nothing in them that a terminal would obey.
fn printable(words: &impl ToString) -> String {
    escape(words.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::time::Duration;

    use super::*;
    use crate::event::{CloseReason, Endpoint, Open, Phase, Side, Totals};

    fn open(id: u64, target: &str) -> Event {
        let client = Endpoint::Tcp(([192, 0, 2, 1], 1000).into());
        let listener = Endpoint::Tcp(([127, 0, 0, 1], 80).into());
        let open = Open::new(client, listener, target);
        let kind = EventKind::Open(Arc::new(open));
        Event { connection: ConnectionId(id), time: Timestamp(0), kind }
    }

    fn close(id: u64, said: u64) -> Event {
        let said = Totals { received: said, sent: said };
        let totals = BothTotals { client_to_server: said, ..BothTotals::default() };
        let kind = EventKind::Close { reason: CloseReason::Reset { by: Side::Client }, totals };
        Event { connection: ConnectionId(id), time: Timestamp(1_500_000), kind }
    }

    #[test]
    fn largest_connections_stay_and_others_are_counted() {
        let mut sink = TopConnections::new(2);
        let table = sink.table();
        assert!(table.is_empty());
        for (id, said) in [(1, 10), (2, 30), (3, 20), (4, 20), (5, 5)] {
            sink.record(&open(id, "h\x1b[2J:1")).expect("it takes all");
            sink.record(&close(id, said)).expect("it takes all");
        }
        sink.record(&open(6, "later:1")).expect("it takes all");
        sink.record(&open(7, "more:1")).expect("it takes all");
        sink.record(&open(8, "most:1")).expect("it takes all");
        table.update([(7, 40), (1, 50), (8, 90)].map(|(id, said)| {
            let said = Totals { received: said, sent: said };
            let totals = BothTotals { server_to_client: said, ..BothTotals::default() };
            let connection = ConnectionId(id);
            Progress { connection, open_for: Duration::from_millis(2), totals }
        }));
        assert!(!table.is_empty());
        let expected = "\
conn  client          server           duration  from client  from server  end
   2  192.0.2.1:1000  h\\x1b[2J:1  1.500 ms           30            0  reset by the client
   3  192.0.2.1:1000  h\\x1b[2J:1  1.500 ms           20            0  reset by the client
   8  192.0.2.1:1000  most:1     2.000 ms            0           90  is open
   7  192.0.2.1:1000  more:1     2.000 ms            0           40  is open
and 4 more
";
        let squeezed = |text: &str| {
            let lines = text.lines();
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let (shown, expected): (Vec<_>, Vec<_>) =
            (squeezed(&table.to_string()), squeezed(expected));
        assert_eq!(shown, expected);
        let text = table.to_string();
        let ends: Vec<_> = text.lines().filter_map(|line| line.find("  reset")).collect();
        assert!(ends.len() == 2 && ends[0] == ends[1], "columns do not align:\n{text}");
    }

    #[test]
    fn time_is_added_up_and_slowest_requests_of_all_connections_are_named() {
        let mut sink = TopConnections::new(1);
        let request = |offset, millis| Request::new(offset, Duration::from_millis(millis));
        for (id, waited, slowest) in [
            (1, 10, vec![request(0, 900), request(7, 2)]),
            (2, 30, (1..=5).map(|offset| request(offset, 100 * offset)).collect()),
        ] {
            let mut verdict = Verdict::default();
            let server = Phase::WaitingFor(Side::Server);
            *verdict.spent.get_mut(server) = Duration::from_secs(waited);
            *verdict.spent.get_mut(Phase::Closing) = Duration::from_secs(10);
            verdict.slowest = slowest;
            let kind = EventKind::Verdict(Arc::new(verdict));
            for event in [
                open(id, "h:1"),
                Event { connection: ConnectionId(id), time: Timestamp(0), kind },
                close(id, 1),
            ] {
                sink.record(&event).expect("it takes all");
            }
        }
        let shown = sink.table().to_string();
        let (_, shown) = shown.split_once("and 1 more\n").expect("the table comes first");
        let expected = "\
time of all that ended: 67 % waiting for the server, 33 % closing
slow: [1] request at offset 0, answered after 900.000 ms
slow: [2] request at offset 5, answered after 500.000 ms
slow: [2] request at offset 4, answered after 400.000 ms
slow: [2] request at offset 3, answered after 300.000 ms
slow: [2] request at offset 2, answered after 200.000 ms
";
        assert_eq!(shown, expected);
    }
}
