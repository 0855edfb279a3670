//! Recorded sessions, followed as they were recorded and in many other ways.

mod closed;
mod random;
mod recorded;
mod session;
