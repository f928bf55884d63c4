//! EconomicCeiling: how much of a year's capacity may go to economic use.

use crate::{Budget, Condition};
use kube::{CustomResource, KubeSchema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of a year's capacity may go to economic use.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "EconomicCeiling",
    plural = "economicceilings",
    shortname = "ceiling",
    category = "meso",
    status = "EconomicCeilingStatus",
    doc = "How much of a year's capacity may go to economic use: publicly funded research infrastructure stays outside State-aid rules while that is at most 20 % (2022/C 414/01, point 21). Economic allocations that would pass it are refused. Whether an activity is economic is a person's judgement; by default a PrivateClient's is. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Year", type_ = "integer", json_path = ".spec.year"),
    printcolumn(name = "Ceiling", type_ = "integer", json_path = ".spec.percent"),
    printcolumn(
        name = "Allocated",
        type_ = "string",
        json_path = ".status.measures[?(@.decides==true)].allocatedPercent"
    ),
    printcolumn(
        name = "Used",
        type_ = "string",
        json_path = ".status.measures[?(@.decides==true)].usedPercent"
    ),
    printcolumn(
        name = "Forecast",
        type_ = "string",
        json_path = ".status.measures[?(@.decides==true)].forecastPercent"
    ),
    printcolumn(
        name = "Within",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='WithinCeiling')].status"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type=='WithinCeiling')].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.alertAt.all(a, a < self.percent)").message("an alert above the ceiling would never be of use: write percentages below percent, for example [15, 18]"))]
#[x_kube(validation = Rule::new("!has(self.weights) || (has(self.capacity.coreHours) && has(self.capacity.gpuHours))").message("weights add core-hours and GPU-hours up: write the capacity of both"))]
pub struct EconomicCeilingSpec {
    /// The civil year, in the datacentre's zone.
    #[schemars(range(min = 2020, max = 2199))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a ceiling's year does not change: make another EconomicCeiling"))]
    pub year: i32,
    /// What the datacentre can give in that year, to everybody.
    #[x_kube(validation = Rule::new("has(self.coreHours) || has(self.gpuHours)").message("write the year's capacity, for example coreHours: \"2242560\" for 256 cores over 8760 hours"))]
    pub capacity: Budget,
    /// How the capacity was counted, and which decision set it: stands in the report for a funding authority.
    #[schemars(length(min = 10, max = 1000))]
    pub basis: String,
    /// What an hour of each counts when they are added up. With weights their sum decides; without, each by itself does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<CeilingWeights>,
    /// Percent of the capacity that may go to economic use; at most 20.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 20))]
    pub percent: i64,
    /// Percentages at which the condition WithinCeiling warns.
    #[serde(default = "fifteen_and_eighteen")]
    #[schemars(length(max = 5), inner(range(min = 1, max = 20)))]
    pub alert_at: Vec<i64>,
}

impl EconomicCeilingSpec {
    /// The civil year; the schema lets in no other than such a one.
    pub fn civil_year(&self) -> i16 {
        i16::try_from(self.year).unwrap_or(i16::MAX)
    }
}

fn twenty() -> i64 {
    20
}

fn fifteen_and_eighteen() -> Vec<i64> {
    vec![15, 18]
}

/// What an hour counts.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("double(self.coreHour) > 0.0 || double(self.gpuHour) > 0.0").message("weights of nothing measure nothing: write for example coreHour: \"1\", gpuHour: \"30\""))]
pub struct CeilingWeights {
    /// Of a core.
    #[schemars(schema_with = "crate::schema::decimal")]
    pub core_hour: Decimal,
    /// Of a GPU.
    #[schemars(schema_with = "crate::schema::decimal")]
    pub gpu_hour: Decimal,
}

/// What economic use is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CeilingMeasureName {
    /// Core-hours.
    CoreHours,
    /// GPU-hours.
    GpuHours,
    /// Both, each with its weight.
    Weighted,
}

impl CeilingMeasureName {
    /// As sentences have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CoreHours => "core-hours",
            Self::GpuHours => "GPU-hours",
            Self::Weighted => "weighted hours",
        }
    }
}

/// What the operator knows of the ceiling.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EconomicCeilingStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The year so far, by each measure.
    #[serde(default)]
    pub measures: Vec<CeilingMeasure>,
    /// Each economic allocation of the year, and what it may use of it. What is granted is taken back by nobody but who
    /// writes the allocation.
    #[serde(default)]
    pub grants: Vec<CeilingGrant>,
    /// The ledger's last record that is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerMark>,
    /// Conditions: Ready, WithinCeiling.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// The year so far, by one measure. Amounts are hours with six decimals, percentages have two.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CeilingMeasure {
    /// What is measured.
    pub name: CeilingMeasureName,
    /// Whether an allocation that would pass the ceiling by this measure is refused.
    pub decides: bool,
    /// The year's capacity.
    pub capacity: String,
    /// What is set aside for economic use: of each allocation what it was granted, or used, whichever is more.
    pub allocated: String,
    /// The same, of the capacity.
    pub allocated_percent: String,
    /// Economic use in the ledger.
    pub used: String,
    /// The same, of the capacity.
    pub used_percent: String,
    /// All other use in the ledger.
    pub non_economic_used: String,
    /// Economic use at the year's end if it goes on as so far in the year; absent before the year and in its first day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_percent: Option<String>,
}

/// What an economic allocation may use in the year.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CeilingGrant {
    /// Tenant and name: `nova-motors/cfd-2026`.
    pub allocation: String,
    /// Why it counts as economic: the tenant's category, or a person's decision.
    pub because: String,
    /// Core-hours granted.
    pub core_hours: String,
    /// GPU-hours granted.
    pub gpu_hours: String,
    /// Core-hours used.
    pub used_core_hours: String,
    /// GPU-hours used.
    pub used_gpu_hours: String,
    /// Why no more is granted, where more is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A place in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerMark {
    /// Number of its last record.
    pub records: i64,
    /// That record's hash, which covers all before it.
    pub hash: String,
}
