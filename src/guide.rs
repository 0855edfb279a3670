//! How it works, and how to build on it. There is no code here, only words.
//!
//! 1. [The way of the data](#the-way-of-the-data)
//! 2. [Threads, and what may block where](#threads-and-what-may-block-where)
//! 3. [Back-pressure](#back-pressure)
//! 4. [Writing a sink](#writing-a-sink)
//! 5. [Transforms](#transforms)
//! 6. [Messages](#messages)
//! 7. [What a sink sees under a transform](#what-a-sink-sees-under-a-transform)
//! 8. [Inside another program](#inside-another-program)
//!
//! # The way of the data
//!
//! ```text
//!  sender ── read ──> buffer ──> [transform] ──> write ──> receiver
//!               │                                    │
//!               │ Data, leg Received                 │ Data, leg Sent
//!               ▼                                    ▼
//!             queue of each sink that is interested in the leg
//! ```
//!
//! A connection has two directions, and each is relayed by itself: the bytes of one read are
//! written on before the next read begins, so a connection holds one read of each direction and
//! no more. The end of a direction (FIN) is forwarded as such, and the other goes on; RST is
//! forwarded as RST.
//!
//! For sinks a read is copied once, and all sinks share the copy ([`bytes::Bytes`]). It becomes
//! an [`Event`] when the read has completed, with [`Leg::Received`], and another one when the
//! receiver's socket has taken it, with [`Leg::Sent`]. The time of an event is when the I/O
//! completed. Where no sink is interested, nothing is copied.
//!
//! What holds for the events of a connection stands in the
//! [event contract](crate#the-event-contract). How much the kernel delivers at a time means
//! nothing: one write of the client may come as several chunks, several as one.
//!
//! # Threads, and what may block where
//!
//! | thread | runs | may block |
//! |---|---|---|
//! | [`Builder::workers`] | relaying, transforms, [`Codec::pair`] | **no** |
//! | one for each sink | [`Sink::record`], `flush`, `tick`, `finish` | yes |
//! | yours | [`Builder::bind`], which resolves names; [`Tunnel::run`] | both do |
//!
//! When a transform blocks, all connections of its worker stand still. When a sink does, its
//! queue fills.
//!
//! A connection stays on the worker that accepted it, so its transforms need not be `Send`, and
//! both may share state by `Rc`. A sink is called by one thread, so it needs no locks. [`Handle`]
//! may be used by any thread, and none of its methods waits.
//!
//! # Back-pressure
//!
//! Each sink has a queue, bounded in bytes by [`SinkOptions::buffer_bytes`]. When it is full,
//! [`SinkOptions::on_slow`] decides: [`OnSlow::Block`], as by default, lets the relay wait, so
//! that nothing is missed and the peers feel how fast the sink is; [`OnSlow::Drop`] lets it go on,
//! the sink misses the chunk, and offsets and counts tell how much. Opens and closes are never
//! dropped alone.
//!
//! A receiver that reads slowly holds up its own direction of its own connection, and nothing
//! else.
//!
//! # Writing a sink
//!
//! A sink takes events. This one gathers what each connection said, and hands it to a closure
//! when the connection ends:
//!
//! ```
//! use std::collections::HashMap;
//! use std::io;
//!
//! use tcp_tunn::event::{ConnectionId, Event, EventKind};
//! use tcp_tunn::sink::Sink;
//!
//! struct Lengths<F> {
//!     open: HashMap<ConnectionId, usize>,
//!     done: F,
//! }
//!
//! impl<F: FnMut(ConnectionId, usize) -> io::Result<()> + Send> Sink for Lengths<F> {
//!     fn record(&mut self, event: &Event) -> io::Result<()> {
//!         match &event.kind {
//!             EventKind::Data { bytes, .. } => {
//!                 *self.open.entry(event.connection).or_default() += bytes.len();
//!                 Ok(())
//!             }
//!             EventKind::Close { .. } => {
//!                 let bytes = self.open.remove(&event.connection).unwrap_or_default();
//!                 (self.done)(event.connection, bytes)
//!             }
//!             _ => Ok(()),
//!         }
//!     }
//! }
//! # let mut sink = Lengths { open: HashMap::new(), done: |_, _| Ok(()) };
//! # sink.finish().unwrap();
//! ```
//!
//! Beyond [`record`](Sink::record) a sink may say more about itself:
//!
//! - what it buffers is to be written by [`flush`](Sink::flush), which comes whenever the queue
//!   is empty and at least ten times a second, and by [`finish`](Sink::finish), which comes last;
//! - [`interest`](Sink::interest) says which data it wants; what it does not want costs nothing;
//! - with [`wants_ticks`](Sink::wants_ticks) it is called by time, too, for what has to happen
//!   when nobody says anything.
//!
//! An `Err` ends the sink. Whether it ends the tunnel as well is [`SinkOptions::on_error`]; the
//! error stands in the [`Summary`] either way. Closures are sinks, and [`Sink::only`],
//! [`Sink::only_connections`] and [`Sink::interested_in`] make a sink see less.
//!
//! To test a sink no network is needed: [`Event`]s are plain data with public fields, and
//! [`replay`] gives some to a sink as a tunnel would. They may be written by hand, as the lines of
//! text that [`parse`] reads, or be recorded by a closure that keeps them.
//!
//! # Transforms
//!
//! An *encoder* may change what clients say, a *decoder* what servers say. There are three ways
//! to give them, from the simplest on:
//!
//! ```
//! use tcp_tunn::event::{ConnectionId, Open};
//! use tcp_tunn::transform::{Pair, from_fn};
//! use tcp_tunn::tunnel::Tunnel;
//!
//! // Functions from bytes to bytes, for all connections.
//! let builder = Tunnel::builder("127.0.0.1:0", "example.com:80")
//!     .encoder(|bytes| bytes.to_ascii_lowercase());
//!
//! // A codec, which makes transforms for each connection; they have its state.
//! let builder = builder.codec(|id: ConnectionId, _: &Open| {
//!     let mut left = 1_000_000;
//!     Pair::default().decoder(from_fn(move |bytes, output| {
//!         if bytes.len() > left {
//!             return Err(format!("connection {id} has had its share").into());
//!         }
//!         left -= bytes.len();
//!         output.forward(bytes);
//!         Ok(())
//!     }))
//! });
//! ```
//!
//! The third is to implement [`Transform`], whose `finish` may say something at the end of the
//! stream. What a transform can do is written as steps into its [`Output`]:
//!
//! | to | write |
//! |---|---|
//! | pass the input | `output.forward(input)` |
//! | change it, or insert | `output.forward(anything)` |
//! | drop it | nothing |
//! | answer to the sender itself | `output.reply(answer)` |
//! | wait | `output.delay(duration)` |
//! | end the direction with FIN | `output.finish()` |
//! | reset the connection | `output.reset()` |
//! | give up, with a reason | `return Err("words".into())` |
//!
//! An error or a panic resets that connection, and its [`Close`](EventKind::Close) says why. It
//! never touches another one.
//!
//! # Messages
//!
//! A transform sees reads, which begin and end anywhere. What works on messages is put into
//! [`Messages`] together with a [`Framer`] that finds them: [`LengthPrefix`], [`Delimiter`],
//! [`Lines`], [`FixedSize`], or one of your own. The handler is a transform again, called once
//! for each message; what it forwards is framed again, with the length that it then has.
//!
//! ```
//! use tcp_tunn::transform::{Lines, Messages, Pair, from_fn};
//!
//! let no_passwords = from_fn(|line, output| {
//!     match line.strip_prefix(b"PASS ") {
//!         Some(_) => output.forward("PASS ****"),
//!         None => output.forward(line),
//!     }
//!     Ok(())
//! });
//! let pair = Pair::default().encoder(Messages::new(Lines::new(), no_passwords));
//! ```
//!
//! However the bytes arrive, the messages are the same. At most one unfinished message is held
//! back, and a longer one than [`Messages::max`] ends the connection. What becomes of an
//! unfinished one at the end of the stream is a [`Rest`].
//!
//! # What a sink sees under a transform
//!
//! Both legs are events. [`Leg::Received`] is what the sender of a direction said, [`Leg::Sent`]
//! what its receiver was told; lengths and offsets count for each leg by itself.
//!
//! - What is dropped was received and never sent. What is inserted is sent and was not received.
//! - An answer to the sender is `Sent` in the *other* direction: in it the client was told
//!   something that the server never said.
//! - After [`Output::finish`] the receiver has had its FIN, while what the sender still says is
//!   received. The [`Shutdown`](EventKind::Shutdown) comes when the sender is done, too.
//!
//! By default a sink sees what each peer said ([`Interest::RECEIVED`]). A capture shows that as one
//! conversation ([`Legs::Direct`]), or each of the tunnel's sockets with its own bytes and
//! sequence numbers ([`Legs::Both`]).
//!
//! # Inside another program
//!
//! [`Tunnel::run`] blocks, and has threads of its own; a program of whatever kind gives it one, by
//! `std::thread::spawn` or `tokio::task::spawn_blocking`. A program that is on tokio-uring itself
//! may await [`Tunnel::run_here`] on its own ring instead; to stop awaiting it aborts the tunnel.
//!
//! The tunnel ends by [`Handle::stop`], which lets connections finish for a while, or
//! [`Handle::abort`], which does not. The [`Summary`] tells what passed and what became of each
//! sink. To serve many connections, [`raise_open_files_limit`] first.
//!
//! Options ([`Limits`], [`SinkOptions`] and those of the sinks) are made from their defaults,
//! `let mut options = PcapngOptions::default();`, and changed by their public fields; the two that
//! a [`Builder`] takes have setters, too. They may grow: a struct literal of them does not compile.
//! Errors are enums that may grow as well, and each says in one line what failed, on what, why,
//! and what to try.

// What the text above refers to.
#[cfg(doc)]
use crate::{
    event::{Event, EventKind, Leg},
    packet::Legs,
    sink::{
        Interest, OnSlow, Sink, SinkOptions,
        replay::{parse, replay},
    },
    transform::{
        Codec, Delimiter, FixedSize, Framer, LengthPrefix, Lines, Messages, Output, Rest, Transform,
    },
    tunnel::{Builder, Handle, Limits, Summary, Tunnel, raise_open_files_limit},
};
