//! The accounting: one sacct for all jobs that left the queue, and every run of a window for metering.
//!
//! Always with `--duplicates`, or the runs before a requeue vanish; for what is paid allocations only (`-X`), as steps
//! would count twice, and steps for what was measured of jobs that ended; never Slurm's own `CPUTime`: it is the same product, but says nothing of GPUs and memory.

use super::Slurm;
use super::command::{rows, separator, tells_of_absence};
use super::job_state::phase_of;
use super::squeue::{seconds, tasks_in};
use super::tres;
use crate::job::{
    ArrayTask, CoreSeconds, GpuSeconds, JobAccounting, JobIdentity, MalformedRow, Measured, NodeList,
    Outlook, Phase, QueuedJob, Run, RunId, RunRows, TaskCounts, phase_of_all,
};
use crate::{ClusterName, JobId, SchedulerError, Token};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, HashMap, HashSet};

const FIELDS: [&str; 18] = [
    "Cluster",
    "DBIndex",
    "JobIDRaw",
    "JobID",
    "Submit",
    "Start",
    "End",
    "Account",
    "User",
    "Partition",
    "State",
    "ElapsedRaw",
    "Suspended",
    "AllocTRES",
    "ExitCode",
    "NodeList",
    "Comment",
    "JobName",
];

/// What was measured, of runs and of their steps.
const MEASURED: [&str; 4] = ["JobIDRaw", "Submit", "TotalCPU", "TRESUsageInTot"];

impl Slurm {
    /// Rows of the accounting, with options that choose them.
    pub(super) async fn sacct(&self, choice: &[String]) -> Result<RunRows, SchedulerError> {
        let has_restarts = self.sacct_tells_restarts().await?;
        let separator = separator();
        let mut fields = FIELDS.to_vec();
        if has_restarts {
            fields.push("Restarts");
        }
        let only = std::iter::once("--allocations").chain(choice.iter().map(String::as_str));
        let said = self.sacct_says(&fields, &separator, only).await?;
        let mut answer = RunRows::default();
        for row in rows(&said, &separator, fields.len()) {
            match read(&row) {
                Ok(run) => answer.runs.push(run),
                Err(why) => answer.malformed.push(malformed(&row, why)),
            }
        }
        Ok(answer)
    }

    async fn sacct_says(
        &self,
        fields: &[&str],
        separator: &str,
        choice: impl Iterator<Item = &str>,
    ) -> Result<String, SchedulerError> {
        let mut arguments = vec![
            format!("--clusters={}", self.config.cluster),
            "--duplicates".to_owned(),
            "--noconvert".to_owned(),
            "--noheader".to_owned(),
            // With a separator behind the last field, too.
            "--parsable".to_owned(),
            format!("--delimiter={separator}"),
            format!("--format={}", fields.join(",")),
        ];
        arguments.extend(choice.map(str::to_owned));
        let said = self.run("sacct", arguments).await?;
        // sacct has answered with nothing and success while the database was away: what it complains of counts.
        if !said.succeeded() || tells_of_absence(&said.stderr) {
            let complaint = said.complaint();
            return Err(if tells_of_absence(&complaint) {
                SchedulerError::Unreachable {
                    who: "slurmdbd",
                    why: complaint,
                }
            } else {
                SchedulerError::Refused {
                    what: "read the accounting".to_owned(),
                    why: complaint,
                }
            });
        }
        Ok(said.stdout)
    }

    async fn sacct_tells_restarts(&self) -> Result<bool, SchedulerError> {
        self.has_restarts
            .get_or_try_init(|| async {
                let said = self.run("sacct", ["--helpformat"]).await?;
                Ok(said.stdout.split_whitespace().any(|field| field == "Restarts"))
            })
            .await
            .copied()
    }

