//! Jobs as the scheduler tells of them: where they are in their life, which row is which job, and what they used.
//!
//! Quantities are whole numbers in the unit of their name. Nothing is asked here; the scheduler's module fills these in.

use crate::{ClusterName, JobId, Token, Uid, UserName};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Not yet handed to the scheduler.
    Pending,
    /// Handed over; the scheduler's answer is being recorded.
    Submitted,
    /// Waits in the scheduler's queue.
    Queued,
    /// Runs.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise, or cannot be submitted as it stands.
    Failed,
    /// Cancelled by its author or an administrator.
    Cancelled,
    /// Reached its time limit or its deadline.
    TimedOut,
    /// Took more memory than it asked for.
    OutOfMemory,
    /// A node failed under it.
    NodeFailed,
}

impl Phase {
    /// True when nothing more will happen.
    pub fn is_finished(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::Submitted | Self::Queued | Self::Running
        )
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Submitted => "Submitted",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::TimedOut => "TimedOut",
            Self::OutOfMemory => "OutOfMemory",
            Self::NodeFailed => "NodeFailed",
        }
    }
}

/// How a job is known again. Numbers come round, a requeue changes the submit time, and anybody can write a token
/// into the comment of a job of their own: so a row is this job when the user is the same, the number is (where it is
/// known), and either the token or the submit time is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobIdentity {
    /// The token of the submission.
    pub token: Token,
    /// The posix account that it was submitted as.
    pub user: UserName,
    /// Its number, once known.
    pub id: Option<JobId>,
    /// When the scheduler took it, once known.
    pub submitted_at: Option<Timestamp>,
}

impl JobIdentity {
    /// Whether a row of the scheduler's is this job.
    pub fn is(&self, id: JobId, user: &str, token: Option<&Token>, submitted_at: Timestamp) -> bool {
        user == self.user.as_str()
            && self.id.is_none_or(|known| known == id)
            && (token == Some(&self.token) || (self.id.is_some() && self.submitted_at == Some(submitted_at)))
    }
}

/// Tasks by state; a job that is no array has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// All that are known of.
    pub total: u64,
    /// Waiting.
    pub queued: u64,
    /// Running.
    pub running: u64,
    /// Ended with exit code 0.
    pub succeeded: u64,
    /// Ended otherwise, of themselves or by a limit.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl TaskCounts {
    /// Counts `tasks` more in a phase.
    pub fn add(&mut self, phase: Phase, tasks: u64) {
        self.total += tasks;
        match phase {
            Phase::Pending | Phase::Submitted | Phase::Queued => self.queued += tasks,
            Phase::Running => self.running += tasks,
            Phase::Succeeded => self.succeeded += tasks,
            Phase::Cancelled => self.cancelled += tasks,
            Phase::Failed | Phase::TimedOut | Phase::OutOfMemory | Phase::NodeFailed => self.failed += tasks,
        }
    }
}

/// Which phase speaks for a job whose tasks are in several: while one is open, the job is; after that the gravest end.
/// Tasks that wait while others have run make a running job.
pub(crate) fn phase_of_all(phases: impl IntoIterator<Item = Phase>, tasks: &TaskCounts) -> Phase {
    if tasks.queued + tasks.running > 0 {
        return if tasks.queued == tasks.total {
            Phase::Queued
        } else {
            Phase::Running
        };
    }
    const GRAVEST_FIRST: [Phase; 6] = [
        Phase::Failed,
        Phase::OutOfMemory,
        Phase::TimedOut,
        Phase::NodeFailed,
        Phase::Cancelled,
        Phase::Succeeded,
    ];
    let phases: Vec<Phase> = phases.into_iter().collect();
    GRAVEST_FIRST
        .into_iter()
        .find(|phase| phases.contains(phase))
        .unwrap_or(Phase::Queued)
}

/// Nodes as the scheduler folds them: `n[1-3,7]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeList(pub(crate) String);

