//! Answers to requests.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;

use super::assets;
use super::connection::{Connection, Range};
use super::download::{VIEWS, as_file, capture, conversation, number, unknown};
use super::feed::events;
use super::guard::guard;
use super::json::Json;
use super::query::Query;
use super::refusal::Refusal;
use super::rows::{begin_chunk, begin_shown, room, row};
use super::search::search;
use super::shared::App;
use crate::event::{Direction, Side};

const SIDES: [(&str, Side); 2] = [("client", Side::Client), ("server", Side::Server)];
/// The most chunks in one answer.
const CHUNKS: u64 = 10_000;

/// The page and what it asks for.
pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(assets::page))
        .route("/page/{name}", get(assets::file))
        .route("/api/connections", get(connections))
        .route("/api/connections/{id}", get(connection))
        .route("/api/connections/{id}/data", get(data))
        .route("/api/connections/{id}/conversation", get(conversation))
        .route("/api/capture.pcapng", get(capture))
        .route("/api/search", get(search))
        .route("/api/events", get(events))
        .fallback(|| async { Refusal::not_found("there is no such page (try /)") })
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// `GET /api/connections`: all that are held.
async fn connections(State(app): State<App>) -> Response {
    let store = app.store();
    let mut json = Json::default();
    json.begin('{');
    room(&store, &mut json);
    json.name("connections").begin('[');
    store.connections().for_each(|connection| row(connection, &mut json));
    json.end(']');
    json.end('}');
    answered(json)
}

/// `GET /api/connections/{id}`: one, and the chunks of its data that are held, after a number.
async fn connection(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (id, query) = (number(&id)?, Query::new(query.as_deref()));
    let (view, after) = (query.choice("view", &VIEWS)?, query.number("after")?);
    let most = query.number("limit")?.unwrap_or(CHUNKS).min(CHUNKS) as usize;
    let store = app.store();
    let connection = store.get(id).ok_or_else(|| unknown(id))?;
    let (mut json, view) = begin_shown(connection, view);
    json.name("chunks").begin('[');
    let mut chunks =
        connection.chunks(view).filter(|chunk| after.is_none_or(|after| chunk.number > after));
    for chunk in chunks.by_ref().take(most) {
        begin_chunk(connection, chunk, &mut json);
        json.end('}');
    }
    json.end(']');
    json.name("more").value(chunks.next().is_some());
    json.end('}');
    Ok(answered(json))
}

/// `GET /api/connections/{id}/data`: bytes of one side, as they are.
async fn data(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (id, query) = (number(&id)?, Query::new(query.as_deref()));
    let wrong = |what: &str| Refusal::new(StatusCode::BAD_REQUEST, what);
    let side = query.choice("side", &SIDES)?;
    let side = side.ok_or_else(|| wrong("whose data? (give side=client or side=server)"))?;
    let (from, len) = (query.number("from")?, query.number("len")?.unwrap_or(u64::MAX));
    let view = query.choice("view", &VIEWS)?;
    let store = app.store();
    let connection = store.get(id).ok_or_else(|| unknown(id))?;
    let view = view.unwrap_or_else(|| connection.readable());
    let direction = Direction::from(side);
    let (offset, pieces) = match connection.range(view, direction, from, len) {
        Range::Held { offset, bytes } => (offset, bytes),
        Range::Beyond => (connection.passed(view, direction), Vec::new()),
        Range::NotHeld { next } => return Err(not_held(connection, from, next)),
    };
    let total = connection.passed(view, direction);
    let file = as_file(&format!("connection-{id}-{side}.bin"), "application/octet-stream");
    let told = [("x-offset", offset.to_string()), ("x-total", total.to_string())];
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    Ok((file, told, Body::from_stream(pieces)).into_response())
}

fn not_held(connection: &Connection, from: Option<u64>, next: u64) -> Refusal {
    let (id, from) = (connection.id, from.unwrap_or_default());
    let what = format!("bytes {from} to {next} of connection {id} are not held");
    Refusal::new(StatusCode::GONE, format!("{what} (try from={next})"))
}

fn answered(json: Json) -> Response {
    ([(CONTENT_TYPE, "application/json")], json.into_text() + "\n").into_response()
}
