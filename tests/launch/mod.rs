//! The launcher with real programs: what a program prints and how it ends is the same as without
//! it, and each of its connects is seen.
//!
//! These tests need what the launcher needs: seccomp's user notification (Linux 5.5), /proc, and
//! permission to use `pidfd_getfd` for the mechanism of that name.

mod caught;
mod confined;
mod errors;
mod limits;
mod many;
mod programs;
#[cfg(feature = "cli")]
mod services;
mod signals;
