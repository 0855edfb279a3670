//! Verdicts over events and times that the tests make.

use proptest::prelude::*;

use super::*;

/// One thing that happens on a connection.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connected,
    /// This side says so many bytes, and they are received.
    Says(Side, usize),
    /// What this side said was sent on.
    SentOn(Side),
    /// What this side said was kept.
    Kept(Side),
    Full,
    Room,
    Ends(Side),
    Account(Side, TcpInfo),
}

use Side::{Client, Server};
use Step::*;

/// The verdict over steps, each so many milliseconds after the one before, and then the close.
fn judged(steps: &[(u64, Step)], close_after: u64) -> Verdict {
    let start = Timestamp(1_000_000_000);
    let (mut judge, mut at) = (Judge::new(start), start);
    for (after, step) in steps {
        at.0 += after * 1_000_000;
        match *step {
            Connected => judge.connected(at),
            Says(side, len) => judge.data(at, side.into(), Leg::Received, len),
            SentOn(side) => judge.data(at, side.into(), Leg::Sent, 1),
            Kept(side) => judge.idle(at, side.into()),
            Full => judge.sink_is_full(at),
            Room => judge.sink_has_room(at),
            Ends(side) => judge.ended(at, side.into()),
            Account(side, tcp) => judge.account(side, &tcp),
        }
    }
    at.0 += close_after * 1_000_000;
    let verdict = judge.closed(at);
    assert_eq!(verdict.spent.total(), Duration::from_nanos(at.nanos_since(start)), "{verdict:?}");
    verdict
}

/// How many milliseconds went where.
fn spent(steps: &[(u64, Step)], close_after: u64) -> Vec<(Phase, u64)> {
    let spent = judged(steps, close_after).spent;
    let times = Phase::ALL.into_iter().map(|phase| (phase, spent.get(phase).as_millis() as u64));
    times.filter(|(_, millis)| *millis > 0).collect()
}

const fn transferring(bound: Bound) -> Phase {
    Phase::Transferring(bound)
}

fn account(busy: u64, rwnd_limited: u64, rtt: u64) -> TcpInfo {
    TcpInfo {
        busy: Some(Duration::from_millis(busy)),
        rwnd_limited: Some(Duration::from_millis(rwnd_limited)),
        rtt: Some(Duration::from_millis(rtt)),
        ..TcpInfo::default()
    }
}

#[test]
fn silence_is_of_whoever_speaks_next() {
    let steps = [
        (3, Connected),
        (20, Says(Client, 10)),
        (0, SentOn(Client)),
        (70, Says(Server, 10)),
        (0, SentOn(Server)),
        (7, Ends(Client)),
        (2, Ends(Server)),
    ];
    let expected = [
        (Phase::Connecting, 3),
        (Phase::WaitingFor(Client), 27),
        (Phase::WaitingFor(Server), 70),
        (Phase::Closing, 2),
    ];
    assert_eq!(spent(&steps, 0), expected);
}

#[test]
fn first_words_of_a_server_were_waited_for() {
    assert_eq!(
        spent(&[(0, Connected), (30, Says(Server, 1)), (0, SentOn(Server))], 5),
        [(Phase::WaitingFor(Client), 5), (Phase::WaitingFor(Server), 30)]
    );
    assert_eq!(spent(&[(0, Connected)], 5), [(Phase::WaitingFor(Client), 5)]);
    assert_eq!(spent(&[], 5), [(Phase::Connecting, 5)]);
}

#[test]
fn server_that_never_answers_is_waited_for_until_the_client_gives_up() {
    let asked = [(0, Connected), (0, Says(Client, 1)), (0, SentOn(Client))];
    let expected = [(Phase::WaitingFor(Server), 900)];
    assert_eq!(spent(&asked, 900), expected);
    let half_closed = [&asked[..], &[(0, Ends(Client)), (600, Ends(Server))]].concat();
    assert_eq!(spent(&half_closed, 300), [(Phase::WaitingFor(Server), 600), (Phase::Closing, 300)]);
    for patience in [900, 400] {
        let given_up = [&asked[..], &[(patience, Ends(Client))]].concat();
        assert_eq!(spent(&given_up, 0), [(Phase::WaitingFor(Server), patience)]);
    }
}

#[test]
fn side_that_goes_on_soon_sends_slowly_and_later_is_waited_for() {
    let download = |pause| {
        let first = [(0, Connected), (0, Says(Server, 9)), (0, SentOn(Server))];
        spent(&[&first[..], &[(pause, Says(Server, 9)), (0, SentOn(Server))]].concat(), 0)
    };
    assert_eq!(download(499), [(transferring(Bound::Sender(Server)), 499)]);
    assert_eq!(download(500), [(Phase::WaitingFor(Server), 500)]);
}

