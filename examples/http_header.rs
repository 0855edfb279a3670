//! Rewrites a header of HTTP/1.1 requests, whole messages at a time: however the bytes arrive, and
//! with as many requests on a connection as the client likes.
//!
//! Runs by itself: `cargo run --example http_header`

use tcp_tunn::event::{ConnectionId, Open};
use tcp_tunn::transform::{Found, Framer, Messages, Pair, TransformError};
use tcp_tunn::tunnel::Tunnel;

mod support;

/// A request is its head and as much as its Content-Length says (RFC 9112, 6; not chunked).
struct Requests;

fn head_len(request: &[u8]) -> Option<usize> {
    request.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4)
}

impl Framer for Requests {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        let Some(head) = head_len(bytes) else { return Ok(Found::Need(bytes.len() + 1)) };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let total = head + length.map_or(Ok(0), |length| length.trim().parse::<usize>())?;
        Ok(if total > bytes.len() { Found::Need(total) } else { Found::Message(total) })
    }
}

fn rewrite(request: &[u8]) -> Vec<u8> {
    let (head, body) = request.split_at(head_len(request).unwrap_or(0));
    let is_host = |line: &[u8]| line.len() > 5 && line[..5].eq_ignore_ascii_case(b"host:");
    let lines = head.split_inclusive(|&byte| byte == b'\n');
    let host = &b"Host: rewritten.example\r\n"[..];
    let lines: Vec<_> = lines.map(|line| if is_host(line) { host } else { line }).collect();
    [&lines.concat(), body].concat()
}

fn main() -> support::Outcome {
    let codec = |_: ConnectionId, _: &Open| {
        Pair::default().encoder(Messages::new(Requests, rewrite).max(1024 * 1024))
    };
    let tunnel = Tunnel::builder("127.0.0.1:0", support::http_server()?).codec(codec).bind()?;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
    let answer = support::run(tunnel, |address| support::say(address, &request.repeat(2)))?;
    println!("the server got two requests, and answers with their heads:\n{answer}");
    Ok(())
}
