//! Spans of time as squeue writes them.

use jiff::Timestamp;
use std::time::Duration;

/// `[days-]hours:minutes:seconds`, and `minutes:seconds` below an hour, as squeue's TIME.
pub fn clock(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let seconds = seconds % 60;
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

/// A limit, as [`clock`] writes it.
pub fn limit(limit: Duration) -> String {
    clock(i64::try_from(limit.as_secs()).unwrap_or(i64::MAX))
}

/// How long something ran, or has run by `now`; nothing where it has not begun.
pub fn ran(started: Option<Timestamp>, finished: Option<Timestamp>, now: Timestamp) -> Option<i64> {
    let started = started?;
    Some(finished.unwrap_or(now).as_second() - started.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_squeue() {
        for (seconds, shown) in [
            (-3, "0:00"),
            (0, "0:00"),
            (61, "1:01"),
            (3_600, "1:00:00"),
            (86_399, "23:59:59"),
            (90_061, "1-01:01:01"),
        ] {
            assert_eq!(clock(seconds), shown);
        }
    }

    #[test]
    fn what_has_not_begun_has_no_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(ran(None, None, at(9)), None);
        assert_eq!(ran(Some(at(2)), None, at(9)), Some(7));
        assert_eq!(ran(Some(at(2)), Some(at(5)), at(9)), Some(3));
    }
}
