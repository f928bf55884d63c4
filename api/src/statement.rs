//! Statement: what a tenant owes for a month, in its home namespace.

use crate::{Condition, Currency, Meter};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Empty: a statement is all status.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "Statement",
    plural = "statements",
    shortname = "stmt",
    category = "meso",
    namespaced,
    no_spec,
    status = "StatementStatus",
    doc = "What a tenant owes for a month, line by line, in its home namespace. Written by the operator; a line is rounded once, half-up to the cent, and totals add rounded lines.",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Net", type_ = "string", json_path = ".status.totals.net"),
    printcolumn(name = "Gross", type_ = "string", json_path = ".status.totals.gross"),
    printcolumn(name = "Currency", type_ = "string", json_path = ".status.currency"),
    printcolumn(name = "Records", type_ = "integer", json_path = ".status.ledger.records"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct StatementBody {}

/// What a tenant owes for a month.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementStatus {
    /// Provisional until the period is closed, then Final.
    pub state: StatementState,
    /// Currency of every amount.
    pub currency: Currency,
    /// The month.
    pub period: StatementPeriod,
    /// The lines.
    #[serde(default)]
    pub lines: Vec<StatementLine>,
    /// The sums.
    pub totals: Totals,
    /// The evidence behind it.
    pub ledger: LedgerReference,
    /// Conditions: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Whether a statement can still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StatementState {
    /// It can: the period is open.
    Provisional,
    /// It cannot: the period is closed.
    Final,
}

/// The span that a statement covers, half-open.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementPeriod {
    /// The month.
    pub month: String,
    /// Its first instant.
    #[schemars(schema_with = "crate::schema::instant")]
    pub from: Timestamp,
    /// The first instant after it.
    #[schemars(schema_with = "crate::schema::instant")]
    pub to: Timestamp,
    /// The time zone in which the month begins and ends.
    pub time_zone: String,
}

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum LineKind {
    /// Metered use in the month.
    Usage,
    /// What of that use is free: within what is reserved, by a co-investor's right, or since a node failed.
    Credit,
    /// What a co-investor's unused right brings back.
    Lent,
    /// A share in a cost pool.
    CostShare,
    /// What of a cost pool was called too little or too much, by its real costs.
    TrueUp,
    /// Use of a closed month that came late.
    Correction,
}

/// One line of a statement. Amounts and quantities are decimal strings.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementLine {
    /// What it is for.
    pub kind: LineKind,
    /// The meter, of use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meter: Option<Meter>,
    /// The model of GPU or device, where the tariff has a price for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The allocation that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<String>,
    /// The tariff in force when it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tariff: Option<String>,
    /// Which tier of a graduated price, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<i32>,
    /// The cost pool that is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_pool: Option<String>,
    /// The co-investment by whose right use is free, or that lends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub co_investment: Option<String>,
    /// Whether use is free since it is within what is reserved for its allocation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reserved: bool,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The closed month that a correction belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    /// Quantity in the meter's unit, to six decimals, for reading; baseQuantity is exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// Quantity in base units (core_seconds for compute.core-hours), an integer: what the amount is computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_quantity: Option<String>,
    /// Price a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<String>,
    /// Net amount: round_half_up(baseQuantity × unitPrice ÷ base units a unit, 2).
    pub amount: String,
    /// VAT rate in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vat_rate: Option<String>,
    /// Number of usage records behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
}

/// The sums of a statement.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Sum of the lines.
    pub net: String,
    /// VAT by rate.
    #[serde(default)]
    pub vat: Vec<VatTotal>,
    /// Net and VAT.
    pub gross: String,
}

/// VAT at one rate.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VatTotal {
    /// Rate in percent.
    pub rate: String,
    /// Sum of the lines at this rate.
    pub base: String,
    /// VAT on it, rounded half-up once.
    pub amount: String,
}

/// The evidence behind a statement.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerReference {
    /// Number of usage records behind the statement.
    pub records: i64,
    /// The ledger's chain head when it was computed, SHA-256 in hexadecimal.
    pub head: String,
}
