//! Names of addresses that look-ups have found.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::background_cache::BackgroundCache;

/// Addresses whose names are kept.
const CACHE: usize = 4096;

/// An address whose name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameQuestion {
    pub addr: IpAddr,
    /// Whether name servers are queried, or only `/etc/hosts` is read.
    pub uses_servers: bool,
}

/// What a look-up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookupOutcome {
    /// The address has this name.
    Name(String),
    /// It is known to have none.
    NoPtrRecord,
    /// Nobody answered: a name known before stands.
    Failed,
}

/// The answer of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LookupResult {
    /// What it came to.
    pub(super) outcome: LookupOutcome,
    /// Time for which the result is valid.
    pub(super) ttl: Duration,
    /// Number of configurations read: a result by an earlier one is looked up again.
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) struct NameCache {
    names: BackgroundCache<NameQuestion, Option<Arc<str>>>,
    /// Of the last configuration that an answer came by.
    generation: u64,
}

impl Default for NameCache {
    fn default() -> Self {
        Self {
            names: BackgroundCache::new(CACHE),
            generation: 0,
        }
    }
}

impl NameCache {
    /// Returns the known name, and whether to look it up now. An expired name stands until the new
    /// one is there.
    pub(super) fn get(&mut self, question: NameQuestion, now: Instant) -> (Option<Arc<str>>, bool) {
        self.names.get(question, now)
    }

    /// Returns what is known, without asking and without being a use.
    pub(super) fn known(&self, question: NameQuestion) -> Option<Arc<str>> {
        self.names.known(question)
    }

    /// Stores an answer. Returns whether another name is known now.
    pub(super) fn store(
        &mut self,
        question: NameQuestion,
        answer: LookupResult,
        now: Instant,
    ) -> bool {
        if answer.generation > self.generation {
            self.generation = answer.generation;
            // Questions under way will bring their own generation.
            self.names.expire_all(now);
        }
        let is_current = answer.generation == self.generation;
        let expires = if is_current { now + answer.ttl } else { now };
        let Some(known) = self.names.store(question, expires) else {
            return false;
        };
        let name = match answer.outcome {
            LookupOutcome::Name(name) => Some(Arc::from(name)),
            LookupOutcome::NoPtrRecord => None,
            LookupOutcome::Failed => return false,
        };
        let changed = *known != name;
        *known = name;
        changed
    }

    /// Notes that the queue had no room for a question: the next `get` requests it again.
    pub(super) fn request_dropped(&mut self, question: NameQuestion, now: Instant) {
        self.names.request_dropped(question, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const FOR: Duration = Duration::from_secs(300);

    fn addr(n: u32) -> NameQuestion {
        NameQuestion {
            addr: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)),
            uses_servers: true,
        }
    }

    fn result(outcome: LookupOutcome) -> LookupResult {
        LookupResult {
            outcome,
            ttl: FOR,
            generation: 0,
        }
    }

    fn name(name: &str) -> LookupResult {
        result(LookupOutcome::Name(name.to_owned()))
    }

    #[test]
    fn an_address_is_asked_for_once() {
        let mut cache = NameCache::default();
        let now = Instant::now();
        assert_eq!(cache.get(addr(1), now), (None, true));
        assert_eq!(cache.get(addr(1), now), (None, false));
        assert!(!cache.store(addr(1), result(LookupOutcome::NoPtrRecord), now));
        assert_eq!(cache.get(addr(1), now), (None, false));
        assert_eq!(cache.get(addr(1), now + FOR), (None, true));
    }

    #[test]
    fn an_expired_name_stands_until_the_new_one_is_there() {
        let mut cache = NameCache::default();
        let now = Instant::now();
        cache.get(addr(1), now);
        assert!(cache.store(addr(1), name("old"), now));
        assert_eq!(cache.get(addr(1), now + FOR), (Some("old".into()), true));
        assert!(cache.store(addr(1), name("new"), now + FOR));
        assert_eq!(cache.get(addr(1), now + FOR).0, Some("new".into()));
        assert!(!cache.store(addr(1), name("new"), now + FOR), "no news");
    }

    #[test]
    fn a_name_survives_a_failure_but_not_a_no() {
        let mut cache = NameCache::default();
        let now = Instant::now();
        cache.get(addr(1), now);
        cache.store(addr(1), name("web"), now);
        assert!(!cache.store(addr(1), result(LookupOutcome::Failed), now));
        assert_eq!(cache.get(addr(1), now), (Some("web".into()), false));
        assert!(cache.store(addr(1), result(LookupOutcome::NoPtrRecord), now));
        assert_eq!(cache.get(addr(1), now), (None, false));
    }

    #[test]
    fn a_changed_configuration_has_everything_asked_for_anew() {
        let mut cache = NameCache::default();
        let now = Instant::now();
        for n in 1..=3 {
            cache.get(addr(n), now);
        }
        cache.store(addr(1), name("one"), now);
        let newer = LookupResult {
            generation: 1,
            ..name("two")
        };
        cache.store(addr(2), newer, now);
        assert_eq!(cache.get(addr(1), now), (Some("one".into()), true));
        assert_eq!(cache.get(addr(2), now), (Some("two".into()), false));
        // One that was under way when the configuration changed.
        cache.store(addr(3), name("three"), now);
        assert_eq!(cache.get(addr(3), now), (Some("three".into()), true));
    }

    #[test]
    fn what_could_not_be_asked_is_asked_at_the_next_look() {
        let mut cache = NameCache::default();
        let now = Instant::now();
        cache.get(addr(1), now);
        cache.request_dropped(addr(1), now);
        assert_eq!(cache.get(addr(1), now), (None, true));
        cache.store(addr(1), name("web"), now);
        cache.get(addr(1), now + FOR);
        cache.request_dropped(addr(1), now + FOR);
        assert_eq!(cache.get(addr(1), now + FOR), (Some("web".into()), true));
    }
}
