//! What the scheduler foresees of a waiting job's start, in words: how many come before it, and when its turn may come.

use jiff::civil::DateTime;
use jiff::{Timestamp, tz::TimeZone};
use mesocentre_api::{BatchJobStatus, JobOutlook};

/// As `12 jobs ahead, expected to start at 14:30`; none of a job of which nothing is foreseen.
pub fn in_words(outlook: &JobOutlook, now: Timestamp, zone: &TimeZone) -> Option<String> {
    let ahead = outlook.jobs_ahead.map(|ahead| match ahead {
        0 => "next in its partition".to_owned(),
        1 => "1 job ahead".to_owned(),
        ahead => format!("{ahead} jobs ahead"),
    });
    let start = outlook
        .expected_start
        .map(|start| format!("expected to start {}", moment(start, now, zone)));
    let parts: Vec<String> = [ahead, start].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Why a job is where it is, and of one that waits what is foreseen.
pub fn why(status: &BatchJobStatus, now: Timestamp, zone: &TimeZone) -> Option<String> {
    let foreseen = status
        .outlook
        .as_ref()
        .and_then(|outlook| in_words(outlook, now, zone));
    match (&status.message, foreseen) {
        (Some(message), Some(foreseen)) => Some(format!("{message} ({foreseen})")),
        (Some(message), None) => Some(message.clone()),
        (None, foreseen) => foreseen,
    }
}

/// A moment to come: today's by the clock, others with their day. Past ones are due: the scheduler looks now and then.
fn moment(start: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    if start <= now {
        return "now".to_owned();
    }
    let civil = |time: Timestamp| -> DateTime { time.to_zoned(zone.clone()).datetime() };
    let start = civil(start);
    if start.date() == civil(now).date() {
        start.strftime("at %H:%M").to_string()
    } else {
        start.strftime("on %Y-%m-%d at %H:%M").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(ahead: Option<i64>, start: Option<&str>) -> JobOutlook {
        JobOutlook {
            jobs_ahead: ahead,
            expected_start: start.map(|start| start.parse().unwrap()),
            at: "2026-11-27T08:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_is_foreseen_is_told_in_the_readers_own_time() {
        let now = "2026-11-27T08:30:00Z".parse().unwrap();
        let paris = TimeZone::get("Europe/Paris").unwrap();
        for (ahead, start, told) in [
            (
                Some(12),
                Some("2026-11-27T13:30:00Z"),
                Some("12 jobs ahead, expected to start at 14:30"),
            ),
            (
                Some(1),
                Some("2026-11-27T23:30:00Z"),
                Some("1 job ahead, expected to start on 2026-11-28 at 00:30"),
            ),
            (Some(0), None, Some("next in its partition")),
            (None, Some("2026-11-27T08:00:00Z"), Some("expected to start now")),
            (None, None, None),
        ] {
            assert_eq!(in_words(&outlook(ahead, start), now, &paris).as_deref(), told);
        }
    }

    #[test]
    fn why_a_job_waits_has_what_is_foreseen_beside_it() {
        let now = "2026-11-27T08:30:00Z".parse().unwrap();
        let status = BatchJobStatus {
            message: Some("waits for free resources".to_owned()),
            outlook: Some(outlook(Some(3), None)),
            ..BatchJobStatus::default()
        };
        assert_eq!(
            why(&status, now, &TimeZone::UTC).as_deref(),
            Some("waits for free resources (3 jobs ahead)")
        );
    }
}
