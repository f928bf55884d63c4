//! Meters, their base units, and how many base units are in one unit of a tariff.
//!
//! The names are those that tariffs write (`mesocentre_api::Meter`). A base unit is the smallest thing that the source
//! itself counts, so that a record is an integer and nothing is rounded before the invoice line:
//!
//! | meter | base unit | why | one unit of the tariff |
//! | --- | --- | --- | --- |
//! | `compute.core-hours` | core_seconds | Slurm's accounting counts whole cores and whole seconds | 3,600 |
//! | `compute.gpu-hours` | gpu_seconds | the same | 3,600 |
//! | `compute.reserved-core-hours` | core_seconds | an allocation says whole cores | 3,600 |
//! | `compute.reserved-gpu-hours` | gpu_seconds | the same | 3,600 |
//! | `cluster.cpu-hours` | cpu_milli_seconds | the smallest CPU that Kubernetes knows is `1m` | 3,600,000 |
//! | `cluster.memory-gib-hours` | byte_seconds | a request of `100M` is no whole number of MiB | 2³⁰ × 3,600 |
//! | `cluster.gpu-hours` | gpu_seconds | Kubernetes counts whole devices | 3,600 |
//! | `cluster.device-hours` | device_seconds | the same | 3,600 |
//! | `storage.gib-months` | byte_seconds | the same | 2³⁰ × the seconds of that civil month |
//! | `energy.kwh` | watt_hours | what power meters count | 1,000 |
//! | `colocation.u-months` | u_seconds | a rack unit is whole | the seconds of that civil month |
//!
//! A GiB-month is a GiB kept for the whole of a civil month of the datacentre's zone, however long that month is: kept
//! all February or all March it is 1, and a day of 23 hours counts 23.

use crate::calendar::MonthWindow;
use crate::exact::{decimal_string, round_half_up};
use mesocentre_api::Meter;

const GIB: i128 = 1 << 30;

/// The name of a meter's base unit.
pub fn base_unit(meter: Meter) -> &'static str {
    match meter {
        Meter::ComputeCoreHours | Meter::ComputeReservedCoreHours => "core_seconds",
        Meter::ComputeGpuHours | Meter::ComputeReservedGpuHours | Meter::ClusterGpuHours => "gpu_seconds",
        Meter::ClusterDeviceHours => "device_seconds",
        Meter::ClusterCpuHours => "cpu_milli_seconds",
        Meter::ClusterMemoryGibHours | Meter::StorageGibMonths => "byte_seconds",
        Meter::EnergyKwh => "watt_hours",
        Meter::ColocationUMonths => "u_seconds",
    }
}

/// How many base units are one unit of the tariff, for use within this month. Always above 0.
pub fn base_units_per_unit(meter: Meter, month: &MonthWindow) -> i128 {
    match meter {
        Meter::ComputeCoreHours
        | Meter::ComputeGpuHours
        | Meter::ComputeReservedCoreHours
        | Meter::ComputeReservedGpuHours
        | Meter::ClusterGpuHours
        | Meter::ClusterDeviceHours => 3_600,
        Meter::ClusterCpuHours => 3_600_000,
        Meter::ClusterMemoryGibHours => GIB * 3_600,
        Meter::StorageGibMonths => GIB * month.seconds(),
        Meter::EnergyKwh => 1_000,
        Meter::ColocationUMonths => month.seconds(),
    }
}

/// A quantity in the tariff's unit with six decimals, rounded half-up, for reading: 72,001 core seconds of 3,600 are
/// `20.000278`. Amounts are computed from the base units, never from this. None when it passes 128 bits.
pub fn in_units(quantity: i128, base_units_per_unit: i128) -> Option<String> {
    round_half_up(&[quantity, 1_000_000], &[base_units_per_unit])
        .map(|millionths| decimal_string(millionths, 6))
}

/// The meter with this name in tariffs.
pub fn parse_meter(name: &str) -> Option<Meter> {
    Meter::ALL.into_iter().find(|meter| meter.as_str() == name)
}
