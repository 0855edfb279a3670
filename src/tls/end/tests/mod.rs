//! Sessions between a real client and a real server of TLS, without sockets.

mod scene;

use std::sync::Arc;

use proptest::prelude::*;

use self::scene::{Keys, Peer, Scene};
use super::{ServerTrust, TlsEnder};
use crate::event::Side::{Client, Server};

fn intercepting(keys: &Keys) -> TlsEnder {
    TlsEnder::intercept(keys.authority(), keys.trust()).unwrap()
}

fn intercepted(keys: &Keys, alpn: &[&str]) -> Scene {
    Scene::new(intercepting(keys), keys.trusting_client(alpn), keys.server(&["h2", "http/1.1"]))
}

#[track_caller]
fn assert_talk(scene: &mut Scene) {
    scene.say(Client, b"request");
    assert_eq!(scene.read[Server as usize], b"request");
    scene.say(Server, b"answer");
    assert_eq!(scene.read[Client as usize], b"answer");
}

#[test]
fn intercepted_plaintext_passes_both_ways() {
    let keys = Keys::new();
    let mut scene = intercepted(&keys, &["h2", "http/1.1"]);
    assert_talk(&mut scene);
    assert_eq!(scene.tls(Client).alpn_protocol(), Some(b"h2".as_slice()));
    assert_eq!(scene.tls(Server).alpn_protocol(), Some(b"h2".as_slice()));
    // Of each leg two for the handshake, two for the data, and the exporter's.
    assert_eq!(scene.secrets(), 10);
    assert_eq!(scene.reasons(), []);
}

#[test]
fn client_is_given_the_protocol_that_the_server_chose() {
    let keys = Keys::new();
    let mut scene = intercepted(&keys, &["http/1.1"]);
    assert_talk(&mut scene);
    assert_eq!(scene.tls(Client).alpn_protocol(), Some(b"http/1.1".as_slice()));
    let mut scene = intercepted(&keys, &[]);
    assert_talk(&mut scene);
    assert_eq!(scene.tls(Client).alpn_protocol(), None);
}

#[test]
fn each_end_becomes_the_same_end() {
    let keys = Keys::new();
    for (by, other) in [(Client, Server), (Server, Client)] {
        let mut scene = intercepted(&keys, &[]);
        assert_talk(&mut scene);
        scene.close(by);
        assert!(scene.is_closed[other as usize], "close_notify by the {by}");
        scene.say(other, b"more");
        assert!(scene.read[by as usize].ends_with(b"more"), "the other half goes on");
        assert!(!scene.is_closed[by as usize]);
        // The relay itself sends FIN.
        let mut scene = intercepted(&keys, &[]);
        assert_talk(&mut scene);
        scene.shut(by);
        assert!(!scene.is_closed[other as usize], "no close_notify is invented");
        assert_eq!(scene.reasons(), []);
    }
}

#[test]
fn server_that_is_not_trusted_is_not_hidden() {
    let keys = Keys::new();
    let ender = TlsEnder::intercept(keys.authority(), Keys::new().trust()).unwrap();
    let mut scene = Scene::new(ender, keys.trusting_client(&[]), keys.server(&[]));
    scene.run();
    let why = "the certificate of srv.test is signed by nobody whom this machine trusts (try \
               '--tls-trust FILE' with its authority, or '--tls-insecure')";
    assert_eq!(scene.reasons(), [("closed", why.to_owned())]);
    assert!(scene.is_shut[Client as usize]);
    assert!(scene.tls(Client).is_handshaking());
    for (keys, what) in
        [(Keys::for_name("other.test"), "is for another name"), (Keys::expired(), "has expired")]
    {
        let mut scene =
            Scene::new(intercepting(&keys), keys.trusting_client(&[]), keys.server(&[]));
        scene.run();
        let why = format!("the certificate of srv.test {what} (try '--tls-insecure')");
        assert_eq!(scene.reasons(), [("closed", why)]);
    }
}

#[test]
fn server_that_is_not_trusted_is_opened_where_all_are() {
    let other = Keys::for_name("other.test");
    let trust = ServerTrust::default().take_all();
    let ender = TlsEnder::intercept(other.authority(), trust).unwrap();
    let mut scene = Scene::new(ender, other.trusting_client(&[]), other.server(&[]));
    assert_talk(&mut scene);
}

#[test]
fn client_that_trusts_the_server_alone_is_reported() {
    let keys = Keys::new();
    let mut scene = Scene::new(intercepting(&keys), keys.pinning_client(), keys.server(&[]));
    scene.run();
    let [(state, why)] = &scene.reasons()[..] else { panic!("{:?}", scene.events) };
    assert_eq!(*state, "closed");
    assert!(why.contains("refused our certificate"), "{why}");
    assert!(why.ends_with("(try '--tls-pass srv.test')"), "{why}");
    assert!(scene.is_shut[Server as usize]);
    scene.end();
    assert_eq!(scene.reasons().len(), 1, "it is reported once");
}

