//! Which auto traits each public type has. The compiler infers them from private fields, so a
//! change inside can take one away; the list shows that in review.

#![allow(dead_code, reason = "of the two constants of each probe, one is chosen")]

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use tcp_tunn::{
    capture, console, event, ingress, launch, metrics, os_error, packet, sink, tls, transform,
    tunnel, verdict, web,
};

/// Whether a type has a trait. An inherent constant that applies is chosen before that of a trait.
macro_rules! has {
    ($type:ty: $auto:ident) => {{
        struct Probe<T>(PhantomData<T>);
        trait Lacks {
            const HAS: bool = false;
        }
        impl<T> Lacks for Probe<T> {}
        impl<T: $auto> Probe<T> {
            const HAS: bool = true;
        }
        (stringify!($auto), <Probe<$type>>::HAS)
    }};
}

/// Each type by its path without arguments, and the auto traits that it lacks.
macro_rules! table {
    ($($type:ty),* $(,)?) => {
        BTreeMap::from([$((
            path(stringify!($type)),
            lacking([
                has!($type: Send),
                has!($type: Sync),
                has!($type: Unpin),
                has!($type: UnwindSafe),
                has!($type: RefUnwindSafe),
            ]),
        )),*])
    };
}

fn path(written: &str) -> String {
    let path = written.split('<').next().unwrap_or_default();
    path.chars().filter(|c| !c.is_whitespace()).collect()
}

fn lacking(traits: [(&'static str, bool); 5]) -> Vec<&'static str> {
    traits.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
}

/// The public types. Where a type has parameters, they have all auto traits, so that what is
/// lacking is the type's own.
pub(super) fn of_public_types() -> BTreeMap<String, Vec<&'static str>> {
    table![
        capture::CaptureStats, capture::Environment, capture::PcapOverIpSink,
        capture::PcapPushSink,
        capture::PcapngOptions, capture::PcapngSink, capture::RotateHandle, capture::Rotation,
        capture::StopAfter,
        console::Console<()>, console::ConsoleOptions, console::Expression, console::Format,
        console::InvalidExpression, console::TimeStyle,
        console::hexdump::Color, console::hexdump::Hexdump, console::hexdump::Palette,
        console::summary::ConnectionTable, console::summary::TopConnections,
        event::BothTotals, event::Bound, event::CloseReason, event::Connected, event::ConnectionId,
        event::Direction, event::Endpoint, event::Event, event::EventKind, event::Info, event::Leg,
        event::Open, event::Part, event::Phase, event::Process, event::Progress, event::Request,
        event::Side, event::TcpInfo, event::TimeSpent, event::Timestamp,
        event::Tls, event::TlsState, event::Totals, event::Verdict, event::View, event::Views,
        ingress::ConnectFailure, ingress::ConnectReply, ingress::Credentials,
        ingress::CredentialsError, ingress::Destination, ingress::Filter, ingress::Pattern,
        ingress::PatternError, ingress::PatternProblem, ingress::Progress<()>,
        ingress::ProxyHandshake, ingress::ProxyHeader,
        ingress::ProxyHeaderReader, ingress::ProxyRequest, ingress::ProxyVersion,
        ingress::ProxyVersionError, ingress::Rejection, ingress::Subject<'static>, ingress::Via,
        ingress::ViaConnected, ingress::ViaError, ingress::ViaHandshake, ingress::ViaProblem,
        launch::Attempt, launch::Child, launch::Command, launch::LaunchError, launch::Mechanism,
        launch::Process, launch::Request,
        metrics::MetricsOptions, metrics::MetricsSink, metrics::Sample,
        os_error::Sentence<'static>,
        packet::ConversationConfig, packet::Conversations, packet::Interface, packet::Legs,
        packet::Packet<'static>, packet::SegmentSize, packet::SegmentSizeError,
        sink::Decrypting<()>, sink::Interest, sink::InterestedIn<()>, sink::Kept,
        sink::KeyLogFile, sink::OnError,
        sink::OnSlow,
        sink::Only<(), ()>, sink::OnlyConnections<(), ()>, sink::SinkOptions, sink::SinkReport,
        sink::SinkStats,
        sink::replay::ParseError,
        tls::Authority, tls::AuthorityError, tls::AuthorityPem, tls::AuthorityStore, tls::Identity,
        tls::KeyLog, tls::Limits, tls::Observer, tls::PemError, tls::Seen, tls::ServerTrust,
        tls::StoreError, tls::TlsEnder, tls::TlsEnderError,
        transform::Delimiter, transform::FixedSize, transform::Found, transform::FramingError,
        transform::FromFn<()>, transform::LengthPrefix, transform::Lines,
        transform::Messages<(), ()>, transform::Output, transform::Pair, transform::Rest,
        transform::Step, transform::Whole<()>,
        tunnel::Address, tunnel::AddressError, tunnel::AddressProblem, tunnel::Arrival,
        tunnel::Backend, tunnel::BindError,
        tunnel::Builder, tunnel::Catcher, tunnel::ChosenIo, tunnel::Counts, tunnel::Decision,
        tunnel::Handle, tunnel::Launched, tunnel::Limits, tunnel::Listening, tunnel::Outgoing,
        tunnel::RingError, tunnel::RunError, tunnel::Stats, tunnel::Summary, tunnel::Target,
        tunnel::Tunnel,
        verdict::Judge,
        web::WebOptions, web::WebSink,
    ]
}

#[test]
fn lacking_trait_is_found() {
    let table = table![std::rc::Rc<u8>, std::cell::Cell<u8>, Box<dyn Fn()>];
    assert_eq!(table["std::rc::Rc"], ["Send", "Sync"]);
    assert_eq!(table["std::cell::Cell"], ["Sync", "RefUnwindSafe"]);
    assert_eq!(table["Box"], ["Send", "Sync", "UnwindSafe", "RefUnwindSafe"]);
}
