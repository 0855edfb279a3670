//! See any TCP conversation in Wireshark without root, without changing it, without losing a
//! byte of it.
//!
//! # The event contract
//!
//! For each connection there is exactly one `Open` first, then `Connected` or not, and exactly
//! one `Close` last, with who ended it and why. There is at most one `Shutdown` a direction, and
//! no `Data` of that direction after it. `Data` of one direction and leg is contiguous: each
//! offset is the sum of the lengths before it, unless the sink chose to drop. Events of one
//! connection are in order and their timestamps never decrease; connections interleave. Chunk
//! boundaries are what the kernel delivered and mean nothing. A timestamp is taken when the I/O
//! completed, not when a sink got to it.

pub mod event;
pub mod hexdump;
pub mod packet;
mod ring;
pub mod sink;
pub mod transform;
pub mod tunnel;
