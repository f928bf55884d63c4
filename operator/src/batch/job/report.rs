//! From what was observed to a BatchJob's status. Pure: what is written is decided here, and written elsewhere.

use super::super::hold;
use super::validate::Fit;
use super::view;
use crate::report::{Verdict, in_seconds};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use mesocentre_api::{
    BatchJob, BatchJobStatus, ConditionStatus, JobOutlook, JobUsage, SubmissionRecord, TaskCounts,
    find_condition,
};
use mesocentre_scheduler_bridge::kubernetes::AtMost;
use mesocentre_scheduler_bridge::lifecycle::{Attempt, Progress};
use mesocentre_scheduler_bridge::{Outlook, Phase};

/// It can be handed over, or has been.
pub const ACCEPTED: &str = "Accepted";
/// The scheduler has it.
pub const SUBMITTED: &str = "Submitted";
/// It is over.
pub const FINISHED: &str = "Finished";
/// What it used is in the ledger.
pub const METERED: &str = "Metered";

/// How many nodes an object names.
const NODES: usize = 64;

/// The status with a token in it, before the scheduler is asked.
pub fn with_token(job: &BatchJob, fit: &Fit, attempt: &Attempt, most: Option<AtMost>) -> BatchJobStatus {
    let mut status = job.status.clone().unwrap_or_default();
    status.observed_generation = job.metadata.generation;
    status.message = None;
    let mut at = status.scheduler.take().unwrap_or_default();
    at.name.clone_from(&fit.cluster.name);
    at.account = Some(fit.account.to_string());
    at.user = Some(fit.user.to_string());
    status.held = most.map(hold::to_api);
    status.scheduler = Some(at);
    // It goes with the submission itself. That it is not held is not told so: the script may say otherwise.
    status.hold = job.spec.hold.filter(|hold| *hold);
    status.submission = Some(SubmissionRecord {
        token: attempt.token.to_string(),
        attempt: i32::try_from(attempt.number).unwrap_or(i32::MAX),
        at: Some(attempt.written_at),
    });
    let generation = job.metadata.generation;
    Verdict::yes("Accepted", "it is being handed over to the scheduler").set(
        &mut status.conditions,
        ACCEPTED,
        generation,
    );
    status
}

/// The status with what was brought about of `spec.hold`.
pub fn with_hold(job: &BatchJob, hold: bool) -> BatchJobStatus {
    BatchJobStatus {
        hold: Some(hold),
        ..job.status.clone().unwrap_or_default()
    }
}

/// The status with what was brought about of `spec.timeLimit`.
pub fn with_time_limit(job: &BatchJob) -> BatchJobStatus {
    BatchJobStatus {
        time_limit: job.spec.time_limit,
        ..job.status.clone().unwrap_or_default()
    }
}

