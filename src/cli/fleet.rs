//! Publishing: `--publish` and what belongs to it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::builder::{StringValueParser, TypedValueParser};
use tcp_tunn::fleet::{Credentials, PublishOptions, PublishSink, Server};
use tcp_tunn::os_error::Sentence;

/// Where events are published.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fleet options")]
pub(super) struct FleetArgs {
    /// Publish all events to this NATS server, for tcp_tunn collect
    ///
    /// Publish all events to this NATS server (nats://[USER:PASS@]HOST:PORT or tls://...), for
    /// tcp_tunn collect. NATS_USER and NATS_PASSWORD, NATS_TOKEN or NATS_CREDS in the environment
    /// say who we are.
    #[arg(long, value_name = "URL", value_parser = server(), hide_short_help = true)]
    publish: Option<Server>,

    /// Publish as a host of this site
    #[arg(long, value_name = "NAME", default_value = "default", hide_short_help = true)]
    site: String,

    /// Keep what the server has not acknowledged in this directory
    ///
    /// Keep what the server has not acknowledged in this directory, up to 4 GiB. The next run sends
    /// what a run has left.
    #[arg(long, value_name = "DIR", requires = "publish", hide_short_help = true)]
    publish_spill: Option<PathBuf>,
}

/// The URL of a NATS server.
pub(super) fn server() -> impl TypedValueParser<Value = Server> {
    StringValueParser::new().try_map(|url| Server::new(url, Credentials::None))
}

/// A server that knows us by what the environment says.
pub(super) fn known_to(mut server: Server) -> Server {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let text = |value: OsString| value.to_string_lossy().into_owned();
    let user = variable("NATS_USER").zip(variable("NATS_PASSWORD"));
    server.credentials = if let Some(path) = variable("NATS_CREDS") {
        Credentials::File(path.into())
    } else if let Some(token) = variable("NATS_TOKEN") {
        Credentials::Token(text(token))
    } else if let Some((user, password)) = user {
        Credentials::User(text(user), text(password))
    } else {
        Credentials::None
    };
    server
}

impl FleetArgs {
    /// Starts to publish, if that is asked for; with what the server is called.
    pub(super) fn publish(&self) -> anyhow::Result<Option<(String, PublishSink)>> {
        let Some(server) = self.publish.clone().map(known_to) else { return Ok(None) };
        let name = server.to_string();
        let mut options = PublishOptions::new(server);
        options.site.clone_from(&self.site);
        options.spill.clone_from(&self.publish_spill);
        let sink = PublishSink::new(&options).map_err(|error| {
            let (spill, error) = (self.publish_spill.as_deref(), Sentence(&error));
            let spill = spill.unwrap_or_else(|| Path::new("")).display();
            anyhow!("cannot publish by way of '{spill}': {error} (choose another directory)")
        })?;
        Ok(Some((name, sink)))
    }
}
