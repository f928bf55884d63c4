//! Batch jobs: schedulers, allocations, the jobs themselves, and the feed from the accounting into the ledger.
//!
//! ```text
//!  Scheduler ──► Cluster ─┬─ poll       one squeue (or list of Jobs and pods) a tick for all jobs, one sacct for those that left it
//!                         ├─ accounts   tenants, allocations and members, by difference
//!                         └─ feed       runs from the accounting into the ledger, once each
//!  BatchJob ──► what is written down + what the cluster's tasks saw ──lifecycle::next──► one step after the other
//! ```

pub mod accounts;
pub mod allocation;
mod authority;
mod cluster;
mod counted;
mod engine;
pub mod feed;
mod hold;
pub mod job;
mod kubernetes;
mod pace;
mod poll;
pub mod scheduler;
pub mod transport;
mod usage;

pub use authority::LoginAuthority;
pub use cluster::{Away, Cluster};
pub use engine::Engine;
pub use transport::LoginSources;

use crate::Context;
use crate::lock::locked;
use crate::settings::Settings;
use crate::triggers::Triggers;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{BatchJob, Phase, Scheduler, SchedulerSpec};
use mesocentre_scheduler_bridge::SchedulerError;
use mesocentre_scheduler_bridge::kubernetes::Kubernetes;
use mesocentre_scheduler_bridge::lifecycle::OwnDoing;
use mesocentre_scheduler_bridge::slurm::Slurm;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The batch schedulers, and what batch jobs wait for. Cheap to clone.
#[derive(Clone)]
pub struct Batch(Arc<Inner>);

struct Inner {
    settings: Settings,
    triggers: Triggers,
    clusters: Mutex<HashMap<String, Arc<Cluster>>>,
    waiting: Mutex<HashMap<WaitsFor, HashSet<ObjectRef<BatchJob>>>>,
    /// What this process did with the token of a job that has no number yet, by the object's UID.
    own_doings: Mutex<HashMap<String, OwnDoing>>,
    /// What a job that was handed over waits for, and since when it does, by the object's UID.
    waits: Mutex<HashMap<String, (String, Instant)>>,
    usage: usage::Usage,
}

/// What a scheduler is spoken to by.
pub enum Means {
    /// Slurm's commands, and where they are run.
    Commands(mesocentre_scheduler_bridge::slurm::Transport),
    /// The API server that the operator works with.
    TheApiServer,
}

impl Means {
    fn transport(&self) -> Option<&mesocentre_scheduler_bridge::slurm::Transport> {
        match self {
            Self::Commands(transport) => Some(transport),
            Self::TheApiServer => None,
        }
    }
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
    /// What a job reads in its workspace: that namespace.
    Sources(String),
    /// What was used on a scheduler to be read.
    Use(String),
}

impl Batch {
    /// No scheduler yet.
    pub fn new(settings: &Settings, triggers: Triggers) -> Self {
        Self(Arc::new(Inner {
            settings: settings.clone(),
            triggers,
            clusters: Mutex::default(),
            waiting: Mutex::default(),
            own_doings: Mutex::default(),
            waits: Mutex::default(),
            usage: usage::Usage::default(),
        }))
    }

    /// The cluster behind a Scheduler, once it is at work.
    pub fn cluster(&self, scheduler: &str) -> Option<Arc<Cluster>> {
        locked(&self.0.clusters).get(scheduler).cloned()
    }

    /// Sets a cluster to work, or leaves it at work when nothing about it changed.
    ///
    /// # Errors
    /// [`SchedulerError::Misconfigured`] when this machine lacks what is needed.
    pub fn employ(
        &self,
        context: &Arc<Context>,
        scheduler: &Scheduler,
        by: Means,
    ) -> Result<Arc<Cluster>, SchedulerError> {
        let (name, spec) = (scheduler.name_any(), &scheduler.spec);
        let mut clusters = locked(&self.0.clusters);
        if let Some(cluster) = clusters.get(&name)
            && cluster.spec == *spec
            && cluster.engine.transport() == by.transport()
        {
            return Ok(Arc::clone(cluster));
        }
        let engine = self.engine(context, &name, spec, by)?;
        let cluster = Cluster::start(context, &name, spec, engine);
        if let Some(before) = clusters.insert(name, Arc::clone(&cluster)) {
            before.stop();
        }
        Ok(cluster)
    }

