//! What the tests share.

pub(crate) mod bytes;
pub(crate) mod confined;
pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod tunnel;
