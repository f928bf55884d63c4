//! The queue: one squeue for all jobs of everybody, arrays folded by Slurm and summed up here.

use super::command::{rows, separator, tells_of_absence};
use super::job_state::phase_of;
use super::{Slurm, wait_reason};
use crate::job::{NodeList, Outlook, Phase, Queue, QueuedJob, TaskCounts, phase_of_all};
use crate::{JobId, SchedulerError, Token};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// squeue's letters: array's or job's number, job with task or component, array index, submit time, start, end, state,
/// reason, user, account, partition, priority, cores, nodes, comment, name. The names come last for the reader's sake only: the separator cannot be
/// forged.
const FIELDS: [&str; 16] = [
    "%F", "%i", "%K", "%V", "%S", "%e", "%T", "%r", "%u", "%a", "%P", "%Q", "%C", "%N", "%k", "%j",
];

impl Slurm {
    pub(super) async fn squeue(&self, only: &[String]) -> Result<Queue, SchedulerError> {
        let asked_at = Timestamp::now();
        let separator = separator();
        let format: String = FIELDS.iter().map(|field| format!("{field}{separator}")).collect();
        let mut arguments = vec![
            "--noheader".to_owned(),
            "--all".to_owned(),
            "--local".to_owned(),
            "--states=all".to_owned(),
            format!("--format={format}"),
        ];
        arguments.extend_from_slice(only);
        let said = self.run("squeue", arguments).await?;
        if !said.succeeded() {
            let complaint = said.complaint();
            // A job that was asked for by number and is gone.
            if complaint.contains("Invalid job id specified") {
                return Ok(Queue::new(asked_at, Vec::new()));
            }
            return Err(if tells_of_absence(&complaint) {
                SchedulerError::Unreachable {
                    who: "slurmctld",
                    why: complaint,
                }
            } else {
                SchedulerError::Refused {
                    what: "list the queue".to_owned(),
                    why: complaint,
                }
            });
        }
        let jobs = parse(&said.stdout, &separator)?;
        Ok(if only.is_empty() {
            Queue::of_everybody(asked_at, jobs)
        } else {
            Queue::new(asked_at, jobs)
        })
    }
}

/// A time that Slurm wrote by `%s`; none for its words for "not yet" and "never".
pub(super) fn seconds(text: &str) -> Option<Timestamp> {
    text.parse::<i64>()
        .ok()
        .filter(|seconds| *seconds > 0)
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
}

/// How many tasks an array expression holds: `3`, `3-20%10`, `1,4-8:2`; without expanding it.
pub(super) fn tasks_in(expression: &str) -> Option<u64> {
    let indices = expression.trim_start_matches('[').split(['%', ']']).next()?;
    indices.split(',').try_fold(0_u64, |sum, part| {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, step.parse::<u64>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let tasks = match range.split_once('-') {
            Some((from, to)) => to.parse::<u64>().ok()?.checked_sub(from.parse().ok()?)? / step + 1,
            None => range.parse::<u64>().ok().map(|_| 1)?,
        };
        sum.checked_add(tasks)
    })
}

/// One row, read.
struct Row<'a> {
    id: JobId,
    submitted_at: Timestamp,
    started_at: Option<Timestamp>,
    expected_start: Option<Timestamp>,
    /// Cancelled before it ran: Slurm writes one moment for its start and its end.
    never_ran: bool,
    is_task: bool,
    tasks: u64,
    cores: u64,
    phase: Phase,
    state: &'a str,
    reason: &'a str,
    user: &'a str,
    account: &'a str,
    partition: &'a str,
    priority: u64,
    nodes: &'a str,
    comment: &'a str,
    name: &'a str,
}

