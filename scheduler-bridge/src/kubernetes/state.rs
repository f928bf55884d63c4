//! What Jobs and their pods say, as jobs and runs. Pure.
//!
//! A pod is a run: it is kept, by a finalizer, until its use is in the ledger, so that how a job ended and what it held is
//! read from its pods, whoever deletes what.

use super::manifest::{ACCOUNT, CANCELLED, CONTAINER, FOR, FOR_UID, GPUS, HELD, TASKS, TOKEN, USER};
use crate::job::{Holder, Measured, NodeList, Outlook, phase_of_all};
use crate::{
    ArrayTask, ClusterName, CoreSeconds, GpuSeconds, JobAccounting, JobId, MalformedRow, Phase, QueuedJob,
    Run, RunId, RunRows, TaskCounts, Token, Tres, Uid,
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Annotation of a pod of an Indexed Job: its place among the tasks.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Jobs and pods of a scheduler, as they were at a moment, by the UID of the object that they are for.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) jobs: BTreeMap<Uid, Job>,
    pub(super) pods: HashMap<Uid, Vec<Pod>>,
    /// Why Kubernetes makes no pod of a Job, in its words.
    pub(super) refusals: HashMap<Uid, String>,
}

impl Seen {
    pub(super) fn new(jobs: Vec<Job>, pods: Vec<Pod>) -> Self {
        let mut seen = Self::default();
        for job in jobs {
            if let Some(uid) = for_uid(&job.metadata) {
                seen.jobs.insert(uid, job);
            }
        }
        for pod in pods {
            if let Some(uid) = for_uid(&pod.metadata) {
                seen.pods.entry(uid).or_default().push(pod);
            }
        }
        seen
    }

    fn pods_of(&self, uid: Uid) -> &[Pod] {
        self.pods.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// Jobs that should have a pod by now and have none, of which somebody may be told why.
    pub(super) fn without_pods(&self) -> impl Iterator<Item = (Uid, &Job)> {
        self.jobs
            .iter()
            .filter(|(uid, job)| !is_suspended(job) && !is_over(job) && self.pods_of(**uid).is_empty())
            .map(|(uid, job)| (*uid, job))
    }

    /// The jobs that are not over.
    pub(super) fn queue(&self) -> Vec<QueuedJob> {
        self.jobs.keys().filter_map(|uid| self.queued(*uid)).collect()
    }

    /// A job that is not over.
    pub(super) fn queued(&self, uid: Uid) -> Option<QueuedJob> {
        let job = self.jobs.get(&uid)?;
        if self.has_ended(uid, job) {
            return None;
        }
        let pods = self.pods_of(uid);
        let tasks = self.tasks(uid);
        let running = pods.iter().find(|pod| phase_of(pod) == Phase::Running);
        let is_held = is_suspended(job) && !is_cancelled(job);
        let note = |key: &str| annotation(&job.metadata, key).unwrap_or_default().to_owned();
        let phase = phase_of_all(tasks.phases.iter().copied(), &tasks.counts);
        let waits = (phase == Phase::Queued).then(|| self.waits_for(uid, job, pods));
        let (reason, waits_for) = waits.unwrap_or_default();
        Some(QueuedJob {
            id: JobId::Made(uid),
            submitted_at: created(&job.metadata),
            token: token(&job.metadata),
            user: note(USER),
            account: note(ACCOUNT),
            partition: String::new(),
            name: name(&job.metadata),
            phase,
            state: if is_held {
                "Suspended"
            } else {
                running.map_or("Pending", |_| "Running")
            }
            .to_owned(),
            reason,
            waits_for,
            held_by: is_held.then(|| match annotation(&job.metadata, HELD) {
                Some(_) => Holder::User,
                None => Holder::Administrator,
            }),
            started_at: pods.iter().filter_map(|pod| span(pod).started).min(),
            nodes: if tasks.is_array {
                NodeList::default()
            } else {
                running.map(nodes).unwrap_or_default()
            },
            tasks: tasks.counts,
            // What is over is told by the pods and the Job themselves.
            never_ran: 0,
            cores: pods
                .iter()
                .filter(|pod| phase_of(pod) == Phase::Running)
                .map(|pod| held(pod).cpus)
                .sum(),
            priority: None,
            outlook: Outlook::default(),
        })
    }

    /// Why nothing of a job runs: Kubernetes' word, and a sentence.
    fn waits_for(&self, uid: Uid, job: &Job, pods: &[Pod]) -> (Option<String>, Option<String>) {
        let told = |reason: &str, sentence: String| (Some(reason.to_owned()), Some(sentence));
        if is_suspended(job) {
            return match annotation(&job.metadata, HELD) {
                Some(_) => told(
                    "Suspended",
                    "is held by its author: meso release lets it start".to_owned(),
                ),
                None => told(
                    "Suspended",
                    "is held by an administrator, or by what queues Jobs of this cluster".to_owned(),
                ),
            };
        }
        if let Some(why) = self.refusals.get(&uid) {
            return told("FailedCreate", format!("Kubernetes makes no pod of it: {why}"));
        }
        for pod in pods.iter().filter(|pod| !is_finished(pod)) {
            if let Some(unscheduled) = condition(pod, "PodScheduled").filter(|one| one.status == "False") {
                let why = unscheduled
                    .message
                    .as_deref()
                    .unwrap_or("the scheduler says nothing more");
                return told(
                    unscheduled.reason.as_deref().unwrap_or("Unschedulable"),
                    format!("waits for a node with enough that is free: {why}"),
                );
            }
            if let Some(waiting) = state(pod).and_then(|state| state.waiting.as_ref()) {
                let reason = waiting.reason.as_deref().unwrap_or_default();
                let more = waiting
                    .message
                    .as_deref()
                    .map(|more| format!(": {more}"))
                    .unwrap_or_default();
                return match reason {
                    "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => told(
                        reason,
                        format!("its image {} cannot be fetched{more}", image(pod)),
                    ),
                    "" | "ContainerCreating" | "PodInitializing" => (Some(reason.to_owned()), None),
                    reason => told(reason, format!("its container is not started yet{more}")),
                };
            }
        }
        (None, None)
    }

