//! Nothing changes by going through the tunnel: each dialogue is held once over a straight
//! connection and once through a tunnel, and both ends must see the same bytes, the same errors
//! and the same kind of end. What the scripts wait for makes the straight run deterministic.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use tcp_tunn::sink::Sink;

use crate::ingress::ways::{Through, WAYS, Way};
use crate::support::bytes::bytes;
use crate::support::end::{End, Seen};
use crate::support::events::{Events, check_contract};

/// Client and server, in this order.
type Script = fn(&mut End, &mut End);

fn hold(script: Script, client: TcpStream, server: TcpStream) -> [Vec<Seen>; 2] {
    let (mut client, mut server) = (End::new(client), End::new(server));
    script(&mut client, &mut server);
    [client.seen(), server.seen()]
}

fn straight(script: Script) -> [Vec<Seen>; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    hold(script, client, listener.accept().unwrap().0)
}

fn through_a_tunnel(
    way: Way,
    script: Script,
    events: &Events,
    sink: impl Sink + 'static,
) -> [Vec<Seen>; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let through = Through::new(way, listener.local_addr().unwrap(), sink);
    let (client, tunnels) = through.into_parts();
    let seen = hold(script, client, listener.accept().unwrap().0);
    events.wait_for_close();
    tunnels.stop();
    seen
}

/// Every byte is shown to a sink.
fn recorded(way: Way, script: Script) -> [Vec<Seen>; 2] {
    let events = Events::default();
    let seen = through_a_tunnel(way, script, &events, events.sink());
    check_contract(&events.all());
    seen
}

/// Nobody asks for the bytes, so that they may go another way through the kernel.
fn unseen(script: Script) -> [Vec<Seen>; 2] {
    let events = Events::default();
    through_a_tunnel(Way::Listener, script, &events, events.lifecycle_sink())
}

fn compare(script: Script, [client, server]: [&str; 2]) {
    let straight = straight(script);
    // So that a script cannot come to mean something else than its name says.
    assert_eq!(format!("{:?}", straight[0]), format!("[{client}]"), "the client, straight");
    assert_eq!(format!("{:?}", straight[1]), format!("[{server}]"), "the server, straight");
    // Not assert_eq: they may be long, and Debug is short.
    for way in WAYS {
        let recorded = recorded(way, script);
        assert!(straight == recorded, "straight: {straight:?}, by {way:?}: {recorded:?}");
    }
    let unseen = unseen(script);
    assert!(straight == unseen, "straight: {straight:?}, with nobody looking: {unseen:?}");
}

/// A test for each dialogue: its name, what the client sees, what the server sees, the script.
macro_rules! dialogues {
    ($($name:ident, $client:literal, $server:literal, $script:expr;)*) => {$(
        #[test]
        fn $name() {
            compare($script, [$client, $server]);
        }
    )*};
}

const MEBIBYTE: usize = 1 << 20;