fn read<'a>(row: &[&'a str]) -> Result<Row<'a>, String> {
    let &[
        number,
        id,
        index,
        submitted,
        started,
        ended,
        state,
        reason,
        user,
        account,
        partition,
        priority,
        cores,
        nodes,
        comment,
        name,
    ] = row
    else {
        return Err(format!(
            "{} fields where {} were asked for",
            row.len(),
            FIELDS.len()
        ));
    };
    let is_task = index != "N/A";
    // A word of a later Slurm is no end: the accounting will tell it.
    let phase = phase_of(state).unwrap_or(Phase::Running);
    // A component of a heterogeneous job is `12+1`, and of the job 12.
    let number = id.split_once('+').map_or(number, |(job, _)| job);
    Ok(Row {
        id: number
            .trim()
            .parse()
            .map_err(|_| format!("the job number {number:?}"))?,
        submitted_at: seconds(submitted)
            .ok_or_else(|| format!("the submit time {submitted:?} of job {id}"))?,
        // For a waiting job this is a guess at its start.
        started_at: seconds(started).filter(|_| phase != Phase::Queued),
        expected_start: seconds(started).filter(|_| phase == Phase::Queued),
        never_ran: phase == Phase::Cancelled && seconds(started) == seconds(ended),
        is_task,
        tasks: if is_task {
            tasks_in(index).ok_or_else(|| format!("the array {index:?} of job {id}"))?
        } else {
            1
        },
        phase,
        state,
        reason,
        user,
        account,
        partition,
        priority: priority
            .trim()
            .parse()
            .map_err(|_| format!("the priority {priority:?} of job {id}"))?,
        // Of what waits it is what was asked for. It may be shortened (64K), and is told, not billed: then none.
        cores: if phase == Phase::Running {
            cores.trim().parse().unwrap_or(0)
        } else {
            0
        },
        nodes,
        comment,
        name,
    })
}

/// Reads squeue's answer and sums up each array and each heterogeneous job.
fn parse(answer: &str, separator: &str) -> Result<Vec<QueuedJob>, SchedulerError> {
    let garbled = |why: String| SchedulerError::Garbled {
        command: "squeue",
        why,
    };
    // By number and user: an id that comes round again is another's job.
    let mut jobs: BTreeMap<(JobId, &str), Vec<Row<'_>>> = BTreeMap::new();
    let all = rows(answer, separator, FIELDS.len());
    for row in &all {
        let row = read(row).map_err(garbled)?;
        jobs.entry((row.id, row.user)).or_default().push(row);
    }
    Ok(jobs.into_values().filter_map(|rows| sum_up(&rows)).collect())
}

