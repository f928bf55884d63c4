//! BillingPeriod: a month to be billed.

use crate::Condition;
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A month to be billed.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "BillingPeriod",
    plural = "billingperiods",
    shortname = "bp",
    category = "meso",
    status = "BillingPeriodStatus",
    doc = "A month to be billed. While it is open each tenant has a provisional Statement in its home namespace; close: true makes them final. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Month", type_ = "string", json_path = ".spec.month"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Statements", type_ = "integer", json_path = ".status.statements"),
    printcolumn(name = "Net", type_ = "string", json_path = ".status.net"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.month").message("a billing period is named by its month: write the same in metadata.name and spec.month, so that no month is billed twice"),
    // At the root, where a rule sees the status: until the month is closed, whoever asked for it may take that back.
    validation = Rule::new("self.spec.close || !oldSelf.spec.close || !has(oldSelf.status) || !has(oldSelf.status.state) || oldSelf.status.state != 'Closed'").message("a closed period stays closed; later use is a correction in the next one").field_path(".spec.close")
)]
#[serde(rename_all = "camelCase")]
pub struct BillingPeriodSpec {
    /// The month, for example 2026-11.
    #[schemars(length(max = 7))]
    #[x_kube(validation = Rule::new("self.matches('^20[0-9]{2}-(0[1-9]|1[0-2])$')").message("write the month as year and month, for example 2026-11"), validation = Rule::new("self == oldSelf").message("a billing period's month does not change; make another period"))]
    pub month: String,
    /// The datacentre's time zone (IANA), in which months begin and end.
    #[serde(default = "paris")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a billing period's time zone does not change: its bounds rest on it"))]
    pub time_zone: String,
    /// True closes the period: statements become final, and later use is a correction in the next one. It can be taken
    /// back until the period is closed.
    #[serde(default)]
    pub close: bool,
    /// Clusters whose use is known not to be whole in the ledger, and without the rest of which the month is closed all
    /// the same. What comes after all is a correction in the next period.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub acknowledged_gaps: Vec<AcknowledgedGap>,
}

/// A cluster without the rest of whose use a month is closed.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgedGap {
    /// The cluster, as the period's condition names it.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Why its use cannot be read, for who audits the month.
    #[schemars(length(min = 3, max = 300))]
    pub reason: String,
}

fn paris() -> String {
    "Europe/Paris".into()
}

/// What the operator knows of the period.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingPeriodStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Open or Closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PeriodState>,
    /// How many statements it has.
    #[serde(default)]
    pub statements: i32,
    /// Net amount of all statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<String>,
    /// SHA-256 of the statements of a closed period, in their canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the ledger was when the month had been closed, signed by the operator: for partners to keep, and to hold it
    /// against later (meso ledger verify --checkpoint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// When close: true was first seen. Use up to then, or to the month's end where that came before, is read before the
    /// month is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub close_asked_at: Option<Timestamp>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub closed_at: Option<Timestamp>,
    /// Conditions: Ready.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Whether a period still takes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PeriodState {
    /// It does: its statements are provisional.
    Open,
    /// It does not: its statements are final.
    Closed,
}
