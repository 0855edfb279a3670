//! All integration tests in one binary, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod embedding;
mod ends;
mod examples;
mod fidelity;
mod packet;
mod relay;
mod support;
mod tidy;
mod transform;