impl NodeList {
    /// Nodes as the scheduler writes them; its words for none are none.
    pub fn new(folded: &str) -> Self {
        match folded {
            "None assigned" | "(null)" | "None" | "N/A" => Self::default(),
            folded => Self(folded.to_owned()),
        }
    }

    /// Those of several lists.
    pub(crate) fn together<'a>(lists: impl Iterator<Item = &'a str>) -> Self {
        let all: Vec<String> = lists
            .map(|list| Self::new(list).0)
            .filter(|list| !list.is_empty())
            .collect();
        Self(all.join(","))
    }

    /// As the scheduler folds them.
    pub fn as_folded(&self) -> &str {
        &self.0
    }

    /// One by one, `at_most` so many: a large job's nodes do not all belong into an object.
    pub fn names(&self, at_most: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = self.0.as_str();
        while !rest.is_empty() && names.len() < at_most {
            // Up to the next comma that is not between brackets.
            let mut depth = 0_u32;
            let end = rest
                .find(|c| {
                    match c {
                        '[' => depth += 1,
                        ']' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    c == ',' && depth == 0
                })
                .unwrap_or(rest.len());
            unfold(&rest[..end], at_most, &mut names);
            rest = rest[end..].strip_prefix(',').unwrap_or_default();
        }
        names
    }
}

/// `n[1-3,07]x[1-2]`: every name it stands for.
fn unfold(folded: &str, at_most: usize, names: &mut Vec<String>) {
    let Some((before, rest)) = folded.split_once('[') else {
        if !folded.is_empty() {
            names.push(folded.to_owned());
        }
        return;
    };
    let Some((ranges, after)) = rest.split_once(']') else {
        names.push(folded.to_owned());
        return;
    };
    for range in ranges.split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (from.parse::<u64>(), to.parse::<u64>()) else {
            names.push(folded.to_owned());
            return;
        };
        for number in first..=last {
            if names.len() >= at_most {
                return;
            }
            unfold(
                &format!("{before}{number:0width$}{after}", width = from.len()),
                at_most,
                names,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_nodes_are_unfolded_up_to_a_limit() {
        let names = |folded: &str, at_most| NodeList::new(folded).names(at_most);
        assert_eq!(names("n[1-3,7],gpu2", 10), ["n1", "n2", "n3", "n7", "gpu2"]);
        assert_eq!(names("r[1-2]n[08-10]", 4), ["r1n08", "r1n09", "r1n10", "r2n08"]);
        assert_eq!(names("n[1-100000]", 3).len(), 3);
        assert_eq!(names("None assigned", 3), Vec::<String>::new());
        assert_eq!(names("n[1", 3), ["n[1"]);
    }
}

/// Cores held times seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreSeconds(pub u64);

/// GPUs held times seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GpuSeconds(pub u64);

impl fmt::Display for CoreSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for GpuSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who holds a job back; of several, the one who counts last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Its author, or somebody on their behalf: they can release it.
    User,
    /// An administrator, or the scheduler after a failure.
    Administrator,
}

/// A job that the scheduler holds; all tasks of an array are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedJob {
    /// Its number; of an array, the whole array's.
    pub id: JobId,
    /// When the scheduler took it (after a requeue: took it again).
    pub submitted_at: Timestamp,
    /// The token in its comment.
    pub token: Option<Token>,
    /// The posix account that it runs as.
    pub user: String,
    /// The account that pays.
    pub account: String,
    /// Its partition (or a list, while it waits).
    pub partition: String,
    /// Its name.
    pub name: String,
    /// Where it is in its life, over all tasks.
    pub phase: Phase,
    /// The scheduler's own word for its state; of an array, of the task that decides the phase.
    pub state: String,
    /// The scheduler's own word for why it waits.
    pub reason: Option<String>,
    /// Why it waits, for people.
    pub waits_for: Option<String>,
    /// Who holds it back, or a task of it.
    pub held_by: Option<Holder>,
    /// Tasks by state, of those that the scheduler still holds; of a heterogeneous job, its components.
    pub tasks: TaskCounts,
    /// How many of its tasks were cancelled before they ran: the accounting may never hear of one.
    pub never_ran: u64,
    /// Cores that its running tasks hold now.
    pub cores: u64,
    /// When the first task started.
    pub started_at: Option<Timestamp>,
    /// Nodes that it runs on; of an array, none.
    pub nodes: NodeList,
    /// Its place among those that compete for a start; none of one that does not: it runs, is held, or waits for something
    /// that is not its turn.
    pub priority: Option<u64>,
    /// What is foreseen of its start.
    pub outlook: Outlook,
}

