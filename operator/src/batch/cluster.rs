//! A batch scheduler at work: what is known of it, and the tasks that find out.

use super::accounts::AccountsView;
use super::counted::Counted;
use super::engine::Engine;
use super::feed::Pass;
use super::hold::Holds;
use crate::Context;
use crate::controller::Paced;
use crate::lock::locked;
use crate::watch::key;
use jiff::Timestamp;
use mesocentre_api::{Scheduler, SchedulerSpec};
use mesocentre_scheduler_bridge::slurm::OutputError;
use mesocentre_scheduler_bridge::{JobAccounting, JobIdentity, Queue, SchedulerError, SubmitError};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// At most this often a call in vain has the Scheduler looked at, which costs the scheduler three calls.
const LOOKS_APART: Duration = Duration::from_secs(3);

/// A batch scheduler at work.
pub struct Cluster {
    /// The Scheduler's name.
    pub name: String,
    /// How it is reached.
    pub spec: SchedulerSpec,
    /// What it is.
    pub engine: Engine,
    /// What is kept of allocations for its jobs.
    pub holds: Holds,
    /// Its own counts of what was used, against the ledger's.
    pub counted: Counted,
    /// Something was submitted, cancelled or is waited for: ask soon.
    pub ask_soon: Notify,
    /// The accounts that should be have changed.
    pub accounts_changed: Notify,
    /// A job has ended: its runs are in the accounting.
    pub ended: Notify,
    /// How long after its sender's death a request may still be taken, in seconds.
    settle_seconds: Mutex<Option<u64>>,
    queue: Mutex<Option<Arc<Queue>>>,
    wanted: Mutex<HashMap<String, JobIdentity>>,
    accounting: Mutex<HashMap<String, (Timestamp, Option<JobAccounting>)>>,
    accounts: Mutex<Arc<AccountsView>>,
    pass: Mutex<Option<Pass>>,
    submitting: AtomicUsize,
    away: Mutex<Option<Away>>,
    /// The calls that were in vain the last time.
    in_vain: Mutex<HashSet<&'static str>>,
    looks: Paced<Scheduler>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A scheduler that was asked whether it is there, and does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// Since when that is known.
    pub since: Timestamp,
    /// Which part of it, in its own words.
    pub why: String,
}

/// Whether an error may mean that the scheduler is away.
pub trait InVain {
    /// True when no answer came that says anything.
    fn is_in_vain(&self) -> bool;
}

impl InVain for SchedulerError {
    fn is_in_vain(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl InVain for SubmitError {
    fn is_in_vain(&self) -> bool {
        !self.is_final()
    }
}

impl InVain for OutputError {
    fn is_in_vain(&self) -> bool {
        matches!(self, Self::Scheduler(error) if error.is_in_vain())
    }
}

impl Cluster {
    /// Starts its tasks.
    pub(super) fn start(
        context: &Arc<Context>,
        name: &str,
        spec: &SchedulerSpec,
        engine: Engine,
    ) -> Arc<Self> {
        let cluster = Arc::new(Self {
            name: name.to_owned(),
            spec: spec.clone(),
            engine,
            holds: Holds::default(),
            counted: Counted::default(),
            ask_soon: Notify::new(),
            accounts_changed: Notify::new(),
            ended: Notify::new(),
            settle_seconds: Mutex::default(),
            queue: Mutex::default(),
            wanted: Mutex::default(),
            accounting: Mutex::default(),
            accounts: Mutex::default(),
            pass: Mutex::default(),
            submitting: AtomicUsize::new(0),
            away: Mutex::default(),
            in_vain: Mutex::default(),
            looks: Paced::new(context.triggers.schedulers.clone(), LOOKS_APART),
            tasks: Mutex::default(),
        });
        let tasks = [
            tokio::spawn(super::poll::run(Arc::clone(context), Arc::clone(&cluster))).abort_handle(),
            tokio::spawn(super::accounts::run(Arc::clone(context), Arc::clone(&cluster))).abort_handle(),
            tokio::spawn(super::feed::run(Arc::clone(context), Arc::clone(&cluster))).abort_handle(),
        ];
        locked(&cluster.tasks).extend(tasks);
        cluster
    }

    /// Ends its tasks.
    pub(super) fn stop(&self) {
        locked(&self.tasks).drain(..).for_each(|task| task.abort());
    }

    /// The partitions that are offered; none named means all.
    pub fn offers(&self) -> &[String] {
        self.spec.slurm.as_ref().map_or(&[], |slurm| &slurm.partitions)
    }

    /// How long after its sender's death a request may still be taken; the usual until it has said otherwise.
    pub fn settle(&self) -> jiff::SignedDuration {
        let seconds = locked(&self.settle_seconds).unwrap_or_else(|| self.engine.settles_within());
        // And a second: times are in whole ones.
        jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(60).saturating_add(1))
    }

    pub(super) fn set_settle(&self, seconds: u64) {
        *locked(&self.settle_seconds) = Some(seconds);
    }

    /// The queue as last seen.
    pub fn queue(&self) -> Option<Arc<Queue>> {
        locked(&self.queue).clone()
    }

    pub(super) fn set_queue(&self, queue: Arc<Queue>) {
        *locked(&self.queue) = Some(queue);
    }

    /// Asks for what the accounting says of a job, at the next tick.
    pub fn want_accounting(&self, uid: &str, job: JobIdentity) {
        locked(&self.wanted).insert(uid.to_owned(), job);
        self.ask_soon.notify_one();
    }

    pub(super) fn wanted(&self) -> Vec<(String, JobIdentity)> {
        locked(&self.wanted)
            .iter()
            .map(|(uid, job)| (uid.clone(), job.clone()))
            .collect()
    }

    /// What the accounting last said of a job, and when it was asked.
    pub fn accounting_of(&self, uid: &str) -> Option<(Timestamp, Option<JobAccounting>)> {
        locked(&self.accounting).get(uid).cloned()
    }

    pub(super) fn set_accounting(&self, uid: &str, asked_at: Timestamp, answer: Option<JobAccounting>) {
        locked(&self.accounting).insert(uid.to_owned(), (asked_at, answer));
    }

    /// Forgets what the accounting is to say, and said, of a job: its end is written down, it is gone, or it is in the queue.
    pub fn forget(&self, uid: &str) {
        locked(&self.wanted).remove(uid);
        locked(&self.accounting).remove(uid);
    }

    /// The accounts as they are kept.
    pub fn accounts(&self) -> Arc<AccountsView> {
        Arc::clone(&locked(&self.accounts))
    }

    pub(super) fn set_accounts(&self, view: AccountsView) {
        *locked(&self.accounts) = Arc::new(view);
    }

    /// The last reading of the accounting that went into the ledger.
    pub fn last_pass(&self) -> Option<Pass> {
        *locked(&self.pass)
    }

    pub(super) fn set_pass(&self, pass: Pass) {
        *locked(&self.pass) = Some(pass);
    }

    /// Notes that a job is being handed over, until what is given back is dropped.
    pub fn submits(&self) -> Submitting<'_> {
        self.submitting.fetch_add(1, Ordering::Relaxed);
        Submitting(self)
    }

