//! Scheduler: a batch scheduler that allocations are granted on.

use crate::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a batch scheduler is reached.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "Scheduler",
    plural = "schedulers",
    shortname = "sched",
    category = "meso",
    status = "SchedulerStatus",
    doc = "A batch scheduler that hours are granted on: a Slurm cluster, or Kubernetes itself. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "CPUs", type_ = "integer", json_path = ".status.cpus"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='Ready')].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.slurm) != has(self.kubernetes)").message("a scheduler is one of slurm and kubernetes: write one of them"))]
pub struct SchedulerSpec {
    /// A Slurm cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slurm: Option<SlurmScheduler>,
    /// Kubernetes itself: a batch job becomes a batch/v1 Job in its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesScheduler>,
}

/// A Slurm cluster.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlurmScheduler {
    /// The cluster's name in Slurm (ClusterName).
    #[schemars(length(min = 1, max = 40))]
    pub cluster: String,
    /// How its commands are run.
    pub transport: Transport,
    /// Partitions offered to tenants; none named means all.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 63)))]
    pub partitions: Vec<String>,
}

/// How Slurm's commands are run.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.local)").message("name the transport: write local: {} for Slurm's commands on the operator's own machine"))]
pub struct Transport {
    /// On the operator's own machine, which is a submit host of the cluster (SLURM_CONF says which configuration).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalTransport>,
}

/// Slurm's commands on the operator's own machine.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct LocalTransport {}

/// Kubernetes as the batch scheduler.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct KubernetesScheduler {}

/// What the operator knows of the scheduler.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Slurm or Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its version, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// CPUs of its nodes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<i64>,
    /// The partitions that it offers.
    #[serde(default)]
    pub partitions: Vec<String>,
    /// Conditions: Ready.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
