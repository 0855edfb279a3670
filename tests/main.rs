//! All integration tests in one binary, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod capture;
#[cfg(feature = "cli")]
mod cli;
mod clock;
mod confinement;
mod console;
mod contract;
mod crash;
mod dependencies;
mod embedding;
mod ends;
mod examples;
#[cfg(feature = "cli")]
mod extcap;
#[cfg(feature = "cli")]
mod faults;
mod fidelity;
mod fixtures;
#[cfg(feature = "cli")]
mod full_disk;
#[cfg(feature = "cli")]
mod info;
mod ingress;
#[cfg(feature = "run")]
mod launch;
#[cfg(feature = "cli")]
mod live;
#[cfg(feature = "cli")]
mod log;
mod loops;
mod packet;
#[cfg(feature = "cli")]
mod payload_calls;
#[cfg(feature = "cli")]
mod processes;
#[cfg(feature = "cli")]
mod programs;
#[cfg(feature = "cli")]
mod proxies;
#[cfg(feature = "run")]
mod public_api;
#[cfg(feature = "cli")]
mod readme;
mod relay;
#[cfg(feature = "cli")]
mod rotation;
#[cfg(feature = "cli")]
mod run;
mod scarce;
#[cfg(feature = "cli")]
mod scopes;
#[cfg(feature = "cli")]
mod signals;
mod sinks;
#[cfg(feature = "cli")]
mod status;
mod support;
#[cfg(feature = "cli")]
mod systemd;
mod tidy;
#[cfg(all(feature = "cli", feature = "tls"))]
mod tls;
mod transform;
#[cfg(feature = "cli")]
mod two_writers;
mod unix_sockets;
#[cfg(feature = "cli")]
mod usage;
mod verdict;
#[cfg(feature = "cli")]
mod web;
