//! TrustPerimeter: the rules that every tenant inside lives under.

use crate::{Condition, TenantCategory};
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is allowed inside a perimeter of trust.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "TrustPerimeter",
    plural = "trustperimeters",
    shortname = "perimeter",
    category = "meso",
    status = "TrustPerimeterStatus",
    doc = "A perimeter of trust: the rules that every tenant inside it lives under. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Classification", type_ = "string", json_path = ".spec.classification"),
    printcolumn(name = "Pod security", type_ = "string", json_path = ".spec.podSecurity"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 63").message("a perimeter's name has at most 63 characters")
)]
#[serde(rename_all = "camelCase")]
pub struct TrustPerimeterSpec {
    /// The name that people read.
    #[schemars(length(min = 1, max = 200))]
    pub display_name: String,
    /// How sensitive the data inside may be.
    pub classification: Classification,
    /// The categories of tenant that the perimeter admits.
    #[schemars(length(min = 1, max = 3))]
    pub tenant_categories: Vec<TenantCategory>,
    /// The Pod Security Standard enforced in every namespace inside.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// Where container images may come from.
    pub images: ImageRules,
    /// What may leave, and who may come in. Both directions are denied by default; DNS and the tenant's own pods are open.
    #[serde(default)]
    pub network: NetworkRules,
    /// Nodes that belong to the perimeter alone. Without it, pods run on the shared nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeRules>,
    /// The runtime class that every pod inside must use, for example kata. Empty means no rule.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub runtime_class_name: String,
    /// Runtime classes that pods inside may choose where none is a must; none named means none but the nodes' own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 63)))]
    pub runtime_classes: Vec<String>,
    /// Keys of taints that pods inside may tolerate, beside those that Kubernetes' own health of nodes needs and those of
    /// counted resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 317)))]
    #[x_kube(validation = Rule::new("self.all(k, k != 'mesocentre.io/perimeter' && !k.startsWith('node-role.kubernetes.io/'))").message("taints of mesocentre.io/perimeter and node-role.kubernetes.io/ keep nodes for other perimeters and for the platform: name other keys"))]
    pub tolerations: Vec<String>,
    /// Priority classes above 0 that pods inside may run by, before others. Name the cluster's default class here when it
    /// has one above 0. Classes of 0 and below are everybody's.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub priority_classes: Vec<String>,
    /// Storage classes that claims inside may use; none named means no persistent storage.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub storage_classes: Vec<String>,
    /// Volume attributes classes that claims inside may use; none named means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub volume_attributes_classes: Vec<String>,
    /// Volume snapshot classes by which snapshots of claims inside may be taken; none named means no snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub snapshot_classes: Vec<String>,
    /// What each tenant inside gets in Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultRules>,
    /// Schedulers on which allocations may be granted to tenants inside.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(max = 63)))]
    pub schedulers: Vec<String>,
    /// Partitions of those schedulers that jobs from inside may use; none named means all that the scheduler offers.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 63)))]
    pub partitions: Vec<String>,
    /// Perimeters whose tenants may sign peering agreements with tenants inside. Both perimeters must agree.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 63)))]
    pub peers_with: Vec<String>,
    /// What becomes of a tenant inside whose convention ends, or whom an administrator suspends.
    #[serde(default)]
    #[schemars(extend("default" = {"gracePeriod": "24h", "retentionDays": 90}))]
    pub suspension: SuspensionRules,
}

/// What becomes of a tenant that is suspended: at once it starts nothing new; what runs is stopped after a grace; its data
/// are kept for a while.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuspensionRules {
    /// How long what runs may go on after the suspension began, for example 24h. 0s: it is stopped at once.
    #[serde(default = "a_day")]
    #[schemars(schema_with = "crate::schema::duration", extend("default" = "24h"))]
    pub grace_period: Duration,
    /// Days for which a suspended tenant's data are kept, counted from the day on which it was suspended: its volumes and
    /// objects, and an ended tenant's secrets in Vault.
    #[serde(default = "a_quarter")]
    #[schemars(range(min = 0, max = 36500))]
    pub retention_days: i32,
}

impl Default for SuspensionRules {
    fn default() -> Self {
        Self {
            grace_period: a_day(),
            retention_days: a_quarter(),
        }
    }
}

fn a_day() -> Duration {
    std::time::Duration::from_secs(86_400).into()
}

fn a_quarter() -> i32 {
    90
}

/// How sensitive the data of a perimeter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Classification {
    /// Published data.
    Public,
    /// Data of the institutions, without personal data of concern.
    Internal,
    /// Data whose disclosure would do harm.
    Restricted,
    /// Health data (in France, hosting under the HDS certification).
    Health,
}

/// A Pod Security Standard (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// Heavily restricted, following hardening practice.
    #[default]
    Restricted,
    /// Prevents known privilege escalations.
    Baseline,
}

impl PodSecurity {
    /// As the namespace label writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
        }
    }
}

