//! Kubernetes as a batch scheduler: a submission becomes a `batch/v1` Job, an array an Indexed one, a run a pod.
//!
//! | step | what is done | file |
//! | --- | --- | --- |
//! | submit | one Job is created, by a name that there is once | `asked.rs`, `manifest.rs` |
//! | queue, accounting, runs | Jobs and pods of this scheduler are listed, those that are metered left out | `state.rs` |
//! | cancel, hold, release | the Job is suspended, or goes on; an annotation says which | here |
//! | settle | finalizers of pods whose use is in the ledger are taken off | here |
//!
//! Pods hold what they ask for from their container's start to its end. A finalizer keeps each until its use is in the
//! ledger: whoever deletes a pod, a Job or a node, nothing that was used is forgotten.
//!
//! What Slurm has and Kubernetes has not: partitions, several nodes a job, a longer time limit for a pod that runs, an end
//! by signal, what processes made of their cores. Dependencies are the caller's to wait for.

mod asked;
mod manifest;
mod state;

pub use asked::MOST_TASKS;
pub use manifest::{CONTAINER, FOR_UID, SCHEDULER};
pub use state::INDEX;

use crate::job::{JobAccounting, JobIdentity, Queue, QueuedJob, RunId, RunRows};
use crate::{
    BatchScheduler, ClusterName, CoreSeconds, GpuSeconds, Health, InvalidSubmission, JobId, Partition,
    SchedulerError, Submission, SubmitError, Uid, Window,
};
use asked::Asked;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, ResourceExt};
use manifest::{CANCELLED, HELD, METERED, TOKEN, UNMETERED};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use state::Seen;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;

/// How many objects come in one answer.
const PAGE: u32 = 500;
/// Of how many Jobs without a pod it is asked why, at a time.
const ASKED_WHY: usize = 20;
/// How many pods are let go side by side.
const LET_GO_SIDE_BY_SIDE: usize = 8;

/// What holds where a job asks for nothing, and how far it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The image of jobs that name none.
    pub image: Option<String>,
    /// How long a job may run that says nothing of it.
    pub time_limit_seconds: u64,
    /// How long any job may run.
    pub longest_seconds: u64,
    /// Memory for each CPU of a job that says nothing of memory.
    pub memory_mib_per_cpu: u64,
    /// How many pods of one array there are at a time, at most.
    pub pods_at_a_time: u32,
    /// Labels of the nodes that jobs run on.
    pub node_selector: BTreeMap<String, String>,
    /// Keys of the taints that jobs tolerate.
    pub tolerations: Vec<String>,
}

/// The kind of the objects that Jobs are for, which own them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `group/version`.
    pub api_version: &'static str,
    /// The kind.
    pub kind: &'static str,
}

/// How Kubernetes is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// The scheduler's name: a label of all that is made, and the cluster's name in runs.
    pub scheduler: ClusterName,
    /// The objects that Jobs are for; none where they stand by themselves.
    pub owner: Option<Owner>,
    /// What holds where a job asks for nothing.
    pub defaults: Defaults,
}

/// What a job may use at most: what is to be left of a budget for it to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtMost {
    /// Of cores.
    pub core_seconds: CoreSeconds,
    /// Of GPUs.
    pub gpu_seconds: GpuSeconds,
}

/// A cluster of Kubernetes. Cheap to clone.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    config: KubernetesConfig,
}

impl Kubernetes {
    /// Prepares to speak to a cluster; nothing is asked yet.
    ///
    /// # Errors
    /// [`SchedulerError::Misconfigured`] when the scheduler's name cannot be a label.
    pub fn new(client: Client, config: KubernetesConfig) -> Result<Self, SchedulerError> {
        if manifest::label(config.scheduler.as_str()) != config.scheduler.as_str() {
            return Err(SchedulerError::Misconfigured(format!(
                "the name {} is too long for a label, which all Jobs of the scheduler bear: make it again with at most 63 characters",
                config.scheduler
            )));
        }
        Ok(Self { client, config })
    }

    /// How it is used.
    pub fn config(&self) -> &KubernetesConfig {
        &self.config
    }

    /// Checks a submission as far as that is possible without asking Kubernetes.
    ///
    /// # Errors
    /// What [`submit`](BatchScheduler::submit) would say.
    pub fn check(&self, submission: &Submission) -> Result<(), SubmitError> {
        self.prepare(submission)?;
        Ok(())
    }

