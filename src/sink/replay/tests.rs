use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, EventKind, Info, Leg,
    Open, Phase, Process, Request, Side, TcpInfo, Timestamp, Tls, TlsState, Totals, Verdict, View,
};
use crate::sink::Interest;

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

fn direction() -> impl Strategy<Value = Direction> {
    side().prop_map(Direction::from)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    prop_oneof![
        any::<std::net::SocketAddrV4>().prop_map(|at| Endpoint::Tcp(at.into())),
        (any::<std::net::Ipv6Addr>(), any::<u16>()).prop_map(|at| Endpoint::Tcp(at.into())),
        Just(Endpoint::Unix(None)),
        "[^\0]+".prop_map(|path| Endpoint::Unix(Some(std::path::Path::new(&path).into()))),
    ]
}

fn totals() -> impl Strategy<Value = Totals> {
    any::<(u64, u64)>().prop_map(|(received, sent)| Totals { received, sent })
}

fn reason() -> impl Strategy<Value = CloseReason> {
    let message = || any::<String>().prop_map(Arc::<str>::from);
    prop_oneof![
        side().prop_map(|first| CloseReason::Finished { first }),
        side().prop_map(|by| CloseReason::Reset { by }),
        Just(CloseReason::Refused),
        Just(CloseReason::ConnectTimeout),
        any::<i32>().prop_map(|errno| CloseReason::Unreachable { errno }),
        message().prop_map(|message| CloseReason::ResolveFailed { message }),
        message().prop_map(|message| CloseReason::ConnectFailed { message }),
        Just(CloseReason::Loop),
        Just(CloseReason::IdleTimeout),
        Just(CloseReason::HalfCloseTimeout),
        Just(CloseReason::Stopped),
        (side(), any::<i32>()).prop_map(|(side, errno)| CloseReason::Failed { side, errno }),
        (direction(), message())
            .prop_map(|(direction, message)| CloseReason::Transform { direction, message }),
        Just(CloseReason::Internal),
    ]
}

fn view() -> impl Strategy<Value = View> {
    prop_oneof![Just(View::Wire), Just(View::Plain)]
}

fn fact() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::option::of(any::<String>().prop_map(Arc::from))
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let slowest = prop::collection::vec(any::<(u64, u64)>(), 0..3);
    (any::<[u64; Phase::ALL.len()]>(), any::<u64>(), slowest).prop_map(|(times, requests, slow)| {
        let mut verdict = Verdict::default();
        for (phase, nanos) in Phase::ALL.into_iter().zip(times) {
            *verdict.spent.get_mut(phase) = Duration::from_nanos(nanos);
        }
        verdict.requests = requests;
        let request = |(offset, nanos)| Request::new(offset, Duration::from_nanos(nanos));
        verdict.slowest = slow.into_iter().map(request).collect();
        verdict
    })
}

fn kind() -> impl Strategy<Value = EventKind> {
    let leg = prop_oneof![Just(Leg::Received), Just(Leg::Sent)];
    let bytes = prop::collection::vec(any::<u8>(), 1..50).prop_map(Bytes::from);
    prop_oneof![
        (endpoint(), endpoint(), any::<String>(), prop::option::of(endpoint())).prop_map(
            |(client, listener, target, server)| {
                let process = server.is_none().then(|| Process::new(7, "a program"));
                let open = Open::new(client, listener, target).server(server).process(process);
                EventKind::Open(Arc::new(open))
            }
        ),
        (any::<u32>(), any::<String>())
            .prop_map(|(pid, name)| EventKind::Process(Process::new(pid, name))),
        (endpoint(), endpoint()).prop_map(|(server, local)| {
            EventKind::Connected(Arc::new(Connected { server, local }))
        }),
        (direction(), leg, view(), any::<u64>(), bytes).prop_map(
            |(direction, leg, view, offset, bytes)| EventKind::Data {
                direction,
                leg,
                view,
                offset,
                bytes
            }
        ),
        (any::<bool>(), fact(), fact()).prop_map(|(is_decrypted, sni, why)| {
            let state = if is_decrypted { TlsState::Decrypted } else { TlsState::Closed };
            let mut tls = Tls::new(state);
            (tls.sni, tls.why) = (sni, why);
            EventKind::Tls(Arc::new(tls))
        }),
        prop::collection::vec("[A-Z_]+ [0-9a-f]+", 1..3)
            .prop_map(|lines| EventKind::Secrets(lines.into())),
        (direction(), view(), totals()).prop_map(|(direction, view, totals)| {
            EventKind::Shutdown { direction, view, totals }
        }),
        (side(), any::<[Option<u32>; TcpInfo::NAMES.len()]>()).prop_map(|(leg, figures)| {
            let mut figures = figures.into_iter();
            let tcp = TcpInfo::from_figures(|_| figures.next().flatten().map(u64::from));
            EventKind::Info(Arc::new(Info::new(leg, tcp)))
        }),
        verdict().prop_map(|verdict| EventKind::Verdict(Arc::new(verdict))),
        (reason(), totals(), totals()).prop_map(|(reason, client_to_server, server_to_client)| {
            let totals = BothTotals { client_to_server, server_to_client };
            EventKind::Close { reason, totals }
        }),
    ]
}

