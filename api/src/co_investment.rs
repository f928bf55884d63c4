//! CoInvestment: a capacity that tenants paid for together, and what each may use of it.

use crate::{Condition, Meter, Share};
use jiff::civil::Date;
use kube::{CustomResource, KubeSchema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A capacity that tenants paid for together.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "CoInvestment",
    plural = "coinvestments",
    shortname = "coinv",
    category = "meso",
    status = "CoInvestmentStatus",
    doc = "A capacity that tenants paid for together: each uses its share of it free of charge, what it uses beyond is billed by its tariff, and what it leaves unused and others use brings back a price. Month by month, exact. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Meter", type_ = "string", json_path = ".spec.meter"),
    printcolumn(name = "Capacity", type_ = "string", json_path = ".spec.annualCapacity"),
    printcolumn(name = "Lent-at", type_ = "string", json_path = ".spec.lendingPrice"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.validFrom"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.validUntil"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.validFrom <= self.validUntil").message("the co-investment ends before it begins: write a validUntil on or after validFrom"))]
#[x_kube(validation = Rule::new("self == oldSelf || (self.meter == oldSelf.meter && self.annualCapacity == oldSelf.annualCapacity && self.validFrom == oldSelf.validFrom && self.shares == oldSelf.shares && has(self.lendingPrice) == has(oldSelf.lendingPrice) && (!has(self.lendingPrice) || self.lendingPrice == oldSelf.lendingPrice))").message("what was agreed does not change: end this co-investment by validUntil, and make another one that follows"))]
pub struct CoInvestmentSpec {
    /// What was paid for; stands on each statement.
    #[schemars(length(min = 1, max = 300))]
    pub description: String,
    /// The agreement or deliberation that it rests on.
    #[schemars(length(min = 1, max = 300))]
    pub decision: String,
    /// The meter that its use is counted by: one of hours, compute.core-hours for example.
    #[x_kube(validation = Rule::new("self in ['compute.core-hours', 'compute.gpu-hours', 'cluster.cpu-hours', 'cluster.memory-gib-hours', 'cluster.gpu-hours']").message("a capacity is one of hours: write compute.core-hours, compute.gpu-hours, cluster.cpu-hours, cluster.memory-gib-hours or cluster.gpu-hours"))]
    pub meter: Meter,
    /// What may be used of it in twelve months, in the meter's unit. Each month's part is a twelfth, exact over the year.
    #[schemars(schema_with = "crate::schema::decimal")]
    pub annual_capacity: Decimal,
    /// First day: the first of a month.
    #[schemars(schema_with = "crate::schema::date")]
    #[x_kube(validation = Rule::new("self.getDate() == 1").message("rights are counted by whole months: begin on the first day of a month"))]
    pub valid_from: Date,
    /// Last day: the last of a month.
    #[schemars(schema_with = "crate::schema::date")]
    #[x_kube(validation = Rule::new("(self + duration('24h')).getDate() == 1").message("rights are counted by whole months: end on the last day of a month"))]
    pub valid_until: Date,
    /// Who paid, and by which weight. The sum need not be 100.
    #[schemars(length(min = 1, max = 500))]
    #[x_kube(validation = Rule::new("self.exists(s, s.weight > 0)").message("at least one share needs a weight above 0"), validation = Rule::new("self.all(s, self.exists_one(t, t.tenant == s.tenant))").message("a tenant has one share: name each tenant once"))]
    pub shares: Vec<Share>,
    /// What a unit brings back that its owner left unused and others used, without VAT. Nothing is lent where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_decimal")]
    pub lending_price: Option<Decimal>,
}

/// What the operator knows of the co-investment.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoInvestmentStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready; False while a tenant that it names does not exist.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
