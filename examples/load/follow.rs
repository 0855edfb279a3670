//! Checks a capture of `load streams` against the pattern, stream by stream, as Wireshark follows
//! them: the output of `tshark -q -z follow,tcp,raw,0 -z follow,tcp,raw,1 ...`.
//!
//! Each stream is a block: rules of `=`, some lines of names, then one line of hexadecimal for
//! each run of bytes; the server's are indented with a tab.

use std::io::BufRead;

use anyhow::{Context, Result, bail, ensure};

use crate::pattern::Stream;
use crate::wire::{HEADER, Header};

/// What was found whole and equal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) streams: u64,
    /// Payload of both directions, without headers.
    pub(crate) bytes: u64,
}

/// Reads blocks to the end and verifies each: header, then `length` bytes each way, and no more.
pub(crate) fn verify(input: impl BufRead) -> Result<Followed> {
    let mut followed = Followed::default();
    let mut stream: Option<Conversation> = None;
    for line in input.lines() {
        let line = line.context("cannot read the followed streams")?;
        if line.starts_with("===") {
            // One rule begins a block, the next one ends it.
            match stream.take() {
                None => stream = Some(Conversation::default()),
                Some(ended) => {
                    followed.bytes += ended.finish()?;
                    followed.streams += 1;
                }
            }
        } else if let Some(stream) = stream.as_mut() {
            stream.line(&line).with_context(|| format!("in stream {}", followed.streams))?;
        }
    }
    ensure!(stream.is_none(), "the last stream has no end");
    Ok(followed)
}

#[derive(Default)]
struct Conversation {
    begin: Vec<u8>,
    request: Option<(Header, Stream, Stream)>,
}

impl Conversation {
    fn line(&mut self, line: &str) -> Result<()> {
        if line.contains(':') {
            return Ok(()); // "Follow: tcp,raw", "Filter: ...", "Node 0: ..."
        }
        let from_server = line.starts_with('\t');
        self.bytes(from_server, &unhex(line.trim())?)
    }

    fn bytes(&mut self, from_server: bool, bytes: &[u8]) -> Result<()> {
        if let Some((_, request, reply)) = &mut self.request {
            let stream = if from_server { reply } else { request };
            return stream.verify(bytes).context(if from_server { "server" } else { "client" });
        }
        ensure!(!from_server, "the server spoke before the header was whole");
        self.begin.extend_from_slice(bytes);
        if let Some((header, rest)) = self.begin.split_first_chunk::<HEADER>() {
            let header = Header::decode(header)?;
            let rest = rest.to_vec();
            let streams = (Stream::request(header.seed), Stream::reply(header.seed));
            self.request = Some((header, streams.0, streams.1));
            self.bytes(false, &rest)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<u64> {
        let Some((header, request, reply)) = self.request else { bail!("a stream is empty") };
        let moved = (request.offset(), reply.offset());
        ensure!(
            moved == (header.length, header.length),
            "connection {} moved {} bytes each way, its capture has {moved:?}",
            header.seed,
            header.length
        );
        Ok(moved.0 + moved.1)
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let digit = |c: u8| (c as char).to_digit(16).context("a line is not hexadecimal");
    let pairs = text.as_bytes().chunks_exact(2);
    ensure!(pairs.remainder().is_empty(), "a line of hexadecimal is cut");
    pairs.map(|pair| Ok((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::wire::Task;

    fn block(seed: u64, length: u64, sent: usize, answered: usize) -> String {
        let header = Header { task: Task::Echo, seed, length, chunk: 1 };
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
        };
        let rule = "=".repeat(67);
        format!(
            "\n{rule}\nFollow: tcp,raw\nFilter: tcp.stream eq 0\nNode 0: 127.0.0.1:1\n\
             Node 1: 127.0.0.1:2\n{}\n\t{}\n{}\n{rule}\n",
            hex(&header.encode()),
            hex(Stream::reply(seed).peek(answered)),
            hex(Stream::request(seed).peek(sent)),
        )
    }

    #[test]
    fn whole_streams_are_counted() {
        let text = block(3, 500, 500, 500) + &block(9, 7, 7, 7);
        assert_eq!(verify(text.as_bytes()).unwrap(), Followed { streams: 2, bytes: 1014 });
    }

    #[test]
    fn streams_that_are_short_or_wrong_are_refused() {
        assert!(verify(block(3, 500, 499, 500).as_bytes()).is_err());
        assert!(verify(block(3, 500, 500, 499).as_bytes()).is_err());
        assert!(verify(block(3, 500, 500, 501).as_bytes()).is_err());
        let wrong = block(3, 500, 500, 500).replace("\t", "\tff");
        assert!(verify(wrong.as_bytes()).is_err());
        let rule = "=".repeat(67);
        let empty = format!("\n{rule}\nFollow: tcp,raw\nNode 0: :0\n{rule}\n");
        assert!(verify(empty.as_bytes()).is_err());
    }
}
