//! Which clusters' use is not all in the ledger yet: a month that is closed before it is would leave out what ended last.
//!
//! Each feed says in the ledger up to which instant it has read a cluster's accounting (its watermark), and says so only
//! when the cluster itself has nothing more under way. A cluster without allocations has no use that could be missing.

use super::validate::{Invalid, ValidPeriod};
use crate::Context;
use crate::batch::feed::SOURCE;
use crate::billing::first_few;
use crate::failure::Failure;
use jiff::Timestamp;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::fmt;

/// A cluster whose use is not all in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The Scheduler that it is reached through.
    pub scheduler: String,
    cluster: String,
    through: Option<Timestamp>,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.through {
            Some(through) => write!(f, "that of {} is up to {through}", self.cluster),
            None => write!(f, "that of {} has never been read", self.cluster),
        }
    }
}

/// Up to when use must have been read before the month can be closed; none while nobody asks for that.
fn needed(valid: &ValidPeriod) -> Option<Timestamp> {
    valid
        .close_asked_at
        .map(|asked_at| asked_at.min(valid.window.span.to))
}

/// The clusters that keep the month from being closed.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn behind(context: &Context, valid: &ValidPeriod) -> Result<Vec<Behind>, Failure> {
    let Some(needed) = needed(valid) else {
        return Ok(Vec::new());
    };
    let allocations = context.stores.allocations.state();
    let mut read: BTreeMap<String, (String, Option<Timestamp>)> = BTreeMap::new();
    for scheduler in context.stores.schedulers.state() {
        let name = scheduler.name_any();
        if let Some(slurm) = &scheduler.spec.slurm
            && allocations
                .iter()
                .any(|allocation| allocation.spec.scheduler == name)
        {
            let through = context.ledger.watermark(SOURCE, &slurm.cluster).await?;
            read.insert(slurm.cluster.clone(), (name, through));
        }
    }
    Ok(lacking(read, needed, &valid.acknowledged))
}

fn lacking(
    read: BTreeMap<String, (String, Option<Timestamp>)>,
    needed: Timestamp,
    acknowledged: &[String],
) -> Vec<Behind> {
    read.into_iter()
        .filter(|(cluster, (_, through))| {
            through.is_none_or(|through| through < needed) && !acknowledged.contains(cluster)
        })
        .map(|(cluster, (scheduler, through))| Behind {
            scheduler,
            cluster,
            through,
        })
        .collect()
}

/// The reason of that refusal.
pub const USE_NOT_READ: &str = "UseNotRead";

/// Has the clusters read now, and says what is waited for.
pub fn wait_for(context: &Context, valid: &ValidPeriod, behind: &[Behind]) -> Invalid {
    for cluster in behind
        .iter()
        .filter_map(|one| context.batch.cluster(&one.scheduler))
    {
        cluster.ended.notify_one();
    }
    refusal(valid, behind)
}

fn refusal(valid: &ValidPeriod, behind: &[Behind]) -> Invalid {
    let until = needed(valid).unwrap_or(valid.window.span.to);
    let first = behind.first().map_or("", |one| one.cluster.as_str());
    Invalid {
        reason: USE_NOT_READ,
        message: format!(
            "{} is closed by itself once all use up to {until} is in the ledger, and {}: mend that Scheduler where it is not \
             Ready; if the rest can never be read, write {{cluster: {first}, reason: …}} into acknowledgedGaps",
            valid.basis.month,
            first_few(behind, ", "),
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::super::validate::{Close, november};
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn to_be_closed(asked_at: &str) -> ValidPeriod {
        ValidPeriod {
            close: Close::Asked,
            close_asked_at: Some(at(asked_at)),
            ..november()
        }
    }

    fn clusters(valid: &ValidPeriod, through: Option<&str>) -> Vec<Behind> {
        let read = BTreeMap::from([("meso".to_owned(), ("austral".to_owned(), through.map(at)))]);
        lacking(read, needed(valid).unwrap(), &valid.acknowledged)
    }

    #[test]
    fn a_month_that_is_over_needs_its_use_to_its_end_and_one_that_is_not_to_the_moment_of_asking() {
        let over = to_be_closed("2026-12-05T10:00:00Z");
        assert_eq!(clusters(&over, Some("2026-11-30T22:59:59Z")).len(), 1);
        assert_eq!(clusters(&over, Some("2026-11-30T23:00:00Z")), []);
        let early = to_be_closed("2026-11-24T10:00:00Z");
        assert_eq!(clusters(&early, Some("2026-11-24T09:59:59Z")).len(), 1);
        assert_eq!(clusters(&early, Some("2026-11-24T10:00:00Z")), []);
        assert_eq!(clusters(&early, None).len(), 1);
    }

    #[test]
    fn a_gap_that_somebody_acknowledged_keeps_nothing_open() {
        let mut valid = to_be_closed("2026-12-05T10:00:00Z");
        valid.acknowledged = vec!["other".into()];
        assert_eq!(clusters(&valid, None).len(), 1);
        valid.acknowledged = vec!["meso".into()];
        assert_eq!(clusters(&valid, None), []);
    }

    #[test]
    fn what_is_waited_for_is_said_with_the_way_out() {
        let valid = to_be_closed("2026-12-05T10:00:00Z");
        let said = refusal(&valid, &clusters(&valid, Some("2026-11-30T10:00:00Z"))).message;
        assert_eq!(
            said,
            "2026-11 is closed by itself once all use up to 2026-11-30T23:00:00Z is in the ledger, and that of meso is up to \
             2026-11-30T10:00:00Z: mend that Scheduler where it is not Ready; if the rest can never be read, write \
             {cluster: meso, reason: …} into acknowledgedGaps"
        );
    }
}
