//! Use that nobody reports when it is over: a pod or a volume is there, and one day it is not. What is seen of it at each
//! look becomes usage records, without a second that is counted twice or lost.
//!
//! ```text
//!  from ├────────┼──────── midnight ────────┼──────┤ until
//!       what is held changes: cut     cut, so that months are whole     it is over, or was gone at a look
//! ```
//!
//! What is known between looks ([`Kept`]) is written in the same transaction as the records that come of it, so that a
//! process that is killed leaves either both or none. What was gone when somebody looked again after a while counts up to
//! the look before: what it held after that is nobody's guess, and the gap is said.

use crate::record::{RecordKey, UsageRecord};
use jiff::{SignedDuration, Timestamp};
use mesocentre_api::{Activity, Meter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// Who holds it.
    pub tenant: String,
    /// The allocation that holds it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<String>,
    /// Economic or not.
    pub activity: Activity,
    /// Why it is so.
    pub activity_reason: String,
    /// What it holds, in base units a second.
    pub amounts: BTreeMap<Meter, u64>,
    /// What it is, for who reads the bill.
    pub evidence: BTreeMap<String, String>,
}

/// A holding as a look shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name among all of the source, for ever: a kind and a UID.
    pub id: String,
    /// What is held.
    pub holding: Holding,
    /// Since when.
    pub from: Timestamp,
    /// When it was over; none while it is not.
    pub until: Option<Timestamp>,
}

/// A holding as it was at the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is held.
    pub holding: Holding,
    /// Its use up to here is in the ledger.
    pub metered: Timestamp,
}

/// What is known of a source before a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What was held, by its id.
    pub kept: BTreeMap<String, Kept>,
    /// When it was looked at last; never, when absent.
    pub looked: Option<Timestamp>,
}

/// Who is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// The source.
    pub source: &'a str,
    /// The cluster.
    pub cluster: &'a str,
}

/// When a look is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// All that is held is metered up to here at least: the last midnight, or now, when somebody waits for it.
    pub cut: Timestamp,
    /// Looks may be so far apart, and no more is missed than nobody minds.
    pub tolerance: SignedDuration,
}

/// What came of a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// For the ledger.
    pub records: Vec<UsageRecord>,
    /// What is held now, where it is new or otherwise than before.
    pub keep: BTreeMap<String, Kept>,
    /// What is held no more.
    pub over: Vec<String>,
    /// The time in which nobody looked, when it was too long: from, to.
    pub gap: Option<(Timestamp, Timestamp)>,
    /// All use up to here is in the ledger then.
    pub through: Option<Timestamp>,
}

/// What a look at a source shows, against what was known before. Pure.
///
/// Nothing counts before somebody looked for the first time: what was there already begins now.
pub fn look(source: Source<'_>, known: &Known, shown: Vec<Shown>, moment: Moment) -> Looked {
    let (now, cut) = (whole_second(moment.now), whole_second(moment.cut));
    let last_look = known.looked.map(whole_second);
    let mut looked = Looked::default();
    let mut held_now: BTreeMap<String, Kept> = BTreeMap::new();
    let mut there = std::collections::BTreeSet::new();
    for Shown {
        id,
        holding,
        from,
        until,
    } in shown
    {
        let (from, until) = (whole_second(from), until.map(whole_second));
        let before = known.kept.get(&id);
        // Shown twice, as it was seen to end and in a list from before: what is said first holds.
        if !there.insert(id.clone()) {
            continue;
        }
        let mut metered = match before {
            Some(kept) => kept.metered,
            None => from.max(last_look.unwrap_or(now)).min(now),
        };
        if let Some(kept) = before
            && kept.holding != holding
        {
            let changed = until.unwrap_or(now).min(now).max(metered);
            looked.add(source, &id, &kept.holding, metered, changed);
            metered = changed;
        }
        if let Some(until) = until {
            looked.add(source, &id, &holding, metered, until.min(now));
            looked.over.push(id);
            continue;
        }
        if cut > metered && cut <= now {
            looked.add(source, &id, &holding, metered, cut);
            metered = cut;
        }
        held_now.insert(id, Kept { holding, metered });
    }
    let seen = last_look.unwrap_or(now).min(now);
    for (id, kept) in &known.kept {
        if there.contains(id) {
            continue;
        }
        looked.add(source, id, &kept.holding, kept.metered, seen);
        looked.over.push(id.clone());
    }
    looked.gap = known
        .looked
        .filter(|looked| now.duration_since(*looked) > moment.tolerance)
        .map(|looked| (looked, now));
    looked.through = held_now.values().map(|kept| kept.metered).min().or(Some(now));
    looked.over.retain(|id| known.kept.contains_key(id));
    looked.keep = held_now
        .into_iter()
        .filter(|(id, kept)| known.kept.get(id) != Some(kept))
        .collect();
    looked
}

/// Kubernetes tells times in whole seconds; ours are cut to them, so that quantities are whole and nothing is rounded.
fn whole_second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(
        instant
            .as_nanosecond()
            .div_euclid(1_000_000_000)
            .try_into()
            .unwrap_or(0),
    )
    .unwrap_or(instant)
}

impl Looked {
    /// A record for each meter of what was held in this time, where it is any.
    fn add(&mut self, source: Source<'_>, id: &str, holding: &Holding, from: Timestamp, to: Timestamp) {
        if to <= from {
            return;
        }
        let seconds = to.duration_since(from).as_secs();
        for (meter, amount) in holding.amounts.iter().filter(|(_, amount)| **amount > 0) {
            self.records.push(UsageRecord {
                key: RecordKey {
                    source: source.source.to_owned(),
                    cluster: source.cluster.to_owned(),
                    native_key: format!("{id}@{from}"),
                    meter: *meter,
                    revision: 0,
                },
                tenant: holding.tenant.clone(),
                allocation: holding.allocation.clone(),
                user: None,
                activity: holding.activity,
                activity_reason: holding.activity_reason.clone(),
                quantity: i128::from(*amount) * i128::from(seconds),
                start: from,
                end: to,
                evidence: holding.evidence.clone(),
            });
        }
    }
}
