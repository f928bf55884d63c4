//! From the scheduler's accounting into the ledger: every run that has ended, in an account of ours, once.
//!
//! ```text
//!  sacct, a window of time ──► runs ──► usage records ──► ledger (takes each once) ──► allocations, periods, jobs
//! ```
//!
//! The accounting hears of runs a moment late and not in their order, so windows are read again with an overlap: a
//! short one each time, a longer one now and then for what came after an outage. What is in the ledger already is no
//! news to it, so any window may be read any number of times.
//!
//! What cannot be read, or makes no sense, stops nothing else. It is noted as unsettled, which keeps months open, and is
//! read again until the accounting tells it whole or a person closes a month without it.

use super::Cluster;
use super::pace::Pace;
use crate::Context;
use crate::billing;
use crate::failure::Failure;
use crate::watch::key;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{Allocation, TenantCategory, judged_by_category};
use mesocentre_metering::ledger::{Reading, Unsettled};
use mesocentre_metering::{Activity, Appended, BatchRun, UsageRecord, from_batch_run};
use mesocentre_scheduler_bridge::{BatchScheduler, JobId, Run, RunId, RunRows, Window};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What reports the records of Slurm's accounting.
pub const SLURM: &str = "slurm";
/// What reports those of pods of batch jobs.
pub const KUBERNETES: &str = "kubernetes";
/// How far back each reading goes behind what was read before.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);
/// How far back a thorough reading goes.
const DEEP_OVERLAP: SignedDuration = SignedDuration::from_hours(72);
/// How often there is a thorough one.
const DEEP_EVERY: Duration = Duration::from_secs(1_800);
/// The same while something is unsettled: somebody may be mending it.
const UNSETTLED_EVERY: Duration = Duration::from_secs(300);
/// How often the accounting is read when no job of ours ended: somebody may use an account of ours by sbatch alone.
const READ_EVERY: Duration = Duration::from_secs(60);
/// Runs that end are awaited so long, to be read together. Times in the accounting are in whole seconds, so what ended
/// in this second is sure to be within a window that begins in the next.
const TOGETHER: Duration = Duration::from_millis(1_100);

/// One reading of the accounting, all of which is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// When it began: what ended later may be missing.
    pub began: Timestamp,
}

/// Feeds the ledger until the cluster is set aside.
pub async fn run(context: Arc<Context>, cluster: Arc<Cluster>) {
    let mut feed = Feed::default();
    let mut pace = Pace::new();
    let mut failed = false;
    loop {
        if feed.deep.is_some() {
            let pause = if failed {
                Duration::from_secs(5)
            } else {
                READ_EVERY
            };
            // Whichever comes first; both lead to the same.
            let _ = tokio::time::timeout(pause, cluster.ended.notified()).await;
            tokio::time::sleep(TOGETHER).await;
            pace.moved();
            tokio::time::sleep_until(pace.next()).await;
        }
        pace.tick();
        let began = Instant::now();
        match feed.read(&context, &cluster).await {
            Ok(()) => failed = false,
            Err(failure) => {
                if !failed {
                    tracing::warn!(scheduler = cluster.name, %failure, "use is not metered now; it is read again");
                }
                failed = true;
                feed.deep.get_or_insert_with(Instant::now);
            }
        }
        pace.took(began.elapsed());
        let (source, name) = (cluster.engine.source(), cluster.engine.cluster().as_str());
        billing::show_source(&context, source, name).await;
    }
}

#[derive(Default)]
struct Feed {
    /// When the accounting was last read thoroughly.
    deep: Option<Instant>,
    /// Rows of the accounting that went into the ledger since then: they need not be offered again.
    taken: HashSet<RunId>,
    /// Accounts that were told of already.
    unassigned: HashSet<String>,
}

