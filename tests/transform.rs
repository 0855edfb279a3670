//! Transforms over real sockets: what each peer gets, and what is recorded of it.

mod identity;
mod legs;
mod messages;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tcp_tunn::event::{CloseReason, ConnectionId, Direction, EventKind, Leg, Open, Side};
use tcp_tunn::transform::{Lines, Messages, Output, Pair, Transform, TransformError, from_fn};
use tcp_tunn::tunnel::Builder;

use crate::support::events::{Events, PATIENCE, check_contract};
use crate::support::tunnel::Running;

use Direction::{ClientToServer, ServerToClient};
use Leg::{Received, Sent};

/// Both ends of a connection through a tunnel, and what it records.
struct Dialogue {
    client: TcpStream,
    server: TcpStream,
    /// For further connections.
    listener: TcpListener,
    tunnel: Running,
    events: Events,
}

impl Dialogue {
    fn with(more: impl FnOnce(Builder) -> Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tunnel, events) = Running::recorded_with(address, more);
        let client = patient(tunnel.connect());
        let server = patient(listener.accept().unwrap().0);
        Self { client, server, listener, tunnel, events }
    }

    /// With an encoder made for each connection.
    fn encoded<T: Transform + 'static>(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let pair = move |_: ConnectionId, _: &Open| Pair::default().encoder(make());
        Self::with(|builder| builder.codec(pair))
    }

    /// The client says `bytes` and ends; what the server hears to the end.
    fn say_all(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.write_all(bytes).unwrap();
        self.client.shutdown(Shutdown::Write).unwrap();
        rest_of(&mut self.server)
    }

    /// Waits for the close, and holds what was recorded against the contract.
    fn close(self) -> (CloseReason, Events) {
        let Self { client, server, tunnel, events, .. } = self;
        drop((client, server));
        let reason = events.wait_for_close();
        tunnel.stop();
        check_contract(&events.all());
        (reason, events)
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    rest
}

fn next(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn assert_reset(stream: &mut TcpStream) {
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn changed_lengths_appear_on_both_legs() {
    let mut dialogue = Dialogue::with(|builder| {
        let double = |bytes: &[u8]| bytes.repeat(2);
        let vowels = |byte: &u8| b"aeiou".contains(byte);
        let no_vowels =
            move |bytes: &[u8]| bytes.iter().copied().filter(|b| !vowels(b)).collect::<Vec<_>>();
        builder.encoder(double).decoder(no_vowels)
    });
    assert_eq!(dialogue.say_all(b"ab"), b"abab");
    dialogue.server.write_all(b"radio").unwrap();
    dialogue.server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest_of(&mut dialogue.client), b"rd");
    let (reason, events) = dialogue.close();
    assert_eq!(reason, CloseReason::Finished { first: Side::Client });
    assert_eq!(events.bytes(1, ClientToServer, Received), b"ab");
    assert_eq!(events.bytes(1, ClientToServer, Sent), b"abab");
    assert_eq!(events.bytes(1, ServerToClient, Received), b"radio");
    assert_eq!(events.bytes(1, ServerToClient, Sent), b"rd");
}

#[test]
fn dropped_stream_still_ends() {
    let mut dialogue = Dialogue::encoded(|| |_: &[u8]| [0; 0]);
    assert_eq!(dialogue.say_all(b"secret"), b"");
    dialogue.server.write_all(b"heard nothing").unwrap();
    dialogue.server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest_of(&mut dialogue.client), b"heard nothing");
    let (_, events) = dialogue.close();
    assert_eq!(events.bytes(1, ClientToServer, Received), b"secret");
    assert_eq!(events.bytes(1, ClientToServer, Sent), b"");
}

/// Holds everything back until the end of the stream.
#[derive(Default)]
struct Backwards(Vec<u8>);

impl Transform for Backwards {
    fn transform(&mut self, input: &[u8], _: &mut Output) -> Result<(), TransformError> {
        self.0.extend_from_slice(input);
        Ok(())
    }

    fn finish(&mut self, output: &mut Output) -> Result<(), TransformError> {
        self.0.reverse();
        output.forward(&self.0);
        Ok(())
    }
}

