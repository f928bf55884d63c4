//! A batch scheduler behind one trait: submit a script exactly once as a person, follow it, cancel it, and read what
//! it used. Usable without Kubernetes: plain data in, plain data out, no state kept between calls.
//!
//! ```text
//!  Submission ──► BatchScheduler::submit ──► job id          queue()     one squeue for all jobs
//!                        │ outcome unknown?                  finished()  one sacct for those that left it
//!                        └─► find(identity) ─► job or none   runs()      the accounting feed of metering
//!
//!  lifecycle::next(view, observed, now) ──► the one step to take next (pure)
//! ```
//!
//! [`slurm::Slurm`] speaks to Slurm 22.05 or newer through its command lines, on this machine as root or on a login node
//! over ssh ([`slurm::ssh`]), and starts each `sbatch` as the submitting person's own posix account. Accounts,
//! associations and limits are kept by difference with [`slurm::accounts`].

mod array;
mod batch_scheduler;
mod job;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod lifecycle;
mod names;
pub mod slurm;
mod submission;

pub use array::{ArrayIndices, InvalidArray};
pub use batch_scheduler::{BatchScheduler, Health, Partition, SchedulerError, Window};
pub use job::{
    ArrayTask, CoreSeconds, GpuSeconds, Holder, JobAccounting, JobIdentity, MalformedRow, Measured, NodeList,
    Outlook, Phase, Queue, QueuedJob, Run, RunId, RunRows, TaskCounts, Tres,
};
pub use names::{
    AccountName, ClusterName, InvalidJobId, InvalidName, JobId, PartitionName, QosName, ReservationName,
    Token, Uid, UserName,
};
pub use submission::{
    Container, Dependency, DependencyKind, InvalidSubmission, Reference, Secret, Submission, SubmitError,
};
