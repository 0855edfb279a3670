//! Where a batch comes from, as its subject says.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What every subject begins with.
pub(super) const PREFIX: &str = "tt.v1";

/// One worker of one run of the program on one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Origin {
    /// The group of hosts that the operator gave it.
    pub site: Arc<str>,
    /// The host's name.
    pub host: Arc<str>,
    /// The run: later ones of a host sort after earlier ones.
    pub run: Arc<str>,
    /// The worker of the run.
    pub worker: u32,
}

/// What kind of batches a subject carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// All events but secrets.
    Data,
    /// The secrets of TLS, so that an operator can keep them from those who may see the rest.
    Keys,
}

impl Kind {
    /// Both kinds, secrets first, as they must come before the data that they open.
    pub(super) const ALL: [Self; 2] = [Self::Keys, Self::Data];

    /// The last word of the subject.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Keys => "keys",
        }
    }
}

impl Origin {
    /// The only worker of a new run on a host. Characters that a subject cannot have become `_`.
    pub fn new_run(site: &str, host: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let salt = RandomState::new().hash_one(now) as u16;
        let run = format!("{:012x}{salt:04x}", now as u64 & 0xffff_ffff_ffff);
        Self { site: token(site), host: token(host), run: run.into(), worker: 0 }
    }

    /// The subject of its batches.
    pub fn subject(&self, kind: Kind) -> String {
        let Self { site, host, run, worker } = self;
        format!("{PREFIX}.{site}.{host}.{run}.w{worker}.{}", kind.name())
    }

    /// The name of a batch, by which the server knows one that was sent twice.
    pub fn message_id(&self, kind: Kind, number: u64) -> String {
        format!("{}.w{}.{}.{number}", self.run, self.worker, kind.name())
    }

    /// What a subject says; `None` where it is none of ours.
    pub fn parse(subject: &str) -> Option<(Self, Kind)> {
        let rest = subject.strip_prefix(PREFIX)?.strip_prefix('.')?;
        let [site, host, run, worker, kind] = rest.split('.').collect::<Vec<_>>()[..] else {
            return None;
        };
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        let worker = worker.strip_prefix('w')?.parse().ok()?;
        let [site, host, run] = [site, host, run].map(Arc::from);
        Some((Self { site, host, run, worker }, kind))
    }
}

/// `site/host`, and the run and the worker.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, host, run, worker } = self;
        write!(f, "{site}/{host} (run {run}, worker {worker})")
    }
}

/// A name as one token of a subject.
pub(super) fn token(name: &str) -> Arc<str> {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let kept: String = name.chars().map(|c| if is_kept(c) { c } else { '_' }).collect();
    if kept.is_empty() { "_".into() } else { kept.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_read_back() {
        let origin = Origin::new_run("Praha 1", "web-1.example.com");
        for kind in Kind::ALL {
            let subject = origin.subject(kind);
            assert!(subject.starts_with("tt.v1.Praha_1.web-1_example_com."), "{subject}");
            assert_eq!(Origin::parse(&subject), Some((origin.clone(), kind)));
        }
        let others = ["", "tt.v1", "tt.v2.a.b.c.w0.data", "tt.v1.a.b.c.w0.x", "tt.v1.a.b.c.0.data"];
        for other in others {
            assert_eq!(Origin::parse(other), None, "{other}");
        }
    }

    #[test]
    fn later_run_sorts_after_earlier_one() {
        let first = Origin::new_run("a", "b");
        while SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
            == u64::from_str_radix(&first.run[..12], 16).unwrap()
        {}
        assert!(Origin::new_run("a", "b").run > first.run);
    }
}
