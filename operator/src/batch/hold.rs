//! What of an allocation is kept for jobs that are open, where no scheduler enforces its budget: all that each may use,
//! from before it is handed over until what it used is in the ledger. So the sum of what runs and what was used never
//! passes what was granted, whatever jobs come side by side.

use crate::Context;
use crate::lock::locked;
use kube::ResourceExt;
use mesocentre_api::{BatchJob, JobHold, Meter};
use mesocentre_scheduler_bridge::kubernetes::AtMost;
use mesocentre_scheduler_bridge::slurm::accounts::Limits;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Seconds of cores and GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seconds {
    cores: i128,
    gpus: i128,
}

impl Seconds {
    fn and(self, other: Self) -> Self {
        Self {
            cores: self.cores.saturating_add(other.cores),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}

impl From<AtMost> for Seconds {
    fn from(most: AtMost) -> Self {
        Self {
            cores: most.core_seconds.0.into(),
            gpus: most.gpu_seconds.0.into(),
        }
    }
}

/// What is kept by this process and may not be written down yet, by the job's UID.
#[derive(Default)]
pub struct Holds(Mutex<HashMap<String, (String, Seconds)>>);

impl Holds {
    /// Keeps for a job all that it may use; or says what is missing, in a sentence.
    pub fn keep(
        &self,
        context: &Context,
        job: &BatchJob,
        (tenant, allocation): (&str, &str),
        limits: &Limits,
        most: AtMost,
    ) -> Result<(), String> {
        let uid = job.uid().unwrap_or_default();
        // One at a time: two that see the same remainder must not both take it.
        let mut held = locked(&self.0);
        let mut written: HashMap<String, Seconds> = HashMap::new();
        let mut open: HashSet<String> = HashSet::new();
        for other in open_jobs(context) {
            let Some(uid) = other.uid() else { continue };
            if let Some(kept) = kept_of(&other, tenant, allocation) {
                written.insert(uid.clone(), kept);
            }
            if held.contains_key(&uid) {
                open.insert(uid);
            }
        }
        held.retain(|uid, _| open.contains(uid));
        let account = format!("{tenant}.{allocation}");
        for (uid, (whose, seconds)) in held.iter() {
            if *whose == account {
                written.insert(uid.clone(), *seconds);
            }
        }
        written.remove(&uid);
        let by_others = written
            .values()
            .fold(Seconds::default(), |sum, one| sum.and(*one));
        let used = Seconds {
            cores: context
                .batch
                .usage()
                .of(tenant, allocation, Meter::ComputeCoreHours),
            gpus: context
                .batch
                .usage()
                .of(tenant, allocation, Meter::ComputeGpuHours),
        };
        fits(limits, used, by_others, most.into())
            .map_err(|why| format!("the allocation {allocation} {why}"))?;
        held.insert(uid, (account, most.into()));
        Ok(())
    }
}

/// What is written down as kept of an allocation for its open jobs, in core seconds.
pub fn kept_for_open_jobs(context: &Context, tenant: &str, allocation: &str) -> i128 {
    open_jobs(context)
        .filter_map(|job| kept_of(&job, tenant, allocation))
        .fold(0, |sum: i128, kept| sum.saturating_add(kept.cores))
}

/// Jobs whose use is not all in the ledger.
fn open_jobs(context: &Context) -> impl Iterator<Item = Arc<BatchJob>> {
    let jobs = context.stores.jobs.state().into_iter();
    jobs.filter(|job| !job.status.as_ref().is_some_and(super::job::report::is_metered))
}

/// What is written down as kept of an allocation for a job.
fn kept_of(job: &BatchJob, tenant: &str, allocation: &str) -> Option<Seconds> {
    let hold = job.status.as_ref()?.held.as_ref()?;
    let is_theirs = job.spec.allocation == allocation && crate::triggers::tenant_of(job) == tenant;
    is_theirs.then(|| seconds(hold))
}

/// What is written down of a hold.
pub fn to_api(most: AtMost) -> JobHold {
    JobHold {
        core_seconds: most.core_seconds.to_string(),
        gpu_seconds: (most.gpu_seconds.0 > 0).then(|| most.gpu_seconds.to_string()),
    }
}

fn seconds(hold: &JobHold) -> Seconds {
    Seconds {
        cores: hold.core_seconds.parse().unwrap_or(0),
        gpus: hold
            .gpu_seconds
            .as_deref()
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(0),
    }
}

/// Whether there is enough; else what is missing.
fn fits(limits: &Limits, used: Seconds, by_others: Seconds, asked: Seconds) -> Result<(), String> {
    for (unit, limit, used, by_others, asked) in [
        (
            "core-hours",
            limits.core_minutes,
            used.cores,
            by_others.cores,
            asked.cores,
        ),
        (
            "GPU-hours",
            limits.gpu_minutes,
            used.gpus,
            by_others.gpus,
            asked.gpus,
        ),
    ] {
        let Some(limit) = limit
            .map(|minutes| i128::from(minutes) * 60)
            .filter(|_| asked > 0)
        else {
            continue;
        };
        let left = limit.saturating_sub(used);
        if asked > left {
            return Err(format!(
                "has {} {unit} left, and this job may use {}: ask for less time or fewer cores in a new job, or the administrators for a larger budget",
                hours(left.max(0)),
                hours(asked.saturating_add(35))
            ));
        }
        if asked > left.saturating_sub(by_others) {
            return Err(format!(
                "has {} {unit} left, of which {} are kept for jobs that are open, and this job may use {}: it begins when enough of them have ended",
                hours(left.max(0)),
                hours(by_others),
                hours(asked.saturating_add(35))
            ));
        }
    }
    Ok(())
}

/// Hours with two digits, rounded down: for people.
pub fn hours(seconds: i128) -> String {
    let hundredths = seconds / 36;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cores: i128) -> Seconds {
        Seconds { cores, gpus: 0 }
    }

    #[test]
    fn what_is_used_and_what_is_kept_never_pass_the_budget() {
        let ten_hours = Limits {
            core_minutes: Some(600),
            gpu_minutes: Some(0),
            closed: false,
        };
        assert_eq!(fits(&ten_hours, of(0), of(0), of(36_000)), Ok(()));
        let kept = fits(&ten_hours, of(3_600), of(28_800), of(7_200)).unwrap_err();
        assert!(
            kept.starts_with("has 9.00 core-hours left, of which 8.00 are kept"),
            "{kept}"
        );
        assert_eq!(fits(&ten_hours, of(3_600), of(25_200), of(7_200)), Ok(()));
        let spent = fits(&ten_hours, of(35_000), of(0), of(1_001)).unwrap_err();
        assert!(
            spent.starts_with("has 0.27 core-hours left, and this job may use 0.28"),
            "{spent}"
        );
        let gpus = Seconds { cores: 1, gpus: 1 };
        assert!(
            fits(&ten_hours, of(0), of(0), gpus)
                .unwrap_err()
                .contains("GPU-hours")
        );
        assert_eq!(fits(&Limits::default(), of(1 << 40), of(0), of(1 << 40)), Ok(()));
    }
}
