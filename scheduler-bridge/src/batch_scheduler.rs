//! The one trait that a batch scheduler is used through.
//!
//! Nothing is remembered between calls, so every call can be repeated, and a process that starts anew knows as much as
//! the one that died. The scheduler's answer decides, never a guess: what did not answer is
//! [`SchedulerError::Unreachable`], which means wait.

use crate::job::{JobAccounting, JobIdentity, Queue, QueuedJob, RunRows};
use crate::{JobId, PartitionName, Submission, SubmitError};
use jiff::Timestamp;
use std::future::Future;

/// A batch scheduler.
pub trait BatchScheduler: Send + Sync {
    /// Asks whether the scheduler answers, and which one it is.
    ///
    /// # Errors
    /// [`SchedulerError::Unreachable`] with the reason, as one sentence.
    fn ping(&self) -> impl Future<Output = Result<Health, SchedulerError>> + Send;

    /// The partitions and what they hold.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn partitions(&self) -> impl Future<Output = Result<Vec<Partition>, SchedulerError>> + Send;

    /// Submits once. The caller has written the token down before, and calls again with the same token only after
    /// [`find`](Self::find) has said that there is no such job. When the future is dropped before it is done, the outcome
    /// is unknown, as with [`SubmitError::Unknown`].
    ///
    /// # Errors
    /// [`SubmitError`] tells what is final from what must be looked up.
    fn submit(&self, submission: &Submission) -> impl Future<Output = Result<JobId, SubmitError>> + Send;

    /// Looks a job up by its token in the queue **and** in the accounting, of jobs submitted after `since` (when the
    /// token was written). `None` only when both answered, the accounting was up to date, and neither has it.
    ///
    /// # Errors
    /// [`SchedulerError::Unreachable`] when either does not answer: then nothing is known.
    fn find(
        &self,
        job: &JobIdentity,
        since: Timestamp,
    ) -> impl Future<Output = Result<Option<QueuedJob>, SchedulerError>> + Send;

    /// Every job that the scheduler still holds, of everybody, in one call.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn queue(&self) -> impl Future<Output = Result<Queue, SchedulerError>> + Send;

    /// What the accounting says of these jobs, in one call. A job that it does not know (yet) is absent from the answer.
    /// A job that still runs is there with what is known so far.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn finished(
        &self,
        jobs: &[JobIdentity],
    ) -> impl Future<Output = Result<Vec<JobAccounting>, SchedulerError>> + Send;

    /// Every run that was on the scheduler in a window of time, of everybody: the feed of metering. The accounting hears
    /// of runs a moment late and not in their order (after an outage of slurmdbd: much later), so windows are read again
    /// with an overlap; what was malformed once may be whole then.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn runs(&self, window: Window) -> impl Future<Output = Result<RunRows, SchedulerError>> + Send;

    /// Cancels a job, with all its tasks. A job that is over or gone is left alone; another job that has come to bear
    /// the same number is never touched.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn cancel(&self, job: &JobIdentity) -> impl Future<Output = Result<(), SchedulerError>> + Send;

    /// Keeps what of a job waits from starting, as its author would: they can release it on the scheduler as well.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn hold(&self, job: &JobIdentity) -> impl Future<Output = Result<(), SchedulerError>> + Send;

    /// Lets a job start that its author holds. What an administrator holds stays held.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn release(&self, job: &JobIdentity) -> impl Future<Output = Result<(), SchedulerError>> + Send;

    /// Lets a job, or each task of it, run so many seconds from its start on, more or less than it was submitted with. A
    /// job that is over is left alone. Who may ask for more is the caller's to judge: the scheduler is asked as one who may.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    fn set_time_limit(
        &self,
        job: &JobIdentity,
        seconds: u64,
    ) -> impl Future<Output = Result<(), SchedulerError>> + Send;
}

/// A scheduler that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its version, as it writes it: `22.05.8`.
    pub version: String,
    /// Its controllers, and whether each is up.
    pub controllers: Vec<(String, bool)>,
    /// How long after a submitting process died its request may still be taken, in seconds (`MessageTimeout`, and on
    /// a login node as long as sbatch may go on there).
    pub settle_seconds: u64,
    /// How it is set up so that granted hours do not hold as they are written, each a sentence.
    pub caveats: Vec<String>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: PartitionName,
    /// True when jobs that name no partition go there.
    pub is_default: bool,
    /// The scheduler's own word: `up`, `down`, `drain`, `inactive`.
    pub state: String,
    /// Nodes in it.
    pub nodes: u64,
    /// CPUs in it.
    pub cpus: u64,
    /// GPUs in it.
    pub gpus: u64,
    /// Longest run time in seconds; none when there is no limit.
    pub max_time_seconds: Option<u64>,
}

/// A span of time: from its start, to before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First moment.
    pub from: Timestamp,
    /// First moment after it.
    pub until: Timestamp,
}

/// Why the scheduler gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchedulerError {
    /// It does not answer now: wait.
    #[error("{who} does not answer: {why}")]
    Unreachable {
        /// Which part of it: `slurmctld`, `slurmdbd`.
        who: &'static str,
        /// In its own words.
        why: String,
    },
    /// It answered, and said no.
    #[error("the scheduler refused to {what}: {why}")]
    Refused {
        /// What was being done.
        what: String,
        /// In its own words.
        why: String,
    },
    /// It answered in a form that this version of the bridge does not read.
    #[error("the answer of {command} cannot be read: {why}; is this scheduler's version supported?")]
    Garbled {
        /// The command.
        command: &'static str,
        /// What was found instead.
        why: String,
    },
    /// The machine that its commands are run on is not the one that was pinned: nothing is sent to it.
    #[error("{0}")]
    HostKeyChanged(String),
    /// That machine does not let us in.
    #[error("{0}")]
    IdentityRefused(String),
    /// It is set up in a way that a promise of ours cannot be kept.
    #[error("{0}")]
    Misconfigured(String),
}
