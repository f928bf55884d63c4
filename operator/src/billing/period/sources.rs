//! Which clusters' use is not all in the ledger yet: a month that is closed before it is would leave out what ended last.
//!
//! Each feed says in the ledger up to which instant it has read a cluster's accounting (its watermark), and says so only
//! when the cluster itself has nothing more under way. A cluster without allocations has no use that could be missing.

use super::validate::{Invalid, ValidPeriod};
use crate::Context;
use crate::batch::feed::{KUBERNETES, SLURM};
use crate::billing::first_few;
use crate::failure::Failure;
use crate::intake::SOURCE as INTAKE;
use crate::{platform, reserved};
use jiff::Timestamp;
use kube::ResourceExt;
use mesocentre_metering::holding::Source;
use mesocentre_metering::ledger::Unsettled;
use std::fmt;

/// A cluster whose use is not all in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    of: Of,
    cluster: String,
    lacks: Lacks,
}

/// Who reads it, or is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    /// The feed of this Scheduler.
    Scheduler(String),
    /// Who looks at what tenants hold of this cluster.
    Platform,
    /// Who looks at what is reserved for allocations.
    Reserved,
    /// Others report it.
    Others,
}

/// What of a cluster's use is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lacks {
    /// What was used since this instant, or ever.
    Since(Option<Timestamp>),
    /// These runs, which cannot be taken as they are told.
    Runs(Vec<Unsettled>),
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lacks {
            Lacks::Since(Some(through)) => write!(f, "that of {} is up to {through}", self.cluster),
            Lacks::Since(None) => write!(f, "that of {} has never been read", self.cluster),
            Lacks::Runs(runs) => {
                let told: Vec<String> = runs
                    .iter()
                    .map(|run| format!("{}: {}", run.what, run.why))
                    .collect();
                write!(f, "that of {} lacks {}", self.cluster, first_few(&told, "; "))
            }
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
    let mut read: Vec<Read> = Vec::new();
    if context.platform.is_some() {
        let Source { source, cluster } = platform::SOURCE;
        read.push(Read {
            through: context.ledger.watermark(source, cluster).await?,
            unsettled: context.ledger.unsettled(source, cluster).await?,
            source,
            cluster: cluster.to_owned(),
            of: Of::Platform,
        });
    }
    // Where nothing was ever reserved, nobody looks.
    let Source { source, cluster } = reserved::SOURCE;
    let through = context.ledger.watermark(source, cluster).await?;
    if through.is_some()
        || allocations
            .iter()
            .any(|allocation| allocation.spec.reserved.is_some())
    {
        read.push(Read {
            through,
            unsettled: context.ledger.unsettled(source, cluster).await?,
            source,
            cluster: cluster.to_owned(),
            of: Of::Reserved,
        });
    }
    // What others measure and say when they have said all. Who never said so, or that there is no more, is waited for.
    for (cluster, through) in context.ledger.watermarks(INTAKE).await? {
        read.push(Read {
            through: Some(through),
            unsettled: Vec::new(),
            source: INTAKE,
            cluster,
            of: Of::Others,
        });
    }
    for scheduler in context.stores.schedulers.state() {
        let name = scheduler.name_any();
        let (source, cluster) = match &scheduler.spec.slurm {
            Some(slurm) => (SLURM, slurm.cluster.clone()),
            None => (KUBERNETES, name.clone()),
        };
        if allocations
            .iter()
            .any(|allocation| allocation.spec.scheduler == name)
        {
            read.push(Read {
                through: context.ledger.watermark(source, &cluster).await?,
                unsettled: context.ledger.unsettled(source, &cluster).await?,
                source,
                cluster,
                of: Of::Scheduler(name),
            });
        }
    }
    Ok(lacking(read, needed, valid))
}

/// What has been read of a cluster's use.
struct Read {
    source: &'static str,
    cluster: String,
    of: Of,
    through: Option<Timestamp>,
    unsettled: Vec<Unsettled>,
}

fn lacking(mut read: Vec<Read>, needed: Timestamp, valid: &ValidPeriod) -> Vec<Behind> {
    read.sort_by(|a, b| (a.source, &a.cluster).cmp(&(b.source, &b.cluster)));
    // Two Schedulers may name one cluster; its use is read once.
    read.dedup_by(|a, b| (a.source, &a.cluster) == (b.source, &b.cluster));
    read.into_iter()
        .filter(|read| !valid.is_acknowledged(&read.cluster))
        .filter_map(|read| {
            let lacks = if read.through.is_none_or(|through| through < needed) {
                Lacks::Since(read.through)
            } else if !read.unsettled.is_empty() {
                Lacks::Runs(read.unsettled)
            } else {
                return None;
            };
            Some(Behind {
                of: read.of,
                cluster: read.cluster,
                lacks,
            })
        })
        .collect()
}

