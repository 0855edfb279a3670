//! Maps that forget their oldest entries.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Entries that are kept: more than a machine has ephemeral ports.
const MAX: usize = 65_536;

/// A map of at most [`MAX`] entries, which forgets those that were set first.
#[derive(Debug)]
pub(super) struct BoundedMap<K, V> {
    values: HashMap<K, (V, u64)>,
    /// The keys in the order in which they were set; some may have been set again since.
    order: VecDeque<(K, u64)>,
    age: u64,
}

impl<K: Copy + Eq + Hash, V: Copy> BoundedMap<K, V> {
    pub(super) fn new() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), age: 0 }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.values.get(key).map(|(value, _)| *value)
    }

    pub(super) fn set(&mut self, key: K, value: V) {
        self.age += 1;
        self.values.insert(key, (value, self.age));
        self.order.push_back((key, self.age));
        while self.order.len() > MAX {
            let Some((oldest, age)) = self.order.pop_front() else { break };
            if self.values.get(&oldest).is_some_and(|(_, set)| *set == age) {
                self.values.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.values.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_entry_is_forgotten() {
        let mut map = BoundedMap::new();
        for key in 0..=MAX {
            map.set(key, key);
        }
        assert_eq!(map.get(&0), None);
        assert_eq!(map.get(&1), Some(1));
        map.set(1, 7);
        map.set(MAX + 1, 0);
        assert_eq!(map.get(&1), Some(7), "it was set again");
        assert_eq!(map.get(&2), None);
        map.remove(&1);
        assert_eq!(map.get(&1), None);
        assert!(map.values.len() <= MAX && map.order.len() <= MAX);
    }
}