impl QueuedJob {
    /// Its place in the line of each of its partitions, where it stands in one.
    fn places(&self) -> impl Iterator<Item = ((Reverse<u64>, JobId), &str)> {
        self.priority.into_iter().flat_map(|priority| {
            let place = (Reverse(priority), self.id);
            self.partition.split(',').map(move |partition| (place, partition))
        })
    }
}

/// What the scheduler foresees of a job that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// How many jobs of everybody come before it in its partition; an array is one.
    pub ahead: Option<u64>,
    /// When it is expected to start, where the scheduler has planned that far.
    pub expected_start: Option<Timestamp>,
}

impl Outlook {
    /// Whether somebody who was told `told` wants to hear of this. It changes all the while, by a little: what counts is
    /// that a number has halved or doubled, or that the start moved by a fifth of the way to it, five minutes at least.
    pub fn is_news_after(&self, told: &Self, now: Timestamp) -> bool {
        let ahead = match (told.ahead, self.ahead) {
            (Some(told), Some(ahead)) => {
                (ahead != told && ahead <= told / 2) || ahead >= told.saturating_mul(2).max(1)
            }
            (told, ahead) => told != ahead,
        };
        let start = match (told.expected_start, self.expected_start) {
            (Some(told), Some(start)) => {
                let moved = start.duration_since(told).abs();
                moved >= (told.duration_since(now).abs() / 5).max(SignedDuration::from_mins(5))
            }
            (told, start) => told != start,
        };
        ahead || start
    }
}

/// All jobs that a scheduler held at a moment.
#[derive(Clone, Debug)]
pub struct Queue {
    /// When it was asked for: what was submitted later may be absent.
    pub asked_at: Timestamp,
    jobs: Vec<QueuedJob>,
    by_id: HashMap<JobId, Vec<usize>>,
    by_token: HashMap<Token, Vec<usize>>,
}

impl Queue {
    /// All jobs of everybody, each with how many come before it.
    pub fn of_everybody(asked_at: Timestamp, mut jobs: Vec<QueuedJob>) -> Self {
        // By partition, those that compete: the higher priority first, then the older number (`sched/backfill`).
        let mut lines: HashMap<String, Vec<(Reverse<u64>, JobId)>> = HashMap::new();
        for job in &jobs {
            for (place, partition) in job.places() {
                match lines.get_mut(partition) {
                    Some(line) => line.push(place),
                    None => drop(lines.insert(partition.to_owned(), vec![place])),
                }
            }
        }
        lines.values_mut().for_each(|line| line.sort_unstable());
        for job in &mut jobs {
            // Of several partitions, the one in which it is next.
            job.outlook.ahead = job
                .places()
                .filter_map(|(place, partition)| lines.get(partition)?.binary_search(&place).ok())
                .min()
                .and_then(|ahead| u64::try_from(ahead).ok());
        }
        Self::new(asked_at, jobs)
    }

