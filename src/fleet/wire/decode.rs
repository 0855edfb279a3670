//! A batch to events. Never panics, whatever the bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::fields::Fields;
use super::{BODY_MAX, Batch, Known, MAGIC, Record, WireError, tag};
use crate::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Event, EventKind, Leg, Open,
    Process, Timestamp, Tls, TlsState, Totals, View,
};

/// Reads a batch.
///
/// # Errors
///
/// The bytes are no batch of this version, or a damaged one.
pub fn decode(batch: &[u8]) -> Result<Batch, WireError> {
    let [magic @ .., version] = MAGIC;
    let rest = batch.strip_prefix(&magic).ok_or(WireError::Magic)?;
    let (found, rest) = rest.split_first().ok_or(WireError::Magic)?;
    if *found != version {
        return Err(WireError::Version(*found));
    }
    let (len, frame) = rest.split_first_chunk().ok_or(WireError::Damaged)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > BODY_MAX {
        return Err(WireError::TooLong);
    }
    let body = zstd::bulk::decompress(frame, len).map_err(|_| WireError::Damaged)?;
    if body.len() != len {
        return Err(WireError::Damaged);
    }
    let mut body = Fields(body.into());
    let number = body.number()?;
    let mut records = Vec::new();
    let mut time = Timestamp(0);
    while !body.is_empty() {
        let tag: u8 = body.narrow()?;
        let connection = ConnectionId(body.number()?);
        time = Timestamp(time.0.wrapping_add(body.signed()? as u64));
        let fields = Fields(body.bytes()?);
        records.extend(record(tag, connection, time, fields)?);
    }
    Ok(Batch { number, records })
}

/// A record, `None` where this version does not know it. Fields that later versions append are
/// left unread.
fn record(
    tag: u8,
    connection: ConnectionId,
    time: Timestamp,
    mut fields: Fields,
) -> Result<Option<Record>, WireError> {
    let kind = match tag {
        tag::OPEN => EventKind::Open(Arc::new(open(&mut fields)?)),
        tag::CONNECTED => EventKind::Connected(Arc::new(connected(&mut fields)?)),
        tag::DATA => data(fields)?,
        tag::SHUTDOWN => {
            let (direction, view) = flags(&mut fields)?;
            EventKind::Shutdown { direction, view, totals: totals(&mut fields)? }
        }
        tag::CLOSE => {
            let client_to_server = totals(&mut fields)?;
            let totals = BothTotals { client_to_server, server_to_client: totals(&mut fields)? };
            EventKind::Close { totals, reason: reason(&mut fields)? }
        }
        tag::TLS => EventKind::Tls(Arc::new(tls(&mut fields)?)),
        tag::SECRETS => {
            let mut lines = Vec::new();
            while !fields.is_empty() {
                lines.push(fields.text()?.to_string());
            }
            EventKind::Secrets(lines.into())
        }
        tag::PROCESS => EventKind::Process(process(&mut fields)?),
        tag::KNOWN => return known(connection, &mut fields).map(Record::Known).map(Some),
        tag::END => return Ok(Some(Record::End)),
        _ => return Ok(None),
    };
    Ok(Some(Record::Event(Event { connection, time, kind })))
}

fn data(mut fields: Fields) -> Result<EventKind, WireError> {
    let (direction, view) = flags(&mut fields)?;
    let offset = fields.number()?;
    let bytes: Bytes = fields.0;
    // No sink expects data without any, or beyond what can be counted.
    if bytes.is_empty() || offset.checked_add(bytes.len() as u64).is_none() {
        return Err(WireError::Field);
    }
    Ok(EventKind::Data { direction, leg: Leg::Received, view, offset, bytes })
}

fn flags(fields: &mut Fields) -> Result<(Direction, View), WireError> {
    let flags = fields.number()?;
    let direction =
        if flags & 1 == 0 { Direction::ClientToServer } else { Direction::ServerToClient };
    match flags >> 1 {
        0 => Ok((direction, View::Wire)),
        1 => Ok((direction, View::Plain)),
        _ => Err(WireError::Field),
    }
}

fn totals(fields: &mut Fields) -> Result<Totals, WireError> {
    Ok(Totals { received: fields.number()?, sent: fields.number()? })
}

fn open(fields: &mut Fields) -> Result<Open, WireError> {
    let (client, listener) = (fields.endpoint()?, fields.endpoint()?);
    let open = Open::new(client, listener, fields.text()?);
    let server = fields.optional(Fields::endpoint)?;
    let process = fields.optional(process)?;
    Ok(open.server(server).process(process))
}

fn process(fields: &mut Fields) -> Result<Process, WireError> {
    Ok(Process::new(fields.narrow()?, fields.text()?))
}

fn connected(fields: &mut Fields) -> Result<Connected, WireError> {
    Ok(Connected { server: fields.endpoint()?, local: fields.endpoint()? })
}

fn known(connection: ConnectionId, fields: &mut Fields) -> Result<Known, WireError> {
    let opened = Timestamp(fields.number()?);
    let open = Arc::new(open(fields)?);
    let connected = fields.optional(|fields| {
        let time = Timestamp(fields.number()?);
        Ok((time, Arc::new(connected(fields)?)))
    })?;
    let said = [fields.number()?, fields.number()?];
    Ok(Known { connection, opened, open, connected, said })
}

fn tls(fields: &mut Fields) -> Result<Tls, WireError> {
    let state = match fields.number()? {
        0 => TlsState::Decrypted,
        1 => TlsState::Closed,
        2 => TlsState::Intercepted,
        3 => TlsState::Terminated,
        4 => TlsState::Originated,
        5 => TlsState::Passed,
        _ => return Err(WireError::Field),
    };
    let mut fact = || fields.optional(Fields::text);
    let (version, suite, sni, alpn, why) = (fact()?, fact()?, fact()?, fact()?, fact()?);
    Ok(Tls { version, suite, sni, alpn, why, ..Tls::new(state) })
}

fn reason(fields: &mut Fields) -> Result<CloseReason, WireError> {
    let errno = |fields: &mut Fields| i32::try_from(fields.signed()?).map_err(|_| WireError::Field);
    Ok(match fields.number()? {
        0 => CloseReason::Finished { first: fields.side()? },
        1 => CloseReason::Reset { by: fields.side()? },
        2 => CloseReason::Refused,
        3 => CloseReason::ConnectTimeout,
        4 => CloseReason::Unreachable { errno: errno(fields)? },
        5 => CloseReason::ResolveFailed { message: fields.text()? },
        6 => CloseReason::ConnectFailed { message: fields.text()? },
        7 => CloseReason::Loop,
        8 => CloseReason::IdleTimeout,
        9 => CloseReason::HalfCloseTimeout,
        10 => CloseReason::Stopped,
        11 => CloseReason::Failed { side: fields.side()?, errno: errno(fields)? },
        12 => CloseReason::Transform { direction: fields.direction()?, message: fields.text()? },
        13 => CloseReason::Internal,
        _ => return Err(WireError::Field),
    })
}
