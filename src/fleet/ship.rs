//! Ships batches to JetStream until each is acknowledged.

use std::error::Error;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Config;
use async_nats::{Client, Statistics};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::origin::PREFIX;
use super::outbox::{Outbox, Parcel};
use super::server::Server;
use super::spill;

/// How many batches may be on their way at once.
const WINDOW: usize = 64;
/// How often it is looked whether the connection still stands that an acknowledgment is to come by.
const LOOK: Duration = Duration::from_millis(100);
/// Waits between attempts double from the first of these to the second.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// The stream that is made where none takes the batches, and how long it keeps them.
pub(super) const STREAM: &str = "tcp_tunn";
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What every batch is shipped by.
#[derive(Clone)]
struct Shipping {
    client: Client,
    context: Context,
    server: Arc<str>,
    /// Whether the log says already that the server takes nothing.
    has_complained: Arc<AtomicBool>,
}

/// Why an attempt has failed.
enum Failed {
    /// It may do another time.
    ForNow(String),
    /// It never will.
    ForGood(String),
}

/// Ships all batches of an outbox, until it is closed.
pub(super) fn run(server: &Server, outbox: &Outbox) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let shipped = match runtime {
        Ok(runtime) => runtime.block_on(ship(server, outbox)),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = shipped {
        outbox.fail(why);
    }
}

async fn ship(server: &Server, outbox: &Outbox) -> Result<(), String> {
    let (client, context) = server.connect().await?;
    let (server, has_complained) = (server.to_string().into(), Arc::default());
    let shipping = Shipping { client, context, server, has_complained };
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            next = outbox.next(), if under_way.len() < WINDOW => {
                let Some((ticket, parcel)) = next else { return Ok(()) };
                let shipping = shipping.clone();
                under_way.spawn(async move { shipping.deliver(parcel).await.map(|()| ticket) });
            }
            Some(delivered) = under_way.join_next() => {
                let ticket = delivered.map_err(|error| error.to_string())??;
                outbox.acknowledged(ticket);
            }
        }
    }
}

impl Shipping {
    /// Ships one batch, however long it takes, and removes its file.
    async fn deliver(&self, parcel: Parcel) -> Result<(), String> {
        let payload = match (&parcel.payload, &parcel.file) {
            (Some(payload), _) => payload.clone(),
            (None, Some(path)) => match spill::read(path) {
                Ok((_, payload)) => payload,
                Err(error) => return Err(format!("cannot read '{}': {error}", path.display())),
            },
            (None, None) => return Ok(()),
        };
        let [mut wait, longest] = WAITS;
        loop {
            match self.attempt(&parcel, payload.clone()).await {
                Ok(()) => break,
                Err(Failed::ForGood(why)) => return Err(why),
                Err(Failed::ForNow(why)) => {
                    if !self.has_complained.swap(true, Relaxed) {
                        tracing::warn!("{} takes no batch: {why}; trying again", self.server);
                    }
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
        self.has_complained.store(false, Relaxed);
        match parcel.file.map_or(Ok(()), fs::remove_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    async fn attempt(&self, parcel: &Parcel, payload: Bytes) -> Result<(), Failed> {
        while self.client.connection_state() != State::Connected {
            sleep(LOOK).await;
        }
        let connects = self.connects();
        let message = PublishMessage::build().payload(payload).message_id(&parcel.id);
        let sent = self.context.send_publish(parcel.subject.clone(), message).await;
        let mut acknowledging = match sent {
            Ok(acknowledging) => std::pin::pin!(acknowledging.into_future()),
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                let (len, most) = (parcel.len, self.client.max_payload());
                let remedy = "try a max_payload of 1MB or more in the server's configuration";
                let why = format!("the server takes {most} bytes a message, a batch has {len}");
                return Err(Failed::ForGood(format!("{why} ({remedy})")));
            }
            Err(error) => return Err(Failed::ForNow(words(&error))),
        };
        loop {
            match timeout(LOOK, &mut acknowledging).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if error.kind() == PublishErrorKind::StreamNotFound => {
                    return self.make_stream().await.map_err(Failed::ForNow);
                }
                Ok(Err(error)) => return Err(Failed::ForNow(words(&error))),
                // The acknowledgment would have come by the connection before.
                Err(_) if self.connects() != connects => {
                    return Err(Failed::ForNow("the connection broke".to_owned()));
                }
                Err(_) => {}
            }
        }
    }

    fn connects(&self) -> u64 {
        let statistics: Arc<Statistics> = self.client.statistics();
        statistics.connects.load(Relaxed)
    }

    /// Makes a stream for all batches, where the operator has made none.
    async fn make_stream(&self) -> Result<(), String> {
        let subjects = vec![format!("{PREFIX}.>")];
        let config =
            Config { name: STREAM.to_owned(), subjects, max_age: MAX_AGE, ..Config::default() };
        let made = self.context.create_stream(config).await;
        made.map_err(|error| {
            let why = words(&error);
            format!(
                "no stream takes {PREFIX}.> and none can be made: {why} (try 'nats stream add')"
            )
        })?;
        Err("a stream was made for it".to_owned())
    }
}

/// An error and what it came from, in one line.
pub(super) fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}
