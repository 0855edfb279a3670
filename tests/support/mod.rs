//! What the tests share.

pub(crate) mod bytes;
pub(crate) mod confined;
pub(crate) mod end;
pub(crate) mod events;
#[cfg(feature = "cli")]
pub(crate) mod process;
pub(crate) mod tunnel;
