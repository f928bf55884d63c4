//! How often a scheduler is asked: at once when something moves, ever less often when nothing does.

use std::time::Duration;
use tokio::time::Instant;

/// The least time between two ticks.
const LEAST: Duration = Duration::from_secs(1);
/// The most.
const MOST: Duration = Duration::from_secs(60);

/// A tenth of the time since something last moved, within a second and a minute: what ends after an hour is noticed
/// within a minute, what was just submitted within a second.
pub fn pause(quiet_for: Duration) -> Duration {
    (quiet_for / 10).clamp(LEAST, MOST)
}

/// Paces one loop.
#[derive(Debug)]
pub struct Pace {
    moved: Instant,
    ticked: Instant,
}

impl Pace {
    /// Begins now.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            moved: now,
            ticked: now.checked_sub(LEAST).unwrap_or(now),
        }
    }

    /// Something moved: the next ticks come soon.
    pub fn moved(&mut self) {
        self.moved = Instant::now();
    }

    /// When the next tick is due.
    pub fn next(&self) -> Instant {
        self.ticked + pause(self.moved.elapsed())
    }

    /// A tick begins. After one that took long, the next is put off, so that a slow scheduler is left in peace.
    pub fn tick(&mut self) {
        self.ticked = Instant::now();
    }

    /// A tick took so long.
    pub fn took(&mut self, duration: Duration) {
        self.ticked += duration.saturating_mul(4).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_just_moved_is_asked_for_within_a_second_and_an_old_job_within_a_minute() {
        assert_eq!(pause(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(pause(Duration::from_secs(60)), Duration::from_secs(6));
        assert_eq!(pause(Duration::from_secs(36_000)), Duration::from_secs(60));
    }
}
