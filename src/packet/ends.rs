//! How a stream is drawn to its end, by the reason for which its connection ended.

use super::stream::{At, Stream};
use super::{Interface, PacketWriter};
use crate::event::{CloseReason, Side};

/// The end of a stream that both sides had agreed on.
pub(super) fn end_of_stream<W: PacketWriter>(
    interface: Interface,
    stream: &mut Stream,
    reason: &CloseReason,
    said: [u64; 2],
    comment: &str,
    at: &mut At<'_, W>,
) -> Result<(), W::Error> {
    let CloseReason::Finished { first } = reason else {
        return stream.reset(at, resetting_side(interface, reason), said, comment);
    };
    for side in [*first, !*first] {
        stream.finish(at, side, said[side as usize], None)?;
    }
    Ok(())
}

/// The end of a connection that the server never answered, or with a refusal.
pub(super) fn end_of_attempt<W: PacketWriter>(
    interface: Interface,
    stream: &mut Stream,
    reason: &CloseReason,
    comment: &str,
    at: &mut At<'_, W>,
) -> Result<(), W::Error> {
    match reason {
        _ if is_silent(interface, reason) => Ok(()),
        CloseReason::Unreachable { errno } => {
            stream.unreachable(at, is_about_a_network(*errno), comment)
        }
        CloseReason::Reset { by: Side::Client } => stream.reset(at, Side::Client, [0; 2], comment),
        _ => stream.refuse(at, comment),
    }
}

/// Whether an attempt that ended for `reason` left nothing on the wire but its SYN.
///
/// What the tunnel or the client ends is seen by the client as a reset, but the server's leg shows
/// only what the server did.
pub(super) const fn is_silent(interface: Interface, reason: &CloseReason) -> bool {
    match reason {
        CloseReason::ConnectTimeout => true,
        CloseReason::Refused
        | CloseReason::Unreachable { .. }
        | CloseReason::Reset { by: Side::Server } => false,
        _ => matches!(interface, Interface::ServerLeg),
    }
}

/// Who is seen to reset a stream: the peer that did, on its own leg; else the tunnel, which is
/// the server to the client and the client to the server.
fn resetting_side(interface: Interface, reason: &CloseReason) -> Side {
    let by = match reason {
        CloseReason::Reset { by } => Some(*by),
        _ => None,
    };
    match (interface, by) {
        (Interface::Direct, Some(by)) => by,
        (Interface::ServerLeg, Some(Side::Server)) => Side::Server,
        (Interface::ServerLeg, _) => Side::Client,
        (Interface::ClientLeg, Some(Side::Client)) => Side::Client,
        (Interface::ClientLeg | Interface::Direct, _) => Side::Server,
    }
}

/// Whether an error number speaks of a whole network.
const fn is_about_a_network(errno: i32) -> bool {
    // ENETDOWN and ENETUNREACH of Linux; this layer knows no operating system otherwise.
    matches!(errno, 100 | 101)
}
