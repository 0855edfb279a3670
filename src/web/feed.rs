//! What changes, as server-sent events.
//!
//! Nothing is queued for a page: each asks for what changed since the version that it has, whenever
//! its socket has room. One that reads slowly skips what came in between.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;

use super::json::Json;
use super::rows::{room, row};
use super::shared::App;
use super::store::Since;

/// Changes gather for this long before they are sent.
const PACE: Duration = Duration::from_millis(100);
/// So many connections are sent in one event at most.
const ROWS: usize = 500;
/// A page that is gone is found out by a comment this often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How far a page has come.
struct Feed {
    app: App,
    published: watch::Receiver<u64>,
    version: u64,
    step: Step,
}

/// What comes next.
enum Step {
    /// The page begins, or begins anew.
    Reset,
    /// What changed, at once.
    Now,
    /// What changes from now on.
    Wait,
    /// Nothing more.
    End,
}

/// Sends what there is, then what changes.
pub(super) async fn events(
    State(app): State<App>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let resumed = last.and_then(|id| id.split_once('-')).filter(|(run, _)| *run == app.run);
    let version = resumed.and_then(|(_, version)| version.parse().ok());
    let step = if version.is_some() { Step::Now } else { Step::Reset };
    let published = app.published.subscribe();
    let feed = Feed { app, published, version: version.unwrap_or_default(), step };
    let events = unfold(feed, |mut feed| async { feed.next().await.map(|event| (event, feed)) });
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

impl Feed {
    async fn next(&mut self) -> Option<Result<Event, Infallible>> {
        loop {
            match self.step {
                Step::End => return None,
                Step::Reset => {
                    self.version = 0;
                    self.step = Step::Now;
                    let reset = Event::default().event("reset").retry(Duration::from_secs(1));
                    return Some(Ok(reset.data(self.app.run.as_str())));
                }
                Step::Now => {}
                Step::Wait => {
                    tokio::time::sleep(PACE).await;
                    let version = self.version;
                    let _ = self.published.wait_for(|published| *published > version).await;
                }
            }
            if let Some(event) = self.changes() {
                return Some(Ok(event));
            }
        }
    }

    /// What changed, and what to do after it. Nothing where the page has to begin anew.
    fn changes(&mut self) -> Option<Event> {
        let store = self.app.store();
        let Since::Known { rows, removed, version, more } = store.since(self.version, ROWS) else {
            self.step = Step::Reset;
            return None;
        };
        let mut json = Json::default();
        json.begin('{');
        room(&store, &mut json);
        json.name("rows").begin('[');
        rows.into_iter().for_each(|connection| row(connection, &mut json));
        json.end(']');
        json.name("removed").begin('[');
        removed.into_iter().for_each(|id| json.value(id));
        json.end(']');
        json.name("more").value(more);
        json.end('}');
        self.version = version;
        self.step = match more {
            true => Step::Now,
            false if store.has_ended() => Step::End,
            false => Step::Wait,
        };
        let id = format!("{}-{version}", self.app.run);
        Some(Event::default().event("rows").id(id).data(json.into_text()))
    }
}