impl Feed {
    async fn read(&mut self, context: &Context, cluster: &Cluster) -> Result<(), Failure> {
        let now = Timestamp::now();
        let (source, name) = (cluster.engine.source(), cluster.engine.cluster().as_str());
        let watermark = context.ledger.watermark(source, name).await?;
        let unsettled_since = context.ledger.unsettled_since(source, name).await?;
        let every = if unsettled_since.is_some() {
            UNSETTLED_EVERY
        } else {
            DEEP_EVERY
        };
        let thorough = self.deep.is_none_or(|at| at.elapsed() >= every);
        let overlap = if thorough { DEEP_OVERLAP } else { OVERLAP };
        let from = match watermark {
            Some(through) => through.saturating_sub(overlap).unwrap_or(through),
            None => first_day(context, &cluster.name).unwrap_or(now).min(now),
        };
        let from = unsettled_since
            .filter(|_| thorough)
            .map_or(from, |since| since.min(from));
        // What slurmdbd has not heard of yet comes again; the watermark waits for it.
        let up_to_date = cluster
            .call(
                context,
                "accounting_lag",
                cluster.engine.accounting_is_up_to_date(),
            )
            .await;
        // To the end of this second: what ended in it has its whole number.
        let until = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
        let rows = cluster
            .call(context, "runs", cluster.engine.runs(Window { from, until }))
            .await?;
        if thorough {
            self.taken.clear();
        }
        let mut offered = self.offered(context, source, &rows, now);
        let new = if offered.records.is_empty() {
            0
        } else {
            let appended = context.ledger.append(&offered.records, now).await?;
            billing::count_appended(context, &appended);
            offered.not_taken(&appended);
            appended.new
        };
        let unsettled_runs: HashSet<String> = offered.unsettled.keys().cloned().collect();
        if unsettled_since.is_some() || !offered.unsettled.is_empty() {
            offered.note(context, (source, name), from, thorough).await?;
        }
        self.taken.extend(
            rows.runs
                .iter()
                .filter(|run| has_ended(run, now))
                .map(|run| run.id),
        );
        up_to_date?;
        let settled = settled(context, &rows, &unsettled_runs, now);
        if !settled.is_empty() {
            cluster
                .call(context, "let_go", cluster.engine.let_go(&settled))
                .await?;
        }
        context.ledger.advance_watermark(source, name, now).await?;
        if thorough {
            self.deep = Some(Instant::now());
        }
        context.batch.usage().refresh(context).await?;
        cluster.set_pass(Pass { began: now });
        context.batch.wake(&super::WaitsFor::Use(cluster.name.clone()));
        if new > 0 {
            tracing::info!(scheduler = cluster.name, records = new, "metered");
            billing::ledger_grew(context);
        }
        billing::read_further(context);
        tell_jobs(context, &cluster.name);
        Ok(())
    }

    fn offered(&mut self, context: &Context, source: &str, rows: &RunRows, now: Timestamp) -> Offered {
        let mut categories: HashMap<String, TenantCategory> = HashMap::new();
        for tenant in context.stores.tenants.state() {
            categories.insert(tenant.name_any(), tenant.spec.category);
        }
        let judged = |tenant: &str, allocation: &str, category: TenantCategory| {
            let granted = context
                .stores
                .allocations
                .get(&key::<Allocation>(Some(tenant), allocation));
            match granted {
                Some(granted) => granted.spec.judged(category),
                // Of one that is gone its tenant's category is what is known.
                None => judged_by_category(category),
            }
        };
        let mut offered = Offered::default();
        for row in &rows.malformed {
            let tenant = row.account.as_deref().map(|account| account.split_once('.'));
            // Without an account it may be anybody's.
            let is_ours =
                tenant.is_none_or(|tenant| tenant.is_some_and(|(tenant, _)| categories.contains_key(tenant)));
            if is_ours {
                offered.unsettled.insert(named(row.id, row.job), row.why.clone());
            } else {
                tracing::debug!(row = row.row, why = row.why, "a row of others cannot be read");
            }
        }
        for run in &rows.runs {
            if !has_ended(run, now) || self.taken.contains(&run.id) {
                continue;
            }
            let Some((tenant, allocation)) = run.account.split_once('.') else {
                continue;
            };
            let Some(category) = categories.get(tenant) else {
                if self.unassigned.insert(run.account.clone()) {
                    tracing::warn!(
                        account = run.account,
                        "use in an account of a tenant that does not exist is not metered: make the Tenant again, or look into that account"
                    );
                }
                continue;
            };
            let name = named(Some(run.id), Some(run.job_id));
            if let Some(why) = makes_no_sense(run) {
                offered.unsettled.insert(name, why);
                continue;
            }
            let judged = judged(tenant, allocation, *category);
            if let Some(run) = to_batch_run(source, run, tenant, allocation, judged) {
                for record in from_batch_run(&run) {
                    offered.records.push(record);
                    offered.runs.push(name.clone());
                }
            }
        }
        offered
    }
}

