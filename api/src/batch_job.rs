//! BatchJob: a script for the batch scheduler, as its author wrote it.

use crate::Condition;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A script, its resources, and the allocation that pays.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "BatchJob",
    plural = "batchjobs",
    shortname = "bj",
    category = "meso",
    namespaced,
    status = "BatchJobStatus",
    doc = "A job for the batch scheduler, written by a member in a workspace. It runs exactly once, as its author, within the hours of its allocation. #SBATCH lines in the script hold, as with sbatch; the fields below win over them. To change a job, make another one: only cancel, hold, timeLimit and ttlAfterFinished can be changed.",
    derive = "PartialEq",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Job", type_ = "string", json_path = ".status.scheduler.jobId"),
    printcolumn(name = "Allocation", type_ = "string", json_path = ".spec.allocation"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.submittedBy"),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Exit", type_ = "integer", json_path = ".status.exitCode"),
    printcolumn(name = "Ahead", type_ = "integer", priority = 1, json_path = ".status.outlook.jobsAhead"),
    printcolumn(
        name = "Expected",
        type_ = "string",
        priority = 1,
        json_path = ".status.outlook.expectedStart"
    ),
    printcolumn(name = "Output", type_ = "string", priority = 1, json_path = ".status.outputPath"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 100").message("a batch job's name has at most 100 characters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.script) && self.script.size() > 0) != has(self.scriptFrom)").message("write the script itself into script, or where it is into scriptFrom: one of the two"))]
#[x_kube(validation = Rule::new("has(self.script) == has(oldSelf.script) && has(self.scriptFrom) == has(oldSelf.scriptFrom)").message("a batch job that exists does not change its script: delete it and make another"))]
#[x_kube(validation = Rule::new("has(self.array) == has(oldSelf.array) && has(self.container) == has(oldSelf.container) && has(self.resources) == has(oldSelf.resources) && has(self.environment) == has(oldSelf.environment) && has(self.arguments) == has(oldSelf.arguments) && has(self.dependsOn) == has(oldSelf.dependsOn)").message("a batch job that exists does not change: delete it and make another, or set cancel: true"))]
#[x_kube(validation = Rule::new("!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)").message("a cancelled job stays cancelled; make another job to run it again"))]
pub struct BatchJobSpec {
    /// The allocation that pays, in the tenant's home namespace.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change its allocation: delete it and make another"))]
    pub allocation: String,
    /// The script. Its first line names the interpreter; #SBATCH lines hold where no field below says otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 262144))]
    #[x_kube(validation = Rule::new("self.size() == 0 || self.startsWith('#!')").message("a batch script begins with its interpreter: write #!/bin/bash (or another) as its first line"), validation = Rule::new("self == oldSelf").message("a batch job that exists does not change its script: delete it and make another"))]
    pub script: String,
    /// Where the script is, in place of script. It is read when the job is handed over, and again until it has a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change where its script is: delete it and make another"))]
    pub script_from: Option<ScriptSource>,
    /// Arguments of the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(max = 4096)))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change its arguments: delete it and make another"))]
    pub arguments: Vec<String>,
    /// Environment variables of the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change its environment: delete it and make another"))]
    pub environment: Vec<EnvironmentVariable>,
    /// What the job asks of the scheduler. What is not named follows the script's #SBATCH lines, then the site's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change its resources: delete it and make another"))]
    pub resources: Option<JobResources>,
    /// What the script runs in, on a scheduler that is Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change its container: delete it and make another"))]
    pub container: Option<JobContainer>,
    /// Runs the script once for each index, with SLURM_ARRAY_TASK_ID set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change its array: delete it and make another"))]
    pub array: Option<JobArray>,
    /// Jobs of the tenant that must have come so far before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a batch job that exists does not change what it depends on: delete it and make another"))]
    pub depends_on: Vec<Dependency>,
    /// Cancels the job and keeps the object, as scancel does. Deleting the object cancels the job as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
    /// true keeps what of the job waits from starting, as scontrol uhold does; false lets it start. Each is brought about
    /// once: who holds or releases the job on the cluster afterwards is not contradicted. Absent: the script's own
    /// #SBATCH --hold decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// How long a job that exists may run from its start on, in place of what it was submitted with, as scontrol update
    /// TimeLimit does; of an array, each task. Brought about once. Its author, or another Member, may write less than
    /// fields say now; more is written by an Owner. Not for a new job: write resources.timeLimit there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub time_limit: Option<Duration>,
    /// How long the object stays after the job's end; what it used stays in the ledger. Absent: until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub ttl_after_finished: Option<Duration>,
    /// Who wrote it: stamped on creation by the API server, never by the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub submitted_by: Option<String>,
}

/// Where a script is: one of these.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.configMap) != has(self.path)").message("write configMap, for a script in a ConfigMap of the workspace, or path, for one on the cluster: one of the two"))]
pub struct ScriptSource {
    /// A key of a ConfigMap of the workspace, which must let batch jobs read its sources (batchJobsMayReadSecrets).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyOf>,
    /// A file on the cluster, read as the job's author. Slurm's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 4096))]
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("write the whole path, for example /home/alice/job.sh"))]
    pub path: Option<String>,
}

