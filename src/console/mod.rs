//! The console: what people and programs read while it happens.
//!
//! Every event is laid out whole in one buffer before any of it is written, so that two
//! connections never share a line, and no byte of the traffic reaches the output unescaped but in
//! [`Format::Raw`].

mod expression;
mod filter;
pub mod hexdump;
mod json;
mod known;
mod lines;
mod options;
mod sink;
pub mod summary;
mod text;
mod time;

pub use expression::{Expression, InvalidExpression};
pub use options::{ConsoleOptions, Format, TimeStyle};
pub use sink::Console;