    pub(super) async fn accounting_of(
        &self,
        jobs: &[JobIdentity],
    ) -> Result<Vec<JobAccounting>, SchedulerError> {
        let ids: Vec<JobId> = jobs.iter().filter_map(|job| job.id).collect();
        let mut runs = Vec::new();
        // An argument has at most 128 KiB (execve(2)); a number and its comma at most 11 bytes.
        for some in ids.chunks(10_000) {
            let list: Vec<String> = some.iter().map(ToString::to_string).collect();
            let answer = self.sacct(&[format!("--jobs={}", list.join(","))]).await?;
            for row in &answer.malformed {
                tracing::warn!(
                    why = row.why,
                    row = row.row,
                    "a row of the accounting cannot be read"
                );
            }
            runs.extend(answer.runs);
        }
        let mut all = sum_up(jobs, &runs)?;
        let over: Vec<String> = all
            .iter()
            .filter(|job| job.phase.is_finished())
            .map(|job| job.id.to_string())
            .collect();
        let mut measured = HashMap::new();
        for some in over.chunks(10_000) {
            let choice = format!("--jobs={}", some.join(","));
            let separator = separator();
            let said = self
                .sacct_says(&MEASURED, &separator, std::iter::once(choice.as_str()))
                .await?;
            measured.extend(read_measured(&rows(&said, &separator, MEASURED.len())));
        }
        let by_id = by_number(&runs);
        for job in &mut all {
            // A number that came round is another's job.
            let is_its = |run: &&&Run| run.user == job.user && run.token == job.token;
            let of_job = by_id.get(&job.id).into_iter().flatten().filter(is_its);
            job.measured = of_job
                .filter_map(|run| measured.get(&(run.job_id, run.submitted_at)))
                .fold(job.measured, |sum, one| sum.and(*one));
        }
        Ok(all)
    }

    /// Jobs of a person submitted since a moment that carry the token.
    pub(super) async fn find_in_accounting(
        &self,
        job: &JobIdentity,
        since: Timestamp,
    ) -> Result<Option<QueuedJob>, SchedulerError> {
        let now = Timestamp::now();
        let minute = jiff::SignedDuration::from_mins(1);
        let answer = self
            .sacct(&[
                format!("--user={}", job.user),
                // Jobs that have not ended are in slurmctld's memory. Asked by state, sacct also finds those that
                // were cancelled while held: it takes them for never begun otherwise.
                "--state=BF,CA,CD,DL,F,NF,OOM,PR,RV,TO".to_owned(),
                format!(
                    "--starttime={}",
                    in_utc(since.saturating_sub(minute).unwrap_or(since))
                ),
                format!("--endtime={}", in_utc(now.saturating_add(minute).unwrap_or(now))),
            ])
            .await?;
        let comment = job.token.to_comment();
        if let Some(row) = answer.malformed.iter().find(|row| row.row.contains(&comment)) {
            return Err(SchedulerError::Garbled {
                command: "sacct",
                why: row.why.clone(),
            });
        }
        Ok(sum_up(std::slice::from_ref(job), &answer.runs)?
            .into_iter()
            .next()
            .map(|accounting| QueuedJob {
                id: accounting.id,
                submitted_at: accounting.submitted_at,
                token: accounting.token,
                user: accounting.user,
                account: accounting.account,
                partition: accounting.partition,
                name: accounting.name,
                phase: accounting.phase,
                state: accounting.state,
                reason: None,
                waits_for: None,
                held_by: None,
                tasks: accounting.tasks,
                never_ran: accounting.never_ran,
                cores: 0,
                started_at: accounting.started_at,
                nodes: accounting.nodes,
                priority: None,
                outlook: Outlook::default(),
            }))
    }
}

/// What was measured of each run, known by its number and when it was submitted. A run's row comes before those of its
/// steps (`12`, then `12.batch`, `12.0`): its processor time is their sum, its memory the hungriest step's.
fn read_measured(rows: &[Vec<&str>]) -> HashMap<(JobId, Timestamp), Measured> {
    let mut all: HashMap<_, Measured> = HashMap::new();
    let mut run = None;
    for row in rows {
        let &[id, submitted, cpu, usage] = row.as_slice() else {
            continue;
        };
        if let Ok(id) = id.parse::<JobId>() {
            run = seconds(submitted).map(|submitted| (id, submitted));
            if let Some(run) = run {
                all.entry(run).or_default().cpu_milliseconds = milliseconds(cpu);
            }
        } else if let Some(run) = run.filter(|(run, _)| id.split('.').next() == Some(&run.to_string())) {
            let measured = all.entry(run).or_default();
            measured.peak_memory_kib = measured.peak_memory_kib.max(tres::measured_memory(usage));
        }
    }
    all
}