#[test]
fn pauses_of_a_round_trip_or_with_losses_are_of_the_network() {
    let upload = |tcp| {
        let mut steps = vec![(0, Connected)];
        for _ in 0..10 {
            steps.extend([(40, Says(Client, 9)), (0, SentOn(Client))]);
        }
        steps.push((0, Account(Client, tcp)));
        spent(&steps, 0)
    };
    let waited = (Phase::WaitingFor(Client), 40);
    let of = |bound| vec![waited, (transferring(bound), 360)];
    assert_eq!(upload(account(0, 0, 1)), of(Bound::Sender(Client)));
    assert_eq!(upload(account(0, 0, 30)), of(Bound::Network(Client)));
    let mut lossy = account(0, 0, 1);
    (lossy.data_segments, lossy.out_of_order) = (Some(2000), Some(10));
    assert_eq!(upload(lossy), of(Bound::Network(Client)));
    lossy.out_of_order = Some(1);
    assert_eq!(upload(lossy), of(Bound::Sender(Client)));
}

#[test]
fn kernel_tells_full_window_from_slow_network() {
    let slow = |more: &[(u64, Step)]| {
        let steps = [(0, Connected), (0, Says(Server, 9))];
        spent(&[&steps[..], more, &[(80, SentOn(Server))]].concat(), 0)
    };
    let [window, network] = [Bound::Window(Client), Bound::Network(Client)].map(transferring);
    assert_eq!(slow(&[]), [(window, 80)]);
    assert_eq!(slow(&[(0, Account(Client, account(100, 100, 1)))]), [(window, 80)]);
    assert_eq!(slow(&[(0, Account(Client, account(100, 0, 1)))]), [(network, 80)]);
    let both = slow(&[(0, Account(Client, account(100, 25, 1)))]);
    assert_eq!(both, [(network, 60), (window, 20)]);
}

#[test]
fn what_the_kernel_still_delivers_is_no_waiting() {
    let len = BULK as usize;
    let download = |len, busy| {
        let steps = [
            (0, Connected),
            (0, Says(Client, 1)),
            (0, SentOn(Client)),
            (0, Says(Server, len)),
            (0, SentOn(Server)),
            (0, Ends(Server)),
            (0, Account(Client, account(busy, 0, 1))),
        ];
        spent(&steps, 1000)
    };
    let network = transferring(Bound::Network(Client));
    assert_eq!(download(len, 900), [(network, 900), (Phase::Closing, 100)]);
    assert_eq!(download(len, 2000), [(network, 1000)]);
    assert_eq!(download(len, 200), [(Phase::Closing, 1000)], "late acknowledgments");
    assert_eq!(download(len - 1, 900), [(Phase::Closing, 1000)], "many small answers");
}

#[test]
fn full_sink_holds_everything_up() {
    let steps = [
        (0, Full),
        (4, Room),
        (1, Connected),
        (0, Says(Client, 1)),
        (0, Full),
        (3, Full),
        (3, Room),
        (3, Room),
        (2, SentOn(Client)),
    ];
    let expected = [
        (Phase::Connecting, 1),
        (transferring(Bound::Window(Server)), 2),
        (transferring(Bound::Sinks), 13),
    ];
    assert_eq!(spent(&steps, 0), expected);
}

#[test]
fn bytes_that_a_transform_keeps_are_under_way_no_longer() {
    let steps = [(0, Connected), (0, Says(Client, 1)), (2, Kept(Client)), (9, Says(Server, 1))];
    let expected = [
        (Phase::WaitingFor(Server), 9),
        (transferring(Bound::Window(Client)), 4),
        (transferring(Bound::Window(Server)), 2),
    ];
    assert_eq!(spent(&steps, 4), expected);
}

#[test]
fn slowest_requests_are_kept_with_their_offsets() {
    let mut steps = vec![(0, Connected)];
    for millis in [30, 10, 70, 20, 60, 40, 50] {
        steps.extend([(0, Says(Client, 60)), (5, Says(Client, 40)), (5, SentOn(Client))]);
        steps.extend([(millis, Says(Server, 1)), (0, SentOn(Server))]);
    }
    let verdict = judged(&steps, 0);
    assert_eq!(verdict.requests, 7);
    let slowest = verdict.slowest.iter();
    let slowest: Vec<_> = slowest.map(|one| (one.offset, one.answered_after.as_millis())).collect();
    assert_eq!(slowest, [(200, 70), (400, 60), (600, 50), (500, 40), (0, 30)]);
}

fn step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Client), Just(Server)];
    let figures = (0..5000_u64, 0..5000_u64, 0..500_u64);
    prop_oneof![
        Just(Connected),
        (side(), 1..1_000_000_usize).prop_map(|(side, len)| Says(side, len)),
        side().prop_map(SentOn),
        side().prop_map(Kept),
        Just(Full),
        Just(Room),
        side().prop_map(Ends),
        (side(), figures).prop_map(|(side, (busy, limited, rtt))| {
            Account(side, account(busy, limited, rtt))
        }),
    ]
}

proptest! {
    #[test]
    fn each_moment_is_in_one_phase(
        steps in prop::collection::vec((0..2000_u64, step()), 0..40),
        close_after in 0..2000_u64,
    ) {
        // It is `judged` that checks the sum.
        let verdict = judged(&steps, close_after);
        let sum: u32 = verdict.spent.shares().iter().map(|(_, share)| u32::from(*share)).sum();
        prop_assert_eq!(sum, if verdict.spent.total().is_zero() { 0 } else { 100 });
    }
}

/// What a judge costs for each open connection.
#[test]
fn judge_is_small() {
    assert!(size_of::<Judge>() <= 640, "{}", size_of::<Judge>());
}