    /// Whether nothing of a job runs or will.
    fn has_ended(&self, uid: Uid, job: &Job) -> bool {
        let none_runs = self.pods_of(uid).iter().all(is_finished);
        none_runs && (is_over(job) || is_cancelled(job))
    }

    /// What is known of a job, whether it is over or not: from its Job and pods, or from what is left of them.
    pub(super) fn accounting(&self, uid: Uid) -> Option<JobAccounting> {
        let job = self.jobs.get(&uid);
        let pods = self.pods_of(uid);
        let metadata = job
            .map(|job| &job.metadata)
            .or_else(|| pods.first().map(|pod| &pod.metadata))?;
        let tasks = self.tasks(uid);
        let phase = phase_of_all(tasks.phases.iter().copied(), &tasks.counts);
        let telling = tasks
            .last
            .iter()
            .find(|(_, one)| *one == phase)
            .map(|(pod, _)| *pod);
        let ended = phase.is_finished();
        let spans: Vec<Span> = pods.iter().map(span).collect();
        let ended_at = spans.iter().filter_map(|span| span.ended).max();
        let called_off = job.and_then(|job| annotation(&job.metadata, CANCELLED)?.parse().ok());
        let (mut cores, mut gpus) = (0_u64, 0_u64);
        for (pod, span) in pods.iter().zip(&spans) {
            let held = held(pod);
            cores = cores.saturating_add(held.cpus.saturating_mul(span.seconds()));
            gpus = gpus.saturating_add(held.gpus.saturating_mul(span.seconds()));
        }
        let exit_code = tasks.last.iter().filter_map(|(pod, _)| exit_code(pod)).max();
        Some(JobAccounting {
            id: JobId::Made(uid),
            submitted_at: job.map_or_else(
                || {
                    pods.iter()
                        .map(|pod| created(&pod.metadata))
                        .min()
                        .unwrap_or(Timestamp::UNIX_EPOCH)
                },
                |job| created(&job.metadata),
            ),
            token: token(metadata),
            user: annotation(metadata, USER).unwrap_or_default().to_owned(),
            account: annotation(metadata, ACCOUNT).unwrap_or_default().to_owned(),
            partition: String::new(),
            name: name(metadata),
            phase,
            state: match telling {
                Some(pod) => word(pod),
                None => phase.as_str().to_owned(),
            },
            exit_code: exit_code.filter(|_| ended),
            signal: None,
            started_at: spans.iter().filter_map(|span| span.started).min(),
            ended_at: ended
                .then(|| ended_at.or(called_off).or_else(|| job.and_then(over_since)))
                .flatten(),
            nodes: if tasks.is_array {
                NodeList::default()
            } else {
                telling.map(nodes).unwrap_or_default()
            },
            tasks: tasks.counts,
            never_ran: 0,
            core_seconds: CoreSeconds(cores),
            gpu_seconds: GpuSeconds(gpus),
            measured: Measured {
                allocated_memory_mib: pods.iter().map(|pod| held(pod).memory_mib).max().unwrap_or(0),
                ..Measured::default()
            },
        })
    }