fn sum_up(rows: &[Row<'_>]) -> Option<QueuedJob> {
    let mut tasks = TaskCounts::default();
    for row in rows {
        tasks.add(row.phase, row.tasks);
    }
    let phase = phase_of_all(rows.iter().map(|row| row.phase), &tasks);
    let telling = rows
        .iter()
        .find(|row| row.phase == phase)
        .or_else(|| rows.first())?;
    let reason = rows
        .iter()
        .find(|row| row.phase == Phase::Queued)
        .map(|row| row.reason);
    let is_array = rows.iter().any(|row| row.is_task);
    Some(QueuedJob {
        id: telling.id,
        submitted_at: rows.iter().map(|row| row.submitted_at).min()?,
        token: rows.iter().find_map(|row| Token::from_comment(row.comment)),
        user: telling.user.to_owned(),
        account: telling.account.to_owned(),
        partition: telling.partition.to_owned(),
        name: telling.name.to_owned(),
        phase,
        state: telling.state.to_owned(),
        reason: reason
            .filter(|reason| !matches!(*reason, "None" | ""))
            .map(str::to_owned),
        waits_for: reason.and_then(wait_reason::sentence),
        held_by: rows
            .iter()
            .filter(|row| row.phase == Phase::Queued)
            .filter_map(|row| wait_reason::holder(row.reason))
            .max(),
        tasks,
        never_ran: rows.iter().filter(|row| row.never_ran).map(|row| row.tasks).sum(),
        cores: rows.iter().map(|row| row.cores).sum(),
        started_at: rows.iter().filter_map(|row| row.started_at).min(),
        nodes: if is_array {
            NodeList::default()
        } else {
            NodeList::together(rows.iter().map(|row| row.nodes))
        },
        priority: rows
            .iter()
            .filter(|row| row.phase == Phase::Queued && wait_reason::competes(row.reason))
            .map(|row| row.priority)
            .max(),
        outlook: Outlook {
            ahead: None,
            expected_start: rows.iter().filter_map(|row| row.expected_start).min(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Holder, JobIdentity, UserName};
    use proptest::prelude::*;

    /// What squeue 22.05 answers, field by field.
    fn row(id: &str, index: &str, state: &str, reason: &str, comment: &str) -> String {
        // Of `12+1` the number is another one's own.
        let number = if id.contains('+') { "99" } else { id };
        [
            number,
            id,
            index,
            "1764000000",
            "1764000010",
            // Of what was cancelled it is the start again, unless it ran.
            if state == "CANCELLED" {
                "1764000010"
            } else {
                "1764000020"
            },
            state,
            reason,
            "alice",
            "univ-caen.climate-2026",
            "standard",
            "4294901759",
            "4",
            "n1",
            comment,
            "na\nme",
        ]
        .map(|field| format!("{field}~x~"))
        .concat()
            + "\n"
    }

    fn queue(rows: &[String]) -> Queue {
        Queue::new(Timestamp::UNIX_EPOCH, parse(&rows.concat(), "~x~").unwrap())
    }

    fn identity(attempt: u32, id: Option<u32>, submitted: Option<i64>) -> JobIdentity {
        JobIdentity {
            token: Token::of_attempt("5b0e", attempt).unwrap(),
            user: UserName::new("alice").unwrap(),
            id: id.map(JobId::Number),
            submitted_at: submitted.map(|seconds| Timestamp::from_second(seconds).unwrap()),
        }
    }

    #[test]
    fn an_array_is_one_job_with_its_tasks_counted_and_never_expanded() {
        let queue = queue(&[
            row("12", "3-100000%10", "PENDING", "JobArrayTaskLimit", "meso:5b0e/1"),
            row("12", "1", "RUNNING", "None", "meso:5b0e/1"),
            row("12", "2", "FAILED", "NonZeroExitCode", "meso:5b0e/1"),
        ]);
        let job = queue.get(&identity(1, None, None)).unwrap();
        assert_eq!(job.id, JobId::Number(12));
        assert_eq!(job.phase, Phase::Running);
        assert_eq!(job.state, "RUNNING");
        assert_eq!(
            job.tasks,
            TaskCounts {
                total: 100_000,
                queued: 99_998,
                running: 1,
                succeeded: 0,
                failed: 1,
                cancelled: 0
            }
        );
        assert_eq!(
            job.waits_for.as_deref(),
            Some("waits for other tasks of its array: no more may run at a time")
        );
        assert_eq!(job.started_at, Timestamp::from_second(1_764_000_010).ok());
    }

    #[test]
    fn tasks_that_were_cancelled_before_they_ran_are_known() {
        let ran = row("7", "1", "CANCELLED", "None", "meso:5b0e/1").replacen("1764000010", "1764000005", 1);
        let queue = queue(&[
            ran,
            row("7", "2-4", "CANCELLED", "None", "meso:5b0e/1"),
            row("7", "5", "COMPLETED", "None", "meso:5b0e/1"),
        ]);
        assert_eq!(
            (queue.jobs()[0].tasks.cancelled, queue.jobs()[0].never_ran),
            (4, 3)
        );
    }

    #[test]
    fn a_heterogeneous_job_is_one_job_of_as_many_tasks_as_components() {
        let queue = queue(&[
            row("12+1", "N/A", "RUNNING", "None", "meso:5b0e/1").replace("~n1~", "~n2~"),
            row("12+0", "N/A", "RUNNING", "None", "meso:5b0e/1"),
            row("13+0", "N/A", "PENDING", "Resources", "meso:5b0f/1"),
        ]);
        let job = queue.get(&identity(1, Some(12), None)).unwrap();
        assert_eq!(
            (job.id, job.tasks.total, job.tasks.running),
            (JobId::Number(12), 2, 2)
        );
        assert_eq!(job.cores, 8);
        assert_eq!(queue.jobs()[1].cores, 0, "what waits holds none");
    }

    #[test]
    fn what_24_11_answers_of_each_kind_of_job_is_read() {
        let jobs = parse(include_str!("answers/24.11/squeue"), "~x~").unwrap();
        let queue = Queue::of_everybody(Timestamp::UNIX_EPOCH, jobs);
        assert_eq!(queue.jobs().len(), 5);
        let of = |token: &str| {
            let token = Token::of_attempt(token, 1).ok();
            queue.jobs().iter().find(|job| job.token == token).unwrap()
        };
        assert_eq!((of("one").phase, of("one").name.as_str()), (Phase::Failed, "one"));
        let array = of("array");
        assert_eq!(
            array.tasks,
            TaskCounts {
                total: 20,
                queued: 17,
                running: 2,
                succeeded: 1,
                failed: 0,
                cancelled: 0
            }
        );
        assert_eq!((array.phase, array.cores), (Phase::Running, 2));
        assert!(
            array
                .waits_for
                .as_deref()
                .unwrap()
                .contains("other tasks of its array")
        );
        let parts = of("parts");
        assert_eq!((parts.tasks.total, parts.tasks.running, parts.cores), (2, 2, 3));
        assert_eq!(of("held").held_by, Some(Holder::User));
        assert_eq!((of("held").phase, of("held").started_at), (Phase::Queued, None));
        assert_eq!(
            (of("cancelled").phase, of("cancelled").never_ran),
            (Phase::Cancelled, 1)
        );
    }

    #[test]
    fn a_waiting_jobs_expected_start_is_not_its_start() {
        let queue = queue(&[row("7", "N/A", "PENDING", "Resources", "meso:5b0e/1")]);
        assert_eq!(queue.jobs()[0].started_at, None);
        assert_eq!(
            queue.jobs()[0].outlook.expected_start,
            Timestamp::from_second(1_764_000_010).ok()
        );
        assert_eq!(queue.jobs()[0].phase, Phase::Queued);
    }

    /// A row of a job that waits: its priority, its partition, and why.
    fn waiting(id: &str, index: &str, priority: u64, partition: &str, reason: &str) -> String {
        row(id, index, "PENDING", reason, "")
            .replace("4294901759", &priority.to_string())
            .replace("standard", partition)
    }

    #[test]
    fn jobs_of_higher_priority_come_before_a_job_and_of_equal_priority_those_that_came_before() {
        let jobs = parse(
            &[
                waiting("7", "N/A", 10, "standard", "Resources"),
                waiting("8", "1-100000", 9, "standard", "Priority"),
                waiting("9", "N/A", 8, "standard", "Priority"),
                waiting("6", "N/A", 8, "standard", "Priority"),
                // None of these takes anybody's turn.
                waiting("1", "N/A", 99, "standard", "Dependency"),
                waiting("2", "N/A", 0, "standard", "JobHeldUser"),
                waiting("3", "N/A", 99, "gpu", "Priority"),
                row("4", "N/A", "RUNNING", "None", ""),
                // One that may go to either is next where fewer wait.
                waiting("10", "N/A", 7, "standard,gpu", "Priority"),
            ]
            .concat(),
            "~x~",
        )
        .unwrap();
        let queue = Queue::of_everybody(Timestamp::UNIX_EPOCH, jobs);
        let ahead: Vec<(JobId, Option<u64>)> = queue
            .jobs()
            .iter()
            .map(|job| (job.id, job.outlook.ahead))
            .collect();
        assert_eq!(
            ahead,
            [
                (1, None),
                (2, None),
                (3, Some(0)),
                (4, None),
                (6, Some(2)),
                (7, Some(0)),
                (8, Some(1)),
                (9, Some(3)),
                (10, Some(1)),
            ]
            .map(|(number, ahead)| (JobId::Number(number), ahead))
        );
    }

    #[test]
    fn what_is_foreseen_is_news_when_it_changed_by_much() {
        let now = Timestamp::from_second(1_764_000_000).unwrap();
        let outlook = |ahead: u64, minutes: i64| Outlook {
            ahead: Some(ahead),
            expected_start: now.checked_add(jiff::SignedDuration::from_mins(minutes)).ok(),
        };
        let nothing = Outlook::default();
        for (told, foreseen, news) in [
            (outlook(100, 60), outlook(100, 60), false),
            (outlook(100, 60), outlook(51, 60), false),
            (outlook(100, 60), outlook(50, 60), true),
            (outlook(100, 60), outlook(199, 60), false),
            (outlook(100, 60), outlook(200, 60), true),
            (outlook(1, 60), outlook(0, 60), true),
            (outlook(0, 60), outlook(0, 60), false),
            (outlook(0, 60), outlook(1, 60), true),
            (outlook(3, 60), outlook(3, 49), false),
            (outlook(3, 60), outlook(3, 48), true),
            (outlook(3, 60), outlook(3, 72), true),
            (outlook(3, 2), outlook(3, 6), false),
            (outlook(3, 2), outlook(3, 7), true),
            (nothing, outlook(3, 2), true),
            (outlook(3, 2), nothing, true),
            (nothing, nothing, false),
        ] {
            assert_eq!(
                foreseen.is_news_after(&told, now),
                news,
                "{told:?}, then {foreseen:?}"
            );
        }
    }

    #[test]
    fn an_array_of_which_an_administrator_holds_a_task_is_theirs_to_release() {
        let queue = queue(&[
            row("7", "1", "PENDING", "JobHeldAdmin", "meso:5b0e/1"),
            row("7", "2-9", "PENDING", "JobHeldUser", "meso:5b0e/1"),
            row("8", "N/A", "PENDING", "JobHeldUser", "meso:5b0f/1"),
            row("9", "N/A", "RUNNING", "None", "meso:5b10/1"),
        ]);
        let holders: Vec<_> = queue.jobs().iter().map(|job| job.held_by).collect();
        assert_eq!(holders, [Some(Holder::Administrator), Some(Holder::User), None]);
    }

    #[test]
    fn a_number_that_came_round_is_another_job() {
        let queue = queue(&[row("7", "N/A", "RUNNING", "None", "another's comment")]);
        assert!(queue.get(&identity(1, Some(7), Some(1_764_000_000))).is_some());
        assert!(queue.get(&identity(1, Some(7), Some(1_763_999_999))).is_none());
        assert!(queue.get(&identity(1, Some(7), None)).is_none());
    }

    #[test]
    fn a_requeued_job_has_another_submit_time_and_is_the_same() {
        let queue = queue(&[row("7", "N/A", "PENDING", "BeginTime", "meso:5b0e/1")]);
        assert!(queue.get(&identity(1, Some(7), Some(1_763_999_999))).is_some());
        assert!(queue.get(&identity(2, None, None)).is_none());
    }

    #[test]
    fn a_token_in_somebody_elses_comment_is_not_the_job() {
        let queue = queue(&[row("7", "N/A", "PENDING", "BeginTime", "meso:5b0e/1")]);
        let mut bob = identity(1, None, None);
        bob.user = UserName::new("bob").unwrap();
        assert!(queue.get(&bob).is_none());
    }

    #[test]
    fn array_expressions_are_counted() {
        for (expression, tasks) in [
            ("3", Some(1)),
            ("3-20%10", Some(18)),
            ("[3-20%10]", Some(18)),
            ("0-100:5", Some(21)),
            ("1,4-8:2,9", Some(5)),
            ("x", None),
            ("5-3", None),
            ("", None),
            ("1-5:0", None),
        ] {
            assert_eq!(tasks_in(expression), tasks, "{expression}");
        }
    }

    proptest! {
        #[test]
        fn counting_a_range_agrees_with_expanding_it(from in 0_u64..500, length in 0_u64..500, step in 1_u64..20) {
            let to = from + length;
            let expanded = (from..=to).step_by(usize::try_from(step).unwrap()).count();
            prop_assert_eq!(tasks_in(&format!("{from}-{to}:{step}")), u64::try_from(expanded).ok());
        }

        #[test]
        fn no_answer_makes_a_panic(answer in "\\PC{0,200}") {
            let _ = parse(&answer, "~x~");
        }
    }
}