/// A key of a Secret or ConfigMap of the workspace.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyOf {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("write the name of an object of the workspace, for example model-credentials"))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("write a key as Kubernetes allows it: letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

/// Where a variable's value is: one of these. The workspace must let batch jobs read it (batchJobsMayReadSecrets).
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)").message("write secretKeyRef or configMapKeyRef: one of the two"))]
pub struct ValueSource {
    /// A key of a Secret of the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyOf>,
    /// A key of a ConfigMap of the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyOf>,
}

/// An environment variable of a job.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.valueFrom) || !has(self.value) || self.value.size() == 0").message("write value, or valueFrom for what is in a Secret or ConfigMap: one of the two"))]
pub struct EnvironmentVariable {
    /// Its name.
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("write a variable's name with letters, digits and underscores, for example MODEL"), validation = Rule::new("!self.startsWith('SLURM_') && !self.startsWith('SBATCH_')").message("variables that begin with SLURM_ or SBATCH_ are the scheduler's; use a field of resources, or another name"))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[schemars(length(max = 32768))]
    pub value: String,
    /// Where its value is, in place of value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueSource>,
}

/// What a job asks of the scheduler.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobResources {
    /// Nodes (sbatch --nodes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub nodes: Option<i64>,
    /// Tasks (sbatch --ntasks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000000))]
    pub tasks: Option<i64>,
    /// CPUs a task (sbatch --cpus-per-task).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub cpus_per_task: Option<i64>,
    /// Memory a node (sbatch --mem), for example 4Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_quantity")]
    pub memory: Option<Quantity>,
    /// GPUs a node (sbatch --gres=gpu:N).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub gpus: Option<i64>,
    /// Longest run time (sbatch --time), for example 1h30m. Slurm counts in minutes: a started minute is a whole one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub time_limit: Option<Duration>,
    /// Partition (sbatch --partition).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$')").message("write one partition's name, for example standard"))]
    pub partition: Option<String>,
}

/// What a script runs in, on a scheduler that is Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobContainer {
    /// The image, with the script's interpreter in it; the scheduler's own when absent. Arrays whose indices are not 0, 1, 2
    /// and so on need /bin/sh in it as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// A PersistentVolumeClaim of the workspace that is the script's home, where it starts and what it writes stays. Without
    /// one the home is an empty folder, which goes with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("write the name of a PersistentVolumeClaim, for example results"))]
    pub home_claim: Option<String>,
}

/// The indices of a job array.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobArray {
    /// Indices as sbatch --array takes them: 1-20, 0-100:5 or 1,3,5.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,9}(-[0-9]{1,9}(:[0-9]{1,9})?)?(,[0-9]{1,9}(-[0-9]{1,9}(:[0-9]{1,9})?)?)*$')").message("write the indices as sbatch --array takes them, for example 1-20, 0-100:5 or 1,3,5; the limit of tasks at a time goes into maxConcurrent"), validation = Rule::new("!self.matches('^[0-9]{1,9}(-[0-9]{1,9}(:[0-9]{1,9})?)?(,[0-9]{1,9}(-[0-9]{1,9}(:[0-9]{1,9})?)?)*$') || self.matches('^(100000|[0-9]{1,5})(-(100000|[0-9]{1,5})(:(100000|[0-9]{1,5}))?)?(,(100000|[0-9]{1,5})(-(100000|[0-9]{1,5})(:(100000|[0-9]{1,5}))?)?)*$')").message("an array's index is at most 100000: write fewer, larger tasks, or several arrays"))]
    pub indices: String,
    /// How many tasks may run at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub max_concurrent: Option<i64>,
}

/// A job that must have come so far first.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The other batch job's name.
    #[schemars(length(min = 1, max = 100))]
    pub job: String,
    /// The workspace of the same tenant that it is in; absent: the one that this job is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub workspace: Option<String>,
    /// How far it must have come.
    #[serde(default)]
    pub when: DependencyState,
}

/// How far another job must have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DependencyState {
    /// It ended with exit code 0 (sbatch --dependency=afterok).
    #[default]
    Succeeded,
    /// It ended otherwise (afternotok).
    Failed,
    /// It ended, however (afterany).
    Finished,
    /// It has started (after).
    Started,
    /// Of two arrays: each task waits until the other's task of the same index ended with exit code 0 (aftercorr). On Slurm.
    SameTaskSucceeded,
}

