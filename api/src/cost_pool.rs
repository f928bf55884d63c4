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
#[x_kube(validation = Rule::new("!has(self.changes) || self.changes.all(c, c.from > self.validFrom && c.from <= self.validUntil)").message("a change of shares or key is from a day after the pool's first up to its last: write such a day into from"))]
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
    /// Other shares, or another key, from a day on. A month in which one falls is shared pro rata of its days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(d, d.from == c.from))").message("two changes are from one day: write one"))]
    pub changes: Vec<PoolChange>,
    /// The real costs, once they are known: what was called is made up to them in one month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub true_up: Option<TrueUp>,
}

impl CostPoolSpec {
    /// Every tenant that it names, some of them more than once.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        let changed = self.changes.iter().filter_map(|change| change.shares.as_deref());
        std::iter::once(self.shares.as_slice())
            .chain(changed)
            .flatten()
            .map(|share| share.tenant.as_str())
    }
}

/// Other shares, or another key, from a day on.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.shares) || has(self.key)").message("a change changes the shares, the key, or both: write what is new"))]
pub struct PoolChange {
    /// The first day on which it holds.
    #[schemars(schema_with = "crate::schema::date")]
    pub from: Date,
    /// What decided it, for example the deliberation of a board.
    #[schemars(length(min = 1, max = 300))]
    pub decision: String,
    /// Who shares from then on, and with which weight; as before when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    #[x_kube(validation = Rule::new("self.exists(s, s.weight > 0)").message("at least one share needs a weight above 0"))]
    pub shares: Option<Vec<Share>>,
    /// How much goes by weight from then on, and how much by use; as before when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ContributionKey>,
}

/// The real costs of a pool, and when what was called is made up to them.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrueUp {
    /// What was really spent over the pool's whole span; below 0 when more came in.
    #[schemars(schema_with = "crate::schema::money")]
    pub actual_amount: Decimal,
    /// The month in whose statements the difference stands, after the pool's last: 2027-03.
    #[schemars(length(max = 7), regex(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$"))]
    pub month: String,
    /// What decided the real costs, for example the accounts of the year.
    #[schemars(length(min = 1, max = 300))]
    pub decision: String,
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
