//! What the tests share.

pub(crate) mod bytes;
pub(crate) mod capture;
pub(crate) mod chaos;
pub(crate) mod confined;
pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod oracle;
#[cfg(feature = "cli")]
pub(crate) mod process;
pub(crate) mod random;
#[cfg(feature = "cli")]
pub(crate) mod server;
pub(crate) mod skip;
pub(crate) mod talk;
pub(crate) mod talker;
#[cfg(feature = "cli")]
pub(crate) mod terminal;
#[cfg(feature = "cli")]
pub(crate) mod tshark;
pub(crate) mod tunnel;
pub(crate) mod verdict;
pub(crate) mod watch;
