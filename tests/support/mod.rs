//! What the tests share.

pub(crate) mod events;
pub(crate) mod tunnel;
