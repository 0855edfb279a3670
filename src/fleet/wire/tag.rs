//! What a record is.

pub(super) const OPEN: u8 = 0;
pub(super) const CONNECTED: u8 = 1;
pub(super) const DATA: u8 = 2;
pub(super) const SHUTDOWN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const TLS: u8 = 5;
pub(super) const SECRETS: u8 = 6;
pub(super) const KNOWN: u8 = 7;
pub(super) const END: u8 = 8;
/// The program of a client, found after its opening.
pub(super) const PROCESS: u8 = 9;