/// `[days-[hours:]]minutes:seconds[.fraction]` in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let thousandths = format!("{fraction:0<3}");
    let more: u64 = thousandths.get(..3)?.parse().ok()?;
    clock(text)?.checked_mul(1000)?.checked_add(more)
}

/// As sacct reads times when TZ is UTC; whole seconds, rounded down.
pub(super) fn in_utc(moment: Timestamp) -> String {
    moment
        .to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S")
        .to_string()
}

/// What is left of a row that cannot be read: with as many fields as were asked for, each is still in its place.
fn malformed(row: &[&str], why: String) -> MalformedRow {
    let field = |name: &str| {
        let place = FIELDS.iter().position(|field| *field == name)?;
        row.get(place).filter(|_| row.len() >= FIELDS.len()).copied()
    };
    MalformedRow {
        row: row.join("|"),
        id: field("DBIndex").and_then(|index| index.parse().ok().map(RunId::Row)),
        job: field("JobIDRaw").and_then(|id| id.parse().ok()),
        account: field("Account")
            .filter(|account| !account.is_empty())
            .map(str::to_owned),
        why,
    }
}

fn read(row: &[&str]) -> Result<Run, String> {
    let (fields, restarts) = row.split_at(FIELDS.len().min(row.len()));
    let &[
        cluster,
        db_index,
        raw_id,
        id,
        submitted,
        started,
        ended,
        account,
        user,
        partition,
        state,
        elapsed,
        suspended,
        alloc_tres,
        exit,
        nodes,
        comment,
        name,
    ] = fields
    else {
        return Err(format!(
            "{} fields where {} were asked for",
            row.len(),
            FIELDS.len()
        ));
    };
    let (array_task, tasks) = array_task(id)?;
    let component_of = component_of(id)?;
    let (exit_code, signal) = exit
        .split_once(':')
        .and_then(|(code, signal)| Some((code.parse().ok()?, signal.parse().ok()?)))
        .ok_or_else(|| format!("the exit code {exit:?} of job {id}"))?;
    // A short job's end can reach slurmdbd before its beginning: then the row has a made-up name and no resources for
    // a moment.
    if partition.is_empty() {
        return Err(format!(
            "the accounting has not heard of the beginning of job {id} yet"
        ));
    }
    let number = |what: &str, text: &str| text.parse().map_err(|_| format!("{what} {text:?} of job {id}"));
    let elapsed_seconds: u64 = number("the seconds", elapsed)?;
    let tres = tres::parse(alloc_tres).map_err(|why| format!("{why} of job {id}"))?;
    if elapsed_seconds > 0 && tres.cpus == 0 {
        return Err(format!(
            "the accounting does not know what job {id} held in {elapsed_seconds} seconds"
        ));
    }
    Ok(Run {
        cluster: ClusterName::new(cluster).map_err(|error| error.to_string())?,
        id: RunId::Row(number("the row's number", db_index)?),
        job_id: raw_id.parse().map_err(|_| format!("the job number {raw_id:?}"))?,
        array_task,
        component_of,
        tasks,
        submitted_at: seconds(submitted)
            .ok_or_else(|| format!("the submit time {submitted:?} of job {id}"))?,
        started_at: seconds(started),
        ended_at: seconds(ended),
        restarts: restarts.first().and_then(|restarts| restarts.parse().ok()),
        account: account.to_owned(),
        user: user.to_owned(),
        partition: partition.to_owned(),
        name: name.to_owned(),
        token: Token::from_comment(comment),
        phase: phase_of(state).ok_or_else(|| format!("the state {state:?} of job {id}"))?,
        state: state.to_owned(),
        elapsed_seconds,
        suspended_seconds: clock(suspended)
            .ok_or_else(|| format!("the time suspended {suspended:?} of job {id}"))?,
        tres,
        exit_code,
        signal,
        nodes: NodeList::new(nodes),
    })
}

