//! Connections as JSON.

use std::time::SystemTime;

use super::connection::{Chunk, Connection};
use super::json::Json;
use super::store::Store;
use crate::event::{Direction, Process, Timestamp, View};

/// Appends the object of a connection.
pub(super) fn row(connection: &Connection, json: &mut Json) {
    json.begin('{');
    members(connection, json);
    json.end('}');
}

/// Begins the object of a connection whose data follows: of this view, or of the one that people
/// can read. Which view it is.
pub(super) fn begin_shown(connection: &Connection, view: Option<View>) -> (Json, View) {
    let view = view.unwrap_or_else(|| connection.readable());
    let mut json = Json::default();
    json.begin('{');
    members(connection, &mut json);
    json.name("shown").string(view.name());
    (json, view)
}

/// Appends what is known of a connection.
fn members(connection: &Connection, json: &mut Json) {
    let open = &connection.open;
    json.name("conn").value(connection.id);
    json.name("time").time(connection.opened);
    json.name("client").string(&open.client.to_string());
    json.name("listener").string(&open.listener.to_string());
    json.name("server").string(&open.target);
    let answered = connection.connected.as_ref().map(|connected| &connected.server);
    if let Some(address) = answered.or(open.server.as_ref()) {
        json.name("address").string(&address.to_string());
    }
    if let Some(process) = &connection.process {
        self::process(process, json.name("process"));
    }
    json.name("state").string(state(connection));
    if let Some(ended) = &connection.ended {
        json.name("reason").string(ended.reason.name());
        if let Some(by) = ended.reason.by() {
            json.name("by").string(by.name());
        }
        json.name("message").string(&ended.reason.to_string());
        json.name("duration_ns").value(ended.time.nanos_since(connection.opened));
    }
    let passed = |view, direction| connection.passed(view, direction);
    json.name("client_bytes").value(passed(View::Wire, Direction::ClientToServer));
    json.name("server_bytes").value(passed(View::Wire, Direction::ServerToClient));
    if let Some(tls) = &connection.tls {
        json.name("tls").begin('{');
        json.name("state").string(tls.state.name());
        for (name, fact) in tls.facts() {
            json.name(name).string(fact);
        }
        json.end('}');
    }
    if let Some(verdict) = &connection.verdict {
        json.name("verdict").string(&verdict.spent.to_string());
    }
    json.name("view").string(connection.readable().name());
    json.name("let_go_bytes").value(connection.let_go);
    json.name("missed_bytes").value(connection.missed);
}

fn process(process: &Process, json: &mut Json) {
    json.begin('{');
    json.name("pid").value(process.pid);
    json.name("name").string(&process.name);
    json.end('}');
}

fn state(connection: &Connection) -> &'static str {
    let is_half_closed = connection.is_shut.contains(&true);
    match (&connection.ended, &connection.connected) {
        (Some(_), _) => "closed",
        (None, None) => "connecting",
        (None, Some(_)) if is_half_closed => "half-closed",
        (None, Some(_)) => "open",
    }
}

/// Appends what is known of a chunk, and begins its object only.
pub(super) fn begin_chunk(connection: &Connection, chunk: &Chunk, json: &mut Json) {
    json.begin('{');
    json.name("number").value(chunk.number);
    json.name("from").string(chunk.direction.sender().name());
    json.name("at_ns").value(chunk.time.nanos_since(connection.opened));
    json.name("offset").value(chunk.offset);
    json.name("len").value(chunk.bytes.len());
}

/// Appends how much is held, as members of an object.
pub(super) fn room(store: &Store, json: &mut Json) {
    let ((budget, held), let_go) = (store.room(), store.let_go());
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    json.name("now").time(Timestamp(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)));
    json.name("ended").value(store.has_ended());
    json.name("buffer").begin('{');
    json.name("bytes").value(budget);
    json.name("held_bytes").value(held);
    json.name("let_go_bytes").value(let_go.bytes);
    json.name("let_go_connections").value(let_go.connections);
    json.end('}');
}
