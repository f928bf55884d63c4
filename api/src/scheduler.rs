//! Scheduler: a batch scheduler that allocations are granted on.

use crate::Condition;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
#[x_kube(validation = Rule::new("has(self.local) != has(self.ssh)").message("name one transport: write local: {} for Slurm's commands on the operator's own machine, or ssh: {host, user, knownHostsSecret, identity: {secretName}} for those of a login node"))]
pub struct Transport {
    /// On the operator's own machine, which is a submit host of the cluster (SLURM_CONF says which configuration).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalTransport>,
    /// On a login node of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshTransport>,
}

/// Slurm's commands on the operator's own machine.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct LocalTransport {}

/// Slurm's commands on a login node, over one connection.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshTransport {
    /// The login node: a DNS name or an IP address.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9:][A-Za-z0-9.:-]*$')").message("write the login node's DNS name or IP address, for example login.hpc.example.org; its port goes into port"))]
    pub host: String,
    /// Where its sshd listens.
    #[serde(default = "ssh_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Who logs in: root, or an account that may run commands as the people there by sudo without a password; where
    /// personIdentity is written, any account that is an operator of Slurm's.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9._-]*$')").message("write one user's name, for example mesocentre"))]
    pub user: String,
    /// A Secret of the operator's own namespace whose known_hosts has the public keys of the login node, as ssh-keyscan writes
    /// them. A host that shows another key is not spoken to. The chart's operator.slurm.sshSecrets must name it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("write the name of a Secret, for example slurm-login"))]
    pub known_hosts_secret: String,
    /// What logs in.
    pub identity: SshIdentity,
    /// What logs in as each person, for what is done as them (submitting, reading scripts and outputs): nothing on the login
    /// node need become anybody then. The account above becomes them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person_identity: Option<PersonIdentity>,
    /// Configuration of Slurm's commands there; their own default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("write the absolute path of slurm.conf on the login node, for example /etc/slurm/slurm.conf"))]
    pub slurm_conf: Option<String>,
    /// Where the commands are there, separated by colons; also the PATH that jobs start with. /usr/local/bin:/usr/bin:/bin
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^/[^:]*(:/[^:]*)*$')").message("write absolute folders separated by colons, for example /opt/slurm/bin:/usr/bin:/bin"))]
    pub path: Option<String>,
}

/// sshd's own port.
fn ssh_port() -> i32 {
    22
}

/// What logs in on a login node as the people there.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonIdentity {
    /// A role of the SSH engine in Vault (MESO_VAULT_LOGIN_MOUNT) that signs for their accounts: each connection has a key of
    /// its own, and a certificate for that one person that holds as long as the role says.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$')").message("write the name of a role, for example people"))]
    pub vault_ssh_role: String,
}

/// What logs in on a login node.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretName) != has(self.vaultSshRole)").message("name one: write secretName for a private key in a Secret, or vaultSshRole for certificates that Vault signs"))]
pub struct SshIdentity {
    /// A Secret of the operator's own namespace with a private key that has no passphrase, as ssh-privatekey. The chart's
    /// operator.slurm.sshSecrets must name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("write the name of a Secret, for example slurm-login"))]
    pub secret_name: Option<String>,
    /// A role of the SSH engine in Vault that signs the operator's logins (MESO_VAULT_LOGIN_MOUNT): each connection has a key of
    /// its own, and a certificate that holds as long as the role says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$')").message("write the name of a role, for example operator"))]
    pub vault_ssh_role: Option<String>,
}

/// Kubernetes as the batch scheduler.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesScheduler {
    /// The image of jobs that name none; without one here, each job names its own. Perimeters judge it as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// How long a job may run that says nothing of it: 1h when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub default_time_limit: Option<Duration>,
    /// How long any job may run: 168h, a week, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub max_time_limit: Option<Duration>,
    /// Memory for each CPU of a job that says nothing of memory: 1Gi when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_quantity")]
    pub default_memory_per_cpu: Option<Quantity>,
    /// How many pods of one array there are at a time, at most: 500 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_pods_at_a_time: Option<i32>,
    /// Labels of the nodes that jobs run on, where some are kept for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 20))]
    pub node_selector: BTreeMap<String, String>,
    /// Keys of the taints that keep other pods off these nodes. A perimeter lists those that its tenants tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 317)))]
    pub tolerations: Vec<String>,
}

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
