//! Where the time of a connection went.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use super::side::Side;

/// What a connection spends time on. At each moment it is in exactly one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The tunnel reaches the server, with all that comes before: a proxy's dialogue, the
    /// resolver, refused addresses.
    Connecting,
    /// Nothing is under way, and it is this side's turn: the server owes an answer, or the client
    /// its next request.
    WaitingFor(Side),
    /// Bytes are on their way from one side to the other, held up by this.
    Transferring(Bound),
    /// One side has ended its direction, and nothing more is said.
    Closing,
}

/// What holds a transfer up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// This side sends the next bytes of what it has begun only now.
    Sender(Side),
    /// The network between the tunnel and this side.
    Network(Side),
    /// This side does not read, so that its receive window is full.
    Window(Side),
    /// A sink of the tunnel's own has no room.
    Sinks,
}

impl Phase {
    /// All phases, in the order of their figures.
    pub const ALL: [Self; 11] = [
        Self::Connecting,
        Self::WaitingFor(Side::Client),
        Self::WaitingFor(Side::Server),
        Self::Transferring(Bound::Sender(Side::Client)),
        Self::Transferring(Bound::Sender(Side::Server)),
        Self::Transferring(Bound::Network(Side::Client)),
        Self::Transferring(Bound::Network(Side::Server)),
        Self::Transferring(Bound::Window(Side::Client)),
        Self::Transferring(Bound::Window(Side::Server)),
        Self::Transferring(Bound::Sinks),
        Self::Closing,
    ];

    /// A stable name for programs: `connecting`, `client`, `server`, `client_sends`,
    /// `client_network`, `client_window`, `sinks`, ...
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::WaitingFor(side) => side.name(),
            Self::Transferring(Bound::Sender(Side::Client)) => "client_sends",
            Self::Transferring(Bound::Sender(Side::Server)) => "server_sends",
            Self::Transferring(Bound::Network(Side::Client)) => "client_network",
            Self::Transferring(Bound::Network(Side::Server)) => "server_network",
            Self::Transferring(Bound::Window(Side::Client)) => "client_window",
            Self::Transferring(Bound::Window(Side::Server)) => "server_window",
            Self::Transferring(Bound::Sinks) => "sinks",
            Self::Closing => "closing",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Connecting => 0,
            Self::WaitingFor(side) => 1 + side as usize,
            Self::Transferring(Bound::Sender(side)) => 3 + side as usize,
            Self::Transferring(Bound::Network(side)) => 5 + side as usize,
            Self::Transferring(Bound::Window(side)) => 7 + side as usize,
            Self::Transferring(Bound::Sinks) => 9,
            Self::Closing => 10,
        }
    }
}

/// `client's window full`, `network to the server`, ...
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sender(side) => write!(f, "{side} sends slowly"),
            Self::Network(side) => write!(f, "network to the {side}"),
            Self::Window(side) => write!(f, "{side}'s window full"),
            Self::Sinks => f.write_str("a sink of tcp_tunn is slow"),
        }
    }
}

/// How much time each [`Phase`] took.
///
/// [`Display`](fmt::Display) gives the shares in percent, the largest first; they add up to 100:
/// `71 % waiting for the server, 20 % waiting for the client, 9 % transfer (client's window full)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSpent([Duration; Phase::ALL.len()]);

/// What [`TimeSpent::shares`] tells apart, as the console does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// [`Phase::Connecting`].
    Connecting,
    /// [`Phase::WaitingFor`].
    WaitingFor(Side),
    /// [`Phase::Transferring`], whatever held it up.
    Transfer,
    /// [`Phase::Closing`].
    Closing,
}

impl Part {
    /// All parts, in the order of their figures.
    pub const ALL: [Self; 5] = [
        Self::Connecting,
        Self::WaitingFor(Side::Client),
        Self::WaitingFor(Side::Server),
        Self::Transfer,
        Self::Closing,
    ];

    /// A stable name for programs: `connecting`, `client`, `server`, `transfer` or `closing`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::WaitingFor(side) => side.name(),
            Self::Transfer => "transfer",
            Self::Closing => "closing",
        }
    }
}

impl TimeSpent {
    /// How long `phase` took.
    pub const fn get(&self, phase: Phase) -> Duration {
        self.0[phase.index()]
    }

    /// How long `phase` took, to be changed.
    pub const fn get_mut(&mut self, phase: Phase) -> &mut Duration {
        &mut self.0[phase.index()]
    }

    /// All time together.
    pub fn total(&self) -> Duration {
        self.0.iter().fold(Duration::ZERO, |sum, time| sum.saturating_add(*time))
    }

    /// How long a part took.
    pub fn part(&self, part: Part) -> Duration {
        match part {
            Part::Connecting => self.get(Phase::Connecting),
            Part::WaitingFor(side) => self.get(Phase::WaitingFor(side)),
            Part::Transfer => self.bounds().map(|(_, time)| time).sum(),
            Part::Closing => self.get(Phase::Closing),
        }
    }