dialogues! {
    the_client_closes_first, r#""hello", FIN"#, r#""hello", FIN"#, |client, server| {
        client.say(b"hello");
        server.hear(5);
        server.say(b"hello");
        client.hear(5);
        client.finish();
        server.hear_all();
        server.close();
        client.hear_all();
    };
    the_server_closes_first, r#""220", FIN"#, r#""QUIT", FIN"#, |client, server| {
        server.say(b"220");
        client.hear(3);
        client.say(b"QUIT");
        server.hear(4);
        server.finish();
        client.hear_all();
        client.close();
        server.hear_all();
    };
    a_hundred_small_messages, "200 bytes, FIN", "200 bytes, FIN", |client, server| {
        for _ in 0..100 {
            client.say(b"ab");
            server.hear(2);
            server.say(b"cd");
            client.hear(2);
        }
        client.finish();
        server.hear_all();
        server.close();
        client.hear_all();
    };
    nothing_is_said_and_the_client_closes, "FIN", "FIN", |client, server| {
        client.finish();
        server.hear_all();
        server.close();
        client.hear_all();
    };
    nothing_is_said_and_the_server_closes, "FIN", "FIN", |client, server| {
        server.finish();
        client.hear_all();
        client.close();
        server.hear_all();
    };
    nothing_is_said_and_the_client_resets, "", "read: ConnectionReset", |client, server| {
        client.reset();
        server.hear_all();
    };
    nothing_is_said_and_the_server_resets, "read: ConnectionReset", "", |client, server| {
        server.reset();
        client.hear_all();
    };
    both_end_at_once, r#""from the server", FIN"#, r#""from the client", FIN"#, |client, server| {
        client.say(b"from the client");
        server.say(b"from the server");
        client.finish();
        server.finish();
        client.hear_all();
        server.hear_all();
    };
    data_and_fin_come_together, "", r#""all at once", FIN"#, |client, server| {
        client.say(b"all at once");
        client.close();
        server.hear_all();
    };
    the_server_greets_and_is_gone, r#""too busy", FIN"#, "", |client, server| {
        server.say(b"too busy");
        server.close();
        client.hear_all();
    };
    a_reply_comes_two_seconds_after_a_half_close, r#""answer", FIN"#, r#""question", FIN"#,
    |client, server| {
        client.say(b"question");
        client.finish();
        server.hear_all();
        // Other relays give up after half a second, or at once.
        std::thread::sleep(Duration::from_secs(2));
        server.say(b"answer");
        server.close();
        client.hear_all();
    };
    the_client_talks_on_after_the_server_ended, r#""bye", FIN"#, r#""onetwo", FIN"#,
    |client, server| {
        server.say(b"bye");
        server.finish();
        client.hear_all();
        client.say(b"one");
        server.hear(3);
        client.say(b"two");
        client.close();
        server.hear_all();
    };
    the_client_resets_in_the_middle, r#""half""#, r#""data", read: ConnectionReset"#,
    |client, server| {
        client.say(b"data");
        server.hear(4);
        server.say(b"half");
        client.hear(4);
        client.reset();
        server.hear_all();
    };
    the_server_resets_in_the_middle, r#""half", read: ConnectionReset"#, r#""data""#,
    |client, server| {
        client.say(b"data");
        server.hear(4);
        server.say(b"half");
        client.hear(4);
        server.reset();
        client.hear_all();
    };
    what_came_before_a_reset_is_heard, r#""last words", read: ConnectionReset"#, "",
    |client, server| {
        server.say(b"last words");
        client.has(10);
        server.reset();
        client.is_reset();
        client.hear_all();
    };
    the_client_half_closes_and_resets, "", r#""data", FIN, write: BrokenPipe, FIN"#,
    |client, server| {
        client.say(b"data");
        client.finish();
        server.hear_all();
        client.reset();
        server.is_reset();
        server.say(b"nobody hears this");
        server.hear_all();
    };
    the_server_half_closes_and_resets, r#""data", FIN, write: BrokenPipe, FIN"#, "",
    |client, server| {
        server.say(b"data");
        server.finish();
        client.hear_all();
        server.reset();
        client.is_reset();
        client.say(b"nobody hears this");
        client.hear_all();
    };
    the_server_resets_after_the_client_half_closed, "read: ConnectionReset", r#""data", FIN"#,
    |client, server| {
        client.say(b"data");
        client.finish();
        server.hear_all();
        server.reset();
        client.hear_all();
    };
    the_client_resets_after_the_server_half_closed, r#""data", FIN"#, "read: ConnectionReset",
    |client, server| {
        server.say(b"data");
        server.finish();
        client.hear_all();
        client.reset();
        server.hear_all();
    };
    the_client_leaves_something_unheard, "", "read: ConnectionReset", |client, server| {
        server.say(b"never heard");
        client.has(11);
        client.close();
        server.hear_all();
    };
    the_server_leaves_something_unheard, "read: ConnectionReset", "", |client, server| {
        client.say(b"never heard");
        server.has(11);
        server.close();
        client.hear_all();
    };
    the_server_answers_without_hearing_all, r#""413", read: ConnectionReset"#, r#""POST""#,
    |client, server| {
        client.say(b"POST and a long body");
        server.hear(4);
        server.has(16);
        server.say(b"413");
        client.has(3);
        server.close();
        client.is_reset();
        client.hear_all();
    };
    the_server_is_gone_and_the_client_talks, "FIN, write: BrokenPipe, FIN", "",
    |client, server| {
        server.close();
        client.hear_all();
        client.say(b"answered by a reset");
        client.is_reset();
        client.say(b"too late");
        client.hear_all();
    };
    the_client_is_gone_and_the_server_talks, "", "FIN, write: BrokenPipe, FIN",
    |client, server| {
        client.close();
        server.hear_all();
        server.say(b"answered by a reset");
        server.is_reset();
        server.say(b"too late");
        server.hear_all();
    };
    a_reset_while_the_other_writes_without_end, "write: ConnectionReset", "1048576 bytes",
    |client, server| {
        std::thread::scope(|scope| {
            scope.spawn(|| client.say_until_it_fails(&bytes(1, MEBIBYTE)));
            server.hear(MEBIBYTE);
            server.reset();
        });
    };
    what_was_said_before_a_close_comes_to_a_slow_reader, "", "65536 bytes, FIN",
    |client, server| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.say(&bytes(1, 65536));
                client.close();
            });
            server.hear_slowly();
        });
    };
    much_is_said_both_ways_at_once, "8388608 bytes, FIN", "8388608 bytes, FIN",
    |client, server| {
        let talk = |end: &mut End, seed| {
            let mut speaker = End::new(end.stream().try_clone().unwrap());
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    speaker.say(&bytes(seed, 8 * MEBIBYTE));
                    speaker.finish();
                });
                end.hear_all();
            });
        };
        std::thread::scope(|scope| {
            scope.spawn(|| talk(server, 1));
            talk(client, 2);
        });
    };
    a_long_answer_after_a_half_close, "8388608 bytes, FIN", r#""GET", FIN"#, |client, server| {
        client.say(b"GET");
        client.finish();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                server.hear_all();
                server.say(&bytes(3, 8 * MEBIBYTE));
                server.close();
            });
            client.hear_all();
        });
    };
    an_urgent_byte_keeps_its_place, "", r#""ab!cd", FIN"#, |client, server| {
        SockRef::from(server.stream()).set_out_of_band_inline(true).unwrap();
        client.say(b"ab");
        SockRef::from(client.stream()).send_out_of_band(b"!").unwrap();
        client.say(b"cd");
        client.close();
        server.hear_all();
    };
    an_urgent_byte_keeps_its_place_in_bulk, "", "8388609 bytes, FIN", |client, server| {
        SockRef::from(server.stream()).set_out_of_band_inline(true).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.say(&bytes(1, 4 * MEBIBYTE));
                SockRef::from(client.stream()).send_out_of_band(b"!").unwrap();
                client.say(&bytes(2, 4 * MEBIBYTE));
                client.close();
            });
            server.hear_all();
        });
    };
    bulk_is_followed_by_chatter, "1000 bytes, FIN", "4195304 bytes, FIN", |client, server| {
        std::thread::scope(|scope| {
            scope.spawn(|| client.say(&bytes(1, 4 * MEBIBYTE)));
            server.hear(4 * MEBIBYTE);
        });
        for _ in 0..100 {
            client.say(&[1; 10]);
            server.hear(10);
            server.say(&[2; 10]);
            client.hear(10);
        }
        client.finish();
        server.hear_all();
        server.close();
        client.hear_all();
    };
}