#[test]
fn bytes_emitted_at_end_arrive_before_fin() {
    let mut dialogue = Dialogue::encoded(Backwards::default);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut client = dialogue.client.try_clone().unwrap();
    let said = bytes.clone();
    let saying = std::thread::spawn(move || {
        client.write_all(&said).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    });
    let heard = rest_of(&mut dialogue.server);
    saying.join().unwrap();
    assert!(heard.iter().rev().eq(&bytes), "{} bytes of {}", heard.len(), bytes.len());
    dialogue.server.shutdown(Shutdown::Write).unwrap();
    let (reason, _) = dialogue.close();
    assert_eq!(reason, CloseReason::Finished { first: Side::Client });
}

#[test]
fn codec_state_is_shared_by_directions_only() {
    use std::cell::Cell;
    use std::rc::Rc;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let codec = |_: ConnectionId, _: &Open| {
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        Pair::default()
            .encoder(Messages::new(Lines::new(), move |line: &[u8]| {
                count.set(count.get() + 1);
                line.to_vec()
            }))
            .decoder(Messages::new(Lines::new(), move |line: &[u8]| {
                [format!("after {}: ", counted.get()).as_bytes(), line].concat()
            }))
    };
    let (tunnel, events) =
        Running::recorded_with(listener.local_addr().unwrap(), |builder| builder.codec(codec));
    for lines in [1, 3] {
        let mut client = patient(tunnel.connect());
        let mut server = patient(listener.accept().unwrap().0);
        client.write_all("x\n".repeat(lines).as_bytes()).unwrap();
        assert_eq!(next(&mut server, 2 * lines), "x\n".repeat(lines).as_bytes());
        server.write_all(b"yes\n").unwrap();
        drop(server);
        assert_eq!(rest_of(&mut client), format!("after {lines}: yes\n").as_bytes());
    }
    events.wait_for_closes(2);
    tunnel.stop();
    check_contract(&events.all());
}

/// The transform fails as `run` does; both peers are reset, and the tunnel goes on.
fn fails(run: fn(&mut Output) -> Result<(), TransformError>, words: &str) {
    let make = move || {
        from_fn(move |input, output| {
            if input == b"fail" {
                return run(output);
            }
            output.forward(input);
            Ok(())
        })
    };
    let dialogue = Dialogue::encoded(make);
    let Dialogue { mut client, mut server, listener, tunnel, events } = dialogue;
    client.write_all(b"fail").unwrap();
    assert_reset(&mut client);
    assert_reset(&mut server);
    let message = words.into();
    let reason = CloseReason::Transform { direction: ClientToServer, message };
    assert_eq!(events.wait_for_close(), reason);
    let mut client = patient(tunnel.connect());
    let mut server = patient(listener.accept().unwrap().0);
    client.write_all(b"works").unwrap();
    assert_eq!(next(&mut server, 5), b"works");
    drop((client, server));
    events.wait_for_closes(2);
    assert_eq!(tunnel.stop().counts.connections, 2);
    check_contract(&events.all());
}

#[test]
fn transform_error_ends_connection_with_message() {
    fails(|_| Err("that is no request".into()), "that is no request");
}

#[test]
fn transform_panic_ends_its_connection_only() {
    fails(|_| panic!("a bug in the user's code"), "it panicked: a bug in the user's code");
}

#[test]
fn transform_reset_reaches_both_sides() {
    let reset = |output: &mut Output| {
        output.reset();
        Ok(())
    };
    fails(reset, "it reset the connection");
}

#[test]
fn transform_reply_reaches_sender() {
    let make = || {
        Messages::new(
            Lines::new(),
            from_fn(|line, output| {
                if line == b"PING" {
                    output.reply("PONG");
                } else {
                    output.forward(line);
                }
                Ok(())
            }),
        )
    };
    let mut dialogue = Dialogue::encoded(make);
    dialogue.client.write_all(b"PING\nSET\n").unwrap();
    assert_eq!(next(&mut dialogue.client, 5), b"PONG\n");
    assert_eq!(next(&mut dialogue.server, 4), b"SET\n");
    dialogue.server.write_all(b"OK\n").unwrap();
    assert_eq!(next(&mut dialogue.client, 3), b"OK\n");
    let (_, events) = dialogue.close();
    assert_eq!(events.bytes(1, ServerToClient, Received), b"OK\n");
    assert_eq!(events.bytes(1, ServerToClient, Sent), b"PONG\nOK\n");
}

