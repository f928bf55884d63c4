//! Counts in a status: written a moment after they changed, so that a burst of tenants or workspaces costs one write.

use crate::lock::locked;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// For how long a count may be old.
const SETTLES: Duration = Duration::from_secs(1);

/// Which objects' counts have changed, and since when.
#[derive(Default)]
pub struct Counts(Mutex<HashMap<String, Instant>>);

impl Counts {
    /// Whether the object's new count is to be written later, and when.
    pub fn later(&self, uid: &str) -> Option<Duration> {
        let mut since = locked(&self.0);
        let left = SETTLES.saturating_sub(since.entry(uid.to_owned()).or_insert_with(Instant::now).elapsed());
        if left.is_zero() {
            since.remove(uid);
            return None;
        }
        Some(left)
    }

    /// The object's status says what is.
    pub fn written(&self, uid: &str) {
        locked(&self.0).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_starts_the_clock_and_a_write_ends_it() {
        let counts = Counts::default();
        assert!(counts.later("a").is_some_and(|left| left > SETTLES / 2));
        assert!(counts.later("a").is_some());
        counts.written("a");
        assert!(counts.0.lock().unwrap().is_empty());
    }
}
