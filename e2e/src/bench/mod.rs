//! Measurements, as ratios within one run: `cargo dev bench`. One file a measurement.
//!
//! The machines are noisy, so each measurement has its yardstick beside it, taken in the same run: the plain tool, or the
//! least that could be done. A release build of the operator on a fresh stack; nothing is asserted.

mod jobs;
mod memory;
mod stage;
mod tenants;

use crate::tasks;
use anyhow::{Result, bail};

/// The names of the measurements, in the order in which they are made.
const NAMES: [&str; 3] = ["jobs", "tenants", "memory"];

/// Runs one measurement, or all.
///
/// # Errors
/// When there is no such measurement, or the stack fails.
pub async fn bench(name: Option<&str>) -> Result<()> {
    if let Some(name) = name
        && !NAMES.contains(&name)
    {
        bail!(
            "there is no measurement {name}: write one of {}",
            NAMES.join(", ")
        );
    }
    tasks::up(tasks::Options {
        fresh: true,
        release: true,
        ..tasks::Options::default()
    })
    .await?;
    let chosen = |one: &str| name.is_none_or(|name| name == one || name == "memory");
    if chosen("jobs") {
        jobs::measure().await?;
    }
    if chosen("tenants") {
        tenants::measure().await?;
    }
    memory::measure().await
}

/// The middle of several measurements.
fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