/// Runs that are over, that the ledger has (or that held nothing), and whose job's end is written down or that have no
/// object any more. Until then the scheduler keeps them, since the end of a job is told from all its runs.
fn settled(context: &Context, rows: &RunRows, unsettled: &HashSet<String>, now: Timestamp) -> HashSet<RunId> {
    let runs = rows.runs.iter().filter(|run| run.phase.is_finished());
    let pods: Vec<&Run> = runs
        .filter(|run| matches!(run.id, RunId::Pod(_)) && (run.started_at.is_none() || has_ended(run, now)))
        .collect();
    if pods.is_empty() {
        return HashSet::new();
    }
    let open: HashSet<String> = context
        .stores
        .jobs
        .state()
        .iter()
        .filter(|job| {
            !job.status
                .as_ref()
                .is_some_and(|status| status.phase.is_finished())
        })
        .filter_map(|job| job.uid())
        .collect();
    pods.into_iter()
        .filter(|run| !run.token.as_ref().is_some_and(|token| open.contains(token.uid())))
        .filter(|run| !unsettled.contains(&named(Some(run.id), Some(run.job_id))))
        .map(|run| run.id)
        .collect()
}

/// What a reading has for the ledger.
#[derive(Default)]
struct Offered {
    records: Vec<UsageRecord>,
    /// Whose each record is, at the same place.
    runs: Vec<String>,
    /// Runs that cannot be taken, and why.
    unsettled: BTreeMap<String, String>,
}

impl Offered {
    /// What the ledger would not take. A run of which it knows something else is in it, as it was told first.
    fn not_taken(&mut self, appended: &Appended) {
        for one in appended.quarantined.iter().filter(|one| !one.is_conflict()) {
            if let Some(run) = self.runs.get(one.index) {
                self.unsettled.insert(run.clone(), one.message.clone());
            }
        }
    }

    /// Notes what is unsettled, and tells of what is new.
    async fn note(
        self,
        context: &Context,
        (source, cluster): (&str, &str),
        from: Timestamp,
        is_whole: bool,
    ) -> Result<(), Failure> {
        let settled: BTreeSet<String> = self
            .runs
            .into_iter()
            .filter(|run| !self.unsettled.contains_key(run))
            .collect();
        let unsettled: Vec<Unsettled> = self
            .unsettled
            .into_iter()
            .map(|(what, why)| Unsettled { what, why })
            .collect();
        let reading = Reading {
            source,
            cluster,
            unsettled: &unsettled,
            settled: &settled,
            from,
            is_whole,
        };
        for one in context.ledger.note_unsettled(reading, Timestamp::now()).await? {
            tracing::warn!(
                cluster,
                run = one.what,
                why = one.why,
                "a run is not metered: no month is closed until the accounting tells it whole or somebody acknowledges the gap"
            );
        }
        Ok(())
    }
}

/// A run, as people find it in the accounting.
fn named(run: Option<RunId>, job: Option<JobId>) -> String {
    match (job, run) {
        (Some(job), Some(run)) => format!("job {job} ({run})"),
        (Some(job), None) => format!("job {job}"),
        (None, Some(run)) => run.to_string(),
        (None, None) => "a row that names no job".to_owned(),
    }
}

/// The first day on which something could be used.
fn first_day(context: &Context, scheduler: &str) -> Option<Timestamp> {
    let first = context
        .stores
        .allocations
        .state()
        .iter()
        .filter(|allocation| allocation.spec.scheduler == scheduler)
        .map(|allocation| allocation.spec.valid_from)
        .min()?;
    context.zone.days(first, first).ok().map(|span| span.from)
}

/// A run that held something and does no more. One that ends in the future, by a clock that is ahead of ours, has not ended:
/// it is read again until it has, and the watermark is not beyond it by then.
fn has_ended(run: &Run, now: Timestamp) -> bool {
    run.started_at.is_some() && run.ended_at.is_some_and(|ended| ended <= now)
}

/// Why a run's times cannot be as the accounting tells them. sacct hides an end before the start: it shows the end as the
/// start as well, and no time between them.
fn makes_no_sense(run: &Run) -> Option<String> {
    let started_at = run.started_at?;
    (started_at < run.submitted_at).then(|| {
        format!(
            "it was submitted at {} and started or ended before, at {started_at}: a clock was wrong, or a time was lost",
            run.submitted_at
        )
    })
}

