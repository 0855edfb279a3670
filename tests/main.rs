//! All integration tests in one binary, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod ends;
mod fidelity;
mod relay;
mod sinks;
mod support;