#[test]
fn client_that_leaves_in_the_handshake_is_reported() {
    let keys = Keys::new();
    let mut scene = Scene::new(intercepting(&keys), Peer::Clear, keys.server(&[]));
    let mut hello = Vec::new();
    keys.trusting_client(&[]).write_tls(&mut hello).unwrap();
    scene.hand_on(Client, &hello);
    scene.run();
    scene.shut(Client);
    let [(state, why)] = &scene.reasons()[..] else { panic!("{:?}", scene.events) };
    assert_eq!(*state, "closed");
    assert!(why.starts_with("the client ended the connection when it saw our certificate"));
}

#[test]
fn tls_may_begin_after_other_bytes() {
    let keys = Keys::new();
    let mut scene = Scene::new(intercepting(&keys), Peer::Clear, Peer::Clear);
    scene.say(Server, b"220 ready\r\n");
    scene.say(Client, b"STARTTLS\r\n");
    scene.say(Server, b"220 go ahead\r\n");
    scene.peers = [keys.trusting_client(&[]).into(), keys.server(&[]).into()];
    scene.read = Default::default();
    assert_talk(&mut scene);
}

#[test]
fn hello_that_is_sent_as_data_passes() {
    let keys = Keys::new();
    let mut hello = Vec::new();
    keys.trusting_client(&[]).write_tls(&mut hello).unwrap();
    let mut scene = Scene::new(intercepting(&keys), Peer::Clear, Peer::Clear);
    scene.say(Client, b"PUT /hello\r\n\r\n");
    scene.say(Client, &hello);
    scene.shut(Client);
    assert_eq!(scene.read[Server as usize], [b"PUT /hello\r\n\r\n", &hello[..]].concat());
    assert_eq!(scene.reasons(), [("passed", "not TLS".to_owned())]);
}

#[test]
fn server_that_cannot_be_opened_passes_the_next_time() {
    let keys = Keys::new();
    let ender = Arc::new(intercepting(&keys));
    let mut scene = Scene::with(Arc::clone(&ender), keys.trusting_client(&[]), Peer::Clear);
    scene.run();
    // Its TLS is older: protocol_version.
    scene.hand_on(Server, &[21, 3, 1, 0, 2, 2, 70]);
    let [(_, why)] = &scene.reasons()[..] else { panic!("{:?}", scene.events) };
    assert!(why.ends_with("its next connections pass as they are"), "{why}");
    let mut scene = Scene::with(ender, keys.pinning_client(), keys.server(&[]));
    assert_talk(&mut scene);
    let why = "its server could not be opened before";
    assert_eq!(scene.reasons(), [("passed", why.to_owned())]);
}

#[test]
fn terminated_client_and_clear_server_understand_each_other() {
    let keys = Keys::new();
    let ender = || TlsEnder::terminate(keys.identity()).unwrap();
    let mut scene = Scene::new(ender(), keys.pinning_client(), Peer::Clear);
    assert_talk(&mut scene);
    scene.close(Client);
    assert!(scene.is_shut[Server as usize], "close_notify becomes FIN");
    let mut scene = Scene::new(ender(), keys.pinning_client(), Peer::Clear);
    assert_talk(&mut scene);
    scene.shut(Server);
    assert!(scene.is_closed[Client as usize], "FIN becomes close_notify");
}

#[test]
fn clear_client_is_held_until_the_server_has_answered() {
    let keys = Keys::new();
    let ender = TlsEnder::originate(keys.trust()).unwrap();
    let mut scene = Scene::new(ender, Peer::Clear, keys.server(&[]));
    scene.hand_on(Client, b"request");
    assert!(scene.is_held);
    scene.run();
    assert_eq!(scene.read[Server as usize], b"request");
    scene.say(Server, b"answer");
    assert_eq!(scene.read[Client as usize], b"answer");
    scene.shut(Client);
    assert!(scene.is_closed[Server as usize], "FIN becomes close_notify");
    scene.close(Server);
    assert!(scene.is_shut[Client as usize], "close_notify becomes FIN");
}

#[test]
fn clear_client_is_reset_where_its_server_is_not_trusted() {
    let keys = Keys::new();
    let ender = TlsEnder::originate(Keys::new().trust()).unwrap();
    let mut scene = Scene::new(ender, Peer::Clear, keys.server(&[]));
    scene.run();
    assert!(scene.is_reset);
    assert!(scene.read[Client as usize].is_empty());
}

#[test]
fn end_of_the_server_waits_for_the_handshake_of_the_client() {
    let keys = Keys::new();
    let mut scene = intercepted(&keys, &[]);
    scene.speak(Client);
    scene.speak(Server);
    scene.write(Server, b"hello and bye");
    scene.speak(Server);
    assert!(scene.is_held, "the client's handshake is not done");
    scene.shut_alone(Server);
    assert!(scene.is_held, "FIN would overtake it");
    scene.run();
    assert_eq!(scene.read[Client as usize], b"hello and bye");
    assert_eq!(scene.reasons(), []);
}

