//! Counters that only go up, as power meters have: what was used between two readings is their difference.
//!
//! ```text
//!  reading ─ 1,000 at 09:00 ─ 2,250 at 10:00 ─── 40 at 11:00 ── 90 at 12:00
//!  record          └── 1,250 ────┘ └─ 40: began anew ─┘ └─ 50 ──┘
//! ```
//!
//! A counter that shows less than before was exchanged or began anew: what it shows since then was used at least, and no
//! difference is ever negative. What was used between two readings is who held the counter at the first of them's.

use crate::record::{RecordKey, UsageRecord};
use jiff::Timestamp;
use mesocentre_api::{Activity, Meter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whose use a counter counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The tenant.
    pub tenant: String,
    /// Its allocation; none, when absent.
    pub allocation: Option<String>,
    /// Economic or not.
    pub activity: Activity,
    /// Why it is so.
    pub activity_reason: String,
    /// What else its source says.
    pub evidence: BTreeMap<String, String>,
}

/// What a counter shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterReading {
    /// Its name, within its source.
    pub counter: String,
    /// What it counts.
    pub meter: Meter,
    /// What it shows, in base units.
    pub shows: u64,
    /// When.
    pub at: Timestamp,
    /// Whose it is from then on.
    pub holder: Holder,
}

/// What a counter showed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastReading {
    /// What it showed.
    pub shows: u64,
    /// When.
    pub at: Timestamp,
    /// Whose it was.
    pub holder: Holder,
}

/// What comes of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Use since the last one.
    Used(Box<UsageRecord>),
    /// It is the first, and what counts from now on.
    First,
    /// It, or a later one, is known: nothing is done.
    Known,
    /// Another reading of the same moment is known.
    Conflict {
        /// What that showed.
        shows: u64,
    },
}

/// What was used since the last reading of a counter.
pub fn difference(
    (source, cluster): (&str, &str),
    last: Option<&LastReading>,
    reading: &CounterReading,
) -> Difference {
    let Some(last) = last else {
        return Difference::First;
    };
    if reading.at < last.at || (reading.at == last.at && reading.shows == last.shows) {
        return Difference::Known;
    }
    if reading.at == last.at {
        return Difference::Conflict { shows: last.shows };
    }
    let began_anew = reading.shows < last.shows;
    let quantity = if began_anew {
        reading.shows
    } else {
        reading.shows - last.shows
    };
    let mut evidence = last.holder.evidence.clone();
    evidence.insert("counter".to_owned(), reading.counter.clone());
    evidence.insert("showed".to_owned(), last.shows.to_string());
    evidence.insert("shows".to_owned(), reading.shows.to_string());
    if began_anew {
        evidence.insert("flag".to_owned(), "the counter began anew".to_owned());
    }
    Difference::Used(Box::new(UsageRecord {
        key: RecordKey {
            source: source.to_owned(),
            cluster: cluster.to_owned(),
            native_key: format!("{}@{}", reading.counter, last.at),
            meter: reading.meter,
            revision: 0,
        },
        tenant: last.holder.tenant.clone(),
        allocation: last.holder.allocation.clone(),
        user: None,
        activity: last.holder.activity,
        activity_reason: last.holder.activity_reason.clone(),
        quantity: i128::from(quantity),
        start: last.at,
        end: reading.at,
        evidence,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(shows: u64, at: &str, tenant: &str) -> CounterReading {
        CounterReading {
            counter: "rack-a3".to_owned(),
            meter: Meter::EnergyKwh,
            shows,
            at: at.parse().unwrap(),
            holder: Holder {
                tenant: tenant.to_owned(),
                allocation: None,
                activity: Activity::NonEconomic,
                activity_reason: "category University".to_owned(),
                evidence: BTreeMap::new(),
            },
        }
    }

    /// The quantities and tenants of these readings, one after the other.
    fn used(readings: &[CounterReading]) -> Vec<(i128, String)> {
        let mut last: Option<LastReading> = None;
        let mut used = Vec::new();
        for reading in readings {
            match difference(("intake", "power"), last.as_ref(), reading) {
                Difference::Used(record) => used.push((record.quantity, record.tenant)),
                Difference::Known | Difference::Conflict { .. } => continue,
                Difference::First => {}
            }
            last = Some(LastReading {
                shows: reading.shows,
                at: reading.at,
                holder: reading.holder.clone(),
            });
        }
        used
    }

    #[test]
    fn a_lifetime_counter_that_resets_gives_no_negative_difference() {
        let of = |amounts: &[u64]| {
            let readings: Vec<CounterReading> = amounts
                .iter()
                .enumerate()
                .map(|(hour, shows)| reading(*shows, &format!("2026-11-28T{hour:02}:00:00Z"), "caen"))
                .collect();
            let used = used(&readings);
            used.into_iter().map(|(quantity, _)| quantity).collect::<Vec<_>>()
        };
        assert_eq!(of(&[1_000, 2_250, 40, 90, 90]), [1_250, 40, 50, 0]);
        assert_eq!(of(&[u64::MAX, 0, 1]), [0, 1]);
        assert_eq!(of(&[5]), [] as [i128; 0]);
    }

    #[test]
    fn the_same_or_an_earlier_reading_is_nothing_and_another_of_the_same_moment_is_a_conflict() {
        let last = LastReading {
            shows: 10,
            at: "2026-11-28T10:00:00Z".parse().unwrap(),
            holder: reading(0, "2026-11-28T10:00:00Z", "caen").holder,
        };
        let of = |shows, at| difference(("intake", "power"), Some(&last), &reading(shows, at, "caen"));
        assert_eq!(of(10, "2026-11-28T10:00:00Z"), Difference::Known);
        assert_eq!(of(3, "2026-11-28T09:00:00Z"), Difference::Known);
        assert_eq!(of(11, "2026-11-28T10:00:00Z"), Difference::Conflict { shows: 10 });
    }

    #[test]
    fn use_between_two_readings_is_who_held_the_counter_at_the_first() {
        let used = used(&[
            reading(0, "2026-11-28T00:00:00Z", "caen"),
            reading(10, "2026-11-28T01:00:00Z", "rouen"),
            reading(25, "2026-11-28T02:00:00Z", "rouen"),
        ]);
        assert_eq!(used, [(10, "caen".to_owned()), (15, "rouen".to_owned())]);
    }
}
