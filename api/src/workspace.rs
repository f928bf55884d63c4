//! Workspace: a namespace that an Owner asks for.

use crate::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a workspace is for.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "Workspace",
    plural = "workspaces",
    shortname = "ws",
    category = "meso",
    namespaced,
    status = "WorkspaceStatus",
    doc = "A workspace of a tenant, written by its Owner in the home namespace. It becomes the namespace <tenant>--<workspace>, inside the tenant's perimeter and quota.",
    derive = "PartialEq",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".status.namespace"),
    printcolumn(name = "Purpose", type_ = "string", json_path = ".spec.purpose"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$') && !self.metadata.name.contains('--')").message("a workspace's name has at most 30 lower-case letters, digits and single hyphens, begins with a letter, and holds no \"--\" (it separates tenant and workspace); write for example climate")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// What it is for, in the tenant's words.
    #[schemars(length(min = 1, max = 300))]
    pub purpose: String,
    /// Lets batch jobs of this workspace take their script and environment from its Secrets and ConfigMaps (scriptFrom,
    /// valueFrom): the operator may read these here then, and nowhere else. Whoever may write batch jobs here can have them
    /// printed. On a scheduler that is Kubernetes only scriptFrom needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub batch_jobs_may_read_secrets: bool,
}

/// What the operator knows of the workspace.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Its namespace, once it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Why it cannot be deleted now, each a sentence; empty means that it can. Admission refuses a deletion while one
    /// stands, unless the annotation mesocentre.io/force-delete is "true".
    #[serde(default)]
    pub deletion_blockers: Vec<String>,
    /// Conditions: Ready.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
