//! Tariff: prices for a span of days.

use crate::{Condition, TenantCategory};
use jiff::civil::Date;
use kube::{CustomResource, KubeSchema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Prices for categories of tenant over a span of days.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "Tariff",
    plural = "tariffs",
    shortname = "trf",
    category = "meso",
    status = "TariffStatus",
    doc = "Prices for categories of tenant over a span of days. Use is rated by the tariff in force when it happened. Written by administrators; prices never change, a new tariff follows.",
    derive = "PartialEq",
    printcolumn(name = "Currency", type_ = "string", json_path = ".spec.currency"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.validFrom"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.validUntil"),
    printcolumn(name = "Categories", type_ = "string", json_path = ".spec.categories"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.validFrom <= self.validUntil").message("the tariff ends before it begins: write a validUntil on or after validFrom"))]
#[x_kube(validation = Rule::new("has(self.nodeFailure) == has(oldSelf.nodeFailure)").message("what a tariff says of node failures does not change: bills rest on it; write a new tariff"))]
pub struct TariffSpec {
    /// Currency, ISO 4217.
    pub currency: Currency,
    /// First day, in the datacentre's zone.
    #[schemars(schema_with = "crate::schema::date")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a tariff's first day does not change: bills rest on it; write a new tariff"))]
    pub valid_from: Date,
    /// Last day, in the datacentre's zone.
    #[schemars(schema_with = "crate::schema::date")]
    pub valid_until: Date,
    /// The categories of tenant that it is for.
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a tariff's categories do not change: bills rest on them; write a new tariff"))]
    pub categories: Vec<TenantCategory>,
    /// VAT on what is billed by it.
    #[x_kube(validation = Rule::new("self == oldSelf").message("a tariff's VAT does not change: bills rest on it; write a new tariff"))]
    pub vat: Vat,
    /// Whether what a batch job held until a node failed under it is billed.
    #[serde(default, skip_serializing_if = "NodeFailure::is_charged")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("what a tariff says of node failures does not change: bills rest on it; write a new tariff"))]
    pub node_failure: NodeFailure,
    /// Prices by meter.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a tariff's prices do not change: bills rest on them; write a new tariff that follows, and set this one's validUntil"), validation = Rule::new("self.all(p, self.exists_one(q, q.meter == p.meter && has(q.model) == has(p.model) && (!has(p.model) || q.model == p.model)))").message("a meter has one price in a tariff, and one for each of its models: name each once"))]
    pub prices: Vec<Price>,
}

/// What becomes of use that ended when its node failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeFailure {
    /// It is billed as any other.
    #[default]
    Charged,
    /// It is free: it stands on the statement, with a credit over the same.
    Free,
}

impl NodeFailure {
    fn is_charged(&self) -> bool {
        *self == Self::Charged
    }
}

/// A currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Currency {
    /// Euro.
    #[default]
    EUR,
}

impl Currency {
    /// Its ISO 4217 code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EUR => "EUR",
        }
    }
}

/// Value-added tax.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vat {
    /// Rate in percent, for example "20" or "5.5".
    #[schemars(schema_with = "crate::schema::decimal")]
    pub rate: Decimal,
}

/// The price of a meter: one unit price, or tiers.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.unitPrice) != has(self.tiers)").message("a price is a unitPrice or tiers: write one of them"), validation = Rule::new("!has(self.model) || self.meter in ['compute.gpu-hours', 'cluster.device-hours']").message("only compute.gpu-hours and cluster.device-hours are priced by model: leave model out"))]
pub struct Price {
    /// The meter.
    pub meter: Meter,
    /// The model that it is for, as its source names it: Slurm's type of a GPU (`a100` of `gres/gpu:a100`), a class of
    /// claimed devices (`h100.nvidia.com`), an extended resource of pods (`nvidia.com/mig-1g.5gb`). Absent, it is the price
    /// of all that has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub model: Option<String>,
    /// Price a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_decimal")]
    pub unit_price: Option<Decimal>,
    /// Graduated: each tier prices only what falls inside it, in a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = Rule::new("self.filter(t, !has(t.upTo)).size() == 1 && !has(self[size(self) - 1].upTo)").message("the last tier, and only it, has no upTo: it prices the rest"))]
    pub tiers: Option<Vec<Tier>>,
}

/// A tier of a graduated price.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// The quantity in a month up to which the tier goes; absent in the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_decimal")]
    pub up_to: Option<Decimal>,
    /// Price a unit inside the tier.
    #[schemars(schema_with = "crate::schema::decimal")]
    pub unit_price: Decimal,
}

/// What is metered and priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Meter {
    /// A core of the batch scheduler held for one hour.
    #[serde(rename = "compute.core-hours")]
    ComputeCoreHours,
    /// A GPU of the batch scheduler held for one hour.
    #[serde(rename = "compute.gpu-hours")]
    ComputeGpuHours,
    /// A core of the batch scheduler that is kept for an allocation for one hour, used or not.
    #[serde(rename = "compute.reserved-core-hours")]
    ComputeReservedCoreHours,
    /// A GPU of the batch scheduler that is kept for an allocation for one hour, used or not.
    #[serde(rename = "compute.reserved-gpu-hours")]
    ComputeReservedGpuHours,
    /// A CPU requested by pods for one hour.
    #[serde(rename = "cluster.cpu-hours")]
    ClusterCpuHours,
    /// A GiB of memory requested by pods for one hour.
    #[serde(rename = "cluster.memory-gib-hours")]
    ClusterMemoryGibHours,
    /// A GPU requested by pods for one hour.
    #[serde(rename = "cluster.gpu-hours")]
    ClusterGpuHours,
    /// A device held by pods for one hour that is no whole GPU of a device plugin: one claimed by its class, a slice of a
    /// GPU, or what else a device plugin hands out.
    #[serde(rename = "cluster.device-hours")]
    ClusterDeviceHours,
    /// A GiB stored for one month.
    #[serde(rename = "storage.gib-months")]
    StorageGibMonths,
    /// A kilowatt-hour of electricity, as a power meter counts it.
    #[serde(rename = "energy.kwh")]
    EnergyKwh,
    /// A rack unit (U) held for one month.
    #[serde(rename = "colocation.u-months")]
    ColocationUMonths,
}

impl Meter {
    /// Every meter.
    pub const ALL: [Meter; 11] = [
        Meter::ComputeCoreHours,
        Meter::ComputeGpuHours,
        Meter::ComputeReservedCoreHours,
        Meter::ComputeReservedGpuHours,
        Meter::ClusterCpuHours,
        Meter::ClusterMemoryGibHours,
        Meter::ClusterGpuHours,
        Meter::ClusterDeviceHours,
        Meter::StorageGibMonths,
        Meter::EnergyKwh,
        Meter::ColocationUMonths,
    ];

    /// As tariffs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ComputeCoreHours => "compute.core-hours",
            Self::ComputeGpuHours => "compute.gpu-hours",
            Self::ComputeReservedCoreHours => "compute.reserved-core-hours",
            Self::ComputeReservedGpuHours => "compute.reserved-gpu-hours",
            Self::ClusterCpuHours => "cluster.cpu-hours",
            Self::ClusterMemoryGibHours => "cluster.memory-gib-hours",
            Self::ClusterGpuHours => "cluster.gpu-hours",
            Self::ClusterDeviceHours => "cluster.device-hours",
            Self::StorageGibMonths => "storage.gib-months",
            Self::EnergyKwh => "energy.kwh",
            Self::ColocationUMonths => "colocation.u-months",
        }
    }
}

/// What the operator knows of the tariff.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TariffStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions: Ready; False while another tariff covers the same category and day.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