    fn engine(
        &self,
        context: &Context,
        name: &str,
        spec: &SchedulerSpec,
        by: Means,
    ) -> Result<Engine, SchedulerError> {
        match (by, &spec.slurm, &spec.kubernetes) {
            (Means::Commands(transport), Some(slurm), _) => {
                let config = transport::config(slurm, transport, &self.0.settings.slurm)?;
                Slurm::new(config).map(Engine::Slurm)
            }
            (Means::TheApiServer, _, Some(kubernetes)) => {
                let config = kubernetes::config(name, kubernetes)?;
                Kubernetes::new(context.client.clone(), config).map(Engine::Kubernetes)
            }
            // The schema lets no other through.
            _ => Err(SchedulerError::Misconfigured(
                "it is neither Slurm nor Kubernetes: write spec.slurm or spec.kubernetes".into(),
            )),
        }
    }

    /// Sets a cluster aside.
    pub fn dismiss(&self, scheduler: &str) {
        if let Some(cluster) = locked(&self.0.clusters).remove(scheduler) {
            cluster.stop();
        }
    }

    /// What a scheduler's accounts should be has changed.
    pub fn accounts_changed(&self, scheduler: &str) {
        if let Some(cluster) = self.cluster(scheduler) {
            cluster.accounts_changed.notify_one();
        }
    }

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

    /// What this process did with the token of a job without a number.
    pub fn own_doing(&self, uid: &str) -> OwnDoing {
        locked(&self.0.own_doings)
            .get(uid)
            .cloned()
            .unwrap_or(OwnDoing::Nothing)
    }

    /// Remembers what this process did with a job's token.
    pub fn did(&self, uid: &str, doing: OwnDoing) {
        locked(&self.0.own_doings).insert(uid.to_owned(), doing);
    }

    /// Forgets a job whose number or end is written down.
    pub fn forget(&self, uid: &str) {
        locked(&self.0.own_doings).remove(uid);
        locked(&self.0.waits).remove(uid);
    }

    /// Notes what a job waits for; how long it has waited for just that.
    pub fn waits_for(&self, uid: &str, why: &str) -> Duration {
        let mut waits = locked(&self.0.waits);
        match waits.get(uid) {
            Some((same, since)) if same == why => since.elapsed(),
            _ => {
                waits.insert(uid.to_owned(), (why.to_owned(), Instant::now()));
                Duration::ZERO
            }
        }
    }

    /// A job goes on.
    pub fn waits_no_more(&self, uid: &str) {
        locked(&self.0.waits).remove(uid);
    }

    /// What allocations have used, by the ledger.
    pub fn usage(&self) -> &usage::Usage {
        &self.0.usage
    }

    /// Ends what runs for the schedulers.
    pub async fn end(&self) {
        let clusters: Vec<Arc<Cluster>> = locked(&self.0.clusters)
            .drain()
            .map(|(_, cluster)| cluster)
            .collect();
        for cluster in clusters {
            cluster.stop();
        }
    }
}

/// How often the count of jobs is brought up to date.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// Keeps the count of batch jobs by phase up to date.
pub async fn count_phases(context: Arc<Context>, shutdown: impl Future<Output = ()>) {
    let count = async {
        loop {
            let mut counts: HashMap<Phase, i64> = HashMap::new();
            for job in context.stores.jobs.state() {
                let phase = job.status.as_ref().map(|status| status.phase).unwrap_or_default();
                *counts.entry(phase).or_default() += 1;
            }
            for phase in Phase::ALL {
                context
                    .metrics
                    .batch_jobs
                    .with_label_values(&[phase.as_str()])
                    .set(counts.get(&phase).copied().unwrap_or(0));
            }
            tokio::time::sleep(COUNTED_EVERY).await;
        }
    };
    tokio::select! {
        () = count => {}
        () = shutdown => {}
    }
}