/// The status with where the job is; `output` is where its output goes, when that was found out now.
pub fn with_progress(
    job: &BatchJob,
    progress: &Progress,
    output: Option<String>,
    now: Timestamp,
) -> BatchJobStatus {
    let mut status = job.status.clone().unwrap_or_default();
    let generation = job.metadata.generation;
    status.observed_generation = generation;
    // A phase never goes back to what it was before the scheduler told more.
    let phase = view::to_api(progress.phase);
    status.phase = phase;
    status.message.clone_from(&progress.message);
    if let Some(scheduler) = &mut status.scheduler {
        if let Some(id) = progress.id {
            scheduler.job_id = Some(id.to_string());
        }
        if progress.state.is_some() {
            scheduler.state.clone_from(&progress.state);
        }
        scheduler.reason.clone_from(&progress.reason);
    }
    status.submitted_at = progress.submitted_at.or(status.submitted_at);
    status.started_at = progress.started_at.or(status.started_at);
    status.finished_at = progress.ended_at.or(status.finished_at);
    status.exit_code = progress.exit_code.or(status.exit_code);
    status.signal = progress.signal.or(status.signal);
    status.cores = i64::try_from(progress.cores).ok().filter(|cores| *cores > 0);
    let nodes = progress.nodes.names(NODES);
    if !nodes.is_empty() {
        status.nodes = nodes;
    }
    status.outlook = outlook(status.outlook.take(), progress, now);
    status.output_path = output.or(status.output_path.take());
    if progress.tasks.total > 0 {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        status.tasks = Some(TaskCounts {
            total: count(progress.tasks.total),
            queued: count(progress.tasks.queued),
            running: count(progress.tasks.running),
            succeeded: count(progress.tasks.succeeded),
            failed: count(progress.tasks.failed),
            cancelled: count(progress.tasks.cancelled),
        });
    }
    if let Some(core_seconds) = progress.core_seconds {
        let measured = progress.measured.unwrap_or_default();
        let memory = |amount: u64, unit: &str| (amount > 0).then(|| Quantity(format!("{amount}{unit}")));
        status.usage = Some(JobUsage {
            core_seconds: core_seconds.to_string(),
            gpu_seconds: progress
                .gpu_seconds
                .filter(|gpu_seconds| gpu_seconds.0 > 0)
                .map(|gpu_seconds| gpu_seconds.to_string()),
            // Nothing measured at all is no use of nothing.
            cpu_seconds: measured
                .cpu_milliseconds
                .filter(|milliseconds| *milliseconds > 0)
                .map(|milliseconds| format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)),
            peak_memory: memory(measured.peak_memory_kib.unwrap_or(0), "Ki"),
            allocated_memory: memory(measured.allocated_memory_mib, "Mi"),
        });
    }
    if let (Some(id), Some(scheduler)) = (progress.id, &status.scheduler) {
        let message = format!("job {id} on {}", scheduler.name);
        Verdict::yes("Submitted", message.clone()).set(&mut status.conditions, SUBMITTED, generation);
        Verdict::yes("Submitted", message).ready(&mut status.conditions, generation);
    }
    if phase.is_finished() {
        let message = status
            .message
            .clone()
            .unwrap_or_else(|| "it has ended".to_owned());
        Verdict::yes(phase.as_str(), message.clone()).set(&mut status.conditions, FINISHED, generation);
        if progress.id.is_none() {
            // It never reached the scheduler, so nothing was used.
            Verdict::yes("NothingUsed", "the scheduler never had it").set(
                &mut status.conditions,
                METERED,
                generation,
            );
            Verdict::no(phase.as_str(), message).ready(&mut status.conditions, generation);
        }
    }
    status
}

/// How long what was told of a job's start is left as it is: a queue that moves would else write to each job in it all
/// the while.
const OUTLOOK_STANDS: SignedDuration = SignedDuration::from_mins(1);

/// What is told of a job's start: nothing of one that does not wait for its turn, and no more often than somebody reads.
fn outlook(told: Option<JobOutlook>, progress: &Progress, now: Timestamp) -> Option<JobOutlook> {
    let foreseen = progress.outlook;
    if progress.phase != Phase::Queued || foreseen == Outlook::default() {
        return None;
    }
    if !is_news(told.as_ref(), &foreseen, now) {
        return told;
    }
    Some(JobOutlook {
        jobs_ahead: foreseen
            .ahead
            .map(|ahead| i64::try_from(ahead).unwrap_or(i64::MAX)),
        expected_start: foreseen.expected_start,
        at: in_seconds(now),
    })
}

fn as_foreseen(told: &JobOutlook) -> Outlook {
    Outlook {
        ahead: told.jobs_ahead.and_then(|ahead| u64::try_from(ahead).ok()),
        expected_start: told.expected_start,
    }
}

