//! PerimeterRules: the parameters of the admission policies, one object in each of a tenant's namespaces.

use crate::Role;
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The one object's name in each namespace.
pub const PERIMETER_RULES_NAME: &str = "perimeter";

/// A perimeter's rules and a tenant's members, as the API server's admission policies read them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "PerimeterRules",
    plural = "perimeterrules",
    category = "meso",
    namespaced,
    doc = "What the API server's admission policies enforce in this namespace: the perimeter's rules and the tenant's members. Written by the operator alone; read it to see what is allowed here.",
    derive = "PartialEq",
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenant"),
    printcolumn(name = "Perimeter", type_ = "string", json_path = ".spec.perimeter"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PerimeterRulesSpec {
    /// The tenant that the namespace belongs to.
    #[schemars(length(max = 30))]
    pub tenant: String,
    /// The workspace; absent in the home namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 30))]
    pub workspace: Option<String>,
    /// The perimeter.
    #[schemars(length(max = 63))]
    pub perimeter: String,
    /// Prefixes that an image's name must begin with.
    #[schemars(length(max = 20), inner(length(max = 200)))]
    pub image_registries: Vec<String>,
    /// Whether an image must be named by digest.
    pub require_image_digest: bool,
    /// Labels of the nodes that pods must select; empty means the shared nodes.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 10))]
    pub node_selector: BTreeMap<String, String>,
    /// The runtime class that pods must use; empty means no rule.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub runtime_class_name: String,
    /// Runtime classes that pods may choose where none is a must.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub runtime_classes: Vec<String>,
    /// Keys of taints that pods may tolerate.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 317)))]
    pub tolerations: Vec<String>,
    /// Priority classes above 0 that pods may run by.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub priority_classes: Vec<String>,
    /// Storage classes that claims may use.
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub storage_classes: Vec<String>,
    /// Volume attributes classes that claims may use.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub volume_attributes_classes: Vec<String>,
    /// Volume snapshot classes that snapshots may be taken by.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub snapshot_classes: Vec<String>,
    /// Hostnames that the tenant holds: exact, or *.suffix.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 253)))]
    pub hostnames: Vec<String>,
    /// Ingress classes that ingresses may name.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub ingress_classes: Vec<String>,
    /// Gateways that routes may be attached to, as namespace/name.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 317)))]
    pub gateways: Vec<String>,
    /// Networks that load balancers may let in.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 50)))]
    pub ingress_cidrs: Vec<String>,
    /// Annotations that ingresses, routes and load balancers may carry.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 317)))]
    pub publishing_annotations: Vec<String>,
    /// Whether services may be load balancers.
    #[serde(default)]
    pub load_balancers: bool,
    /// Extended resources that the tenant's quota counts, and that containers may therefore ask for.
    #[serde(default)]
    #[schemars(length(max = 21), inner(length(max = 317)))]
    pub extended_resources: Vec<String>,
    /// Classes of devices that the tenant's quota counts, and that resource claims may therefore ask for.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 253)))]
    pub device_classes: Vec<String>,
    /// The tenant's members.
    #[schemars(length(max = 500))]
    pub members: Vec<RulesMember>,
    /// From when on nothing new starts here, by the API server's own clock: after the convention's last day, or at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<RulesSuspension>,
}

/// The end of what a tenant may start.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesSuspension {
    /// The first instant of it; absent: it is suspended now, by an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub from: Option<Timestamp>,
    /// Why, and the way out, as whoever is refused reads it.
    #[schemars(length(max = 2000))]
    pub why: String,
}

/// A member, as admission knows them.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesMember {
    /// User name, for a user and for a service account (system:serviceaccount:namespace:name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 340))]
    pub user: Option<String>,
    /// Group name, for a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Whether they have a posix account, which batch jobs need.
    pub runs_batch_jobs: bool,
}