    /// How many jobs are being handed over, or wait for their turn.
    pub fn submitting(&self) -> usize {
        self.submitting.load(Ordering::Relaxed)
    }

    /// That it does not answer, as its Scheduler says.
    pub fn away(&self) -> Option<Away> {
        locked(&self.away).clone()
    }

    /// Notes whether it answered; true when it did not before, and does now.
    pub(super) fn set_away(&self, away: Option<Away>) -> bool {
        let mut noted = locked(&self.away);
        let came_back = noted.is_some() && away.is_none();
        *noted = away;
        came_back
    }

    /// Why a job that is not handed over waits for it; none while it answers.
    pub fn wait(&self) -> Option<String> {
        self.away().map(|away| {
            format!(
                "it waits for the scheduler {}, away since {} ({}), and goes on by itself when that is back",
                self.name, away.since, away.why
            )
        })
    }

    /// Makes a call of the scheduler, and measures it. The first in vain, and the first that is not any more, have the
    /// Scheduler looked at.
    pub async fn call<T, E: InVain>(
        &self,
        context: &Context,
        name: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let outcome = self.measure(context, name, call).await;
        match &outcome {
            Err(error) if error.is_in_vain() => self.is_in_vain(name),
            _ => {
                let was_in_vain = locked(&self.in_vain).remove(name);
                if was_in_vain && self.away().is_some() {
                    self.looks.reconcile(key(None, &self.name));
                }
            }
        }
        outcome
    }

    /// A call is in vain, or takes so long that it may be.
    pub fn is_in_vain(&self, name: &'static str) {
        let is_news = locked(&self.in_vain).insert(name);
        if is_news && self.away().is_none() {
            self.looks.reconcile(key(None, &self.name));
        }
    }

    /// Makes a call of the scheduler, and measures it.
    pub(super) async fn measure<T, E>(
        &self,
        context: &Context,
        name: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let outcome = call.await;
        context
            .metrics
            .scheduler_seconds
            .with_label_values(&[self.name.as_str(), name])
            .observe(started.elapsed().as_secs_f64());
        if outcome.is_err() {
            context
                .metrics
                .scheduler_errors
                .with_label_values(&[self.name.as_str(), name])
                .inc();
        }
        outcome
    }
}

/// A job that is being handed over.
pub struct Submitting<'a>(&'a Cluster);

impl Drop for Submitting<'_> {
    fn drop(&mut self) {
        self.0.submitting.fetch_sub(1, Ordering::Relaxed);
    }
}
