//! The life of a batch job, as a pure function: what is written down and what was observed in, the next step out.
//!
//! ```text
//!  (nothing) ── WriteToken ─► token ── Submit ─► answered ── Record ─► id ── queue ─► Record … ── accounting ─► Finish
//!                               ▲                    │ unknown, or not our own doing
//!                               │                    ▼
//!                               └── not there ──── LookUp ── there ─► Record
//! ```
//!
//! **Exactly once.** The token is written down before the scheduler is asked. A token whose answer this process has
//! not heard itself is looked up, in the queue and in the accounting, and only when both say no, asked at a time when
//! no earlier process can still have a request under way, is there a next attempt. A scheduler that does not answer
//! means wait. A job ends only by what the accounting says of it.
//!
//! This module does no I/O, reads no clock and never fails.

use crate::job::{
    Holder, JobAccounting, JobIdentity, Measured, NodeList, Outlook, Phase, QueuedJob, TaskCounts,
};
use crate::{CoreSeconds, GpuSeconds, InvalidName, JobId, SubmitError, Token, UserName};
use jiff::{SignedDuration, Timestamp};

/// What is written down of a job, where a crash cannot reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// The object's UID: the first part of its tokens.
    pub uid: String,
    /// The posix account that it is submitted as.
    pub user: UserName,
    /// The attempt under way or done.
    pub attempt: Option<Attempt>,
    /// Its number, once recorded.
    pub id: Option<JobId>,
    /// When the scheduler took it, once recorded.
    pub submitted_at: Option<Timestamp>,
    /// Its phase as recorded.
    pub phase: Phase,
    /// Its tasks as last recorded: an array's tasks leave the scheduler's memory one by one.
    pub tasks: TaskCounts,
    /// Somebody wants it cancelled.
    pub cancel: bool,
    /// Whether its author wants it held, where they said so: otherwise the script and the cluster decide.
    pub hold: Option<bool>,
    /// What of that was brought about last.
    pub held: Option<bool>,
    /// The time limit that it is to have in place of what it was submitted with, in seconds.
    pub time_limit_seconds: Option<u64>,
    /// What of that was brought about last.
    pub time_limited_to: Option<u64>,
}

impl JobView {
    /// How the job is known again; none before a token was written.
    pub fn identity(&self) -> Option<JobIdentity> {
        self.attempt.as_ref().map(|attempt| JobIdentity {
            token: attempt.token.clone(),
            user: self.user.clone(),
            id: self.id,
            submitted_at: self.submitted_at,
        })
    }
}

/// An attempt to submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its token.
    pub token: Token,
    /// Which attempt it is, from 1.
    pub number: u32,
    /// When the token was written down.
    pub written_at: Timestamp,
}

impl Attempt {
    /// The attempt after this one, or the first.
    ///
    /// # Errors
    /// See [`Token::of_attempt`].
    pub fn after(previous: Option<&Attempt>, uid: &str, now: Timestamp) -> Result<Self, InvalidName> {
        let number = previous.map_or(1, |attempt| attempt.number.saturating_add(1));
        Ok(Self {
            token: Token::of_attempt(uid, number)?,
            number,
            written_at: now,
        })
    }
}

/// What this process itself did with the attempt's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnDoing {
    /// It wrote the token down (and saw the write succeed), and has not asked the scheduler yet.
    Wrote,
    /// It asked, and this is what came of it.
    Asked {
        /// When the answer came, or was given up on.
        at: Timestamp,
        /// The answer.
        answer: Result<JobId, SubmitError>,
    },
    /// Nothing: another process wrote the token, or this one before it was restarted.
    Nothing,
}

/// An answer that was waited for, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// Not asked in this round.
    NotAsked,
    /// Asked in vain, with the reason for people.
    Unreachable(String),
    /// The answer.
    Known(T),
}

/// What was observed for one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Since when this process alone acts for the scheduler: its start, or when it took over the lease. Before that,
    /// another may have had a request under way.
    pub in_charge_since: Timestamp,
    /// How long after its sender's death a request may still be taken (Slurm's `MessageTimeout`;
    /// [`Health::settle_seconds`](crate::Health)).
    pub settle: SignedDuration,
    /// What this process did with the token.
    pub own: OwnDoing,
    /// The job in the queue.
    pub queue: Answer<Option<QueuedJob>>,
    /// What [`find`](crate::BatchScheduler::find) said of the token, and when it was asked.
    pub lookup: Answer<(Timestamp, Option<QueuedJob>)>,
    /// What [`finished`](crate::BatchScheduler::finished) said of the job.
    pub accounting: Answer<Option<JobAccounting>>,
}

impl Observed {
    /// Nothing observed yet.
    pub fn nothing(in_charge_since: Timestamp, settle: SignedDuration) -> Self {
        Self {
            in_charge_since,
            settle,
            own: OwnDoing::Nothing,
            queue: Answer::NotAsked,
            lookup: Answer::NotAsked,
            accounting: Answer::NotAsked,
        }
    }
}

