//! A bounded cache of facts that a background thread looks up: reading the cache never waits.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Values by key. The key that was not read for longest is evicted first.
#[derive(Debug)]
pub(super) struct BackgroundCache<K, V> {
    entries: HashMap<K, CacheEntry<V>>,
    capacity: usize,
    /// LRU clock: incremented per read.
    clock: u64,
}

#[derive(Debug)]
struct CacheEntry<V> {
    value: V,
    /// When to look the value up again; `None` while a look-up is in progress.
    expires: Option<Instant>,
    /// LRU clock at the last read.
    used: u64,
}

impl<K: Copy + Eq + Hash, V: Clone + Default> BackgroundCache<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            capacity,
            clock: 0,
        }
    }

    /// Returns the value, and whether the caller has to look it up now. An expired value stays
    /// until the new one is stored; a new key begins with the default.
    pub(super) fn get(&mut self, key: K, now: Instant) -> (V, bool) {
        self.clock += 1;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.used = self.clock;
            let is_due = entry.expires.is_some_and(|expires| expires <= now);
            if is_due {
                entry.expires = None;
            }
            return (entry.value.clone(), is_due);
        }
        if self.entries.len() >= self.capacity {
            self.evict();
        }
        let entry = CacheEntry {
            value: V::default(),
            expires: None,
            used: self.clock,
        };
        self.entries.insert(key, entry);
        (V::default(), true)
    }

    /// Returns the value, which may have expired, without starting a look-up and without counting
    /// as a read.
    pub(super) fn known(&self, key: K) -> V {
        let entry = self.entries.get(&key);
        entry.map_or_else(V::default, |entry| entry.value.clone())
    }

    /// Returns the place for a result, which is valid until `expires`; `None` if the key was
    /// evicted meanwhile.
    pub(super) fn store(&mut self, key: K, expires: Instant) -> Option<&mut V> {
        let entry = self.entries.get_mut(&key)?;
        entry.expires = Some(expires);
        Some(&mut entry.value)
    }

    /// Notes that the look-up could not be started: the next read starts it again.
    pub(super) fn request_dropped(&mut self, key: K, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.expires = Some(now);
        }
    }

    /// Returns whether the caller has to look the value up before it expires: not while a look-up
    /// is in progress.
    pub(super) fn refresh_now(&mut self, key: K) -> bool {
        let entry = self.entries.get_mut(&key);
        entry.is_some_and(|entry| entry.expires.take().is_some())
    }

    /// Expires all values except those whose look-up is in progress.
    pub(super) fn expire_all(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.expires = entry.expires.map(|expires| expires.min(now));
        }
    }

    /// Evicts a quarter at once, so that the scan is rare.
    fn evict(&mut self) {
        let mut used: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        used.sort_unstable();
        let limit = used.get(used.len() / 4).copied().unwrap_or(u64::MAX);
        self.entries.retain(|_, entry| entry.used > limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_what_is_looked_at() {
        const CAPACITY: usize = 64;
        let mut cache: BackgroundCache<usize, u8> = BackgroundCache::new(CAPACITY);
        let now = Instant::now();
        for key in 1..=3 * CAPACITY {
            cache.get(key, now);
            cache.get(1, now);
            assert!(cache.entries.len() <= CAPACITY);
        }
        assert!(cache.entries.contains_key(&1));
        assert!(cache.entries.len() > CAPACITY / 2);
    }

    #[test]
    fn a_question_under_way_is_not_asked_twice() {
        let mut cache: BackgroundCache<u8, u8> = BackgroundCache::new(4);
        let now = Instant::now();
        assert_eq!(cache.get(1, now), (0, true));
        assert_eq!(cache.get(1, now), (0, false));
        cache.expire_all(now);
        assert!(!cache.refresh_now(1));
        *cache.store(1, now).unwrap() = 7;
        assert!(cache.refresh_now(1));
        assert!(!cache.refresh_now(1));
        cache.request_dropped(1, now);
        assert_eq!(cache.get(1, now), (7, true));
        assert_eq!(cache.store(2, now), None);
    }
}