/// `12`, `12_3`, `12_[3-20%10]`, and how many tasks that is.
fn array_task(id: &str) -> Result<(Option<ArrayTask>, u64), String> {
    let Some((array, index)) = id.split_once('_') else {
        return Ok((None, 1));
    };
    let unreadable = || format!("the job number {id:?}");
    let array = array.parse().map_err(|_| unreadable())?;
    if index.starts_with('[') {
        Ok((
            Some(ArrayTask { array, index: None }),
            tasks_in(index).ok_or_else(unreadable)?,
        ))
    } else {
        Ok((
            Some(ArrayTask {
                array,
                index: Some(index.parse().map_err(|_| unreadable())?),
            }),
            1,
        ))
    }
}

/// `12+1`: of the heterogeneous job 12.
fn component_of(id: &str) -> Result<Option<JobId>, String> {
    id.split_once('+')
        .map(|(job, _)| job.parse().map_err(|_| format!("the job number {id:?}")))
        .transpose()
}

/// `[days-[hours:]]minutes:seconds` in seconds; a fraction of a second is dropped.
fn clock(text: &str) -> Option<u64> {
    let (days, rest) = text.split_once('-').unwrap_or(("0", text));
    let mut total: u64 = 0;
    for part in rest.split('.').next()?.split(':') {
        total = total.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    total.checked_add(days.parse::<u64>().ok()?.checked_mul(86400)?)
}

/// The runs of each job, and of each array or heterogeneous job as a whole, by its number.
fn by_number(runs: &[Run]) -> HashMap<JobId, Vec<&Run>> {
    let mut by_number: HashMap<JobId, Vec<&Run>> = HashMap::new();
    for run in runs {
        let array = run.array_task.map(|task| task.array);
        let number = array.or(run.component_of).unwrap_or(run.job_id);
        by_number.entry(number).or_default().push(run);
    }
    by_number
}

/// Puts the runs of each job together: every run for what it used, the last run of each task for how it ended.
fn sum_up(jobs: &[JobIdentity], runs: &[Run]) -> Result<Vec<JobAccounting>, SchedulerError> {
    let by_id = by_number(runs);
    let mut all = Vec::new();
    for job in jobs {
        // By number where it is known; else whichever carries the token.
        let candidates: Vec<JobId> = match job.id {
            Some(id) => vec![id],
            None => {
                let ids: HashSet<JobId> = by_id
                    .iter()
                    .filter(|(_, runs)| runs.iter().any(|run| run.token.as_ref() == Some(&job.token)))
                    .map(|(id, _)| *id)
                    .collect();
                ids.into_iter().collect()
            }
        };
        for id in candidates {
            let of_job: Vec<&Run> = by_id
                .get(&id)
                .into_iter()
                .flatten()
                .filter(|run| job.is(id, &run.user, run.token.as_ref(), run.submitted_at))
                .copied()
                .collect();
            all.extend(sum_up_one(id, &of_job)?);
        }
    }
    Ok(all)
}

fn sum_up_one(id: JobId, runs: &[&Run]) -> Result<Option<JobAccounting>, SchedulerError> {
    let mut last: BTreeMap<(JobId, Option<Option<u32>>), &Run> = BTreeMap::new();
    for run in runs {
        let task = (
            run.array_task.map_or(run.job_id, |task| task.array),
            run.array_task.map(|task| task.index),
        );
        let newest = last.entry(task).or_insert(run);
        if (run.submitted_at, run.id) > (newest.submitted_at, newest.id) {
            *newest = run;
        }
    }
    let mut tasks = TaskCounts::default();
    for run in last.values() {
        tasks.add(run.phase, run.tasks);
    }
    let phase = phase_of_all(last.values().map(|run| run.phase), &tasks);
    let Some(telling) = last
        .values()
        .find(|run| run.phase == phase)
        .or_else(|| last.values().next())
    else {
        return Ok(None);
    };
    let too_many = || SchedulerError::Garbled {
        command: "sacct",
        why: format!("job {id} used more core seconds than can be counted"),
    };
    let (mut cores, mut gpus) = (0_u64, 0_u64);
    for run in runs {
        cores = run
            .core_seconds()
            .and_then(|more| cores.checked_add(more.0))
            .ok_or_else(too_many)?;
        gpus = run
            .gpu_seconds()
            .and_then(|more| gpus.checked_add(more.0))
            .ok_or_else(too_many)?;
    }
    let over = phase.is_finished();
    let is_array = telling.array_task.is_some();
    Ok(Some(JobAccounting {
        id,
        submitted_at: runs
            .iter()
            .map(|run| run.submitted_at)
            .min()
            .unwrap_or(telling.submitted_at),
        token: runs.iter().find_map(|run| run.token.clone()),
        user: telling.user.clone(),
        account: telling.account.clone(),
        partition: telling.partition.clone(),
        name: telling.name.clone(),
        phase,
        state: telling.state.clone(),
        exit_code: over
            .then(|| last.values().map(|run| run.exit_code).max())
            .flatten(),
        signal: last
            .values()
            .map(|run| run.signal)
            .max()
            .filter(|signal| over && *signal != 0),
        started_at: runs.iter().filter_map(|run| run.started_at).min(),
        ended_at: over
            .then(|| last.values().filter_map(|run| run.ended_at).max())
            .flatten(),
        nodes: if is_array {
            NodeList::default()
        } else {
            NodeList::together(last.values().map(|run| run.nodes.as_folded()))
        },
        tasks,
        never_ran: last
            .values()
            .filter(|run| run.phase == Phase::Cancelled && run.elapsed_seconds == 0)
            .map(|run| run.tasks)
            .sum(),
        core_seconds: CoreSeconds(cores),
        gpu_seconds: GpuSeconds(gpus),
        measured: Measured {
            allocated_memory_mib: runs.iter().map(|run| run.tres.memory_mib).max().unwrap_or(0),
            ..Measured::default()
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Phase, UserName};

    fn row(
        db: &str,
        raw: &str,
        id: &str,
        submit: &str,
        state: &str,
        elapsed: &str,
        exit: &str,
    ) -> Vec<String> {
        [
            "meso",
            db,
            raw,
            id,
            submit,
            "1764000010",
            "1764000020",
            "univ-caen.climate-2026",
            "alice",
            "standard",
            state,
            elapsed,
            "00:00:00",
            "billing=2,cpu=2,mem=100M,node=1",
            exit,
            "n1",
            "meso:5b0e/1",
            "na|me\nx",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn run(row: &[String]) -> Run {
        read(&row.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    }

    fn identity(id: Option<u32>) -> JobIdentity {
        JobIdentity {
            token: Token::of_attempt("5b0e", 1).unwrap(),
            user: UserName::new("alice").unwrap(),
            id: id.map(JobId::Number),
            submitted_at: None,
        }
    }

    #[test]
    fn every_run_of_a_requeued_job_is_paid_and_the_last_one_tells_its_end() {
        let runs = [
            run(&row("1", "42", "42", "1764000000", "NODE_FAIL", "10", "1:0")),
            run(&row("2", "42", "42", "1764000100", "COMPLETED", "7", "0:0")),
        ];
        let job = sum_up(&[identity(Some(42))], &runs).unwrap().remove(0);
        assert_eq!(job.phase, Phase::Succeeded);
        assert_eq!(job.core_seconds, CoreSeconds(34));
        assert_eq!(job.exit_code, Some(0));
        assert_eq!(job.tasks.total, 1);
        assert_eq!(job.submitted_at.as_second(), 1_764_000_000);
    }

    #[test]
    fn an_arrays_tasks_are_counted_by_their_ends() {
        let runs = [
            run(&row("1", "43", "42_1", "1764000000", "COMPLETED", "1", "0:0")),
            run(&row("2", "44", "42_2", "1764000000", "FAILED", "1", "3:0")),
            run(&row(
                "3",
                "42",
                "42_[3-20%10]",
                "1764000000",
                "CANCELLED by 1001",
                "0",
                "0:0",
            )),
        ];
        let job = sum_up(&[identity(None)], &runs).unwrap().remove(0);
        assert_eq!(job.id, JobId::Number(42));
        assert_eq!(job.phase, Phase::Failed);
        assert_eq!(job.exit_code, Some(3));
        assert_eq!(
            (
                job.tasks.total,
                job.tasks.succeeded,
                job.tasks.failed,
                job.tasks.cancelled
            ),
            (20, 1, 1, 18)
        );
    }

    #[test]
    fn another_persons_or_another_jobs_row_is_never_counted() {
        let runs = [run(&row("1", "42", "42", "1764000000", "COMPLETED", "10", "0:0"))];
        let mut other = identity(Some(42));
        other.token = Token::of_attempt("other", 1).unwrap();
        assert_eq!(sum_up(&[other.clone()], &runs).unwrap(), vec![]);
        other.submitted_at = Timestamp::from_second(1_764_000_000).ok();
        assert_eq!(sum_up(&[other.clone()], &runs).unwrap().len(), 1);
        other.user = UserName::new("bob").unwrap();
        assert_eq!(sum_up(&[other], &runs).unwrap(), vec![]);
    }

    #[test]
    fn a_row_that_cannot_be_read_says_why() {
        let why = |index: usize, text: &str| {
            let mut row = row("1", "42", "42", "1764000000", "COMPLETED", "10", "0:0");
            row[index] = text.to_owned();
            read(&row.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err()
        };
        assert_eq!(why(11, "ten"), "the seconds \"ten\" of job 42");
        assert_eq!(why(13, "cpu=two"), "the resource \"cpu=two\" of job 42");
        assert_eq!(
            why(13, ""),
            "the accounting does not know what job 42 held in 10 seconds"
        );
        assert_eq!(
            why(9, ""),
            "the accounting has not heard of the beginning of job 42 yet"
        );
        assert_eq!(why(4, "Unknown"), "the submit time \"Unknown\" of job 42");
    }

    #[test]
    fn what_24_11_keeps_of_each_kind_of_job_is_read() {
        let answer = include_str!("answers/24.11/sacct");
        let runs: Vec<Run> = rows(answer, "~x~", FIELDS.len() + 1)
            .iter()
            .map(|row| read(row).unwrap())
            .collect();
        assert_eq!(runs.len(), 9);
        assert!(runs.iter().all(|run| run.restarts == Some(0)));
        let of = |token: &str| {
            let identity = JobIdentity {
                token: Token::of_attempt(token, 1).unwrap(),
                ..identity(None)
            };
            sum_up(&[identity], &runs).unwrap().remove(0)
        };
        let one = of("one");
        assert_eq!((one.phase, one.exit_code), (Phase::Failed, Some(3)));
        assert!(
            one.core_seconds.0 >= 2 && one.gpu_seconds.0 == one.core_seconds.0,
            "{one:?}"
        );
        let array = of("array");
        assert_eq!(array.phase, Phase::Cancelled);
        assert_eq!(
            (
                array.tasks.total,
                array.tasks.succeeded,
                array.tasks.cancelled,
                array.never_ran
            ),
            (20, 1, 19, 17)
        );
        let parts = of("parts");
        assert_eq!((parts.phase, parts.tasks.total), (Phase::Cancelled, 2));
        assert!(parts.core_seconds.0 > 0);
        for never_ran in [of("held"), of("cancelled")] {
            assert_eq!(
                (never_ran.phase, never_ran.never_ran, never_ran.core_seconds.0),
                (Phase::Cancelled, 1, 0)
            );
        }
        let measured = read_measured(&rows(
            include_str!("answers/24.11/measured"),
            "~x~",
            MEASURED.len(),
        ));
        let of_one = runs.iter().find(|run| run.name == "one").unwrap();
        let measured = measured[&(of_one.job_id, of_one.submitted_at)];
        assert_eq!(
            (measured.cpu_milliseconds, measured.peak_memory_kib),
            (Some(4), Some(3172))
        );
    }

    #[test]
    fn what_was_measured_is_each_runs_own_and_memory_is_the_hungriest_steps() {
        let rows = [
            ["12", "1764000000", "01:02.250", ""],
            [
                "12.batch",
                "1764000001",
                "00:02.250",
                "cpu=00:00:02,mem=2048K,vmem=0",
            ],
            ["12.0", "1764000002", "01:00", "cpu=00:01:00,mem=1.5G"],
            ["12", "1764000100", "00:01", ""],
            ["12.extern", "1764000100", "00:00", ""],
            ["13", "1764000000", "", ""],
            ["99.batch", "1764000000", "00:09", "mem=9G"],
        ];
        let measured = read_measured(&rows.map(|row| row.to_vec()));
        let of = |id, second| measured[&(JobId::Number(id), Timestamp::from_second(second).unwrap())];
        let first = of(12, 1_764_000_000);
        assert_eq!(
            (first.cpu_milliseconds, first.peak_memory_kib),
            (Some(62_250), Some(1_572_864))
        );
        let second = of(12, 1_764_000_100);
        assert_eq!(
            (second.cpu_milliseconds, second.peak_memory_kib),
            (Some(1_000), None)
        );
        assert_eq!(of(13, 1_764_000_000), Measured::default());
        let both = first.and(second);
        assert_eq!(
            (both.cpu_milliseconds, both.peak_memory_kib),
            (Some(63_250), Some(1_572_864))
        );
    }

    #[test]
    fn suspended_time_is_read_in_all_its_forms() {
        for (text, seconds) in [
            ("00:00:00", 0),
            ("01:02:03", 3723),
            ("2-00:00:01", 172_801),
            ("03:04", 184),
            ("03:04.500", 184),
        ] {
            assert_eq!(clock(text), Some(seconds), "{text}");
        }
        assert_eq!(clock("soon"), None);
    }

    #[test]
    fn times_are_given_to_sacct_in_utc() {
        let moment: Timestamp = "2026-10-25T02:30:00.9+02:00".parse().unwrap();
        assert_eq!(in_utc(moment), "2026-10-25T00:30:00");
    }

    /// sacct does not show such a job unless it is asked for states, and nobody else does once slurmctld has forgotten
    /// it (MinJobAge).
    #[tokio::test]
    #[ignore = "needs the development stack: cargo dev test runs it"]
    async fn a_job_that_was_cancelled_while_it_was_held_is_still_found_in_the_accounting() {
        use crate::slurm::{Slurm, SlurmConfig};
        use crate::{AccountName, BatchScheduler, Submission};
        let conf = std::env::var_os("SLURM_CONF").expect("SLURM_CONF: cargo dev env exports it");
        let mut config = SlurmConfig::new(ClusterName::new("meso").unwrap());
        config.slurm_conf = Some(conf.into());
        let slurm = Slurm::new(config).unwrap();
        for words in [
            "add account bridge-held cluster=meso",
            "add user bob account=bridge-held cluster=meso",
        ] {
            slurm
                .run("sacctmgr", std::iter::once("--immediate").chain(words.split(' ')))
                .await
                .unwrap();
        }
        let account = AccountName::new("bridge-held").unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while slurm
            .account_use(std::slice::from_ref(&account))
            .await
            .unwrap()
            .is_empty()
        {
            assert!(
                std::time::Instant::now() < deadline,
                "slurmctld has not heard of the account"
            );
        }
        let before = Timestamp::now();
        let token = Token::of_attempt(&format!("held-{}", before.as_nanosecond()), 1).unwrap();
        let mut held = Submission::new(
            token,
            UserName::new("bob").unwrap(),
            account,
            "held",
            "#!/bin/bash\n#SBATCH --mem=10\n",
        );
        held.hold = true;
        let id = slurm.submit(&held).await.unwrap();
        let mut job = JobIdentity {
            token: held.token.clone(),
            user: held.user.clone(),
            id: Some(id),
            submitted_at: None,
        };
        slurm.cancel(&job).await.unwrap();
        job.id = None;
        // slurmdbd may have much to take in before.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let found = loop {
            if let Some(found) = slurm.find_in_accounting(&job, before).await.unwrap() {
                break found;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the accounting does not find it"
            );
        };
        assert_eq!((found.id, found.phase), (id, Phase::Cancelled));
    }
}