proptest! {
    #[test]
    fn rendered_events_parse_back(
        events in prop::collection::vec((any::<u64>(), any::<u64>(), kind()), 0..10)
    ) {
        let event = |(id, time, kind)| {
            Event { connection: ConnectionId(id), time: Timestamp(time), kind }
        };
        let events: Vec<_> = events.into_iter().map(event).collect();
        let text = render(&events);
        prop_assert_eq!(text.lines().count(), events.len());
        prop_assert_eq!(parse(&text), Ok(events));
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), fields in "[a-z\"=\\\\ x0-9]*") {
        let _ = parse(&text);
        let _ = parse(&format!("2026-01-02T12:00:00Z 1 data {fields}"));
    }
}

#[test]
fn parse_error_names_line_and_cause() {
    let complaint = |line: &str| parse(&format!("# fine\n\n{line}")).unwrap_err().to_string();
    for (line, expected) in [
        ("noon 1 open", "line 3: time 'noon': "),
        ("2026-01-02T12:00:00Z", "line 3: no connection"),
        ("2026-01-02T12:00:00Z x open", "line 3: connection 'x': invalid digit"),
        ("2026-01-02T12:00:00Z 1 shut", "line 3: there is no event 'shut'"),
        ("2026-01-02T12:00:00Z 1 connected", "line 3: no field 'server'"),
        ("2026-01-02T12:00:00Z 1 close reason=bored", "line 3: there is no reason 'bored'"),
        ("2026-01-02T12:00:00Z 1 data bytes=\"", "line 3: no closing quote"),
        (
            "2026-01-02T12:00:00Z 1 shutdown from=client received=1 sent=1 x=1",
            "line 3: field 'x' has no place here",
        ),
        (
            "2026-01-02T12:00:00Z 1 data from=client leg=sent offset=0 bytes=\"ab\" times=0",
            "line 3: data without bytes",
        ),
    ] {
        let complaint = complaint(line);
        assert!(complaint.starts_with(expected), "{complaint}");
    }
}

#[test]
fn times_field_repeats_bytes() {
    let line =
        r#"2026-01-02T12:00:00Z 1 data from=server leg=received offset=4 bytes="\x00é" times=2"#;
    let [Event { kind: EventKind::Data { bytes, .. }, .. }] = &parse(line).unwrap()[..] else {
        panic!("one data event")
    };
    assert_eq!(&bytes[..], b"\0\xc3\xa9\0\xc3\xa9");
}

#[test]
fn sink_gets_events_of_interest_then_finish() {
    struct Names(Vec<&'static str>, Interest);
    impl Sink for Names {
        fn record(&mut self, event: &Event) -> io::Result<()> {
            self.0.push(match event.kind {
                EventKind::Data { leg: Leg::Received, .. } => "received",
                EventKind::Data { leg: Leg::Sent, .. } => "sent",
                _ => "other",
            });
            Ok(())
        }

        fn interest(&self) -> Interest {
            self.1
        }

        fn finish(&mut self) -> io::Result<()> {
            self.0.push("finish");
            Ok(())
        }
    }
    let events = parse(
        r#"
        2026-01-02T12:00:00Z 1 open client=unix: listener=unix:/a target=unix:/b
        2026-01-02T12:00:00Z 1 data from=client leg=received offset=0 bytes=x
        2026-01-02T12:00:00Z 1 data from=client leg=sent offset=0 bytes=x
        2026-01-02T12:00:00Z 1 close reason=stopped client=1/1 server=0/0
        "#,
    )
    .unwrap();
    for (interest, expected) in [
        (Interest::ALL, &["other", "received", "sent", "other", "finish"][..]),
        (Interest::RECEIVED, &["other", "received", "other", "finish"]),
        (Interest::LIFECYCLE, &["other", "other", "finish"]),
    ] {
        let mut sink = Names(Vec::new(), interest);
        replay(&events, &mut sink).unwrap();
        assert_eq!(sink.0, expected);
    }
}

#[test]
fn sink_behind_reference_gets_events() {
    let (sender, seen) = std::sync::mpsc::channel();
    let mut keep = move |event: &Event| sender.send(event.clone()).map_err(io::Error::other);
    let sink: &mut dyn Sink = &mut keep;
    let events = parse("2026-01-02T12:00:00Z 1 shutdown from=client received=7 sent=7").unwrap();
    replay(&events, sink).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), events);
}