/// The one step to take next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this attempt down; only when that succeeded, come again with [`OwnDoing::Wrote`].
    WriteToken {
        /// Which attempt, from 1.
        number: u32,
    },
    /// Ask the scheduler to take the job, then come again with [`OwnDoing::Asked`].
    Submit,
    /// Ask [`find`](crate::BatchScheduler::find), then come again.
    LookUp,
    /// Ask for the queue, then come again.
    AskQueue,
    /// Ask [`finished`](crate::BatchScheduler::finished), then come again.
    AskAccounting,
    /// Ask the scheduler to cancel the job; its end is told by the accounting, as any other.
    Cancel,
    /// Ask the scheduler to hold what of the job waits, or to let it go, then write down that this was done.
    Hold(bool),
    /// Ask the scheduler to let the job run so many seconds from its start on, then write down that this was done.
    TimeLimit(u64),
    /// Record where the job is, where that differs from what is recorded.
    Record(Box<Progress>),
    /// Record the job's end. Nothing follows.
    Finish(Box<Progress>),
    /// Nothing can be done now. Come again at the next tick, or at `until`.
    Wait {
        /// Not before this moment, where one is known.
        until: Option<Timestamp>,
        /// Why, for people.
        why: String,
    },
    /// The job is over and recorded.
    Done,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its number; none when it never had one.
    pub id: Option<JobId>,
    /// When the scheduler took it.
    pub submitted_at: Option<Timestamp>,
    /// Its phase.
    pub phase: Phase,
    /// The scheduler's own word for its state.
    pub state: Option<String>,
    /// The scheduler's own word for why it waits.
    pub reason: Option<String>,
    /// Why it is where it is, for people.
    pub message: Option<String>,
    /// Its tasks by state.
    pub tasks: TaskCounts,
    /// Cores that it holds now.
    pub cores: u64,
    /// When it, or its first task, started.
    pub started_at: Option<Timestamp>,
    /// When it, or its last task, ended.
    pub ended_at: Option<Timestamp>,
    /// Exit code of the script; of an array, the highest.
    pub exit_code: Option<i32>,
    /// Signal that ended the script.
    pub signal: Option<i32>,
    /// Nodes; of an array, none.
    pub nodes: NodeList,
    /// What the scheduler foresees of its start, while it waits.
    pub outlook: Outlook,
    /// Cores held, once it ended.
    pub core_seconds: Option<CoreSeconds>,
    /// GPUs held, once it ended.
    pub gpu_seconds: Option<GpuSeconds>,
    /// What its processes made of that, once it ended.
    pub measured: Option<Measured>,
}

impl Progress {
    /// Nothing but a phase, and why.
    pub fn bare(phase: Phase, message: Option<String>) -> Self {
        Self {
            id: None,
            submitted_at: None,
            phase,
            state: None,
            reason: None,
            message,
            tasks: TaskCounts::default(),
            cores: 0,
            started_at: None,
            ended_at: None,
            exit_code: None,
            signal: None,
            nodes: NodeList::default(),
            outlook: Outlook::default(),
            core_seconds: None,
            gpu_seconds: None,
            measured: None,
        }
    }

    /// As the queue tells it.
    pub fn from_queue(job: &QueuedJob) -> Self {
        Self {
            id: Some(job.id),
            submitted_at: Some(job.submitted_at),
            state: Some(job.state.clone()),
            reason: job.reason.clone(),
            tasks: job.tasks,
            cores: job.cores,
            started_at: job.started_at,
            nodes: job.nodes.clone(),
            outlook: job.outlook,
            ..Self::bare(job.phase, job.waits_for.clone())
        }
    }

    /// As the accounting tells it.
    pub fn from_accounting(job: &JobAccounting) -> Self {
        let ended = job.phase.is_finished();
        Self {
            id: Some(job.id),
            submitted_at: Some(job.submitted_at),
            state: Some(job.state.clone()),
            tasks: job.tasks,
            started_at: job.started_at,
            ended_at: job.ended_at,
            exit_code: job.exit_code,
            signal: job.signal,
            nodes: job.nodes.clone(),
            core_seconds: ended.then_some(job.core_seconds),
            gpu_seconds: ended.then_some(job.gpu_seconds),
            measured: ended.then_some(job.measured),
            ..Self::bare(job.phase, ended.then(|| ending(job)).flatten())
        }
    }
}

