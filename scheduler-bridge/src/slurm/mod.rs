//! Slurm 22.05 and newer, through its command lines: no library to link, any version to speak to.
//!
//! They run on a machine of the cluster (munge's key and slurm.conf are there), which is this one or a login node that is
//! reached over ssh, and each sbatch runs as the submitting person. All times are UTC, all text fields are kept apart by a separator that nobody can forge.
//!
//! | step | command | file |
//! | --- | --- | --- |
//! | submit | `setpriv` → `env -i` → `sbatch` | `sbatch.rs`, `script_header.rs`, `posix_account.rs` |
//! | the same on a login node | `ssh` → `sh` → `setpriv` or `sudo` → … | `ssh/` |
//! | queue, cancel, hold | `squeue`, `scancel`, `scontrol` | `squeue.rs`, `job_state.rs`, `wait_reason.rs` |
//! | accounting | `sacct` | `sacct.rs`, `tres.rs` |
//! | accounts, limits | `sacctmgr`, `scontrol` | `accounts.rs`, `sacctmgr.rs` |
//! | health, partitions | `scontrol`, `sdiag` | `scontrol.rs` |
//! | reservations | `scontrol` | `reservation.rs` |
//! | a job's output | `setpriv` or `sudo` → `sh` → `tail` | `output.rs` |

pub mod accounts;
mod command;
mod job_state;
mod other_schedulers;
mod output;
mod posix_account;
mod reservation;
mod sacct;
mod sacctmgr;
mod sbatch;
mod scontrol;
mod script_header;
mod squeue;
pub mod ssh;
mod tres;
mod wait_reason;

pub use output::{OutputError, OutputPiece, OutputStart, output_of_task};
pub use reservation::Reservation;
pub use sacctmgr::{AccountUse, FailedChange};
pub use script_header::ScriptHeader;

use crate::job::{Holder, JobAccounting, JobIdentity, Queue, QueuedJob, RunRows};
use crate::{
    AccountName, BatchScheduler, ClusterName, Health, JobId, Partition, SchedulerError, Submission,
    SubmitError, UserName, Window,
};
use command::{Place, Said};
use jiff::Timestamp;
use posix_account::{NoAccount, PosixAccounts};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// Where Slurm's commands are, unless a site has them elsewhere.
pub const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How Slurm's commands are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// On this machine, by a process that is root.
    Local,
    /// On a login node.
    Ssh(ssh::SshConfig),
}

/// How Slurm is reached.
#[derive(Clone, Debug)]
pub struct SlurmConfig {
    /// Where its commands are run.
    pub transport: Transport,
    /// The cluster's name, as slurmdbd knows it.
    pub cluster: ClusterName,
    /// Which slurm.conf the commands read; their own default when absent.
    pub slurm_conf: Option<PathBuf>,
    /// Directories where the commands are, separated by colons. It is also the PATH that jobs start with.
    pub path: String,
    /// How long a command may take to answer.
    pub answer_within: Duration,
    /// How long sbatch may take to answer. On a login node it is ended there when the time is up, in whole seconds.
    pub submit_within: Duration,
    /// How many sbatch run side by side. Slurm 22.05 takes about 430 jobs a second from four on two cores, and 250
    /// from one.
    pub submissions_side_by_side: usize,
}

impl SlurmConfig {
    /// The usual: commands in the usual places, half a minute for an answer, 6 submissions side by side.
    pub fn new(cluster: ClusterName) -> Self {
        Self {
            transport: Transport::Local,
            cluster,
            slurm_conf: None,
            path: USUAL_PATH.to_owned(),
            answer_within: Duration::from_secs(30),
            submit_within: Duration::from_secs(60),
            submissions_side_by_side: 6,
        }
    }

    /// The usual on a login node: half as long for sbatch, since that is how long a submission may outlive us there, and
    /// half of the connection's commands at a time for submissions.
    pub fn over_ssh(cluster: ClusterName, login_node: ssh::SshConfig) -> Self {
        Self {
            transport: Transport::Ssh(login_node),
            submit_within: Duration::from_secs(30),
            submissions_side_by_side: 4,
            ..Self::new(cluster)
        }
    }

    /// How long a submission may go on after this process has died: here it dies with us, on a login node by its deadline.
    pub fn outlives_us(&self) -> Duration {
        match self.transport {
            Transport::Local => Duration::ZERO,
            Transport::Ssh(_) => self.submit_within,
        }
    }
}

