//! Values as people write them. The messages do not repeat the value: the command line's error
//! names it before them.

use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, StringValueParser, TypedValueParser};
use tcp_tunn::ingress::{Pattern, Via};
use tcp_tunn::tunnel::{Address, AddressError};

/// An address to listen on. A unix socket's path keeps its bytes.
pub(super) fn address() -> impl TypedValueParser<Value = Address> {
    OsStringValueParser::new().try_map(|input: OsString| Address::try_from(input).map_err(problem))
}

/// An address to connect to.
pub(super) fn target() -> impl TypedValueParser<Value = Address> {
    OsStringValueParser::new().try_map(|input: OsString| {
        Address::try_from(input).and_then(Address::into_target).map_err(problem)
    })
}

/// An address that Wireshark can connect to.
pub(super) fn tcp_address() -> impl TypedValueParser<Value = Address> {
    address().try_map(|address| only_tcp(address, "Wireshark"))
}

/// The address of a collector.
pub(super) fn collector() -> impl TypedValueParser<Value = Address> {
    target().try_map(|address| only_tcp(address, "a collector"))
}

fn only_tcp(address: Address, who: &str) -> Result<Address, String> {
    match address {
        Address::Unix(_) => {
            Err(format!("{who} needs a TCP address (expected one such as '127.0.0.1:19000')"))
        }
        other => Ok(other),
    }
}

/// An address to answer HTTP on.
pub(super) fn http_address() -> impl TypedValueParser<Value = Address> {
    address().try_map(|address| match address {
        Address::Unix(_) => Err("HTTP needs a TCP address (expected one such as '127.0.0.1:0')"),
        other => Ok(other),
    })
}

fn problem(error: AddressError) -> String {
    error.problem().to_string()
}

/// A proxy to reach servers through.
pub(super) fn via() -> impl TypedValueParser<Value = Via> {
    parsed(|error: <Via as FromStr>::Err| error.problem().to_string())
}

/// A pattern of destinations.
pub(super) fn pattern() -> impl TypedValueParser<Value = Pattern> {
    parsed(|error: <Pattern as FromStr>::Err| error.problem().to_string())
}

fn parsed<T>(problem: fn(T::Err) -> String) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
    T::Err: 'static,
{
    StringValueParser::new().try_map(move |input: String| input.parse::<T>().map_err(problem))
}