    /// Indexes jobs.
    pub fn new(asked_at: Timestamp, jobs: Vec<QueuedJob>) -> Self {
        let mut by_id: HashMap<JobId, Vec<usize>> = HashMap::with_capacity(jobs.len());
        let mut by_token: HashMap<Token, Vec<usize>> = HashMap::new();
        for (index, job) in jobs.iter().enumerate() {
            by_id.entry(job.id).or_default().push(index);
            if let Some(token) = &job.token {
                by_token.entry(token.clone()).or_default().push(index);
            }
        }
        Self {
            asked_at,
            jobs,
            by_id,
            by_token,
        }
    }

    /// The job, if the scheduler held it.
    pub fn get(&self, job: &JobIdentity) -> Option<&QueuedJob> {
        let by_id = job.id.and_then(|id| self.by_id.get(&id));
        let by_token = self.by_token.get(&job.token);
        by_id
            .into_iter()
            .chain(by_token)
            .flatten()
            .filter_map(|&index| self.jobs.get(index))
            .find(|row| job.is(row.id, &row.user, row.token.as_ref(), row.submitted_at))
    }

    /// Every job, of everybody.
    pub fn jobs(&self) -> &[QueuedJob] {
        &self.jobs
    }
}

/// What the accounting says of a job: all its tasks, and every run of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobAccounting {
    /// Its number; of an array, the whole array's.
    pub id: JobId,
    /// When the scheduler first took it.
    pub submitted_at: Timestamp,
    /// The token in its comment, where the accounting keeps comments.
    pub token: Option<Token>,
    /// The posix account that it ran as.
    pub user: String,
    /// The account that pays.
    pub account: String,
    /// Its partition.
    pub partition: String,
    /// Its name.
    pub name: String,
    /// Where it is in its life, over all tasks.
    pub phase: Phase,
    /// The scheduler's own word for its state; of an array, of the task that decides the phase.
    pub state: String,
    /// Exit code of the script; of an array, the highest. None before the end.
    pub exit_code: Option<i32>,
    /// Signal that ended the script, when one did.
    pub signal: Option<i32>,
    /// When the first task started.
    pub started_at: Option<Timestamp>,
    /// When the last task ended; none while one has not.
    pub ended_at: Option<Timestamp>,
    /// Nodes that it ran on; of an array, none.
    pub nodes: NodeList,
    /// Tasks by state.
    pub tasks: TaskCounts,
    /// How many of them were cancelled before they ran.
    pub never_ran: u64,
    /// Cores held, over all tasks and runs.
    pub core_seconds: CoreSeconds,
    /// GPUs held, over all tasks and runs.
    pub gpu_seconds: GpuSeconds,
    /// What its processes made of that, where the scheduler measured it.
    pub measured: Measured,
}

/// What a job's processes made of what they held. Schedulers measure it by samples, so it is advice and never billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Milliseconds that they computed for, over all cores, tasks and runs.
    pub cpu_milliseconds: Option<u64>,
    /// Memory that they held at most, in KiB; of an array, the hungriest task's.
    pub peak_memory_kib: Option<u64>,
    /// Memory that was allocated, in MiB; of an array, to one task.
    pub allocated_memory_mib: u64,
}

impl Measured {
    /// Puts what was measured of another run of the job to it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu_milliseconds: match (self.cpu_milliseconds, other.cpu_milliseconds) {
                (Some(one), Some(other)) => Some(one.saturating_add(other)),
                (one, other) => one.or(other),
            },
            peak_memory_kib: self.peak_memory_kib.max(other.peak_memory_kib),
            allocated_memory_mib: self.allocated_memory_mib.max(other.allocated_memory_mib),
        }
    }
}

/// Trackable resources of one run, as allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tres {
    /// Cores (`cpu`).
    pub cpus: u64,
    /// Memory in MiB (`mem`), over all nodes.
    pub memory_mib: u64,
    /// Nodes (`node`).
    pub nodes: u64,
    /// GPUs of all kinds (`gres/gpu`).
    pub gpus: u64,
    /// Everything else by Slurm's name, as a count: `gres/gpu:a100`, `license/x`. Never `billing`: it is truncated.
    pub others: BTreeMap<String, u64>,
}