/// Whether what is foreseen of a waiting job's start is to be told, after what was told before.
pub fn is_news(told: Option<&JobOutlook>, foreseen: &Outlook, now: Timestamp) -> bool {
    match told {
        // That a start is foreseen at all is what was waited for.
        Some(told) if told.expected_start.is_none() && foreseen.expected_start.is_some() => true,
        Some(told) => {
            now.duration_since(told.at) >= OUTLOOK_STANDS && foreseen.is_news_after(&as_foreseen(told), now)
        }
        None => *foreseen != Outlook::default(),
    }
}

/// The status of a job that is not handed over now, and why.
pub fn with_refusal(job: &BatchJob, reason: &str, message: &str) -> BatchJobStatus {
    let mut status = job.status.clone().unwrap_or_default();
    let generation = job.metadata.generation;
    status.observed_generation = generation;
    status.message = Some(message.into());
    let refusal = Verdict::no(reason, message);
    refusal.set(&mut status.conditions, ACCEPTED, generation);
    refusal.ready(&mut status.conditions, generation);
    status
}

/// The status of a job that waits for something that will come by itself.
pub fn with_wait(job: &BatchJob, reason: &str, message: &str) -> BatchJobStatus {
    let mut status = job.status.clone().unwrap_or_default();
    let generation = job.metadata.generation;
    status.observed_generation = generation;
    status.message = Some(message.into());
    Verdict::yes("Accepted", "it will be handed over").set(&mut status.conditions, ACCEPTED, generation);
    Verdict::yes(reason, message).ready(&mut status.conditions, generation);
    status
}

/// The status of a job whose use is in the ledger.
pub fn with_metered(job: &BatchJob) -> BatchJobStatus {
    let mut status = job.status.clone().unwrap_or_default();
    let message = match &status.usage {
        Some(usage) => format!("{} core seconds are in the ledger", usage.core_seconds),
        None => "what it used is in the ledger".to_owned(),
    };
    Verdict::yes("Metered", message).set(&mut status.conditions, METERED, job.metadata.generation);
    status
}

/// Whether what a job used is in the ledger.
pub fn is_metered(status: &BatchJobStatus) -> bool {
    find_condition(&status.conditions, METERED).is_some_and(|c| c.status == ConditionStatus::True)
}

/// When a job's end was written down.
pub fn finished_since(status: &BatchJobStatus) -> Option<Timestamp> {
    find_condition(&status.conditions, FINISHED).map(|condition| condition.last_transition_time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + seconds).unwrap()
    }

    fn waiting(ahead: u64, start: Option<i64>) -> Progress {
        Progress {
            outlook: Outlook {
                ahead: Some(ahead),
                expected_start: start.map(at),
            },
            ..Progress::bare(Phase::Queued, None)
        }
    }

    #[test]
    fn what_is_foreseen_is_told_when_it_changed_by_much_and_once_a_minute_at_most() {
        let mut job: BatchJob = serde_json::from_value(json!({
            "metadata": {"name": "pi"}, "spec": {"allocation": "a", "script": "#!/bin/sh"},
        }))
        .unwrap();
        let mut told = |progress: &Progress, seconds| {
            job.status = Some(with_progress(&job, progress, None, at(seconds)));
            let outlook = job.status.as_ref().and_then(|status| status.outlook.as_ref());
            outlook.map(|told| (told.jobs_ahead, told.expected_start, told.at))
        };
        let first = Some((Some(100), None, at(0)));
        assert_eq!(told(&waiting(100, None), 0), first);
        assert_eq!(told(&waiting(10, None), 59), first, "a minute is not over");
        assert_eq!(told(&waiting(90, None), 600), first, "as good as before");
        let halved = Some((Some(50), None, at(601)));
        assert_eq!(told(&waiting(50, None), 601), halved);
        let with_start = Some((Some(49), Some(at(900)), at(602)));
        assert_eq!(
            told(&waiting(49, Some(900)), 602),
            with_start,
            "what was waited for"
        );
        assert_eq!(told(&Progress::bare(Phase::Running, None), 603), None);
    }
}