/// What a person should know of an end; nothing of a good one.
fn ending(job: &JobAccounting) -> Option<String> {
    let of_tasks = if job.tasks.total > 1 {
        format!(
            " ({} of {} tasks did not succeed)",
            job.tasks.failed + job.tasks.cancelled,
            job.tasks.total
        )
    } else {
        String::new()
    };
    let what = match job.phase {
        Phase::TimedOut => "reached its time limit: ask for more time, or do less in one job".to_owned(),
        Phase::OutOfMemory => "took more memory than it asked for: ask for more".to_owned(),
        Phase::NodeFailed => "a node failed under it: it can be submitted again as it is".to_owned(),
        Phase::Cancelled => {
            if job.state.contains(" by ") {
                format!("was cancelled ({})", job.state)
            } else {
                "was cancelled".to_owned()
            }
        }
        Phase::Failed => match (job.signal, job.exit_code) {
            (Some(signal), _) => format!("the script was ended by signal {signal}"),
            (None, Some(code)) if code != 0 => format!("the script ended with exit code {code}"),
            _ => format!("the scheduler says {}", job.state),
        },
        _ => return None,
    };
    Some(what + &of_tasks)
}

/// How long to wait where the scheduler could not even be asked.
const NOT_ASKED_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// How long a job may be unknown to queue and accounting before people are told to look.
const UNKNOWN_FOR_LONG: SignedDuration = SignedDuration::from_mins(5);

/// The next step of a job.
pub fn next(job: &JobView, observed: &Observed, now: Timestamp) -> Step {
    if job.phase.is_finished() {
        return Step::Done;
    }
    match (&job.attempt, job.id) {
        (None, _) if job.cancel => never_submitted(),
        (None, _) => Step::WriteToken { number: 1 },
        (Some(attempt), None) => unresolved(job, attempt, observed, now),
        (Some(attempt), Some(_)) => known(job, attempt, observed, now),
    }
}

fn never_submitted() -> Step {
    Step::Finish(Box::new(Progress::bare(
        Phase::Cancelled,
        Some("was cancelled before the scheduler had it".to_owned()),
    )))
}

/// A token without a job number.
fn unresolved(job: &JobView, attempt: &Attempt, observed: &Observed, now: Timestamp) -> Step {
    let last_request = match &observed.own {
        OwnDoing::Wrote if job.cancel => return never_submitted(),
        OwnDoing::Wrote => return Step::Submit,
        OwnDoing::Asked { answer: Ok(id), .. } => {
            return Step::Record(Box::new(Progress {
                id: Some(*id),
                ..Progress::bare(Phase::Submitted, None)
            }));
        }
        OwnDoing::Asked {
            answer: Err(error), ..
        } if error.is_final() => {
            return Step::Finish(Box::new(Progress::bare(Phase::Failed, Some(error.to_string()))));
        }
        OwnDoing::Asked {
            at,
            answer: Err(SubmitError::NotAsked(why)),
        } => {
            let again_at = at.saturating_add(NOT_ASKED_AGAIN_AFTER).unwrap_or(Timestamp::MAX);
            return match (job.cancel, now < again_at) {
                (true, _) => never_submitted(),
                (false, true) => Step::Wait {
                    until: Some(again_at),
                    why: why.clone(),
                },
                (false, false) => Step::Submit,
            };
        }
        OwnDoing::Asked { at, .. } => *at,
        OwnDoing::Nothing => attempt.written_at.max(observed.in_charge_since),
    };
    // Until then, a request of a process that is gone may still be on its way.
    let settled_at = last_request
        .saturating_add(observed.settle)
        .unwrap_or(Timestamp::MAX);
    match &observed.lookup {
        Answer::NotAsked => Step::LookUp,
        Answer::Unreachable(why) => Step::Wait {
            until: None,
            why: why.clone(),
        },
        Answer::Known((_, Some(found))) => {
            let mut progress = Progress::from_queue(found);
            if found.phase.is_finished() {
                // Its end is the accounting's to tell, once its number is recorded.
                progress.phase = Phase::Submitted;
            }
            Step::Record(Box::new(progress))
        }
        Answer::Known((asked_at, None)) if *asked_at < settled_at => {
            if now < settled_at {
                Step::Wait {
                    until: Some(settled_at),
                    why: "an earlier submission may still be on its way to the scheduler".to_owned(),
                }
            } else {
                Step::LookUp
            }
        }
        Answer::Known((_, None)) if job.cancel => never_submitted(),
        Answer::Known((_, None)) => Step::WriteToken {
            number: attempt.number.saturating_add(1),
        },
    }
}

