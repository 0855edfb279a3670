//! Metrics for Prometheus: connections, bytes, queues, as they are when somebody asks.
//!
//! [`MetricsSink`] takes events without data, so that it costs the relay next to nothing. What
//! moves while a connection is open comes from whoever made the sink, who is asked at each scrape.

mod counted;
mod labels;
mod options;

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

pub use self::options::{MetricsOptions, Sample};

use self::counted::{Counted, Format};
use crate::event::Event;
use crate::sink::{Interest, Sink};
use crate::web::server::Server;

/// How long a scrape under way may take at the end.
const LINGER: Duration = Duration::from_secs(1);

/// A sink that counts, and tells Prometheus what it has counted.
pub struct MetricsSink {
    counted: Arc<Mutex<Counted>>,
    server: Server,
}

impl MetricsSink {
    /// Listens on `address`, of several on the first that can be, and answers `GET /metrics`.
    /// `sample` is asked at each scrape.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on, or there is no thread for it.
    pub fn bind(
        address: impl ToSocketAddrs,
        options: MetricsOptions,
        sample: impl Fn() -> Sample + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let counted = Arc::new(Mutex::new(Counted::new(options)));
        let scraped = Scraped { counted: Arc::clone(&counted), sample: Arc::new(sample) };
        let router = Router::new().route("/metrics", get(metrics)).with_state(scraped);
        Ok(Self { counted, server: Server::start("metrics", listener, router)? })
    }

    /// The address that is listened on, with the real port where port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

impl Sink for MetricsSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        locked(&self.counted).event(event);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.server.finish(LINGER);
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest::LIFECYCLE.info()
    }
}

/// What a scrape needs.
#[derive(Clone)]
struct Scraped {
    counted: Arc<Mutex<Counted>>,
    sample: Arc<dyn Fn() -> Sample + Send + Sync>,
}

fn locked(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    // A count may be missing where somebody panicked.
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `GET /metrics`
async fn metrics(State(scraped): State<Scraped>, headers: HeaderMap) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
    let (format, content_type) = match accepted {
        Some(accepted) if accepted.contains("application/openmetrics-text") => {
            let version = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (Format::OpenMetrics, version)
        }
        _ => (Format::Prometheus, "text/plain; version=0.0.4; charset=utf-8"),
    };
    let sample = (scraped.sample)();
    let mut text = String::new();
    let mut counted = locked(&scraped.counted);
    counted.update(sample);
    // Writing to a string does not fail.
    let _ = counted.encode(format, &mut text);
    ([(CONTENT_TYPE, content_type)], text).into_response()
}
