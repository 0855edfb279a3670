//! All integration tests in one binary, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod contract;
mod ends;
mod fidelity;
mod relay;
mod scarce;
mod sinks;
mod support;