/// A Slurm cluster. Cheap to clone; clones share their limits.
#[derive(Clone, Debug)]
pub struct Slurm {
    config: Arc<SlurmConfig>,
    place: Place,
    accounts: Arc<PosixAccounts>,
    submissions: Arc<Semaphore>,
    has_restarts: Arc<OnceCell<bool>>,
}

impl Slurm {
    /// Prepares to speak to a cluster; nothing is asked yet.
    ///
    /// # Errors
    /// [`SchedulerError::Misconfigured`] when the programs that start others (`setpriv`, `env`) are not there.
    pub fn new(config: SlurmConfig) -> Result<Self, SchedulerError> {
        Ok(Self {
            place: Place::find(&config)?,
            accounts: Arc::default(),
            submissions: Arc::new(Semaphore::new(config.submissions_side_by_side.max(1))),
            has_restarts: Arc::default(),
            config: Arc::new(config),
        })
    }

    /// How it is reached.
    pub fn config(&self) -> &SlurmConfig {
        &self.config
    }

    /// Where the output of a job goes, on the scheduler's file system: `%a` stands for an array's index. None when it
    /// cannot be told.
    pub async fn output_path(&self, submission: &Submission, id: JobId) -> Option<String> {
        let account = self
            .accounts
            .get(&self.place, &self.config, &submission.user)
            .await
            .ok()?;
        sbatch::output_path(submission, &account.home, id)
    }

    /// Checks a submission as far as that is possible without asking Slurm.
    ///
    /// # Errors
    /// What [`submit`](BatchScheduler::submit) would say.
    pub async fn check(&self, submission: &Submission) -> Result<(), SubmitError> {
        let account = self.posix_account(&submission.user).await?;
        sbatch::prepare(submission, &account, &self.config)?;
        Ok(())
    }

    async fn posix_account(&self, user: &UserName) -> Result<Arc<posix_account::PosixAccount>, SubmitError> {
        self.accounts
            .get(&self.place, &self.config, user)
            .await
            .map_err(|error| match error {
                NoAccount::Invalid(invalid) => SubmitError::Invalid(invalid),
                NoAccount::Unknown(error) => SubmitError::NotAsked(error.to_string()),
            })
    }

    async fn run<S: AsRef<OsStr>>(
        &self,
        name: &'static str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Said, SchedulerError> {
        command::run(&self.place, &self.config, name, arguments).await
    }

    /// Cancels every job of an account, whoever submitted it and however.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn cancel_account(&self, account: &AccountName) -> Result<(), SchedulerError> {
        let all = format!("--account={account}");
        self.scancel(all, format!("cancel the jobs of the account {account}"))
            .await
    }

    async fn scancel(&self, which: String, doing: String) -> Result<(), SchedulerError> {
        let said = self.run("scancel", [which]).await?;
        let complaint = said.complaint();
        if said.succeeded()
            || complaint.contains("already completing")
            || complaint.contains("Invalid job id")
        {
            return Ok(());
        }
        Err(if command::tells_of_absence(&complaint) {
            SchedulerError::Unreachable {
                who: "slurmctld",
                why: complaint,
            }
        } else {
            SchedulerError::Refused {
                what: doing,
                why: complaint,
            }
        })
    }

    /// Changes what of a job waits. What has started meanwhile is left alone.
    async fn change_waiting(&self, verb: &str, doing: &str, id: JobId) -> Result<(), SchedulerError> {
        self.change(doing, &[verb.to_owned(), id.to_string()]).await
    }

    /// Changes a job. What of it can no longer be changed so is left alone.
    async fn change(&self, doing: &str, arguments: &[String]) -> Result<(), SchedulerError> {
        match self.scontrol(doing, arguments).await {
            Err(SchedulerError::Refused { why, .. }) if is_left_alone(&why) => Ok(()),
            other => other.map(drop),
        }
    }

    /// A job that is this one now, if Slurm still holds it and it is not over.
    async fn open_job(&self, job: &JobIdentity) -> Result<Option<QueuedJob>, SchedulerError> {
        let only = match job.id {
            Some(id) => format!("--jobs={id}"),
            None => format!("--user={}", job.user),
        };
        let queue = self.squeue(&[only]).await?;
        Ok(queue.get(job).filter(|row| !row.phase.is_finished()).cloned())
    }
}