/// Where a batch job is in its life, as the scheduler says.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    /// Not yet handed to the scheduler.
    #[default]
    Pending,
    /// Handed over; the scheduler's answer is being recorded.
    Submitted,
    /// Waits in the scheduler's queue.
    Queued,
    /// Runs.
    Running,
    /// Ended with exit code 0.
    Succeeded,
    /// Ended otherwise, or cannot be submitted as it stands.
    Failed,
    /// Cancelled by its author or an administrator.
    Cancelled,
    /// Reached its time limit.
    TimedOut,
    /// Took more memory than it asked for.
    OutOfMemory,
    /// A node failed under it.
    NodeFailed,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 10] = [
        Phase::Pending,
        Phase::Submitted,
        Phase::Queued,
        Phase::Running,
        Phase::Succeeded,
        Phase::Failed,
        Phase::Cancelled,
        Phase::TimedOut,
        Phase::OutOfMemory,
        Phase::NodeFailed,
    ];

    /// True when nothing more will happen.
    pub fn is_finished(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::Submitted | Self::Queued | Self::Running
        )
    }

    /// As the status writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Submitted => "Submitted",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::TimedOut => "TimedOut",
            Self::OutOfMemory => "OutOfMemory",
            Self::NodeFailed => "NodeFailed",
        }
    }
}

/// What the operator knows of the job.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchJobStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the job is in its life.
    #[serde(default)]
    pub phase: Phase,
    /// Why it is there, for people: what a waiting job waits for, what a failed one failed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The job on the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerJob>,
    /// The submission under way or done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<SubmissionRecord>,
    /// What spec.hold said when it was last brought about on the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// What spec.timeLimit said when it was last brought about on the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub time_limit: Option<Duration>,
    /// When the scheduler took it. With the job id, this is the job's identity: ids come round again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub submitted_at: Option<Timestamp>,
    /// When it, or the first task of it, started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub started_at: Option<Timestamp>,
    /// When it, or the last task of it, ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub finished_at: Option<Timestamp>,
    /// Exit code of the script; of an array, the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Signal that ended the script, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Cores that it holds now, over all tasks; absent while it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<i64>,
    /// Nodes that it runs or ran on; of an array, none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// What the scheduler foresees of its start, while it waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<JobOutlook>,
    /// Where its output is, on the scheduler's file system. %a stands for an array's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_path: Option<String>,
    /// What of its allocation is kept for it until what it used is in the ledger, where the operator keeps the budget: on a
    /// scheduler that is Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<JobHold>,
    /// What it used, from the scheduler's accounting, once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<JobUsage>,
    /// Its tasks by state; of a heterogeneous job its components; any other job has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskCounts>,
    /// Conditions: Ready, Accepted, Submitted, Finished, Metered.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// What the scheduler foresees of a job that waits. It is written when it changed by much, once a minute at most.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobOutlook {
    /// Jobs of everybody that come before it in its partition, an array counting as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_ahead: Option<i64>,
    /// When the scheduler expects it to start, where it has planned that far: other jobs can put it off or bring it
    /// forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub expected_start: Option<Timestamp>,
    /// When this was so.
    #[schemars(schema_with = "crate::schema::instant")]
    pub at: Timestamp,
}

/// A job on a scheduler.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerJob {
    /// The Scheduler's name.
    pub name: String,
    /// The job's id there, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The account that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The posix account that it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The scheduler's own word for its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The scheduler's own word for why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A submission: written before the scheduler is asked, so that no crash can double it.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubmissionRecord {
    /// The object's UID and the attempt; travels in the job's comment.
    pub token: String,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// When the token was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub at: Option<Timestamp>,
}

/// What is kept of an allocation for a job: all that it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobHold {
    /// Cores times the seconds that it may run, over all tasks.
    pub core_seconds: String,
    /// GPUs times the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<String>,
}

/// What a job used.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobUsage {
    /// Cores held times seconds, over all tasks and runs.
    pub core_seconds: String,
    /// GPUs held times seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_seconds: Option<String>,
    /// Seconds that its processes computed for, over all cores, tasks and runs, where the scheduler measured it: against
    /// coreSeconds, how well the cores were used. Advice, never billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<String>,
    /// Memory that its processes held at most, as the scheduler's samples saw it; of an array, the hungriest task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_quantity")]
    pub peak_memory: Option<Quantity>,
    /// Memory that it held, with which peakMemory is compared; of an array, one task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_quantity")]
    pub allocated_memory: Option<Quantity>,
}

/// Tasks by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    /// All of them.
    pub total: i64,
    /// Waiting.
    pub queued: i64,
    /// Running.
    pub running: i64,
    /// Ended with exit code 0.
    pub succeeded: i64,
    /// Ended otherwise.
    pub failed: i64,
    /// Cancelled.
    pub cancelled: i64,
}
