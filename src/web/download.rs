//! What is written while it is sent: captures and whole conversations.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};

use super::connection::{Chunk, Connection};
use super::json::Json;
use super::query::Query;
use super::refusal::Refusal;
use super::rows::{begin_chunk, begin_shown};
use super::shared::{App, Shared};
use crate::capture::PcapngSink;
use crate::event::{ConnectionId, Event, View};
use crate::packet::Legs;
use crate::sink::Sink;

/// What is written gathers up to this size.
const BATCH: usize = 256 * 1024;
/// A reader who takes nothing for this long is given up.
const STALLED: Duration = Duration::from_secs(30);

/// `GET /api/capture.pcapng`: some connections, or all, as Wireshark reads them.
pub(super) async fn capture(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let chosen = Query::new(query.as_deref()).connections()?;
    let events = app.store().events(|id| chosen.has(id));
    if let Some(id) = chosen.only().filter(|_| events.is_empty()) {
        return Err(unknown(id));
    }
    let name = chosen.only().map_or_else(|| "tcp_tunn".to_owned(), |id| format!("connection-{id}"));
    let mut options = app.capture.clone();
    options.legs = Legs::Direct;
    let write = move |output: Output| {
        let mut sink = PcapngSink::new(output, options)?;
        events.iter().try_for_each(|event: &Event| sink.record(event))?;
        sink.finish()
    };
    written(&app, &format!("{name}.pcapng"), "application/x-pcapng", write)
}

/// `GET /api/connections/{id}/conversation`: both sides in order, in JSON.
pub(super) async fn conversation(
    State(app): State<App>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (id, query) = (number(&id)?, Query::new(query.as_deref()));
    let view = query.choice("view", &VIEWS)?;
    let (json, chunks) = {
        let store = app.store();
        let connection = store.get(id).ok_or_else(|| unknown(id))?;
        let (json, view) = begin_shown(connection, view);
        let chunks: Vec<_> = connection.chunks(view).map(|chunk| told(connection, chunk)).collect();
        (json, chunks)
    };
    let write = move |output: Output| write_conversation(json, chunks, output);
    written(&app, &format!("connection-{id}.json"), "application/json", write)
}

/// A chunk's object so far, and its bytes.
fn told(connection: &Connection, chunk: &Chunk) -> (String, Bytes) {
    let mut json = Json::default();
    begin_chunk(connection, chunk, &mut json);
    (json.into_text(), chunk.bytes.clone())
}

fn write_conversation(
    mut json: Json,
    chunks: Vec<(String, Bytes)>,
    mut output: Output,
) -> io::Result<()> {
    json.name("chunks").begin('[');
    for (object, bytes) in chunks {
        let data = STANDARD.encode(bytes);
        json.value(format_args!("{object},\"data\":\"{data}\"}}"));
        if json.len() >= BATCH {
            output.write_all(json.take().as_bytes())?;
        }
    }
    json.end(']');
    json.end('}');
    output.write_all(json.into_text().as_bytes())
}

/// The names of views.
pub(super) const VIEWS: [(&str, View); 2] = [("wire", View::Wire), ("plain", View::Plain)];

/// The number of a connection.
pub(super) fn number(id: &str) -> Result<ConnectionId, Refusal> {
    let what = || format!("{id:?} is no number of a connection (expected one such as 1)");
    id.parse().map(ConnectionId).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, what()))
}

/// A connection that is not there.
pub(super) fn unknown(id: ConnectionId) -> Refusal {
    let what = "is not held: it has not been opened, or was let go";
    Refusal::not_found(format!("connection {id} {what} (see /api/connections)"))
}

/// Leave to do what takes long.
pub(super) fn leave(app: &Shared) -> Result<impl Drop + Send + 'static, Refusal> {
    app.heavy.clone().try_acquire_owned().map_err(|_| {
        let what = "too many downloads and searches are under way (try again in a moment)";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what)
    })
}

/// An answer that `write` writes on a thread of its own, as a file of that name.
fn written(
    app: &App,
    name: &str,
    content_type: &'static str,
    write: impl FnOnce(Output) -> io::Result<()> + Send + 'static,
) -> Result<Response, Refusal> {
    let leave = leave(app)?;
    let (sender, receiver) = channel(2);
    let output = Output { sender: sender.clone(), runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let _leave = leave;
        if let Err(error) = write(output) {
            // The reader sees that the answer is cut off, or is gone.
            let _ = sender.try_send(Err(error));
        }
    });
    let pieces = unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok((as_file(name, content_type), Body::from_stream(pieces)).into_response())
}

/// What makes a browser save an answer as a file. The name is made of our own words and numbers.
pub(super) fn as_file(
    name: &str,
    content_type: &'static str,
) -> [(axum::http::HeaderName, String); 2] {
    let disposition = format!("attachment; filename=\"{name}\"");
    [(CONTENT_TYPE, content_type.to_owned()), (CONTENT_DISPOSITION, disposition)]
}

/// The way to whoever reads an answer, who is waited for.
struct Output {
    sender: Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(BATCH)];
        let sent = self.sender.send_timeout(Ok(Bytes::copy_from_slice(piece)), STALLED);
        self.runtime.block_on(sent).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
