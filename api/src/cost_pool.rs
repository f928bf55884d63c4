//! CostPool: costs that the co-investors share.

use crate::{Condition, Currency, Meter};
use jiff::civil::Date;
use kube::{CustomResource, KubeSchema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Costs that tenants share.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "CostPool",
    plural = "costpools",
    shortname = "pool",
    category = "meso",
    status = "CostPoolStatus",
    doc = "Costs of a year that tenants share: a part by weight, a part by metered use, exact to the cent. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Amount", type_ = "string", json_path = ".spec.annualAmount"),
    printcolumn(name = "Currency", type_ = "string", json_path = ".spec.currency"),
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
#[x_kube(validation = Rule::new("self.validFrom <= self.validUntil").message("the cost pool ends before it begins: write a validUntil on or after validFrom"))]
pub struct CostPoolSpec {
    /// What the costs are; stands on each statement.
    #[schemars(length(min = 1, max = 300))]
    pub description: String,
    /// Currency, ISO 4217.
    pub currency: Currency,
    /// First day: the first of a month.
    #[schemars(schema_with = "crate::schema::date")]
    #[x_kube(validation = Rule::new("self.getDate() == 1").message("a cost pool is shared by whole months: begin it on the first day of a month"))]
    pub valid_from: Date,
    /// Last day: the last of a month.
    #[schemars(schema_with = "crate::schema::date")]
    #[x_kube(validation = Rule::new("(self + duration('24h')).getDate() == 1").message("a cost pool is shared by whole months: end it on the last day of a month"))]
    pub valid_until: Date,
    /// Amount of twelve months. Each month's part is a twelfth, with cents exact over the year.
    #[schemars(schema_with = "crate::schema::money")]
    pub annual_amount: Decimal,
    /// Who shares, and with which weight. The sum need not be 100.
    #[schemars(length(min = 1, max = 500))]
    #[x_kube(validation = Rule::new("self.exists(s, s.weight > 0)").message("at least one share needs a weight above 0"), validation = Rule::new("self.all(s, self.exists_one(t, t.tenant == s.tenant))").message("a tenant has one share in a pool: name each tenant once"))]
    pub shares: Vec<Share>,
    /// How much goes by weight, and how much by use.
    pub key: ContributionKey,
}

/// One tenant's share.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The tenant.
    #[schemars(length(min = 1, max = 30))]
    pub tenant: String,
    /// Its weight.
    #[schemars(range(min = 0, max = 1000000))]
    pub weight: i64,
}

/// How a pool is divided into a part by weight and a part by use.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.fixed + self.usage == 100").message("fixed and usage are percentages of the pool: they must add up to 100"))]
#[x_kube(validation = Rule::new("self.usage == 0 || has(self.meter)").message("a part by use needs the meter that it follows, for example compute.core-hours"))]
pub struct ContributionKey {
    /// Percent shared by weight.
    #[schemars(range(min = 0, max = 100))]
    pub fixed: i64,
    /// Percent shared by metered use.
    #[schemars(range(min = 0, max = 100))]
    pub usage: i64,
    /// The meter that the part by use follows. In a month without any use, that part goes by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Meter>,
}

/// What the operator knows of the pool.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CostPoolStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready; False while a tenant that it names does not exist.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
