//! All integration tests in one binary, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod capture;
#[cfg(feature = "cli")]
mod cli;
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
mod packet;
#[cfg(feature = "cli")]
mod programs;
mod public_api;
#[cfg(feature = "cli")]
mod readme;
mod relay;
mod scarce;
#[cfg(feature = "cli")]
mod signals;
mod sinks;
mod support;
mod tidy;
mod transform;