    /// What a submission may use at most: all its tasks, as long as they may run.
    ///
    /// # Errors
    /// What cannot be had here.
    pub fn at_most(&self, submission: &Submission) -> Result<AtMost, InvalidSubmission> {
        let asked = Asked::of(submission, &self.config.defaults)?;
        let seconds = u64::from(asked.pods()).saturating_mul(asked.time_limit_seconds);
        Ok(AtMost {
            core_seconds: CoreSeconds(seconds.saturating_mul(asked.cpus)),
            gpu_seconds: GpuSeconds(seconds.saturating_mul(asked.gpus)),
        })
    }

    fn prepare(&self, submission: &Submission) -> Result<manifest::Manifest, InvalidSubmission> {
        let KubernetesConfig {
            scheduler,
            owner,
            defaults,
        } = &self.config;
        manifest::prepare(submission, scheduler.as_str(), owner.as_ref(), defaults)
    }

    /// Lets go of pods whose runs are in the ledger.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn let_go(&self, runs: &HashSet<RunId>) -> Result<(), SchedulerError> {
        let seen = self.see().await?;
        // A pod that its owner may look at for long needs no finalizer for that.
        let pod = json!({
            "metadata": {"labels": {METERED: "true"}, "$deleteFromPrimitiveList/finalizers": [UNMETERED]},
        });
        let ended: Vec<&Pod> = seen.ended_pods(runs).collect();
        for some in ended.chunks(LET_GO_SIDE_BY_SIDE) {
            let let_go = some
                .iter()
                .map(|ended| self.patch::<Pod>(ended, "let go of a pod", Patch::Strategic(pod.clone())));
            try_join_all(let_go).await?;
        }
        Ok(())
    }

    /// Has the Job of a job that is over and metered looked at no more.
    ///
    /// # Errors
    /// See [`SchedulerError`].
    pub async fn close(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        let over = json!({"metadata": {"labels": {METERED: "true"}}});
        match self.see_one(job).await? {
            Some((uid, seen)) => match seen.jobs.get(&uid) {
                Some(there) => {
                    self.patch::<Job>(there, "mark a Job as metered", Patch::Merge(over))
                        .await
                }
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// All Jobs and pods that are not metered.
    async fn see(&self) -> Result<Seen, SchedulerError> {
        let selector = format!("{SCHEDULER}={},!{METERED}", self.config.scheduler);
        self.see_those(&selector).await
    }

    /// Jobs first: a Job that is over has no pod that is made after it was read.
    async fn see_those(&self, labels: &str) -> Result<Seen, SchedulerError> {
        let which = ListParams::default().labels(labels);
        let jobs = self.list(&which).await?;
        Ok(Seen::new(jobs, self.list(&which).await?))
    }

    /// The job of this identity, whether metered or not.
    async fn see_one(&self, job: &JobIdentity) -> Result<Option<(Uid, Seen)>, SchedulerError> {
        let Some(uid) = job.uid() else { return Ok(None) };
        let one = format!("{SCHEDULER}={},{FOR_UID}={uid}", self.config.scheduler);
        Ok(Some((uid, self.see_those(&one).await?)))
    }

    /// All objects of a kind that bear certain labels, in pages. Asked without a resource version: what was written before
    /// is in the answer.
    async fn list<K>(&self, which: &ListParams) -> Result<Vec<K>, SchedulerError>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let mut all = Vec::new();
        let mut which = which.clone().limit(PAGE);
        loop {
            let page = api
                .list(&which)
                .await
                .map_err(|error| not_answered("read its jobs", &error))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => which = which.continue_token(&next),
                None => return Ok(all),
            }
        }
    }

    /// Why no pod is made of Jobs that should have one: quota and admission say so in events only.
    async fn ask_why(&self, seen: &mut Seen) {
        let asked: Vec<(Uid, String, String)> = seen
            .without_pods()
            .take(ASKED_WHY)
            .filter_map(|(uid, job)| Some((uid, job.namespace()?, job.name_any())))
            .collect();
        for (uid, namespace, name) in asked {
            let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
            let fields = format!("involvedObject.kind=Job,involvedObject.name={name},reason=FailedCreate");
            // Advice: a job is followed without it.
            if let Ok(found) = events.list(&ListParams::default().fields(&fields)).await {
                let at = |event: &Event| event.last_timestamp.as_ref().map(|time| time.0);
                let last = found
                    .items
                    .into_iter()
                    .max_by_key(at)
                    .and_then(|event| event.message);
                if let Some(why) = last {
                    seen.refusals.insert(uid, in_short(&why));
                }
            }
        }
    }

    async fn patch<K>(&self, object: &K, what: &str, patch: Patch<Value>) -> Result<(), SchedulerError>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        match api
            .patch(&object.name_any(), &PatchParams::default(), &patch)
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(not_answered(what, &error)),
        }
    }

    /// Changes the Job of a job that is not over.
    async fn change(
        &self,
        job: &JobIdentity,
        what: &str,
        change: impl FnOnce(&QueuedJob) -> Option<Value>,
    ) -> Result<(), SchedulerError> {
        let Some((uid, seen)) = self.see_one(job).await? else {
            return Ok(());
        };
        let (Some(there), Some(row)) = (seen.jobs.get(&uid), seen.queued(uid)) else {
            return Ok(());
        };
        match change(&row) {
            Some(patch) => self.patch::<Job>(there, what, Patch::Merge(patch)).await,
            None => Ok(()),
        }
    }
}

