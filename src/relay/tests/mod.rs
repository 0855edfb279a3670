//! The machine without a socket: dialogues that read as one, and random ones that hold its
//! contract.

mod dialogue;
mod drains;
mod random;
mod script;
mod timeouts;
mod transforms;