fn to_batch_run(
    source: &str,
    run: &Run,
    tenant: &str,
    allocation: &str,
    (activity, activity_reason): (Activity, String),
) -> Option<BatchRun> {
    Some(BatchRun {
        source: source.into(),
        cluster: run.cluster.to_string(),
        job_id: match run.id {
            RunId::Row(_) => run.job_id.to_string(),
            // Tasks that start together are told apart by nothing else.
            RunId::Pod(uid) => format!("{}/{uid}", run.job_id),
        },
        submitted: run.submitted_at,
        tenant: tenant.into(),
        allocation: Some(allocation.into()),
        user: Some(run.user.clone()).filter(|user| !user.is_empty()),
        activity,
        activity_reason,
        cpus: run.tres.cpus,
        gpus: run.tres.gpus,
        gpus_by_model: run.tres.gpus_by_model(),
        start: run.started_at?,
        end: run.ended_at?,
        suspended_seconds: run.suspended_seconds,
        // `CANCELLED by 0` may be `CANCELLED` after a restart of slurmctld; the record must not change with it.
        state: run.state.split_whitespace().next().unwrap_or_default().to_owned(),
    })
}

/// Jobs that have ended and are not said to be metered.
fn tell_jobs(context: &Context, scheduler: &str) {
    for job in context.stores.jobs.state() {
        let Some(status) = &job.status else { continue };
        let theirs = status.scheduler.as_ref().is_some_and(|s| s.name == scheduler);
        if theirs && status.phase.is_finished() && !super::job::report::is_metered(status) {
            context.triggers.jobs.reconcile(ObjectRef::from_obj(job.as_ref()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_scheduler_bridge::{ClusterName, JobId, NodeList, Phase, Tres};

    fn run() -> Run {
        let at = |second| Timestamp::from_second(second).unwrap();
        Run {
            cluster: ClusterName::new("meso").unwrap(),
            id: RunId::Row(7),
            job_id: JobId::Number(42),
            array_task: None,
            component_of: None,
            tasks: 1,
            submitted_at: at(100),
            started_at: Some(at(110)),
            ended_at: Some(at(117)),
            restarts: None,
            account: "univ-caen.climate-2026".into(),
            user: "alice".into(),
            partition: "standard".into(),
            name: "pi".into(),
            token: None,
            phase: Phase::Succeeded,
            state: "COMPLETED".into(),
            elapsed_seconds: 7,
            suspended_seconds: 0,
            tres: Tres {
                cpus: 2,
                ..Tres::default()
            },
            exit_code: 0,
            signal: 0,
            nodes: NodeList::new("n1"),
        }
    }

    #[test]
    fn a_run_of_seven_seconds_on_two_cores_is_fourteen_core_seconds() {
        let judged = judged_by_category(TenantCategory::University);
        let run = to_batch_run(SLURM, &run(), "univ-caen", "climate-2026", judged).unwrap();
        let records = from_batch_run(&run);
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].quantity, 14);
        assert_eq!(records[0].activity, Activity::NonEconomic);
        assert_eq!(records[0].allocation.as_deref(), Some("climate-2026"));
    }

    #[test]
    fn a_run_that_ended_before_it_was_submitted_is_not_billed_as_nothing() {
        assert_eq!(makes_no_sense(&run()), None);
        let mut at_once = run();
        at_once.started_at = Some(at_once.submitted_at);
        assert_eq!(makes_no_sense(&at_once), None);
        let mut before = run();
        before.started_at = Timestamp::from_second(99).ok();
        before.ended_at = before.started_at;
        let why = makes_no_sense(&before).unwrap();
        assert!(
            why.contains("submitted at 1970-01-01T00:01:40Z and started or ended before"),
            "{why}"
        );
    }

    #[test]
    fn what_never_started_or_still_runs_is_no_use_yet() {
        let mut waiting = run();
        waiting.started_at = None;
        let mut running = run();
        running.ended_at = None;
        let ended = run().ended_at.unwrap();
        assert!(!has_ended(&waiting, ended) && !has_ended(&running, ended) && has_ended(&run(), ended));
    }

    #[test]
    fn a_run_that_ends_five_minutes_in_the_future_waits_until_then() {
        let ended = run().ended_at.unwrap();
        assert!(!has_ended(&run(), ended - SignedDuration::from_mins(5)));
        assert!(has_ended(&run(), ended));
    }
}