impl JobIdentity {
    /// The UID of the object that the job is for.
    fn uid(&self) -> Option<Uid> {
        match self.id {
            Some(JobId::Made(uid)) => Some(uid),
            Some(JobId::Number(_)) => None,
            None => Uid::parse(self.token.uid()),
        }
    }
}

impl BatchScheduler for Kubernetes {
    async fn ping(&self) -> Result<Health, SchedulerError> {
        let version = self
            .client
            .apiserver_version()
            .await
            .map_err(|error| not_answered("say its version", &error))?;
        let one = ListParams::default()
            .labels(&format!("{SCHEDULER}={}", self.config.scheduler))
            .limit(1);
        let jobs: Api<Job> = Api::all(self.client.clone());
        match jobs.list(&one).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return Err(SchedulerError::Misconfigured(
                    "the operator may not run Jobs in this cluster: set operator.kubernetesJobs in the chart's values"
                        .to_owned(),
                ));
            }
            Err(error) => return Err(not_answered("list Jobs", &error)),
        }
        Ok(Health {
            version: version.git_version,
            controllers: Vec::new(),
            // A request that arrives late finds the name taken: there is no second job to wait for.
            settle_seconds: 0,
            caveats: Vec::new(),
        })
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SchedulerError> {
        Ok(Vec::new())
    }

    async fn submit(&self, submission: &Submission) -> Result<JobId, SubmitError> {
        let manifest = self.prepare(submission)?;
        let id = JobId::Made(manifest.uid);
        let api: Api<Job> = Api::namespaced(self.client.clone(), &submission.container.namespace);
        match api.create(&PostParams::default(), &manifest.job).await {
            Ok(_) => Ok(id),
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                // An earlier attempt's: it is known by this one's token from now on.
                let token = json!({"metadata": {"annotations": {TOKEN: submission.token.as_str()}}});
                api.patch(
                    &manifest.job.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(token),
                )
                .await
                .map(|_| id)
                .map_err(|error| SubmitError::Unknown(error.to_string()))
            }
            Err(kube::Error::Api(status)) => Err(refusal(status.code, &status.message)),
            Err(error) => Err(SubmitError::Unknown(error.to_string())),
        }
    }

    async fn find(&self, job: &JobIdentity, _since: Timestamp) -> Result<Option<QueuedJob>, SchedulerError> {
        let Some((uid, seen)) = self.see_one(job).await? else {
            return Ok(None);
        };
        if let Some(row) = seen.queued(uid) {
            return Ok(Some(row));
        }
        Ok(seen.accounting(uid).map(|ended| QueuedJob {
            id: ended.id,
            submitted_at: ended.submitted_at,
            token: Some(job.token.clone()),
            user: ended.user,
            account: ended.account,
            partition: ended.partition,
            name: ended.name,
            phase: ended.phase,
            state: ended.state,
            reason: None,
            waits_for: None,
            held_by: None,
            tasks: ended.tasks,
            never_ran: ended.never_ran,
            cores: 0,
            started_at: ended.started_at,
            nodes: ended.nodes,
            priority: None,
            outlook: crate::Outlook::default(),
        }))
    }

    async fn queue(&self) -> Result<Queue, SchedulerError> {
        let asked_at = Timestamp::now();
        let mut seen = self.see().await?;
        self.ask_why(&mut seen).await;
        Ok(Queue::new(asked_at, seen.queue()))
    }

    async fn finished(&self, jobs: &[JobIdentity]) -> Result<Vec<JobAccounting>, SchedulerError> {
        let seen = self.see().await?;
        Ok(jobs
            .iter()
            .filter_map(|job| {
                // Its UID is nobody else's, so it is this job, whatever attempt its token is of.
                let told = seen.accounting(job.uid()?)?;
                Some(JobAccounting {
                    token: Some(job.token.clone()),
                    ..told
                })
            })
            .collect())
    }

    async fn runs(&self, _window: Window) -> Result<RunRows, SchedulerError> {
        // Each is there until its use is in the ledger, however long ago it was.
        Ok(self.see().await?.runs(&self.config.scheduler))
    }

    async fn cancel(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        // In one write: a Job that is suspended without the note would be one that is held.
        let patch = json!({
            "metadata": {"annotations": {CANCELLED: now.to_string()}}, "spec": {"suspend": true},
        });
        self.change(job, "cancel the job", |_| Some(patch)).await
    }

    async fn hold(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        let patch = json!({"metadata": {"annotations": {HELD: "true"}}, "spec": {"suspend": true}});
        // To suspend a Job ends what of it runs, and a hold never does.
        self.change(job, "hold the job", |row| {
            (row.tasks.running == 0 && row.held_by.is_none()).then_some(patch)
        })
        .await
    }

    async fn release(&self, job: &JobIdentity) -> Result<(), SchedulerError> {
        let patch = json!({"metadata": {"annotations": {HELD: null}}, "spec": {"suspend": false}});
        self.change(job, "release the job", |row| {
            (row.held_by == Some(crate::Holder::User)).then_some(patch)
        })
        .await
    }

    async fn set_time_limit(&self, job: &JobIdentity, seconds: u64) -> Result<(), SchedulerError> {
        let Some((uid, seen)) = self.see_one(job).await? else {
            return Ok(());
        };
        let Some(row) = seen.queued(uid) else {
            return Ok(());
        };
        let pods = seen.pods.get(&uid).map_or(&[][..], Vec::as_slice);
        let limit = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let refused = |why: &str| SchedulerError::Refused {
            what: "change the job's time limit".to_owned(),
            why: format!("{why}: cancel it and submit it again with another limit"),
        };
        if row.tasks.total > 1 || row.tasks.running == 0 {
            return Err(refused(
                "Kubernetes changes the limit of a pod that runs, and of no other",
            ));
        }
        let mut shortened = false;
        for pod in pods {
            if limit(pod).is_some_and(|limit| limit > seconds) {
                let patch = json!({"spec": {"activeDeadlineSeconds": seconds}});
                self.patch::<Pod>(pod, "shorten the job's time limit", Patch::Merge(patch))
                    .await?;
                shortened = true;
            }
        }
        let is_so = pods.iter().any(|pod| limit(pod) == Some(seconds));
        if shortened || is_so {
            Ok(())
        } else {
            Err(refused("Kubernetes lets no pod run longer than it was made for"))
        }
    }
}

