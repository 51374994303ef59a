//! Selects the first N of many items without sorting the rest.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The `n` items with the largest keys, largest first, by a heap that never holds more than `n`:
/// O(F log n) for F items. Where no two keys are equal the order of the input does not matter.
pub(super) fn top_n<K: Ord, T>(items: impl Iterator<Item = (K, T)>, n: usize) -> Vec<T> {
    if n == 0 {
        return Vec::new();
    }
    // The least of the kept items is on top; any larger one replaces it.
    let mut heap: BinaryHeap<Reverse<HeapItem<K, T>>> = BinaryHeap::new();
    for (key, item) in items {
        let ranked = HeapItem { key, item };
        if heap.len() < n {
            heap.push(Reverse(ranked));
        } else if let Some(mut least) = heap.peek_mut()
            && ranked > least.0
        {
            *least = Reverse(ranked);
        }
    }
    // Ascending by `Reverse` is descending by rank.
    heap.into_sorted_vec()
        .into_iter()
        .map(|Reverse(ranked)| ranked.item)
        .collect()
}

/// Sorts all items by their keys, least first; `equals` orders items with equal keys. Small keys
/// are best, because sorting moves them.
pub(super) fn in_order<K: Ord, T: Copy>(
    items: impl Iterator<Item = (K, T)>,
    equals: impl Fn(T, T) -> Ordering,
) -> Vec<T> {
    let mut items: Vec<(K, T)> = items.collect();
    items.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| equals(a.1, b.1)));
    items.into_iter().map(|(_, item)| item).collect()
}

/// An item with its sort key.
struct HeapItem<K, T> {
    key: K,
    item: T,
}

impl<K: Ord, T> Ord for HeapItem<K, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl<K: Ord, T> PartialOrd for HeapItem<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> PartialEq for HeapItem<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: Ord, T> Eq for HeapItem<K, T> {}