#[test]
fn transform_reply_after_end_is_dropped() {
    let make = || {
        from_fn(|input, output| {
            output.reply("late");
            output.forward(input);
            Ok(())
        })
    };
    let mut dialogue = Dialogue::encoded(make);
    dialogue.server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest_of(&mut dialogue.client), b"");
    assert_eq!(dialogue.say_all(b"still heard"), b"still heard");
    let (reason, _) = dialogue.close();
    assert_eq!(reason, CloseReason::Finished { first: Side::Server });
}

#[test]
fn transform_finish_ends_one_direction() {
    let pair = |_: ConnectionId, _: &Open| {
        let encoder = from_fn(|input, output| {
            output.forward(&input[..2]);
            output.finish();
            Ok(())
        });
        // Whatever it says to the server after the FIN has no way to go.
        let decoder = from_fn(|input, output| {
            output.reply("too late");
            output.forward(input);
            Ok(())
        });
        Pair::default().encoder(encoder).decoder(decoder)
    };
    let mut dialogue = Dialogue::with(|builder| builder.codec(pair));
    dialogue.client.write_all(b"head and rest").unwrap();
    assert_eq!(rest_of(&mut dialogue.server), b"he");
    dialogue.server.write_all(b"answer").unwrap();
    assert_eq!(next(&mut dialogue.client, 6), b"answer");
    dialogue.client.write_all(b" thrown away").unwrap();
    dialogue.client.shutdown(Shutdown::Write).unwrap();
    dialogue.server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest_of(&mut dialogue.client), b"");
    let (reason, events) = dialogue.close();
    assert!(reason.is_clean(), "{reason:?}");
    assert_eq!(events.bytes(1, ClientToServer, Received), b"head and rest thrown away");
    assert_eq!(events.bytes(1, ClientToServer, Sent), b"he");
}

#[test]
fn transform_delay_holds_one_direction() {
    const DELAY: Duration = Duration::from_secs(1);
    let make = || {
        from_fn(|input, output| {
            output.forward("now ");
            output.delay(DELAY);
            output.forward(input);
            Ok(())
        })
    };
    let mut dialogue = Dialogue::encoded(make);
    let start = Instant::now();
    dialogue.client.write_all(b"later").unwrap();
    assert_eq!(next(&mut dialogue.server, 4), b"now ");
    dialogue.server.write_all(b"at once").unwrap();
    assert_eq!(next(&mut dialogue.client, 7), b"at once");
    assert_eq!(next(&mut dialogue.server, 5), b"later");
    assert!(start.elapsed() >= DELAY, "{:?}", start.elapsed());
    let (_, events) = dialogue.close();
    let order = |event: &tcp_tunn::event::Event| match &event.kind {
        EventKind::Data { leg: Sent, bytes, .. } => Some(bytes.clone()),
        _ => None,
    };
    let sent: Vec<_> = events.all().iter().filter_map(order).collect();
    assert_eq!(sent, ["now ", "at once", "later"]);
}

#[test]
fn transform_delay_does_not_delay_end() {
    let make = || {
        from_fn(|_, output| {
            output.forward("x");
            output.delay(Duration::from_secs(1_000_000));
            Ok(())
        })
    };
    let Dialogue { mut client, mut server, tunnel, events, .. } = Dialogue::encoded(make);
    client.write_all(b"wait").unwrap();
    assert_eq!(next(&mut server, 1), b"x");
    // What is not recorded yet may be missed once nothing is waited for.
    events.wait_for(|event| matches!(event.kind, EventKind::Data { leg: Sent, .. }));
    tunnel.handle.abort();
    assert_eq!(events.wait_for_close(), CloseReason::Stopped);
    tunnel.stop();
    check_contract(&events.all());
}
