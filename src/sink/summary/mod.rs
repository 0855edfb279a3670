//! Which connections there were, in a table.

mod render;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Interest, Sink};
use crate::event::{CloseReason, ConnectionId, Event, EventKind, Open, Side, Timestamp};

/// A sink that keeps a line for each open connection, and for those ended that said most.
///
/// Its clones are handles to the same table: give one to the tunnel and ask another for
/// [`render`](Self::render), now or at the end. It sees no data, so it costs nothing while bytes
/// flow; what a connection said is known when a direction ends. The memory it takes is bounded by
/// the number of open connections and of lines.
///
/// ```
/// use tcp_tunn::event::Timestamp;
/// use tcp_tunn::sink::summary::ConnectionTable;
///
/// let table = ConnectionTable::new(20);
/// let for_the_tunnel = table.clone();
/// assert_eq!(table.render(Timestamp(0)), "", "there was no connection");
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionTable(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    lines_max: usize,
    open: BTreeMap<ConnectionId, Connection>,
    ended: BTreeMap<ConnectionId, Connection>,
    /// The ended ones by how much they said; the least first, and of these the oldest.
    ranks: BTreeSet<(u64, ConnectionId)>,
    forgotten: Forgotten,
}

/// The ended connections that have no line.
#[derive(Clone, Copy, Debug, Default)]
struct Forgotten {
    connections: u64,
    client: u64,
    server: u64,
}

#[derive(Clone, Debug)]
struct Connection {
    opened: Timestamp,
    open: Option<Arc<Open>>,
    /// What is known of the totals: a direction's is none until it ended.
    client: Option<u64>,
    server: Option<u64>,
    end: Option<(Timestamp, CloseReason)>,
}

impl ConnectionTable {
    /// A table of at most `lines_max` lines.
    pub fn new(lines_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            lines_max,
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            ranks: BTreeSet::new(),
            forgotten: Forgotten::default(),
        })))
    }

    /// The table as lines of text, with a headline: number, client, upstream, how long, what each
    /// side said, how it ended. Nothing where there was no connection.
    ///
    /// Open connections are measured up to `now`. Where there are more than fit, up to half of the
    /// lines are those of the oldest open ones, the rest those that ended and said most, and a
    /// last line tells how many others there were and what they are known to have said.
    /// No control characters come out, whatever the names.
    pub fn render(&self, now: Timestamp) -> String {
        let table = self.lock();
        let (rows, others) = table.chosen();
        drop(table);
        render::table(&rows, others, now)
    }

    /// A panic elsewhere leaves the table at most an event behind.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for ConnectionTable {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.lock().record(event);
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest::LIFECYCLE
    }
}

impl Connection {
    fn said(&self) -> u64 {
        self.client.unwrap_or(0).saturating_add(self.server.unwrap_or(0))
    }
}

impl Table {
    fn record(&mut self, event: &Event) {
        let connection = self.open.entry(event.connection).or_insert_with(|| Connection {
            opened: event.time,
            open: None,
            client: None,
            server: None,
            end: None,
        });
        match &event.kind {
            EventKind::Open(open) => connection.open = Some(open.clone()),
            EventKind::Shutdown { direction, totals } => match direction.sender() {
                Side::Client => connection.client = Some(totals.received),
                Side::Server => connection.server = Some(totals.received),
            },
            EventKind::Close { reason, totals } => {
                connection.client = Some(totals.client_to_server.received);
                connection.server = Some(totals.server_to_client.received);
                connection.end = Some((event.time, reason.clone()));
                self.end(event.connection);
            }
            EventKind::Connected(_) | EventKind::Data { .. } => {}
        }
    }

    fn end(&mut self, id: ConnectionId) {
        let Some(connection) = self.open.remove(&id) else { return };
        self.ranks.insert((connection.said(), id));
        self.ended.insert(id, connection);
        while self.ended.len() > self.lines_max {
            let Some((_, least)) = self.ranks.pop_first() else { return };
            if let Some(connection) = self.ended.remove(&least) {
                self.forgotten.add(&connection);
            }
        }
    }

    /// The connections that get a line, in order, and the sum of the others.
    fn chosen(&self) -> (Vec<(ConnectionId, Connection)>, Forgotten) {
        let mut others = self.forgotten;
        // Up to half of the lines are the open ones', who may still be helped.
        let for_ended = self.lines_max - self.open.len().min(self.lines_max / 2);
        let ranked = self.ranks.iter().rev();
        let mut ended = ranked.filter_map(|(_, id)| self.ended.get_key_value(id));
        let mut rows: Vec<_> = ended.by_ref().take(for_ended).collect();
        ended.for_each(|(_, connection)| others.add(connection));
        let mut open = self.open.iter();
        rows.extend(open.by_ref().take(self.lines_max - rows.len()));
        open.for_each(|(_, connection)| others.add(connection));
        let mut rows: Vec<_> = rows.into_iter().map(|(id, row)| (*id, row.clone())).collect();
        rows.sort_by_key(|(id, _)| *id);
        (rows, others)
    }
}

impl Forgotten {
    fn add(&mut self, connection: &Connection) {
        self.connections += 1;
        self.client = self.client.saturating_add(connection.client.unwrap_or(0));
        self.server = self.server.saturating_add(connection.server.unwrap_or(0));
    }
}
