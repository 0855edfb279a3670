//! tcp_tunn
fn main() {}