/// Where container images may come from.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRules {
    /// Prefixes that an image's name must begin with; an image from elsewhere is refused. Each names a host and ends
    /// with a slash, so that no longer host name can pass for it.
    #[schemars(length(min = 1, max = 20), inner(length(min = 2, max = 200)))]
    #[x_kube(validation = Rule::new("self.all(r, r.endsWith('/') && r == r.lowerAscii())").message("write each registry prefix in lower case with its host and a final slash, for example \"registry.example.org/\" or \"registry.example.org/hds/\""))]
    pub registries: Vec<String>,
    /// Whether an image must be named by digest (`name@sha256:…`), so that what was reviewed is what runs.
    #[serde(default)]
    pub require_digest: bool,
}

/// What may leave the perimeter, and who may come in.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRules {
    /// Destinations that pods inside may reach, beside DNS and their own tenant's pods.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub egress: Vec<EgressRule>,
    /// Namespaces of the platform whose pods may reach pods inside, beside the tenant's own and signed peers: of
    /// monitoring, or of an ingress controller. A tenant's namespace named here opens nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub ingress_from: Vec<IngressRule>,
    /// What may come in from outside, and by which ways. Without it, nothing but the tenant's own pods and signed peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressRules>,
    /// Whether services inside may be load balancers, as many as each tenant's quota says (loadBalancers).
    #[serde(default)]
    pub load_balancers: bool,
    /// Annotations that ingresses, routes and load balancers inside may carry. What publishes them reads its
    /// configuration there, so no other is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 317)))]
    pub publishing_annotations: Vec<String>,
}

/// What may come in from outside.
#[derive(Clone, Debug, Default, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressRules {
    /// Ingress classes by which tenants inside may publish their hostnames.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 63)))]
    pub classes: Vec<String>,
    /// Gateways to which routes of tenants inside may be attached, for their hostnames.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub gateways: Vec<GatewayName>,
    /// Addresses outside from which pods inside may be reached, in CIDR form. A load balancer lets in networks within
    /// these only, which its spec.loadBalancerSourceRanges names.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 50)))]
    #[x_kube(validation = Rule::new("self.all(c, isCIDR(c))").message("write networks in CIDR form, for example 192.0.2.0/24"))]
    pub cidrs: Vec<String>,
}

/// A gateway of the platform.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayName {
    /// Its namespace.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$') && !self.contains('--')").message("write the namespace of a gateway of the platform, for example gateways; a tenant has none of its own"))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One namespace of the platform whose pods may come in.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressRule {
    /// The namespace's name.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && !self.contains('--')").message("write the name of a namespace of the platform, for example monitoring; tenants reach each other by a PeeringAgreement"))]
    pub namespace: String,
    /// Ports of pods inside that it may reach; none named means all.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub ports: Vec<PortRule>,
    /// Why it is open, for the one who reviews it.
    #[schemars(length(min = 1, max = 300))]
    pub reason: String,
}

/// One destination that pods may reach.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressRule {
    /// Addresses, for example 192.0.2.0/24.
    #[schemars(length(min = 3, max = 50))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("write a network in CIDR form, for example 192.0.2.0/24"))]
    pub cidr: String,
    /// Ports at these addresses; none named means all.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub ports: Vec<PortRule>,
    /// Why it is open, for the one who reviews it.
    #[schemars(length(min = 1, max = 300))]
    pub reason: String,
}

/// A port and its protocol.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortRule {
    /// Port number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Transport protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// TCP.
    #[default]
    TCP,
    /// UDP.
    UDP,
    /// SCTP.
    SCTP,
}

impl Protocol {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TCP => "TCP",
            Self::UDP => "UDP",
            Self::SCTP => "SCTP",
        }
    }
}

/// Which nodes the perimeter's pods run on.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.dedicated || self.selector.all(k, k.startsWith('mesocentre.io/') || k.startsWith('node-restriction.kubernetes.io/'))").message("a node may write any other label on itself and so come among the dedicated ones: select them by labels of mesocentre.io/ or node-restriction.kubernetes.io/, for example mesocentre.io/perimeter: health-hds"))]
#[x_kube(validation = Rule::new("!self.dedicated || self.selector.size() > 0").message("dedicated nodes need a selector that names them, for example selector: {mesocentre.io/perimeter: health-hds}"))]
pub struct NodeRules {
    /// Whether the nodes are the perimeter's alone: its pods run only there, and no other perimeter's pods do.
    #[serde(default)]
    pub dedicated: bool,
    /// Labels that those nodes carry.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 10))]
    pub selector: BTreeMap<String, String>,
}

/// What each tenant of the perimeter gets in Vault.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultRules {
    /// Whether each tenant has a KV mount, a transit key, a policy, and roles for its workloads and for SSH certificates of
    /// its own. Taken back, they are sealed off, and destroyed after `suspension.retentionDays`.
    #[serde(default)]
    pub secrets: bool,
}

/// What the operator knows of the perimeter.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustPerimeterStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many tenants live inside.
    #[serde(default)]
    pub tenants: i32,
    /// Conditions: Ready; and where its nodes are dedicated, NodesDedicated.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