/// Whether all that scontrol complains of is tasks that wait no more: of an array it names each span of tasks, those that
/// it changed with "No error".
fn is_left_alone(complaint: &str) -> bool {
    const FINE: [&str; 4] = [
        "No error",
        "already finished",
        "no longer pending",
        "Invalid job id",
    ];
    complaint
        .split("; ")
        .all(|line| FINE.iter().any(|words| line.contains(words)))
}

impl BatchScheduler for Slurm {
    async fn ping(&self) -> Result<Health, SchedulerError> {
        self.health().await
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SchedulerError> {
        self.read_partitions().await
    }

    async fn submit(&self, submission: &Submission) -> Result<JobId, SubmitError> {
        let account = self.posix_account(&submission.user).await?;
        let prepared = sbatch::prepare(submission, &account, &self.config)?;
        let _permit = self
            .submissions
            .acquire()
            .await
            .map_err(|_| SubmitError::NotAsked("submissions are being ended".to_owned()))?;
        match &self.place {
            Place::Here(programs) => {
                sbatch::submit(programs, &self.config, &account, submission, &prepared).await
            }
            Place::LoginNode(login_node) => {
                login_node
                    .submit(&self.config, &account, submission, &prepared)
                    .await
            }
        }
    }

    async fn find(&self, job: &JobIdentity, since: Timestamp) -> Result<Option<QueuedJob>, SchedulerError> {
        // First whether a "no" could be believed at all, then the queue, then what has left it.
        self.setup().await?;
        let queue = self.squeue(&[format!("--user={}", job.user)]).await?;
        if let Some(found) = queue.get(job) {
            return Ok(Some(found.clone()));
        }
        self.accounting_is_up_to_date().await?;
        self.find_in_accounting(job, since).await
    }

    async fn queue(&self) -> Result<Queue, SchedulerError> {
        self.squeue(&[]).await
    }

    async fn finished(&self, jobs: &[JobIdentity]) -> Result<Vec<JobAccounting>, SchedulerError> {
        self.accounting_of(jobs).await
    }

    async fn runs(&self, window: Window) -> Result<RunRows, SchedulerError> {
        self.sacct(&[
            "--allusers".to_owned(),
            format!("--starttime={}", sacct::in_utc(window.from)),
            format!("--endtime={}", sacct::in_utc(window.until)),
        ])
        .await
    }

    async fn cancel(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        let Some(QueuedJob { id, .. }) = self.open_job(job).await? else {
            return Ok(());
        };
        self.scancel(id.to_string(), format!("cancel job {id}")).await
    }

    async fn hold(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        // `hold` by root would be an administrator's, which its author could not release.
        match self.open_job(job).await? {
            Some(open) if open.tasks.queued > 0 => {
                self.change_waiting("uhold", "hold the job", open.id).await
            }
            _ => Ok(()),
        }
    }

    async fn release(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        match self.open_job(job).await? {
            Some(open) if open.held_by == Some(Holder::User) => {
                self.change_waiting("release", "release the job", open.id).await
            }
            _ => Ok(()),
        }
    }

    async fn set_time_limit(&self, job: &JobIdentity, seconds: u64) -> Result<(), SchedulerError> {
        let Some(open) = self.open_job(job).await? else {
            return Ok(());
        };
        // Slurm counts in minutes: a started one is a whole one.
        let arguments = [
            "update".to_owned(),
            format!("JobId={}", open.id),
            format!("TimeLimit={}", seconds.div_ceil(60).max(1)),
        ];
        self.change("change the job's time limit", &arguments).await
    }
}

#[cfg(test)]
mod tests {
    use super::is_left_alone;

    #[test]
    fn tasks_that_wait_no_more_are_no_refusal() {
        assert!(is_left_alone("9_1: Job has already finished; 9_2-3: No error"));
        assert!(is_left_alone("9_1: Job is no longer pending execution"));
        assert!(!is_left_alone(
            "9_1: Job has already finished; 9_2: Access/permission denied"
        ));
        // Of a job of 24.11's that is over.
        let of_24_11 = include_str!("answers/24.11/release-of-what-is-over.complaint");
        assert!(is_left_alone(&of_24_11.trim_end().replace('\n', "; ")));
    }
}