/// The reason of that refusal.
pub const USE_NOT_READ: &str = "UseNotRead";

/// Has the clusters read now, and says what is waited for.
pub fn wait_for(context: &Context, valid: &ValidPeriod, behind: &[Behind]) -> Invalid {
    for one in behind {
        match &one.of {
            Of::Scheduler(scheduler) => {
                if let Some(cluster) = context.batch.cluster(scheduler) {
                    cluster.ended.notify_one();
                }
            }
            Of::Platform => {
                if let Some(platform) = &context.platform {
                    platform.meter_to_now();
                }
            }
            Of::Reserved => context.reserved.meter_to_now(),
            Of::Others => {}
        }
    }
    refusal(valid, behind)
}

fn refusal(valid: &ValidPeriod, behind: &[Behind]) -> Invalid {
    let until = needed(valid).unwrap_or(valid.window.span.to);
    let first = behind.first().map_or("", |one| one.cluster.as_str());
    let mend = match behind.first().map(|one| (&one.lacks, &one.of)) {
        Some((Lacks::Since(_), Of::Others)) => {
            "it says so itself, by an event of the type io.mesocentre.reported.v1"
        }
        Some((Lacks::Since(_), Of::Platform)) => {
            "what pods and volumes hold is looked at every minute, while the API server answers and the operator may list and watch \
             them (operator.meterPlatform of the chart)"
        }
        Some((Lacks::Since(_), Of::Reserved)) => {
            "what is reserved for allocations is looked at every minute, while the API server answers"
        }
        Some((Lacks::Runs(_), Of::Platform | Of::Reserved | Of::Others)) => "that cannot be made up for",
        Some((Lacks::Runs(_), Of::Scheduler(_))) => {
            "mend them in Slurm's accounting (`sacctmgr show runawayjobs` ends those that never did), which is read again every \
             five minutes"
        }
        _ => "mend that Scheduler where it is not Ready",
    };
    Invalid {
        reason: USE_NOT_READ,
        message: format!(
            "{} is closed by itself once all use up to {until} is in the ledger, and {}: {mend}; if the rest can never be read, \
             write {{cluster: {first}, reason: …}} into acknowledgedGaps",
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
    use mesocentre_api::AcknowledgedGap;

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
        clusters_with(valid, through, &[])
    }

    fn clusters_with(valid: &ValidPeriod, through: Option<&str>, unsettled: &[Unsettled]) -> Vec<Behind> {
        let read = Read {
            source: SLURM,
            cluster: "meso".into(),
            of: Of::Scheduler("austral".into()),
            through: through.map(at),
            unsettled: unsettled.to_vec(),
        };
        lacking(vec![read], needed(valid).unwrap(), valid)
    }

    fn acknowledging(cluster: &str) -> ValidPeriod {
        let mut valid = to_be_closed("2026-12-05T10:00:00Z");
        valid.basis.acknowledged_gaps = vec![AcknowledgedGap {
            cluster: cluster.into(),
            reason: "slurmdbd lost its database".into(),
        }];
        valid
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
        assert_eq!(clusters(&acknowledging("other"), None).len(), 1);
        assert_eq!(clusters(&acknowledging("meso"), None), []);
    }

    #[test]
    fn a_run_that_cannot_be_read_keeps_the_month_open_until_it_is_mended_or_acknowledged() {
        let run = Unsettled {
            what: "job 42 (row 7 of the accounting)".into(),
            why: "it ends before it starts".into(),
        };
        let all_read = Some("2026-11-30T23:00:00Z");
        let valid = to_be_closed("2026-12-05T10:00:00Z");
        let behind = clusters_with(&valid, all_read, std::slice::from_ref(&run));
        assert_eq!(
            refusal(&valid, &behind).message,
            "2026-11 is closed by itself once all use up to 2026-11-30T23:00:00Z is in the ledger, and that of meso lacks job 42 \
             (row 7 of the accounting): it ends before it starts: mend them in Slurm's accounting (`sacctmgr show runawayjobs` \
             ends those that never did), which is read again every five minutes; if the rest can never be read, write {cluster: \
             meso, reason: …} into acknowledgedGaps"
        );
        assert_eq!(clusters_with(&valid, all_read, &[]), []);
        assert_eq!(clusters_with(&acknowledging("meso"), all_read, &[run]), []);
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
