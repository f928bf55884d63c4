//! Of several objects that ask for one thing, the first keeps it and the others are told which.

use kube::ResourceExt;
use std::sync::Arc;

/// The name of the first, by `rank`, of those that ask for the same; none when it is this one.
pub fn first_before<K: ResourceExt, R: Ord>(
    all: &[Arc<K>],
    object: &K,
    rank: impl Fn(&K) -> R,
    asks_for_the_same: impl Fn(&K) -> bool,
) -> Option<String> {
    let own = rank(object);
    all.iter()
        .filter(|other| asks_for_the_same(other))
        .map(|other| (rank(other), other.name_any()))
        .filter(|(theirs, _)| *theirs < own)
        .min()
        .map(|(_, name)| name)
}
