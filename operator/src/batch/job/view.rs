//! From a BatchJob's status to the bridge's own view of a job, and the other way round for phases. Pure.

use jiff::Timestamp;
use kube::ResourceExt;
use mesocentre_api::{BatchJob, Phase};
use mesocentre_scheduler_bridge::lifecycle::{Attempt, JobView};
use mesocentre_scheduler_bridge::{self as bridge, JobId, JobIdentity, TaskCounts, Token, UserName};

/// What is written down of a job; none before anybody knows whom it runs as. `user` is whom it would run as if it has
/// no token yet.
pub fn of(job: &BatchJob, user: Option<&UserName>) -> Option<JobView> {
    let status = job.status.clone().unwrap_or_default();
    let written = status
        .scheduler
        .as_ref()
        .and_then(|scheduler| UserName::new(scheduler.user.as_deref()?).ok());
    let id = status
        .scheduler
        .as_ref()
        .and_then(|scheduler| scheduler.job_id.as_deref()?.parse::<JobId>().ok());
    let attempt = status.submission.as_ref().and_then(|submission| {
        Some(Attempt {
            token: Token::parse(&submission.token).ok()?,
            number: u32::try_from(submission.attempt).ok()?,
            written_at: submission.at.unwrap_or(Timestamp::UNIX_EPOCH),
        })
    });
    let tasks = status.tasks.unwrap_or_default();
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Some(JobView {
        uid: job.uid()?,
        user: written.or_else(|| user.cloned())?,
        attempt,
        id,
        submitted_at: status.submitted_at,
        phase: to_bridge(status.phase),
        tasks: TaskCounts {
            total: count(tasks.total),
            queued: count(tasks.queued),
            running: count(tasks.running),
            succeeded: count(tasks.succeeded),
            failed: count(tasks.failed),
            cancelled: count(tasks.cancelled),
        },
        cancel: job.spec.cancel || job.metadata.deletion_timestamp.is_some(),
        hold: job.spec.hold,
        held: status.hold,
        time_limit_seconds: job.spec.time_limit.map(in_seconds),
        time_limited_to: status.time_limit.map(in_seconds),
    })
}

/// A started second is a whole one.
pub fn in_seconds(duration: kube::core::Duration) -> u64 {
    let duration = std::time::Duration::from(duration);
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// How a job that was handed over is known again.
pub fn identity(job: &BatchJob) -> Option<JobIdentity> {
    of(job, None)?.identity()
}

macro_rules! phases {
    ($($phase:ident),+) => {
        /// A phase as the bridge has it.
        pub fn to_bridge(phase: Phase) -> bridge::Phase {
            match phase {
                $(Phase::$phase => bridge::Phase::$phase,)+
            }
        }

        /// A phase as the API has it.
        pub fn to_api(phase: bridge::Phase) -> Phase {
            match phase {
                $(bridge::Phase::$phase => Phase::$phase,)+
            }
        }
    };
}

phases!(
    Pending,
    Submitted,
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    OutOfMemory,
    NodeFailed
);