/// A job with a number.
fn known(job: &JobView, attempt: &Attempt, observed: &Observed, now: Timestamp) -> Step {
    let queued = match &observed.queue {
        Answer::NotAsked => return Step::AskQueue,
        Answer::Unreachable(why) => {
            return Step::Wait {
                until: None,
                why: why.clone(),
            };
        }
        Answer::Known(queued) => queued.as_ref(),
    };
    if let Some(queued) = queued.filter(|queued| !queued.phase.is_finished()) {
        if job.cancel {
            return Step::Cancel;
        }
        if let Some(hold) = to_hold(job, queued) {
            return Step::Hold(hold);
        }
        // Once: who changes it on the cluster afterwards is not contradicted.
        if let Some(seconds) = job
            .time_limit_seconds
            .filter(|_| job.time_limit_seconds != job.time_limited_to)
        {
            return Step::TimeLimit(seconds);
        }
        // Tasks of an array that are long over are in the accounting only.
        if queued.tasks.total >= job.tasks.total {
            return Step::Record(Box::new(Progress::from_queue(queued)));
        }
        return match &observed.accounting {
            Answer::NotAsked => Step::AskAccounting,
            Answer::Known(Some(accounting)) => Step::Record(Box::new(Progress {
                tasks: merged(queued.tasks, accounting.tasks, job.tasks.total),
                started_at: accounting.started_at.or(queued.started_at),
                ..Progress::from_queue(queued)
            })),
            // The accounting is late or away: what is recorded stays right enough, and the rest is news.
            Answer::Known(None) | Answer::Unreachable(_) => Step::Record(Box::new(Progress {
                tasks: job.tasks,
                ..Progress::from_queue(queued)
            })),
        };
    }
    let expected = job.tasks.total.max(queued.map_or(0, |queued| queued.tasks.total));
    match &observed.accounting {
        Answer::NotAsked => Step::AskAccounting,
        Answer::Unreachable(why) => Step::Wait {
            until: None,
            why: why.clone(),
        },
        // Records of an array's tasks reach slurmdbd one by one: all that were ever seen must be there, but for those that
        // the queue tells were cancelled before they ran, of which Slurm has been seen to make no record.
        Answer::Known(Some(accounting))
            if accounting.phase.is_finished()
                && accounting.tasks.total + unrecorded(accounting, queued) >= expected =>
        {
            let missing = expected.saturating_sub(accounting.tasks.total);
            Step::Finish(Box::new(Progress::from_accounting(&with_cancelled(
                accounting, missing,
            ))))
        }
        Answer::Known(Some(_)) => Step::Wait {
            until: None,
            why: "the job has left the queue; the accounting does not know its end yet".to_owned(),
        },
        Answer::Known(None) => {
            let why = if now.duration_since(attempt.written_at) > UNKNOWN_FOR_LONG {
                "neither the queue nor the accounting knows the job: an administrator should look (sacct -D -j)"
            } else {
                "the job is not in the accounting yet"
            };
            Step::Wait {
                until: None,
                why: why.to_owned(),
            }
        }
    }
}

/// Whether what of the job waits is to be held now, or let go. What its author asked for is brought about once: who holds
/// or releases the job on the cluster afterwards is not contradicted. What an administrator holds is theirs to release.
fn to_hold(job: &JobView, queued: &QueuedJob) -> Option<bool> {
    let hold = job.hold.filter(|_| job.hold != job.held)?;
    let waits = queued.tasks.queued > 0;
    let may = hold || queued.held_by != Some(Holder::Administrator);
    (waits && may).then_some(hold)
}

/// How many tasks were cancelled before they ran that the accounting does not have.
fn unrecorded(accounting: &JobAccounting, queued: Option<&QueuedJob>) -> u64 {
    queued.map_or(0, |queued| queued.never_ran.saturating_sub(accounting.never_ran))
}

/// The same with so many tasks more, which were cancelled.
fn with_cancelled(accounting: &JobAccounting, tasks: u64) -> JobAccounting {
    let mut all = accounting.clone();
    if tasks > 0 {
        all.tasks.add(Phase::Cancelled, tasks);
        all.never_ran += tasks;
        if all.phase == Phase::Succeeded {
            all.phase = Phase::Cancelled;
            all.state = "CANCELLED".to_owned();
        }
    }
    all
}

