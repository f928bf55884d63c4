//! How often a period is rated: only when something changed, and never for more than a small part of the time. Pure.

use std::time::{Duration, Instant};

/// At most a twentieth of the time goes into rating a period.
const PART_OF_THE_TIME: u32 = 20;
const AT_LEAST: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_secs(600);

/// When a period was rated, from what, and how long that took.
#[derive(Clone, Debug)]
pub struct Rated<Foundations> {
    /// What it rested on.
    pub on: Foundations,
    /// When it was done.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
}

/// Whether to rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// What was rated last still holds.
    Holds,
    /// Now.
    Now,
    /// Something changed, and it is too early.
    In(Duration),
}

/// Whether a period is to be rated, from what it rests on now. What is `urgent` does not wait.
pub fn turn<Foundations: PartialEq>(
    last: Option<&Rated<Foundations>>,
    now: &Foundations,
    at: Instant,
    urgent: impl FnOnce(&Foundations) -> bool,
) -> Turn {
    let Some(last) = last else { return Turn::Now };
    if last.on == *now {
        return Turn::Holds;
    }
    let pause = (last.took * PART_OF_THE_TIME).clamp(AT_LEAST, AT_MOST);
    let left = pause.saturating_sub(at.duration_since(last.at));
    if left.is_zero() || urgent(&last.on) {
        Turn::Now
    } else {
        Turn::In(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rated(took: u64, ago: u64, now: Instant) -> Option<Rated<u32>> {
        Some(Rated {
            on: 1,
            at: now.checked_sub(Duration::from_millis(ago))?,
            took: Duration::from_millis(took),
        })
    }

    #[test]
    fn nothing_is_rated_twice_from_the_same() {
        let now = Instant::now();
        assert_eq!(turn(None, &1, now, |_| false), Turn::Now);
        assert_eq!(turn(rated(1, 1, now).as_ref(), &1, now, |_| true), Turn::Holds);
    }

    #[test]
    fn rating_takes_a_twentieth_of_the_time_and_waits_a_second_at_least() {
        let now = Instant::now();
        let after = |took, ago| turn(rated(took, ago, now).as_ref(), &2, now, |_| false);
        assert_eq!(after(1, 400), Turn::In(Duration::from_millis(600)));
        assert_eq!(after(1, 1_000), Turn::Now);
        assert_eq!(after(500, 1_000), Turn::In(Duration::from_secs(9)));
        assert_eq!(after(500, 10_000), Turn::Now);
        assert_eq!(after(100_000, 0), Turn::In(Duration::from_secs(600)));
    }

    #[test]
    fn what_is_urgent_does_not_wait() {
        let now = Instant::now();
        assert_eq!(
            turn(rated(500, 0, now).as_ref(), &2, now, |on| *on == 1),
            Turn::Now
        );
    }
}