    /// Where each task is.
    fn tasks(&self, uid: Uid) -> Tasks<'_> {
        let job = self.jobs.get(&uid);
        let pods = self.pods_of(uid);
        let mut last: BTreeMap<Option<u32>, &Pod> = BTreeMap::new();
        for pod in pods {
            let newest = last.entry(index(pod)).or_insert(pod);
            if (created(&pod.metadata), &pod.metadata.uid) > (created(&newest.metadata), &newest.metadata.uid)
            {
                *newest = pod;
            }
        }
        let metadata = job
            .map(|job| &job.metadata)
            .or_else(|| pods.first().map(|pod| &pod.metadata));
        let total: u64 = metadata
            .and_then(|metadata| annotation(metadata, TASKS)?.parse().ok())
            .unwrap_or(1);
        let mut tasks = Tasks {
            counts: TaskCounts::default(),
            is_array: last.keys().any(Option::is_some) || total > 1,
            phases: Vec::new(),
            last: Vec::new(),
        };
        for pod in last.into_values() {
            let phase = match phase_within(pod, job) {
                // What a failed node takes comes again, where it may.
                Phase::NodeFailed if job.is_some_and(|job| !is_over(job) && goes_on(job)) => Phase::Queued,
                phase => phase,
            };
            tasks.counts.add(phase, 1);
            tasks.phases.push(phase);
            tasks.last.push((pod, phase));
        }
        let without_pods = total.saturating_sub(tasks.counts.total);
        if without_pods > 0 {
            let phase = match job {
                Some(job) if is_cancelled(job) => Phase::Cancelled,
                Some(job) if has_condition(job, "Complete") => Phase::Succeeded,
                Some(job) if has_condition(job, "Failed") => Phase::Failed,
                Some(_) => Phase::Queued,
                None => Phase::Cancelled,
            };
            tasks.phases.push(phase);
            tasks.counts.add(phase, without_pods);
        }
        tasks
    }

    /// Every run of everybody that is not in the ledger.
    pub(super) fn runs(&self, cluster: &ClusterName) -> RunRows {
        let mut rows = RunRows::default();
        for (uid, pods) in &self.pods {
            for pod in pods {
                match run(*uid, pod, self.jobs.get(uid), cluster) {
                    Ok(run) => rows.runs.push(run),
                    Err(why) => rows.malformed.push(MalformedRow {
                        row: format!(
                            "pod {} in {}",
                            pod.metadata.name.as_deref().unwrap_or_default(),
                            pod.metadata.namespace.as_deref().unwrap_or_default()
                        ),
                        id: pod_uid(pod).map(RunId::Pod),
                        job: Some(JobId::Made(*uid)),
                        account: annotation(&pod.metadata, ACCOUNT).map(str::to_owned),
                        why,
                    }),
                }
            }
        }
        rows
    }

    /// Pods that have ended, whose runs are among these.
    pub(super) fn ended_pods<'a>(&'a self, runs: &'a HashSet<RunId>) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().flatten().filter(move |pod| {
            is_finished(pod) && pod_uid(pod).is_some_and(|uid| runs.contains(&RunId::Pod(uid)))
        })
    }
}