impl Tres {
    /// How many GPUs of each model (`gres/gpu:a100`), where Slurm tracks models.
    pub fn gpus_by_model(&self) -> BTreeMap<String, u64> {
        let models = self
            .others
            .iter()
            .filter_map(|(name, gpus)| Some((name.strip_prefix("gres/gpu:")?.to_owned(), *gpus)));
        models.collect()
    }
}

/// A task of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArrayTask {
    /// The array's number.
    pub array: JobId,
    /// The task's index; none for the rest of an array that has not started.
    pub index: Option<u32>,
}

/// What a run is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunId {
    /// Its row in Slurm's accounting.
    Row(u64),
    /// The UID of the pod that it was.
    Pod(Uid),
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => write!(f, "row {row} of the accounting"),
            Self::Pod(uid) => write!(f, "pod {uid}"),
        }
    }
}

/// One run of one job (or of one task of an array), from the accounting: a requeued job has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The cluster.
    pub cluster: ClusterName,
    /// What the run is known by: unique in the cluster, for ever.
    pub id: RunId,
    /// The job's own number, different for each task of an array and each component of a heterogeneous job.
    pub job_id: JobId,
    /// Which task of which array.
    pub array_task: Option<ArrayTask>,
    /// The heterogeneous job that it is a component of.
    pub component_of: Option<JobId>,
    /// How many tasks this row stands for: 1, or all those of an array that have not started.
    pub tasks: u64,
    /// When the scheduler took it (after a requeue: again).
    pub submitted_at: Timestamp,
    /// When it started; none when it never did.
    pub started_at: Option<Timestamp>,
    /// When it ended; none while it has not.
    pub ended_at: Option<Timestamp>,
    /// How often it was requeued before, where the scheduler's version says it (24.05 and newer).
    pub restarts: Option<u32>,
    /// The account that pays.
    pub account: String,
    /// The posix account that it ran as; empty where the accounting only knows a number.
    pub user: String,
    /// The partition.
    pub partition: String,
    /// The job's name.
    pub name: String,
    /// The token in its comment.
    pub token: Option<Token>,
    /// Where it is in its life.
    pub phase: Phase,
    /// The scheduler's own word for its state.
    pub state: String,
    /// Seconds between start and end, without those it was suspended.
    pub elapsed_seconds: u64,
    /// Seconds suspended: it held memory and licences then, but no cores.
    pub suspended_seconds: u64,
    /// What was allocated to it.
    pub tres: Tres,
    /// Exit code of the script.
    pub exit_code: i32,
    /// Signal that ended the script, 0 when none did.
    pub signal: i32,
    /// Nodes that it ran on.
    pub nodes: NodeList,
}

impl Run {
    /// Cores held times seconds; none when the number would not fit.
    pub fn core_seconds(&self) -> Option<CoreSeconds> {
        self.tres.cpus.checked_mul(self.elapsed_seconds).map(CoreSeconds)
    }

    /// GPUs held times seconds; none when the number would not fit.
    pub fn gpu_seconds(&self) -> Option<GpuSeconds> {
        self.tres.gpus.checked_mul(self.elapsed_seconds).map(GpuSeconds)
    }
}

/// The runs of a window, and the rows that could not be read: one bad row never hides the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRows {
    /// Those that could be read.
    pub runs: Vec<Run>,
    /// Those that could not.
    pub malformed: Vec<MalformedRow>,
}

/// A row of the scheduler's that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedRow {
    /// As it came.
    pub row: String,
    /// What its run is known by, where that much can be read.
    pub id: Option<RunId>,
    /// The job's number, where that much can be read.
    pub job: Option<JobId>,
    /// The account that pays, where that much can be read.
    pub account: Option<String>,
    /// What is wrong with it.
    pub why: String,
}
