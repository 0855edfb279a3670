//! See any TCP conversation in Wireshark without root, without changing it, without losing a
//! byte of it.
//!
//! A tunnel accepts clients, connects each to a server, and relays the bytes of both. On the way it
//! gives them to *sinks* (a console, a capture file, a format of your own), and lets *transforms*
//! change them (an encoder, a decoder, a fault injector).
//!
//! # The layers
//!
//! ```text
//!  client ──read──> [encoder] ──write──> server      tunnel     accepts, connects, relays, ends
//!  client <──write── [decoder] <──read── server      transform  may change the bytes
//!              │                                     relay      decides about each end, no I/O
//!              │                                     verdict    says where the time went, no I/O
//!              │ Event                               net        sockets, io_uring and epoll
//!              ▼                                     event      plain data, known to all
//!    one bounded queue a sink                        sink       the trait, queues, threads
//!     │          │           │
//!  console    capture    your sink                   sink::*    what comes with the crate
//!  hexdump    packets                                packet     events to packets, no I/O
//! ```
//!
//! Each layer knows those below it alone. A sink never learns that there is a tunnel: it takes
//! [`Event`](event::Event)s, and a test may feed it some that were never on a wire. A transform
//! knows no sockets. The tunnel knows no sink by name. Data flows one way; nothing comes back
//! from a sink but its error and, where it is slow, the want of room.
//!
//! The [`guide`] tells how bytes travel, who waits for whom, what may block where, and how to
//! write a sink or a transform.
//!
//! # An example
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::net::{Shutdown, TcpListener, TcpStream};
//! use std::thread;
//!
//! use tcp_tunn::event::{Event, EventKind};
//! use tcp_tunn::tunnel::Tunnel;
//!
//! // A server, so that there is something to connect to: it echoes.
//! let server = TcpListener::bind("127.0.0.1:0")?;
//! let to = server.local_addr()?;
//! thread::spawn(move || {
//!     let stream = server.accept()?.0;
//!     io::copy(&mut &stream, &mut &stream)
//! });
//!
//! // A tunnel to it, from a port that is free, and a sink that shows what is said.
//! let tunnel = Tunnel::builder("127.0.0.1:0", to)
//!     .sink(|event: &Event| {
//!         if let EventKind::Data { direction, bytes, .. } = &event.kind {
//!             println!("{}: {}", direction.sender(), bytes.escape_ascii());
//!         }
//!         Ok(())
//!     })
//!     .bind()?;
//! let from = tunnel.listening()[0].address().to_string();
//! let handle = tunnel.handle();
//!
//! // A client that talks through it, and then stops it.
//! let client = thread::spawn(move || {
//!     let mut stream = TcpStream::connect(from)?;
//!     stream.write_all(b"hello")?;
//!     stream.shutdown(Shutdown::Write)?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     handle.stop();
//!     io::Result::Ok(answer)
//! });
//!
//! let summary = tunnel.run()?;
//! assert_eq!(summary.counts.connections, 1);
//! assert_eq!(client.join().unwrap()?, "hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! All but `fleet` are on by default. Without any (`default-features = false`), the crate has the
//! tunnel, the transforms, and the trait [`Sink`](sink::Sink) with its queues. These add to it:
//!
//! - `console`: the sink that prints ([`console`]);
//! - `capture`: the sink that writes pcapng ([`capture`]) and the packets in it ([`packet`]);
//! - `compress`: compresses a capture whose name ends in `.gz` or `.zst`; enables `capture`;
//! - `tls`: shows the plaintext of TLS, by a key log
//!   ([`Builder::decrypt_tls`](tunnel::Builder::decrypt_tls));
//! - `run`: starts programs and catches their connects ([`launch`]); needs x86_64 or aarch64;
//! - `web`: a live page in the browser ([`web`]), and metrics for Prometheus ([`metrics`]); enables
//!   `capture`;
//! - `cli`: the command line; enables all the others;
//! - `fleet`: captures of many hosts in one place, by NATS; not on by default.
//!
//! A tunnel runs on Linux, by io_uring where it is permitted and by epoll elsewhere
//! ([`Builder::io`](tunnel::Builder::io)).
//!
//! # The event contract
//!
//! For each connection there is exactly one `Open` first, then `Connected` or not, and exactly
//! one `Close` last, with who ended it and why. There is at most one `Shutdown` a direction, and
//! no `Data` of that direction after it. `Data` of one direction and leg is contiguous: each
//! offset is the sum of the lengths before it, unless the sink chose to drop. Events of one
//! connection are in order and their timestamps never decrease; connections interleave. Chunk
//! boundaries are what the kernel delivered and mean nothing. A timestamp is taken when the I/O
//! completed, not when a sink got to it.
//!
//! A sink that [asks](sink::Interest::verdict) for it gets one `Verdict` before `Close`, and no
//! `Data` of the wire between the two.
//!
//! A sink that [asks](sink::Interest::process) for it gets at most one `Process`, some time after
//! an `Open` that names none.
//!
//! A sink that [asks](sink::Interest::info) for it gets `Info` of both legs after `Connected`, at
//! each sample, and before the last `Shutdown`, or before `Close` where there is none.
//!
//! A sink that [asks](sink::Interest::views) for more than the wire may get, in between, `Tls`,
//! `Secrets` and `Data` and `Shutdown` of [`View::Plain`](event::View::Plain), for each of which
//! the same holds: at most one `Shutdown` a direction and view. The offset of plaintext goes on
//! where the clear bytes before TLS ended. `Secrets` come before the first `Data` that needs them.

#[cfg(feature = "capture")]
pub mod capture;
#[cfg(feature = "console")]
pub mod console;
pub mod event;
#[cfg(feature = "fleet")]
pub mod fleet;
pub mod guide;
pub mod ingress;
#[cfg(feature = "run")]
pub mod launch;
#[cfg(feature = "web")]
pub mod metrics;
mod net;
pub mod os_error;
#[cfg(feature = "capture")]
pub mod packet;
mod relay;
pub mod sink;
#[cfg(any(feature = "capture", feature = "tls"))]
pub mod tls;
pub mod transform;
pub mod tunnel;
pub mod verdict;
#[cfg(feature = "web")]
pub mod web;