/// Where the tasks of a job are.
struct Tasks<'a> {
    counts: TaskCounts,
    is_array: bool,
    /// The phases that there are.
    phases: Vec<Phase>,
    /// The last pod of each, and where it is.
    last: Vec<(&'a Pod, Phase)>,
}

/// When a pod's container ran.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
}

impl Span {
    /// Whole seconds, as Kubernetes keeps times.
    fn seconds(self) -> u64 {
        let seconds = |time: Timestamp| time.as_second();
        match (self.started, self.ended) {
            (Some(started), Some(ended)) => u64::try_from(seconds(ended) - seconds(started)).unwrap_or(0),
            _ => 0,
        }
    }
}

/// When it ran: from its container's start to its end. A kubelet that went away says no end: then it is what the control
/// plane said in its place.
fn span(pod: &Pod) -> Span {
    let state = state(pod);
    let terminated = state.and_then(|state| state.terminated.as_ref());
    let running = state.and_then(|state| state.running.as_ref());
    // A container that could not be started held nothing that its author could use.
    if terminated.is_some_and(|end| is_no_start(end.reason.as_deref())) {
        return Span::default();
    }
    let started = terminated
        .and_then(|end| end.started_at.as_ref())
        .or_else(|| running.and_then(|running| running.started_at.as_ref()))
        .map(|time| time.0)
        .or_else(|| {
            let status = pod.status.as_ref()?;
            terminated.and(status.start_time.as_ref()).map(|time| time.0)
        });
    let ended = if is_finished(pod) && started.is_some() {
        terminated
            .and_then(|end| end.finished_at.as_ref())
            .or_else(|| condition(pod, "DisruptionTarget")?.last_transition_time.as_ref())
            .or_else(|| condition(pod, "Ready")?.last_transition_time.as_ref())
            .or(pod.metadata.deletion_timestamp.as_ref())
            .map(|time| time.0)
            .map(|ended| started.map_or(ended, |started| ended.max(started)))
    } else {
        None
    };
    Span { started, ended }
}

/// Whether a container's end is that it never began.
fn is_no_start(reason: Option<&str>) -> bool {
    matches!(reason, Some("StartError" | "ContainerCannotRun"))
}

fn run(uid: Uid, pod: &Pod, job: Option<&Job>, cluster: &ClusterName) -> Result<Run, String> {
    let note = |key: &str| annotation(&pod.metadata, key).unwrap_or_default().to_owned();
    let span = span(pod);
    if is_finished(pod) && span.started.is_some() && span.ended.is_none() {
        return Err("it ran, and nobody says until when: its node went away".to_owned());
    }
    let id = pod_uid(pod).ok_or_else(|| "it has no UID".to_owned())?;
    let phase = phase_within(pod, job);
    Ok(Run {
        cluster: cluster.clone(),
        id: RunId::Pod(id),
        job_id: JobId::Made(uid),
        array_task: index(pod).map(|index| ArrayTask {
            array: JobId::Made(uid),
            index: Some(index),
        }),
        component_of: None,
        tasks: 1,
        submitted_at: created(&pod.metadata),
        started_at: span.started,
        ended_at: span.ended,
        restarts: None,
        account: note(ACCOUNT),
        user: note(USER),
        partition: String::new(),
        name: name(&pod.metadata),
        token: token(&pod.metadata),
        phase,
        state: phase.as_str().to_owned(),
        elapsed_seconds: span.seconds(),
        suspended_seconds: 0,
        tres: held(pod),
        exit_code: exit_code(pod).unwrap_or(0),
        signal: 0,
        nodes: nodes(pod),
    })
}

/// What a pod holds: what it asks for, which is what it is limited to.
fn held(pod: &Pod) -> Tres {
    let requests = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.iter().find(|one| one.name == CONTAINER))
        .and_then(|container| container.resources.as_ref()?.requests.as_ref());
    let number = |resource: &str, unit: &str| -> u64 {
        let written = requests.and_then(|requests| requests.get(resource));
        written.map_or(0, |Quantity(text)| whole(text, unit))
    };
    Tres {
        cpus: number("cpu", ""),
        memory_mib: number("memory", "Mi"),
        nodes: 1,
        gpus: annotation(&pod.metadata, GPUS)
            .and_then(|gpus| gpus.parse().ok())
            .unwrap_or(0),
        others: BTreeMap::new(),
    }
}

