//! Numbers, texts and addresses as they stand in a record.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::WireError;
use crate::event::{Direction, Endpoint, Side};

/// Appends fields.
pub(super) trait Put {
    fn number(&mut self, value: u64);
    fn bytes(&mut self, bytes: &[u8]);

    /// A number of either sign, small ones short (zigzag).
    fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// What may be missing: a flag comes before it.
    fn optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        match endpoint {
            Endpoint::Unix(None) => self.number(0),
            Endpoint::Unix(Some(path)) => {
                self.number(1);
                self.bytes(path.as_os_str().as_bytes());
            }
            Endpoint::Tcp(SocketAddr::V4(address)) => {
                self.number(4);
                self.bytes(&address.ip().octets());
                self.number(address.port().into());
            }
            Endpoint::Tcp(SocketAddr::V6(address)) => {
                self.number(6);
                self.bytes(&address.ip().octets());
                self.number(address.port().into());
                self.number(address.scope_id().into());
            }
        }
    }
}

impl Put for Vec<u8> {
    /// Seven bits a byte, the lowest first; the highest bit says that more follow (LEB128).
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

/// Takes fields off the front of what is left.
pub(super) struct Fields(pub(super) Bytes);

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn number(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for (index, byte) in self.0.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return Err(WireError::Field);
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = self.0.slice(index + 1..);
                return Ok(value);
            }
        }
        Err(WireError::Field)
    }

    pub(super) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, WireError> {
        T::try_from(self.number()?).map_err(|_| WireError::Field)
    }

    pub(super) fn signed(&mut self) -> Result<i64, WireError> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// So many bytes, which share the memory of the whole.
    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, WireError> {
        if len > self.0.len() {
            return Err(WireError::Field);
        }
        Ok(self.0.split_to(len))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, WireError> {
        let len = self.narrow()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<Arc<str>, WireError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(Arc::from).map_err(|_| WireError::Field)
    }

    pub(super) fn optional<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        match self.number()? {
            0 => Ok(None),
            1 => take(self).map(Some),
            _ => Err(WireError::Field),
        }
    }

    pub(super) fn side(&mut self) -> Result<Side, WireError> {
        match self.number()? {
            0 => Ok(Side::Client),
            1 => Ok(Side::Server),
            _ => Err(WireError::Field),
        }
    }

    pub(super) fn direction(&mut self) -> Result<Direction, WireError> {
        self.side().map(Direction::from)
    }

    fn octets<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.bytes()?.as_ref().try_into().map_err(|_| WireError::Field)
    }

    pub(super) fn endpoint(&mut self) -> Result<Endpoint, WireError> {
        Ok(match self.number()? {
            0 => Endpoint::Unix(None),
            1 => Endpoint::Unix(Some(Path::new(OsStr::from_bytes(&self.bytes()?)).into())),
            4 => {
                let ip = Ipv4Addr::from(self.octets()?);
                Endpoint::Tcp(SocketAddr::new(ip.into(), self.narrow()?))
            }
            6 => {
                let ip = Ipv6Addr::from(self.octets::<16>()?);
                let (port, scope) = (self.narrow()?, self.narrow()?);
                Endpoint::Tcp(SocketAddrV6::new(ip, port, 0, scope).into())
            }
            _ => return Err(WireError::Field),
        })
    }
}