/// What the API server answered in place of what was asked for.
fn not_answered(what: &str, error: &kube::Error) -> SchedulerError {
    match error {
        kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
            SchedulerError::Refused {
                what: what.to_owned(),
                why: in_short(&status.message),
            }
        }
        error => SchedulerError::Unreachable {
            who: "the API server",
            why: error.to_string(),
        },
    }
}

/// What no Job was made for: an author's mistake, or a moment's.
fn refusal(code: u16, message: &str) -> SubmitError {
    match code {
        // A policy, which judges the pod that it would be.
        403 if message.contains("denied request") => SubmitError::Refused(in_short(message)),
        400 | 413 | 422 => SubmitError::Refused(in_short(message)),
        // Quota, rights, a namespace that is coming or going.
        403 | 404 | 409 => SubmitError::NotAsked(in_short(message)),
        _ => SubmitError::Unknown(message.to_owned()),
    }
}

/// What Kubernetes says, without what it puts before each refusal: which object, and which policy.
fn in_short(message: &str) -> String {
    let told = ["denied request: ", "is forbidden: "]
        .iter()
        .find_map(|before| message.split_once(before).map(|(_, told)| told))
        .unwrap_or(message);
    told.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_authors_to_mend_or_a_moments() {
        let policy = "jobs.batch \"bj-1\" is forbidden: ValidatingAdmissionPolicy 'mesocentre-workloads' with binding 'mesocentre-workloads' denied request: the perimeter open-research admits images of registry.example.org: write one of these";
        assert_eq!(
            refusal(403, policy),
            SubmitError::Refused(
                "the perimeter open-research admits images of registry.example.org: write one of these"
                    .to_owned()
            )
        );
        let quota = "jobs.batch \"bj-1\" is forbidden: exceeded quota: tenant, requested: count/jobs.batch=1";
        assert_eq!(
            refusal(403, quota),
            SubmitError::NotAsked("exceeded quota: tenant, requested: count/jobs.batch=1".to_owned())
        );
        assert!(matches!(refusal(500, "etcd"), SubmitError::Unknown(_)));
        assert!(refusal(422, "Job.batch is invalid").is_final());
    }
}