/// A quantity as the manifest writes it, and as the API server may write it anew: `2048Mi` is `2Gi` there, `1000` cores `1k`.
fn whole(text: &str, unit: &str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let number: u64 = number.parse().unwrap_or(0);
    match (suffix, unit) {
        (suffix, unit) if suffix == unit => number,
        ("k", "") => number.saturating_mul(1_000),
        ("M", "") => number.saturating_mul(1_000_000),
        ("Gi", "Mi") => number.saturating_mul(1 << 10),
        ("Ti", "Mi") => number.saturating_mul(1 << 20),
        ("Pi", "Mi") => number.saturating_mul(1 << 30),
        _ => 0,
    }
}

fn phase_of(pod: &Pod) -> Phase {
    let status = pod.status.as_ref();
    match status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
    {
        "Succeeded" => Phase::Succeeded,
        "Failed" => {
            let reason = status.and_then(|status| status.reason.as_deref());
            let container = state(pod).and_then(|state| state.terminated.as_ref()?.reason.as_deref());
            match (reason, container) {
                (Some("DeadlineExceeded"), _) => Phase::TimedOut,
                (_, Some("OOMKilled")) => Phase::OutOfMemory,
                _ if is_disrupted(pod) => Phase::NodeFailed,
                _ => Phase::Failed,
            }
        }
        "Running" => Phase::Running,
        _ => Phase::Queued,
    }
}

/// Where a pod is, seen with its Job: what was ended with it was cancelled, however it took that. A Job that is gone takes
/// along pods that had ended before.
fn phase_within(pod: &Pod, job: Option<&Job>) -> Phase {
    let phase = phase_of(pod);
    let was_taken_down = pod.metadata.deletion_timestamp.is_some();
    match job {
        Some(job) if is_cancelled(job) && was_taken_down && phase.is_finished() => Phase::Cancelled,
        Some(job) if job.metadata.deletion_timestamp.is_none() => phase,
        _ if was_taken_down && matches!(phase, Phase::Failed | Phase::NodeFailed) => Phase::Cancelled,
        _ => phase,
    }
}

/// Kubernetes' own words for how a pod ended.
fn word(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let end = state(pod).and_then(|state| state.terminated.as_ref());
    let reason = status.and_then(|status| status.reason.as_deref());
    let container = end.and_then(|end| end.reason.as_deref());
    let message = match (reason, container) {
        (None, Some("StartError" | "ContainerCannotRun")) => end.and_then(|end| end.message.as_deref()),
        (Some("Evicted"), _) => status.and_then(|status| status.message.as_deref()),
        _ => None,
    };
    let word = reason.or(container).unwrap_or(phase_of(pod).as_str());
    match message {
        Some(message) => format!("{word}: {}", message.trim()),
        None => word.to_owned(),
    }
}

/// Kubernetes took it away for reasons that are not the job's.
fn is_disrupted(pod: &Pod) -> bool {
    condition(pod, "DisruptionTarget").is_some_and(|one| one.status == "True")
}

/// It failed by itself and with a code; none of what was never started, or was ended by Kubernetes.
fn exit_code(pod: &Pod) -> Option<i32> {
    let end = state(pod)?.terminated.as_ref()?;
    let is_evicted = pod.status.as_ref()?.reason.as_deref() == Some("Evicted");
    (!is_evicted && !is_no_start(end.reason.as_deref())).then_some(end.exit_code)
}

fn is_finished(pod: &Pod) -> bool {
    phase_of(pod).is_finished()
}

fn state(pod: &Pod) -> Option<&ContainerState> {
    pod.status
        .as_ref()?
        .container_statuses
        .as_ref()?
        .iter()
        .find(|status| status.name == CONTAINER)?
        .state
        .as_ref()
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|one| one.type_ == type_)
}

fn has_condition(job: &Job, type_: &str) -> bool {
    conditions(job).any(|one| one.type_ == type_ && one.status == "True")
}

fn conditions(job: &Job) -> impl Iterator<Item = &k8s_openapi::api::batch::v1::JobCondition> {
    job.status
        .iter()
        .filter_map(|status| status.conditions.as_ref())
        .flatten()
}

