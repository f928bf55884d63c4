//! PeeringAgreement: one side's consent to traffic between two tenants.

use crate::{Condition, PortRule};
use jiff::civil::Date;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One tenant's consent to peer with another.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "PeeringAgreement",
    plural = "peeringagreements",
    shortname = "peering",
    category = "meso",
    namespaced,
    status = "PeeringAgreementStatus",
    doc = "One side's consent to traffic between two tenants, written by an Owner in the home namespace. Traffic opens only while both sides' agreements of the same name exist, both are valid, and both perimeters allow it, and only towards what a side exposes.",
    derive = "PartialEq",
    printcolumn(name = "With", type_ = "string", json_path = ".spec.with"),
    printcolumn(name = "Purpose", type_ = "string", json_path = ".spec.purpose"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.validUntil"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40").message("an agreement's name has at most 40 characters")
)]
#[serde(rename_all = "camelCase")]
pub struct PeeringAgreementSpec {
    /// The other tenant. Its Owner writes an agreement of the same name with ours.
    #[schemars(length(min = 1, max = 30))]
    pub with: String,
    /// What the traffic is for, for those who review it.
    #[schemars(length(min = 1, max = 300))]
    pub purpose: String,
    /// Last day, in the datacentre's zone.
    #[schemars(schema_with = "crate::schema::date")]
    pub valid_until: Date,
    /// Which of our workspaces may use what the other side exposes; none named means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub from: Vec<PeeringSource>,
    /// What of ours the other side may reach.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub exposes: Vec<PeeringExposure>,
}

/// One of our workspaces that may use what the other side exposes.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeeringSource {
    /// The workspace's name.
    #[schemars(length(min = 1, max = 30))]
    pub workspace: String,
}

/// Pods of ours that the other side may reach.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeeringExposure {
    /// The workspace's name.
    #[schemars(length(min = 1, max = 30))]
    pub workspace: String,
    /// Which pods in it.
    pub pod_selector: PodLabels,
    /// On which ports.
    #[schemars(length(min = 1, max = 20))]
    pub ports: Vec<PortRule>,
}

/// Pods by their labels.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodLabels {
    /// Labels that a pod must all carry.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 10))]
    pub match_labels: BTreeMap<String, String>,
}

/// What the operator knows of the agreement.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeeringAgreementStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready (open), with the reason when it is closed.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