#[test]
fn end_of_a_clear_client_waits_for_the_handshake_of_the_server() {
    let keys = Keys::new();
    let ender = TlsEnder::originate(keys.trust()).unwrap();
    let mut scene = Scene::new(ender, Peer::Clear, keys.server(&[]));
    scene.hand_on(Client, b"hi");
    scene.shut_alone(Client);
    assert!(scene.is_held);
    scene.run();
    assert_eq!(scene.read[Server as usize], b"hi");
    assert!(scene.is_closed[Server as usize]);
}

#[test]
fn greeting_of_a_clear_server_waits_for_the_hello() {
    let keys = Keys::new();
    let ender = TlsEnder::terminate(keys.identity()).unwrap();
    let mut scene = Scene::new(ender, keys.pinning_client(), Peer::Clear);
    scene.hand_on(Server, b"220 ready\r\n");
    assert!(scene.is_held && scene.read[Client as usize].is_empty());
    scene.run();
    assert_eq!(scene.read[Client as usize], b"220 ready\r\n");
}

#[test]
fn clear_client_is_refused_where_its_tls_is_to_end() {
    let keys = Keys::new();
    let ender = TlsEnder::terminate(keys.identity()).unwrap();
    let mut scene = Scene::new(ender, Peer::Clear, Peer::Clear);
    scene.say(Client, b"GET / HTTP/1.1\r\n\r\n");
    assert!(scene.is_reset && scene.read[Server as usize].is_empty());
    assert_eq!(scene.reasons(), [("closed", "the client does not speak TLS".to_owned())]);
}

#[test]
fn what_came_before_a_damaged_record_is_handed_on_and_no_end_is_invented() {
    let keys = Keys::new();
    for (by, other) in [(Client, Server), (Server, Client)] {
        let mut scene = intercepted(&keys, &[]);
        assert_talk(&mut scene);
        scene.write(by, b"PAYLOAD");
        scene.write(by, b"damaged");
        let mut wire = scene.written(by);
        *wire.last_mut().unwrap() ^= 1;
        scene.hand_on(by, &wire);
        scene.run();
        assert!(scene.read[other as usize].ends_with(b"PAYLOAD"), "by the {by}");
        assert!(scene.is_shut[other as usize] && !scene.is_closed[other as usize]);
    }
}

#[test]
fn mysql_asks_for_tls_without_waiting_for_an_answer() {
    let keys = Keys::new();
    let mut scene = Scene::new(intercepting(&keys), Peer::Clear, Peer::Clear);
    scene.say(Server, b"J\0\0\08.0.36");
    let request = [&[32, 0, 0, 1, 0x85, 0xae, 0xff, 0x19][..], &[0; 28]].concat();
    scene.say(Client, &request);
    assert_eq!(scene.read[Server as usize], request);
    scene.peers = [keys.trusting_client(&[]).into(), keys.server(&[]).into()];
    scene.read = Default::default();
    assert_talk(&mut scene);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_of_any_length_carry_the_same_plaintext(
        cut in 1..700_usize,
        said in proptest::collection::vec(any::<u8>(), 1..40_000),
    ) {
        let keys = Keys::new();
        let mut scene = intercepted(&keys, &["h2"]).in_pieces_of(cut);
        scene.say(Client, &said);
        scene.say(Server, &said);
        prop_assert!(scene.read[Server as usize] == said);
        prop_assert!(scene.read[Client as usize] == said);
    }

    #[test]
    fn damaged_byte_is_no_panic_and_never_plaintext(at in 0..6000_usize) {
        let keys = Keys::new();
        let mut scene = intercepted(&keys, &["h2"]).damaged_after(at);
        for side in [Client, Server, Client, Server] {
            scene.say(side, &[7; 700]);
        }
        scene.shut(Client);
        scene.shut(Server);
        scene.end();
        prop_assert!(scene.read.concat().iter().all(|byte| *byte == 7), "what is read was said");
    }

    #[test]
    fn what_is_no_tls_passes_unchanged(
        said in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 1..60)),
            0..20,
        ),
    ) {
        let keys = Keys::new();
        let mut scene = Scene::new(intercepting(&keys), Peer::Clear, Peer::Clear);
        let mut expected: [Vec<u8>; 2] = Default::default();
        for (by_client, bytes) in said {
            let (by, to) = if by_client { (Client, Server) } else { (Server, Client) };
            scene.say(by, &bytes);
            expected[to as usize].extend(bytes);
        }
        scene.shut(Client);
        scene.shut(Server);
        prop_assert_eq!(&scene.read, &expected);
    }
}