/// Kubernetes is done with it.
fn is_over(job: &Job) -> bool {
    has_condition(job, "Complete") || has_condition(job, "Failed")
}

fn over_since(job: &Job) -> Option<Timestamp> {
    conditions(job)
        .filter(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True")
        .find_map(|one| one.last_transition_time.as_ref().map(|time| time.0))
}

fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

pub(super) fn is_cancelled(job: &Job) -> bool {
    annotation(&job.metadata, CANCELLED).is_some()
}

/// Whether what a node took comes again.
fn goes_on(job: &Job) -> bool {
    job.spec
        .as_ref()
        .is_some_and(|spec| spec.pod_failure_policy.is_some())
}

fn image(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| {
            spec.containers
                .iter()
                .find(|one| one.name == CONTAINER)?
                .image
                .as_deref()
        })
        .unwrap_or_default()
}

fn nodes(pod: &Pod) -> NodeList {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.map(NodeList::new).unwrap_or_default()
}

fn index(pod: &Pod) -> Option<u32> {
    annotation(&pod.metadata, INDEX)?.parse().ok()
}

fn created(metadata: &ObjectMeta) -> Timestamp {
    metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn token(metadata: &ObjectMeta) -> Option<Token> {
    Token::parse(annotation(metadata, TOKEN)?).ok()
}

fn name(metadata: &ObjectMeta) -> String {
    let labels = metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(FOR))
        .cloned()
        .unwrap_or_default()
}

pub(super) fn for_uid(metadata: &ObjectMeta) -> Option<Uid> {
    Uid::parse(metadata.labels.as_ref()?.get(FOR_UID)?)
}

fn pod_uid(pod: &Pod) -> Option<Uid> {
    Uid::parse(pod.metadata.uid.as_deref()?)
}

pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const UID: &str = "5b0e2c1a-0000-4000-8000-000000000000";

    fn uid() -> Uid {
        Uid::parse(UID).unwrap()
    }

    fn merged(mut one: Value, other: Value) -> Value {
        match (&mut one, other) {
            (Value::Object(one), Value::Object(other)) => {
                for (key, value) in other {
                    let before = one.remove(&key).unwrap_or(Value::Null);
                    one.insert(key, merged(before, value));
                }
            }
            (one, other) => *one = other,
        }
        one
    }

    fn job(change: Value) -> Job {
        let plain = json!({
            "metadata": {
                "name": format!("bj-{UID}"), "namespace": "univ-caen--climate", "creationTimestamp": "2026-11-27T10:00:00Z",
                "labels": {FOR_UID: UID, FOR: "pi"},
                "annotations": {TOKEN: format!("{UID}/1"), USER: "alice", ACCOUNT: "univ-caen.climate", TASKS: "1"},
            },
            "spec": {"template": {"spec": {"containers": []}}, "podFailurePolicy": {"rules": []}},
        });
        serde_json::from_value(merged(plain, change)).unwrap()
    }

    fn pod(number: u32, change: Value) -> Pod {
        let plain = json!({
            "metadata": {
                "name": format!("bj-{UID}-{number}"), "namespace": "univ-caen--climate",
                "uid": format!("00000000-0000-4000-8000-0000000000{number:02}"),
                "creationTimestamp": format!("2026-11-27T10:00:{number:02}Z"), "labels": {FOR_UID: UID, FOR: "pi"},
                "annotations": {TOKEN: format!("{UID}/1"), USER: "alice", ACCOUNT: "univ-caen.climate", TASKS: "1", GPUS: "0"},
            },
            "spec": {"nodeName": "n1", "containers": [{
                "name": CONTAINER, "image": "tools:1", "resources": {"requests": {"cpu": "2", "memory": "2Gi"}},
            }]},
        });
        serde_json::from_value(merged(plain, change)).unwrap()
    }

    fn ended(phase: &str, exit: i32, reason: &str) -> Value {
        json!({"status": {"phase": phase, "containerStatuses": [{
            "name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit, "reason": reason,
                "startedAt": "2026-11-27T10:01:00Z", "finishedAt": "2026-11-27T10:01:07Z"}},
        }]}})
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"status": {"phase": "Pending", "containerStatuses": [{
            "name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]}})
    }

    fn over(type_: &str) -> Value {
        json!({"status": {"conditions": [{"type": type_, "status": "True", "lastTransitionTime": "2026-11-27T10:01:08Z"}]}})
    }

    #[test]
    fn a_pod_of_seven_seconds_on_two_cpus_is_a_run_of_fourteen_core_seconds() {
        let seen = Seen::new(
            vec![job(over("Complete"))],
            vec![pod(1, ended("Succeeded", 0, "Completed"))],
        );
        assert_eq!(seen.queued(uid()), None);
        let told = seen.accounting(uid()).unwrap();
        assert_eq!(
            (told.phase, told.core_seconds, told.exit_code),
            (Phase::Succeeded, CoreSeconds(14), Some(0))
        );
        assert_eq!(told.nodes.as_folded(), "n1");
        let rows = seen.runs(&ClusterName::new("cluster-jobs").unwrap());
        assert_eq!((rows.runs.len(), rows.malformed.len()), (1, 0));
        let run = &rows.runs[0];
        assert_eq!(
            (run.core_seconds(), run.tres.memory_mib),
            (Some(CoreSeconds(14)), 2_048)
        );
    }

    #[test]
    fn each_end_has_its_phase() {
        let of = |pod_change: Value, job_change: Value| {
            let seen = Seen::new(vec![job(job_change)], vec![pod(1, pod_change)]);
            seen.accounting(uid()).unwrap()
        };
        let failed = of(ended("Failed", 3, "Error"), over("Failed"));
        assert_eq!((failed.phase, failed.exit_code), (Phase::Failed, Some(3)));
        assert_eq!(
            of(ended("Failed", 137, "OOMKilled"), over("Failed")).phase,
            Phase::OutOfMemory
        );
        let late = merged(
            ended("Failed", 143, "Error"),
            json!({"status": {"reason": "DeadlineExceeded"}}),
        );
        assert_eq!(of(late, over("Failed")).phase, Phase::TimedOut);
        let disrupted = json!({"status": {"conditions": [
            {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "lastTransitionTime": "2026-11-27T10:05:00Z"},
        ]}});
        let lost = merged(ended("Failed", 137, "Error"), disrupted);
        assert_eq!(of(lost.clone(), over("Failed")).phase, Phase::NodeFailed);
        assert_eq!(of(lost, json!({})).phase, Phase::Queued, "it runs again");
        let cancelled = json!({"metadata": {"annotations": {CANCELLED: "2026-11-27T10:01:05Z"}}, "spec": {"suspend": true}});
        let taken_down = merged(
            ended("Failed", 143, "Error"),
            json!({"metadata": {"deletionTimestamp": "2026-11-27T10:01:05Z"}}),
        );
        assert_eq!(of(taken_down, cancelled.clone()).phase, Phase::Cancelled);
        let bowed = merged(
            ended("Succeeded", 0, "Completed"),
            json!({"metadata": {"deletionTimestamp": "2026-11-27T10:01:05Z"}}),
        );
        assert_eq!(
            of(bowed, cancelled.clone()).phase,
            Phase::Cancelled,
            "it took the signal well"
        );
        assert_eq!(
            of(ended("Failed", 3, "Error"), cancelled).phase,
            Phase::Failed,
            "it had failed before"
        );
        let filled = json!({"status": {"reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds 1Gi"}});
        let filled = of(merged(ended("Failed", 137, "Error"), filled), over("Failed"));
        assert_eq!((filled.phase, filled.exit_code), (Phase::Failed, None));
        assert_eq!(
            filled.state,
            "Evicted: Pod ephemeral local storage usage exceeds 1Gi"
        );
        let no_start = of(ended("Failed", 128, "StartError"), over("Failed"));
        assert_eq!(
            (no_start.phase, no_start.exit_code, no_start.core_seconds),
            (Phase::Failed, None, CoreSeconds(0))
        );
    }

    #[test]
    fn a_job_that_was_cancelled_before_it_had_a_pod_ended_then() {
        let cancelled = json!({"metadata": {"annotations": {CANCELLED: "2026-11-27T10:01:05Z"}}, "spec": {"suspend": true}});
        let seen = Seen::new(vec![job(cancelled)], vec![]);
        assert_eq!(seen.queued(uid()), None);
        let told = seen.accounting(uid()).unwrap();
        assert_eq!(told.phase, Phase::Cancelled);
        assert_eq!(told.ended_at.unwrap().to_string(), "2026-11-27T10:01:05Z");
    }

    #[test]
    fn why_a_job_waits_is_said_in_a_sentence() {
        let waits = |job_change: Value, pods: Vec<Pod>| seen_waits(Seen::new(vec![job(job_change)], pods));
        fn seen_waits(seen: Seen) -> String {
            let row = seen.queued(uid()).unwrap();
            assert_eq!(row.phase, Phase::Queued);
            row.waits_for.unwrap_or_default()
        }
        let unscheduled = json!({"status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
        ]}});
        assert!(waits(json!({}), vec![pod(1, unscheduled)]).contains("0/1 nodes are available"));
        let image = waits(json!({}), vec![pod(1, waiting("ImagePullBackOff", "not found"))]);
        assert_eq!(image, "its image tools:1 cannot be fetched: not found");
        let held = json!({"metadata": {"annotations": {HELD: "true"}}, "spec": {"suspend": true}});
        assert!(waits(held, vec![]).contains("meso release"));
        let mut refused = Seen::new(vec![job(json!({}))], vec![]);
        assert_eq!(refused.without_pods().count(), 1);
        refused.refusals.insert(uid(), "exceeded quota".to_owned());
        assert!(seen_waits(refused).contains("exceeded quota"));
    }

    #[test]
    fn the_tasks_of_an_array_are_counted_each_by_its_last_pod() {
        let five = |change: Value| job(merged(json!({"metadata": {"annotations": {TASKS: "5"}}}), change));
        let task = |number: u32, index: u32, change: Value| {
            pod(
                number,
                merged(
                    json!({"metadata": {"annotations": {INDEX: index.to_string(), TASKS: "5"}}}),
                    change,
                ),
            )
        };
        let running = json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": CONTAINER, "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-27T10:02:00Z"}},
        }]}});
        let pods = vec![
            task(1, 0, ended("Failed", 137, "Error")),
            task(4, 0, ended("Succeeded", 0, "Completed")),
            task(2, 1, ended("Failed", 3, "Error")),
            task(3, 2, running),
        ];
        let seen = Seen::new(vec![five(json!({}))], pods.clone());
        let row = seen.queued(uid()).unwrap();
        assert_eq!(row.phase, Phase::Running);
        let counts = TaskCounts {
            total: 5,
            queued: 2,
            running: 1,
            succeeded: 1,
            failed: 1,
            cancelled: 0,
        };
        assert_eq!(row.tasks, counts);
        let told = seen.accounting(uid()).unwrap();
        assert_eq!(
            (told.phase, told.core_seconds),
            (Phase::Running, CoreSeconds(42)),
            "each run counts"
        );
        // Its Job was deleted by somebody who may: what ended is known, the rest will never be.
        let left = Seen::new(vec![], pods.into_iter().take(3).collect())
            .accounting(uid())
            .unwrap();
        assert_eq!(
            (left.phase, left.tasks.cancelled, left.tasks.total),
            (Phase::Failed, 3, 5)
        );
    }

    #[test]
    fn a_node_that_went_away_leaves_an_end_or_a_row_that_keeps_the_month_open() {
        let lost = |conditions: Value| {
            json!({"status": {"phase": "Failed", "conditions": conditions, "containerStatuses": [{
                "name": CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-11-27T10:01:00Z"}},
            }]}})
        };
        let cluster = ClusterName::new("cluster-jobs").unwrap();
        let told = json!([{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-11-27T10:05:00Z"}]);
        let rows = Seen::new(vec![], vec![pod(1, lost(told))]).runs(&cluster);
        assert_eq!(rows.runs[0].elapsed_seconds, 240);
        let rows = Seen::new(vec![], vec![pod(1, lost(json!([])))]).runs(&cluster);
        assert_eq!((rows.runs.len(), rows.malformed.len()), (0, 1));
    }
}
