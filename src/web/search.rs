//! Which connections carried some bytes.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use memchr::memmem::Finder;

use super::connection::Connection;
use super::download::leave;
use super::json::Json;
use super::query::{Query, from_hex};
use super::refusal::Refusal;
use super::shared::App;
use crate::event::{ConnectionId, Direction, View};

/// Bytes of one side of a connection, in one view, without a gap.
struct Run {
    connection: ConnectionId,
    view: View,
    direction: Direction,
    offset: u64,
    pieces: Vec<Bytes>,
}

/// `GET /api/search?text=…` or `?hex=…`: the connections in whose data that stands, and where it
/// stands first.
pub(super) async fn search(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = Query::new(query.as_deref());
    let wrong = |what: &str| Refusal::new(StatusCode::BAD_REQUEST, what);
    let wanted = match (query.get("text"), query.get("hex")) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(hex)) => from_hex(hex)
            .ok_or_else(|| wrong("hex= needs pairs of hexadecimal digits, such as 0d0a"))?,
        _ => return Err(wrong("nothing to search for (give text= or hex=)")),
    };
    if wanted.is_empty() {
        return Err(wrong("nothing to search for (give text= or hex= a value)"));
    }
    let leave = leave(&app)?;
    let runs: Vec<_> = app.store().connections().flat_map(runs).collect();
    let found = tokio::task::spawn_blocking(move || {
        let _leave = leave;
        told(&runs, &wanted)
    });
    let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the search failed: a bug");
    let found = found.await.map_err(failed)?;
    Ok(([(CONTENT_TYPE, "application/json")], found).into_response())
}

/// What is held of a connection.
fn runs(connection: &Connection) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for view in [View::Wire, View::Plain] {
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            let mut end = None;
            for chunk in connection.chunks(view).filter(|chunk| chunk.direction == direction) {
                if end != Some(chunk.offset) {
                    let (connection, offset) = (connection.id, chunk.offset);
                    runs.push(Run { connection, view, direction, offset, pieces: Vec::new() });
                }
                if let Some(run) = runs.last_mut() {
                    run.pieces.push(chunk.bytes.clone());
                }
                end = Some(chunk.end());
            }
        }
    }
    runs
}

fn told(runs: &[Run], wanted: &[u8]) -> String {
    let mut json = Json::default();
    json.begin('{');
    json.name("found").begin('[');
    let mut last = None;
    for run in runs {
        // One place of each connection is enough.
        if last == Some(run.connection) {
            continue;
        }
        let Some(at) = find(&run.pieces, wanted) else { continue };
        last = Some(run.connection);
        json.begin('{');
        json.name("conn").value(run.connection);
        json.name("from").string(run.direction.sender().name());
        json.name("view").string(run.view.name());
        json.name("offset").value(run.offset + at);
        json.end('}');
    }
    json.end(']');
    json.end('}');
    json.into_text()
}

/// Where `wanted` begins first, also where it lies across pieces.
fn find(pieces: &[Bytes], wanted: &[u8]) -> Option<u64> {
    let finder = Finder::new(wanted);
    // What may be the beginning of it, from the pieces before.
    let mut tail: Vec<u8> = Vec::new();
    let mut passed = 0;
    for piece in pieces {
        let kept = tail.len();
        tail.extend_from_slice(&piece[..piece.len().min(wanted.len() - 1)]);
        if let Some(at) = finder.find(&tail) {
            return Some(passed - kept as u64 + at as u64);
        }
        if let Some(at) = finder.find(piece) {
            return Some(passed + at as u64);
        }
        if piece.len() >= wanted.len() {
            tail.clear();
            tail.extend_from_slice(&piece[piece.len() - (wanted.len() - 1)..]);
        } else {
            tail.drain(..tail.len().saturating_sub(wanted.len() - 1));
        }
        passed += piece.len() as u64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(pieces: &[&str], wanted: &str) -> Option<u64> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Bytes::from(piece.to_string())).collect();
        find(&pieces, wanted.as_bytes())
    }

    #[test]
    fn text_is_found_within_and_across_pieces() {
        assert_eq!(find_in(&["hello world"], "world"), Some(6));
        assert_eq!(find_in(&["hel", "lo w", "orld"], "world"), Some(6));
        assert_eq!(find_in(&["h", "e", "l", "l", "o"], "ello"), Some(1));
        assert_eq!(find_in(&["aab", "aab"], "baa"), Some(2));
        assert_eq!(find_in(&["hello"], "x"), None);
        assert_eq!(find_in(&["ab", "ba"], "b"), Some(1));
        assert_eq!(find_in(&["aaaa", "aaab"], "aab"), Some(5));
    }
}