/// Counts of an array whose first tasks have left the scheduler's memory: what waits and runs is the queue's to say,
/// how the others ended the accounting's.
fn merged(queue: TaskCounts, accounting: TaskCounts, recorded_total: u64) -> TaskCounts {
    let total = recorded_total.max(accounting.total);
    let open = queue.queued + queue.running;
    let ended = total.saturating_sub(open);
    // The accounting may lag behind the queue by a moment: then the difference counts as still running.
    let told = accounting.succeeded + accounting.failed + accounting.cancelled;
    if told <= ended {
        TaskCounts {
            total,
            queued: queue.queued,
            running: queue.running + (ended - told),
            succeeded: accounting.succeeded,
            failed: accounting.failed,
            cancelled: accounting.cancelled,
        }
    } else {
        accounting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTLE: SignedDuration = SignedDuration::from_secs(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn view() -> JobView {
        JobView {
            uid: "5b0e".to_owned(),
            user: UserName::new("alice").unwrap(),
            attempt: None,
            id: None,
            submitted_at: None,
            phase: Phase::Pending,
            tasks: TaskCounts::default(),
            cancel: false,
            hold: None,
            held: None,
            time_limit_seconds: None,
            time_limited_to: None,
        }
    }

    fn written(number: u32, second: i64) -> JobView {
        let token = Token::of_attempt("5b0e", number).unwrap();
        JobView {
            attempt: Some(Attempt {
                token,
                number,
                written_at: at(second),
            }),
            ..view()
        }
    }

    fn queued(phase: Phase, tasks: TaskCounts) -> QueuedJob {
        QueuedJob {
            id: JobId::Number(42),
            submitted_at: at(100),
            token: Token::of_attempt("5b0e", 1).ok(),
            user: "alice".to_owned(),
            account: "t.a".to_owned(),
            partition: "standard".to_owned(),
            name: "pi".to_owned(),
            phase,
            state: "STATE".to_owned(),
            reason: None,
            waits_for: None,
            held_by: None,
            tasks,
            never_ran: 0,
            cores: 0,
            started_at: None,
            nodes: NodeList::default(),
            priority: None,
            outlook: Outlook::default(),
        }
    }

    fn accounted(phase: Phase, tasks: TaskCounts) -> JobAccounting {
        JobAccounting {
            id: JobId::Number(42),
            submitted_at: at(100),
            token: Token::of_attempt("5b0e", 1).ok(),
            user: "alice".to_owned(),
            account: "t.a".to_owned(),
            partition: "standard".to_owned(),
            name: "pi".to_owned(),
            phase,
            state: "STATE".to_owned(),
            exit_code: Some(0),
            signal: None,
            started_at: None,
            ended_at: None,
            nodes: NodeList::default(),
            tasks,
            never_ran: 0,
            core_seconds: CoreSeconds(14),
            gpu_seconds: GpuSeconds(0),
            measured: Measured::default(),
        }
    }

    fn tasks(phases: &[(Phase, u64)]) -> TaskCounts {
        let mut tasks = TaskCounts::default();
        phases.iter().for_each(|(phase, count)| tasks.add(*phase, *count));
        tasks
    }

    #[test]
    fn the_token_is_written_before_the_scheduler_is_asked() {
        let mut observed = Observed::nothing(at(0), SETTLE);
        assert_eq!(next(&view(), &observed, at(100)), Step::WriteToken { number: 1 });
        observed.own = OwnDoing::Wrote;
        assert_eq!(next(&written(1, 100), &observed, at(100)), Step::Submit);
    }

    #[test]
    fn a_token_of_an_earlier_life_is_looked_up_and_never_submitted() {
        let mut observed = Observed::nothing(at(105), SETTLE);
        let job = written(1, 100);
        assert_eq!(next(&job, &observed, at(106)), Step::LookUp);
        observed.lookup = Answer::Unreachable("slurmctld is down".to_owned());
        assert!(matches!(next(&job, &observed, at(1000)), Step::Wait { .. }));
        observed.lookup = Answer::Known((at(106), None));
        assert!(
            matches!(next(&job, &observed, at(106)), Step::Wait { until: Some(until), .. } if until == at(115))
        );
        assert_eq!(
            next(&job, &observed, at(115)),
            Step::LookUp,
            "an answer from before is not enough"
        );
        observed.lookup = Answer::Known((at(115), None));
        assert_eq!(next(&job, &observed, at(115)), Step::WriteToken { number: 2 });
    }

    #[test]
    fn a_job_that_was_found_over_is_recorded_and_its_end_left_to_the_accounting() {
        let mut observed = Observed::nothing(at(0), SETTLE);
        observed.lookup = Answer::Known((
            at(200),
            Some(queued(Phase::Succeeded, tasks(&[(Phase::Succeeded, 1)]))),
        ));
        let Step::Record(progress) = next(&written(1, 100), &observed, at(200)) else {
            panic!()
        };
        assert_eq!(
            (progress.phase, progress.id),
            (Phase::Submitted, Some(JobId::Number(42)))
        );
    }

    #[test]
    fn a_refusal_ends_the_job_and_an_absence_does_not() {
        let mut observed = Observed::nothing(at(0), SETTLE);
        let asked = |error| OwnDoing::Asked {
            at: at(100),
            answer: Err(error),
        };
        observed.own = asked(SubmitError::Refused(
            "Invalid partition name specified".to_owned(),
        ));
        let Step::Finish(progress) = next(&written(1, 100), &observed, at(101)) else {
            panic!()
        };
        assert_eq!(progress.phase, Phase::Failed);
        assert_eq!(
            progress.message.as_deref(),
            Some("the scheduler refused the job: Invalid partition name specified")
        );
        for error in [
            SubmitError::Unreachable("x".to_owned()),
            SubmitError::Unknown("x".to_owned()),
        ] {
            observed.own = asked(error);
            assert_eq!(next(&written(1, 100), &observed, at(101)), Step::LookUp);
        }
        observed.own = asked(SubmitError::NotAsked("x".to_owned()));
        assert!(matches!(
            next(&written(1, 100), &observed, at(101)),
            Step::Wait { .. }
        ));
        assert_eq!(next(&written(1, 100), &observed, at(106)), Step::Submit);
    }

    #[test]
    fn a_job_ends_only_when_the_accounting_knows_the_end_of_every_task() {
        let job = JobView {
            id: Some(JobId::Number(42)),
            tasks: tasks(&[(Phase::Queued, 6)]),
            ..written(1, 100)
        };
        let mut observed = Observed::nothing(at(0), SETTLE);
        assert_eq!(next(&job, &observed, at(200)), Step::AskQueue);
        observed.queue = Answer::Known(None);
        assert_eq!(next(&job, &observed, at(200)), Step::AskAccounting);
        for (accounting, what) in [
            (None, "unknown to it"),
            (
                Some(accounted(Phase::Running, tasks(&[(Phase::Running, 6)]))),
                "still running",
            ),
            (
                Some(accounted(Phase::Succeeded, tasks(&[(Phase::Succeeded, 5)]))),
                "a task is missing",
            ),
        ] {
            observed.accounting = Answer::Known(accounting);
            assert!(
                matches!(next(&job, &observed, at(200)), Step::Wait { .. }),
                "{what}"
            );
        }
        observed.accounting =
            Answer::Known(Some(accounted(Phase::Succeeded, tasks(&[(Phase::Succeeded, 6)]))));
        let Step::Finish(progress) = next(&job, &observed, at(200)) else {
            panic!()
        };
        assert_eq!(
            (progress.phase, progress.core_seconds),
            (Phase::Succeeded, Some(CoreSeconds(14)))
        );
    }

    #[test]
    fn tasks_that_left_the_queue_are_counted_from_the_accounting() {
        let job = JobView {
            id: Some(JobId::Number(42)),
            tasks: tasks(&[(Phase::Queued, 20)]),
            ..written(1, 100)
        };
        let mut observed = Observed::nothing(at(0), SETTLE);
        observed.queue = Answer::Known(Some(queued(
            Phase::Running,
            tasks(&[(Phase::Queued, 5), (Phase::Running, 2)]),
        )));
        assert_eq!(next(&job, &observed, at(200)), Step::AskAccounting);
        let told = tasks(&[
            (Phase::Queued, 5),
            (Phase::Running, 3),
            (Phase::Succeeded, 11),
            (Phase::Failed, 1),
        ]);
        observed.accounting = Answer::Known(Some(accounted(Phase::Running, told)));
        let Step::Record(progress) = next(&job, &observed, at(200)) else {
            panic!()
        };
        let expected = TaskCounts {
            total: 20,
            queued: 5,
            running: 3,
            succeeded: 11,
            failed: 1,
            cancelled: 0,
        };
        assert_eq!(progress.tasks, expected);
    }

    #[test]
    fn a_task_that_was_cancelled_before_it_ran_is_counted_though_the_accounting_never_hears_of_it() {
        let job = JobView {
            id: Some(JobId::Number(42)),
            tasks: tasks(&[(Phase::Queued, 1), (Phase::Succeeded, 2)]),
            ..written(1, 0)
        };
        let over = |never_ran| QueuedJob {
            never_ran,
            ..queued(
                Phase::Cancelled,
                tasks(&[(Phase::Succeeded, 2), (Phase::Cancelled, 1)]),
            )
        };
        let observed = |queue: Option<QueuedJob>, accounting| Observed {
            queue: Answer::Known(queue),
            accounting: Answer::Known(Some(accounting)),
            ..Observed::nothing(at(0), SETTLE)
        };
        let two = || accounted(Phase::Succeeded, tasks(&[(Phase::Succeeded, 2)]));
        let Step::Finish(progress) = next(&job, &observed(Some(over(1)), two()), at(200)) else {
            panic!()
        };
        assert_eq!(progress.phase, Phase::Cancelled);
        assert_eq!(
            progress.tasks,
            tasks(&[(Phase::Succeeded, 2), (Phase::Cancelled, 1)])
        );
        // One that ran for a while comes to the accounting: it is waited for. So is one of which only the queue would tell.
        assert!(matches!(
            next(&job, &observed(Some(over(0)), two()), at(200)),
            Step::Wait { .. }
        ));
        assert!(matches!(
            next(&job, &observed(None, two()), at(200)),
            Step::Wait { .. }
        ));
        // The record that is there already is not the one that is missing.
        let late = JobAccounting {
            never_ran: 1,
            ..accounted(
                Phase::Cancelled,
                tasks(&[(Phase::Succeeded, 1), (Phase::Cancelled, 1)]),
            )
        };
        assert!(matches!(
            next(&job, &observed(Some(over(1)), late), at(200)),
            Step::Wait { .. }
        ));
    }

    #[test]
    fn a_job_is_cancelled_wherever_it_is() {
        let observed = Observed::nothing(at(0), SETTLE);
        let cancelled = |job: JobView| JobView { cancel: true, ..job };
        assert!(
            matches!(next(&cancelled(view()), &observed, at(0)), Step::Finish(progress) if progress.phase == Phase::Cancelled)
        );
        // It may have been submitted: look first.
        assert_eq!(next(&cancelled(written(1, 0)), &observed, at(0)), Step::LookUp);
        let known = JobView {
            id: Some(JobId::Number(42)),
            ..written(1, 0)
        };
        let in_queue = Observed {
            queue: Answer::Known(Some(queued(Phase::Running, tasks(&[(Phase::Running, 1)])))),
            ..observed
        };
        assert_eq!(next(&cancelled(known), &in_queue, at(0)), Step::Cancel);
    }

    #[test]
    fn what_the_author_says_of_holding_is_brought_about_once_and_an_administrators_hold_stays() {
        let waiting = |held_by| {
            let job = QueuedJob {
                held_by,
                ..queued(Phase::Queued, tasks(&[(Phase::Queued, 1)]))
            };
            Observed {
                queue: Answer::Known(Some(job)),
                ..Observed::nothing(at(0), SETTLE)
            }
        };
        let step = |hold, held, observed: &Observed| {
            let job = JobView {
                id: Some(JobId::Number(42)),
                hold,
                held,
                ..written(1, 0)
            };
            next(&job, observed, at(0))
        };
        let free = waiting(None);
        assert_eq!(step(Some(true), None, &free), Step::Hold(true));
        assert!(matches!(step(Some(true), Some(true), &free), Step::Record(_)));
        assert!(matches!(step(None, None, &free), Step::Record(_)));
        let by_user = waiting(Some(Holder::User));
        assert_eq!(step(Some(false), Some(true), &by_user), Step::Hold(false));
        // `#SBATCH --hold`, then released here.
        assert_eq!(step(Some(false), None, &by_user), Step::Hold(false));
        // Held again on the cluster, after it was released here.
        assert!(matches!(
            step(Some(false), Some(false), &by_user),
            Step::Record(_)
        ));
        let by_administrator = waiting(Some(Holder::Administrator));
        assert!(matches!(
            step(Some(false), Some(true), &by_administrator),
            Step::Record(_)
        ));
        // What runs is not held; a requeue brings it back into the queue.
        let running = Observed {
            queue: Answer::Known(Some(queued(Phase::Running, tasks(&[(Phase::Running, 1)])))),
            ..Observed::nothing(at(0), SETTLE)
        };
        assert!(matches!(step(Some(true), None, &running), Step::Record(_)));
    }

    #[test]
    fn another_time_limit_is_brought_about_once_while_the_job_waits_or_runs() {
        let step = |wanted, done, phase| {
            let job = JobView {
                id: Some(JobId::Number(42)),
                time_limit_seconds: wanted,
                time_limited_to: done,
                ..written(1, 0)
            };
            let observed = Observed {
                queue: Answer::Known(Some(queued(phase, tasks(&[(phase, 1)])))),
                ..Observed::nothing(at(0), SETTLE)
            };
            next(&job, &observed, at(0))
        };
        for phase in [Phase::Queued, Phase::Running] {
            assert_eq!(step(Some(600), None, phase), Step::TimeLimit(600));
            assert_eq!(step(Some(900), Some(600), phase), Step::TimeLimit(900));
            assert!(matches!(step(Some(900), Some(900), phase), Step::Record(_)));
            assert!(matches!(step(None, Some(900), phase), Step::Record(_)));
        }
        assert_eq!(step(Some(600), None, Phase::TimedOut), Step::AskAccounting);
    }

    #[test]
    fn an_end_is_told_in_a_sentence() {
        let told = |phase, exit_code, signal, state: &str| {
            let mut job = accounted(phase, tasks(&[(phase, 1)]));
            (job.exit_code, job.signal, job.state) = (exit_code, signal, state.to_owned());
            Progress::from_accounting(&job).message
        };
        assert_eq!(told(Phase::Succeeded, Some(0), None, "COMPLETED"), None);
        assert_eq!(
            told(Phase::Failed, Some(3), None, "FAILED").as_deref(),
            Some("the script ended with exit code 3")
        );
        assert_eq!(
            told(Phase::Failed, Some(0), Some(9), "FAILED").as_deref(),
            Some("the script was ended by signal 9")
        );
        assert_eq!(
            told(Phase::Cancelled, Some(0), None, "CANCELLED by 1001").as_deref(),
            Some("was cancelled (CANCELLED by 1001)")
        );
    }

    /// A scheduler, a place to write things down, and a process that is killed whenever the dice say so.
    struct World {
        now: i64,
        dice: Vec<u8>,
        rolled: usize,
        /// Tokens of jobs that exist.
        jobs: Vec<Token>,
        /// Requests whose sender is gone, and when they arrive.
        on_their_way: Vec<(i64, Token)>,
        job: JobView,
        observed: Observed,
    }

    impl World {
        fn new(dice: Vec<u8>) -> Self {
            let observed = Observed::nothing(at(1000), SETTLE);
            Self {
                now: 1000,
                dice,
                rolled: 0,
                jobs: Vec::new(),
                on_their_way: Vec::new(),
                job: view(),
                observed,
            }
        }

        /// A number below `sides`; 0, the good case, when the dice are used up.
        fn roll(&mut self, sides: u8) -> u8 {
            let rolled = self.dice.get(self.rolled).map_or(0, |number| number % sides);
            self.rolled += 1;
            rolled
        }

        fn pass(&mut self, seconds: i64) {
            self.now += seconds;
            let now = self.now;
            let (arrived, waiting) = self
                .on_their_way
                .drain(..)
                .partition(|(arrives, _)| *arrives <= now);
            self.on_their_way = waiting;
            self.jobs
                .extend(arrived.into_iter().map(|(_, token): (i64, Token)| token));
        }

        /// Killed and started again: what is in memory is gone, and a request under way may still arrive.
        fn kill(&mut self, request: Option<Token>) {
            if let Some(token) = request {
                let delay = i64::from(self.roll(9));
                self.on_their_way.push((self.now + delay, token));
            }
            let pause = i64::from(self.roll(12));
            self.pass(pause);
            self.observed = Observed::nothing(at(self.now), SETTLE);
        }

        fn found(&self) -> Option<QueuedJob> {
            let token = &self.job.attempt.as_ref()?.token;
            let there = self.jobs.iter().any(|job| job == token);
            there.then(|| queued(Phase::Running, tasks(&[(Phase::Running, 1)])))
        }

        fn submit(&mut self) {
            let token = self.job.attempt.clone().unwrap().token;
            let answer = match self.roll(7) {
                0 => {
                    self.jobs.push(token);
                    Ok(JobId::Number(42))
                }
                1 => {
                    self.jobs.push(token);
                    Err(SubmitError::Unknown("the answer was lost".to_owned()))
                }
                2 => {
                    // Timed out, sbatch was ended, its request arrives later.
                    let delay = i64::from(self.roll(9));
                    self.on_their_way.push((self.now + delay, token));
                    Err(SubmitError::Unknown("no answer".to_owned()))
                }
                3 => Err(SubmitError::Unreachable("slurmctld is down".to_owned())),
                4 => Err(SubmitError::NotAsked("no such account yet".to_owned())),
                5 => return self.kill(Some(token)),
                _ => return self.kill(None),
            };
            self.observed.own = OwnDoing::Asked {
                at: at(self.now),
                answer,
            };
        }

        fn step(&mut self) {
            let step = next(&self.job, &self.observed, at(self.now));
            match step {
                Step::WriteToken { number } => {
                    let attempt = Attempt {
                        token: Token::of_attempt(&self.job.uid, number).unwrap(),
                        number,
                        written_at: at(self.now),
                    };
                    match self.roll(5) {
                        // Killed before the write, or after it.
                        3 => self.kill(None),
                        4 => {
                            self.job.attempt = Some(attempt);
                            self.kill(None);
                        }
                        _ => {
                            self.job.attempt = Some(attempt);
                            self.observed = Observed {
                                own: OwnDoing::Wrote,
                                ..Observed::nothing(self.observed.in_charge_since, SETTLE)
                            };
                        }
                    }
                }
                Step::Submit => {
                    // A queue of submissions may be long.
                    let queueing = i64::from(self.roll(60));
                    self.pass(queueing);
                    self.submit();
                }
                Step::LookUp => {
                    let asked_at = at(self.now);
                    let found = self.found();
                    self.observed.lookup = match self.roll(4) {
                        3 => Answer::Unreachable("slurmdbd is down".to_owned()),
                        _ => Answer::Known((asked_at, found)),
                    };
                    let took = i64::from(self.roll(3));
                    self.pass(took);
                }
                Step::Record(progress) => match self.roll(4) {
                    3 => self.kill(None),
                    _ => {
                        self.job.id = progress.id;
                        self.job.phase = progress.phase;
                    }
                },
                Step::Wait { until, .. } => {
                    let wait = until.map_or(1, |until| until.as_second() - self.now).max(1);
                    self.pass(wait);
                    if !matches!(self.observed.lookup, Answer::Known(_)) {
                        self.observed.lookup = Answer::NotAsked;
                    }
                    if self.roll(6) == 5 {
                        self.kill(None);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn killed_at_any_moment_there_is_exactly_one_job(dice in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut world = World::new(dice);
            for _ in 0..300 {
                if world.job.id.is_some() {
                    break;
                }
                world.step();
                prop_assert!(world.jobs.len() + world.on_their_way.len() <= 1, "{:?}", world.jobs);
            }
            world.pass(100);
            prop_assert_eq!(world.job.id, Some(JobId::Number(42)));
            prop_assert_eq!(world.jobs.len(), 1);
        }
    }
}
