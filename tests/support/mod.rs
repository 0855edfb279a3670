//! What the tests share.

pub(crate) mod bytes;
pub(crate) mod capture;
pub(crate) mod chaos;
pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod oracle;
pub(crate) mod talk;
pub(crate) mod tunnel;
pub(crate) mod watch;
