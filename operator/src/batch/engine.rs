//! What a Scheduler is behind the one trait: Slurm, or Kubernetes itself.

use jiff::Timestamp;
use mesocentre_scheduler_bridge::kubernetes::{AtMost, Kubernetes};
use mesocentre_scheduler_bridge::slurm::{Slurm, Transport};
use mesocentre_scheduler_bridge::{
    BatchScheduler, ClusterName, Health, InvalidSubmission, JobAccounting, JobId, JobIdentity, Partition,
    Queue, QueuedJob, RunId, RunRows, SchedulerError, Submission, SubmitError, Window,
};
use std::collections::HashSet;

/// A batch scheduler.
pub enum Engine {
    /// A Slurm cluster.
    Slurm(Slurm),
    /// This cluster of Kubernetes.
    Kubernetes(Kubernetes),
}

/// The one of an engine that is there, as one expression.
macro_rules! either {
    ($engine:expr, $one:ident => $call:expr) => {
        match $engine {
            Engine::Slurm($one) => $call,
            Engine::Kubernetes($one) => $call,
        }
    };
}

impl Engine {
    /// What it is called in the ledger as a source.
    pub fn source(&self) -> &'static str {
        match self {
            Self::Slurm(_) => super::feed::SLURM,
            Self::Kubernetes(_) => super::feed::KUBERNETES,
        }
    }

    /// The cluster's name, in the ledger and in runs.
    pub fn cluster(&self) -> &ClusterName {
        match self {
            Self::Slurm(slurm) => &slurm.config().cluster,
            Self::Kubernetes(kubernetes) => &kubernetes.config().scheduler,
        }
    }

    /// How Slurm's commands are run.
    pub fn transport(&self) -> Option<&Transport> {
        match self {
            Self::Slurm(slurm) => Some(&slurm.config().transport),
            Self::Kubernetes(_) => None,
        }
    }

    /// How long after its sender's death a request may still be taken, in seconds, before the scheduler has said it.
    pub fn settles_within(&self) -> u64 {
        match self {
            // Slurm's default.
            Self::Slurm(slurm) => 10_u64.saturating_add(slurm.config().outlives_us().as_secs()),
            Self::Kubernetes(_) => 0,
        }
    }

    /// Checks a submission as far as that is possible without asking the scheduler.
    ///
    /// # Errors
    /// What [`submit`](BatchScheduler::submit) would say.
    pub async fn check(&self, submission: &Submission) -> Result<(), SubmitError> {
        match self {
            Self::Slurm(slurm) => slurm.check(submission).await,
            Self::Kubernetes(kubernetes) => kubernetes.check(submission),
        }
    }

    /// Where a job's output goes on the scheduler's file system; none where it is the pod's log.
    pub async fn output_path(&self, submission: &Submission, id: JobId) -> Option<String> {
        match self {
            Self::Slurm(slurm) => slurm.output_path(submission, id).await,
            Self::Kubernetes(_) => None,
        }
    }

    /// What a job may use at most, where the operator keeps the budgets; none where the scheduler does.
    ///
    /// # Errors
    /// What cannot be had there.
    pub fn at_most(&self, submission: &Submission) -> Result<Option<AtMost>, InvalidSubmission> {
        match self {
            Self::Slurm(_) => Ok(None),
            Self::Kubernetes(kubernetes) => kubernetes.at_most(submission).map(Some),
        }
    }

    /// Whether all that has ended is in the accounting.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn accounting_is_up_to_date(&self) -> Result<(), SchedulerError> {
        match self {
            Self::Slurm(slurm) => slurm.accounting_is_up_to_date().await,
            Self::Kubernetes(_) => Ok(()),
        }
    }

    /// These runs are in the ledger: the scheduler need not keep them for that.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn let_go(&self, runs: &HashSet<RunId>) -> Result<(), SchedulerError> {
        match self {
            Self::Slurm(_) => Ok(()),
            Self::Kubernetes(kubernetes) => kubernetes.let_go(runs).await,
        }
    }

    /// This job is over and metered: the scheduler need not look at it any more.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn close(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        match self {
            Self::Slurm(_) => Ok(()),
            Self::Kubernetes(kubernetes) => kubernetes.close(job).await,
        }
    }
}

impl BatchScheduler for Engine {
    async fn ping(&self) -> Result<Health, SchedulerError> {
        either!(self, one => one.ping().await)
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SchedulerError> {
        either!(self, one => one.partitions().await)
    }

    async fn submit(&self, submission: &Submission) -> Result<JobId, SubmitError> {
        either!(self, one => one.submit(submission).await)
    }

    async fn find(&self, job: &JobIdentity, since: Timestamp) -> Result<Option<QueuedJob>, SchedulerError> {
        either!(self, one => one.find(job, since).await)
    }

    async fn queue(&self) -> Result<Queue, SchedulerError> {
        either!(self, one => one.queue().await)
    }

    async fn finished(&self, jobs: &[JobIdentity]) -> Result<Vec<JobAccounting>, SchedulerError> {
        either!(self, one => one.finished(jobs).await)
    }

    async fn runs(&self, window: Window) -> Result<RunRows, SchedulerError> {
        either!(self, one => one.runs(window).await)
    }

    async fn cancel(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        either!(self, one => one.cancel(job).await)
    }

    async fn hold(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        either!(self, one => one.hold(job).await)
    }

    async fn release(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        either!(self, one => one.release(job).await)
    }

    async fn set_time_limit(&self, job: &JobIdentity, seconds: u64) -> Result<(), SchedulerError> {
        either!(self, one => one.set_time_limit(job, seconds).await)
    }
}
