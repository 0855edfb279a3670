//! Opening the listening sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::address::Address;
use super::error::BindError;
use crate::event::Endpoint;
use crate::net;

/// A listening socket. Dropping it closes it and removes its file, if it made one that is still
/// there.
pub(super) struct ListeningSocket {
    pub(super) fd: OwnedFd,
    pub(super) endpoint: Endpoint,
    /// The interface of a link-local address, where it was given by its name.
    pub(super) interface: Option<String>,
    /// Whether somebody else opened it, and keeps it.
    pub(super) is_inherited: bool,
    _file: Option<SocketFile>,
}

/// The sockets that were passed to this process and not taken yet.
pub(super) struct Inherited(pub(super) Vec<OwnedFd>);

impl Inherited {
    /// Takes the one that listens on an address.
    fn take(&mut self, wanted: &Endpoint) -> Option<ListeningSocket> {
        let at = self.0.iter().position(|fd| endpoint_of(fd).as_ref() == Some(wanted))?;
        let fd = self.0.remove(at);
        net::adopt(&fd);
        let (endpoint, is_inherited) = (wanted.clone(), true);
        Some(ListeningSocket { fd, endpoint, interface: None, is_inherited, _file: None })
    }

    /// Fails where one is left that nobody asked for: its clients would wait for ever.
    pub(super) fn end(&self) -> Result<(), BindError> {
        let Some(fd) = self.0.first() else { return Ok(()) };
        let address =
            endpoint_of(fd).map_or_else(|| "another family".to_owned(), |at| at.to_string());
        Err(BindError::Unused { address })
    }
}

/// Where a socket listens.
fn endpoint_of(fd: &OwnedFd) -> Option<Endpoint> {
    let tcp = net::bound_address(fd).ok().flatten().map(Endpoint::Tcp);
    tcp.or_else(|| net::bound_path(fd).map(|path| Endpoint::Unix(Some(path.into()))))
}

/// The file of a socket of ours, which is removed when this is dropped.
struct SocketFile {
    path: PathBuf,
    /// Device and inode, where they could be read.
    id: Option<(u64, u64)>,
}

impl SocketFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), id: file_id(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another may have taken its place, whose socket is not ours to remove.
        if self.id.is_some() && file_id(&self.path) == self.id {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Listens on every address that `address` stands for, by the sockets that were passed where they
/// have it.
pub(super) fn listen(
    address: &Address,
    is_transparent: bool,
    passed: &mut Inherited,
) -> Result<Vec<ListeningSocket>, BindError> {
    match address {
        Address::Ip(ip) => Ok(vec![listen_tcp(*ip, address, is_transparent, passed)?]),
        Address::Scoped { address: ip, interface } => {
            let listening = listen_tcp((*ip).into(), address, is_transparent, passed)?;
            Ok(vec![ListeningSocket { interface: Some(interface.clone()), ..listening }])
        }
        Address::Name { host, port } => {
            let resolved = (host.as_str(), *port).to_socket_addrs();
            let mut addresses: Vec<_> = resolved
                .map_err(|source| BindError::Resolve { address: address.to_string(), source })?
                .collect();
            addresses.dedup();
            let (good, mut bad): (Vec<_>, Vec<_>) = addresses
                .into_iter()
                .map(|ip| listen_tcp(ip, address, is_transparent, passed))
                .partition(Result::is_ok);
            // `localhost` may stand for an IPv6 address that this machine does not have; one in
            // use is another matter.
            bad.retain(|result| good.is_empty() || !is_missing_family(result));
            good.into_iter().chain(bad).collect()
        }
        Address::Any { port } => {
            // Both families on one socket, where this machine has both.
            let any = (Ipv6Addr::UNSPECIFIED, *port).into();
            let both = listen_tcp(any, address, is_transparent, passed);
            let listening = if is_missing_family(&both) {
                listen_tcp((Ipv4Addr::UNSPECIFIED, *port).into(), address, is_transparent, passed)
            } else {
                both
            };
            Ok(vec![listening?])
        }
        Address::Unix(path) => Ok(vec![listen_unix(path, address, passed)?]),
    }
}

fn is_missing_family(result: &Result<ListeningSocket, BindError>) -> bool {
    let Err(BindError::Listen { source, .. }) = result else { return false };
    matches!(source.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

fn listen_tcp(
    ip: SocketAddr,
    address: &Address,
    is_transparent: bool,
    passed: &mut Inherited,
) -> Result<ListeningSocket, BindError> {
    if let Some(socket) = passed.take(&ip.into()) {
        return Ok(socket);
    }
    let bound = net::bind_tcp(ip, is_transparent).and_then(|fd| {
        let bound = net::bound_address(&fd)?.unwrap_or(ip);
        Ok(ListeningSocket {
            fd,
            endpoint: bound.into(),
            interface: None,
            is_inherited: false,
            _file: None,
        })
    });
    bound.map_err(|source| listen_error(source, address))
}

fn listen_unix(
    path: &Path,
    address: &Address,
    passed: &mut Inherited,
) -> Result<ListeningSocket, BindError> {
    let endpoint = Endpoint::Unix(Some(path.into()));
    if let Some(socket) = passed.take(&endpoint) {
        return Ok(socket);
    }
    let mut bound = net::bind_unix(path);
    if bound.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse)
        && net::is_abandoned_unix(path)
    {
        bound = std::fs::remove_file(path).and_then(|()| net::bind_unix(path));
    }
    match bound {
        Ok(fd) => {
            let _file = Some(SocketFile::new(path));
            Ok(ListeningSocket { fd, endpoint, interface: None, is_inherited: false, _file })
        }
        Err(source) => Err(listen_error(source, address)),
    }
}

fn listen_error(source: io::Error, address: &Address) -> BindError {
    let is_out_of_files = matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    let hint = match (source.kind(), address) {
        _ if is_out_of_files => "raise the limit of open files ('ulimit -n')",
        (io::ErrorKind::AddrInUse, Address::Unix(_)) => {
            "something listens there, or it is no socket; choose another path"
        }
        (io::ErrorKind::AddrInUse, _) => "choose another port, or 0 for any that is free",
        (io::ErrorKind::PermissionDenied, Address::Unix(_)) => "choose a directory of your own",
        (io::ErrorKind::PermissionDenied, _) => {
            "ports below 1024 need rights; choose a higher one, such as 8080"
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            "this machine does not have that address; try 127.0.0.1 or 0.0.0.0"
        }
        (io::ErrorKind::NotFound, Address::Unix(_)) => "create the directory first",
        _ => "try another address",
    };
    BindError::Listen { address: address.to_string(), source, hint }
}
