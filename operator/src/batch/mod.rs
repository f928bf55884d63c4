//! Batch jobs: schedulers, allocations, the jobs themselves, and the feed from the accounting into the ledger.
//!
//! ```text
//!  Scheduler ──► Cluster ─┬─ poll       one squeue a tick for all jobs, one sacct for those that left it
//!                         ├─ accounts   tenants, allocations and members, by difference
//!                         └─ feed       runs from the accounting into the ledger, once each
//!  BatchJob ──► what is written down + what the cluster's tasks saw ──lifecycle::next──► one step after the other
//! ```

pub mod allocation;
pub mod job;
pub mod scheduler;

use crate::Context;
use crate::settings::Settings;
use crate::triggers::Triggers;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::BatchJob;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The batch schedulers, and what batch jobs wait for. Cheap to clone.
#[derive(Clone)]
pub struct Batch(Arc<Inner>);

struct Inner {
    settings: Settings,
    triggers: Triggers,
    waiting: Mutex<HashMap<WaitsFor, HashSet<ObjectRef<BatchJob>>>>,
}

/// What a batch job waits for before it can be handed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WaitsFor {
    /// A scheduler.
    Scheduler(String),
    /// An allocation: the home namespace and its name.
    Allocation(String, String),
    /// Another batch job: its namespace and name.
    Job(String, String),
}

/// A lock whose holder never panics half-way: what it guards is whole at each step.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Batch {
    /// No scheduler yet.
    pub fn new(settings: &Settings, triggers: Triggers) -> Self {
        Self(Arc::new(Inner {
            settings: settings.clone(),
            triggers,
            waiting: Mutex::default(),
        }))
    }

    /// What a scheduler's accounts should be has changed.
    pub fn accounts_changed(&self, _scheduler: &str) {}

    /// Remembers that a job is to be looked at when something changes.
    pub fn wait(&self, job: ObjectRef<BatchJob>, what: WaitsFor) {
        locked(&self.0.waiting).entry(what).or_default().insert(job);
    }

    /// Has those looked at that wait for it.
    pub fn wake(&self, what: &WaitsFor) {
        let waiting = locked(&self.0.waiting).remove(what);
        for job in waiting.into_iter().flatten() {
            self.0.triggers.jobs.reconcile(job);
        }
    }

    /// Ends what runs for the schedulers.
    pub async fn end(&self) {}
}

/// Keeps the count of batch jobs by phase up to date.
pub async fn count_phases(_context: Arc<Context>, shutdown: impl Future<Output = ()>) {
    shutdown.await;
}