    /// What held transfers up, and for how long.
    pub fn bounds(&self) -> impl Iterator<Item = (Bound, Duration)> {
        Phase::ALL.into_iter().filter_map(|phase| match phase {
            Phase::Transferring(bound) => Some((bound, self.get(phase))),
            _ => None,
        })
    }

    /// What held transfers up most; nothing where there were none.
    pub fn main_bound(&self) -> Option<Bound> {
        let longest = self.bounds().max_by_key(|(_, time)| *time);
        longest.filter(|(_, time)| !time.is_zero()).map(|(bound, _)| bound)
    }

    /// Each part's share in percent. They add up to 100, or are all 0 where no time has passed.
    pub fn shares(&self) -> [(Part, u8); Part::ALL.len()] {
        let total = self.total().as_nanos();
        let nanos = Part::ALL.map(|part| self.part(part).as_nanos() * 100);
        let mut shares = nanos.map(|nanos| nanos.checked_div(total).unwrap_or_default() as u8);
        let left = if total == 0 { 0 } else { 100 - shares.iter().sum::<u8>() };
        // What the fractions leave goes to the largest of them (the largest remainder method).
        let mut by_rest: [usize; Part::ALL.len()] = std::array::from_fn(|index| index);
        by_rest.sort_by_key(|&index| {
            std::cmp::Reverse(nanos[index].checked_rem(total).unwrap_or_default())
        });
        for &index in by_rest.iter().take(usize::from(left)) {
            shares[index] += 1;
        }
        std::array::from_fn(|index| (Part::ALL[index], shares[index]))
    }
}

impl AddAssign for TimeSpent {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }
}

impl fmt::Display for TimeSpent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shares = self.shares();
        shares.sort_by_key(|(_, share)| std::cmp::Reverse(*share));
        let mut separator = "";
        for (part, share) in shares.into_iter().filter(|(_, share)| *share > 0) {
            write!(f, "{separator}{share} % ")?;
            separator = ", ";
            match part {
                Part::WaitingFor(side) => write!(f, "waiting for the {side}")?,
                Part::Connecting | Part::Transfer | Part::Closing => f.write_str(part.name())?,
            }
            if part == Part::Transfer
                && let Some(bound) = self.main_bound()
            {
                write!(f, " ({bound})")?;
            }
        }
        Ok(())
    }
}

/// Something that the client said and the server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// How many bytes of the client's came before it.
    pub offset: u64,
    /// From when the server had the last of it until the first byte of the answer.
    pub answered_after: Duration,
}

impl Request {
    /// A request and how long its answer took.
    pub const fn new(offset: u64, answered_after: Duration) -> Self {
        Self { offset, answered_after }
    }
}

/// Where the time of a connection went, and which requests were answered last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The connection's whole life.
    pub spent: TimeSpent,
    /// How many times the server answered.
    pub requests: u64,
    /// Those of them that took longest, the longest first; at most
    /// [`SLOWEST_MAX`](Self::SLOWEST_MAX).
    pub slowest: Vec<Request>,
}

impl Verdict {
    /// How many slow requests are kept of each connection.
    pub const SLOWEST_MAX: usize = 5;

    /// A verdict of which no more is known than where the time went.
    pub const fn new(spent: TimeSpent) -> Self {
        Self { spent, requests: 0, slowest: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spent(millis: &[(Phase, u64)]) -> TimeSpent {
        let mut spent = TimeSpent::default();
        for (phase, millis) in millis {
            *spent.get_mut(*phase) += Duration::from_millis(*millis);
        }
        spent
    }

    #[test]
    fn shares_are_told_largest_first_with_what_held_transfer_up() {
        let spent = spent(&[
            (Phase::WaitingFor(Side::Server), 710),
            (Phase::WaitingFor(Side::Client), 200),
            (Phase::Transferring(Bound::Window(Side::Client)), 80),
            (Phase::Transferring(Bound::Sinks), 10),
        ]);
        let words = "71 % waiting for the server, 20 % waiting for the client, \
                     9 % transfer (client's window full)";
        assert_eq!(spent.to_string(), words);
        assert_eq!(TimeSpent::default().to_string(), "");
    }

    #[test]
    fn each_phase_has_a_figure_of_its_own() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase.index(), index);
        }
    }

    proptest! {
        #[test]
        fn shares_add_up_to_100(nanos in prop::array::uniform11(0..u64::MAX / 100)) {
            let spent = TimeSpent(nanos.map(Duration::from_nanos));
            let sum: u32 = spent.shares().iter().map(|(_, share)| u32::from(*share)).sum();
            prop_assert_eq!(sum, if spent.total().is_zero() { 0 } else { 100 });
        }

        #[test]
        fn thirds_and_trifles_add_up_to_100(nanos in prop::array::uniform11(0..3_u64)) {
            let spent = TimeSpent(nanos.map(Duration::from_nanos));
            let sum: u32 = spent.shares().iter().map(|(_, share)| u32::from(*share)).sum();
            prop_assert_eq!(sum, if spent.total().is_zero() { 0 } else { 100 });
        }
    }
}
