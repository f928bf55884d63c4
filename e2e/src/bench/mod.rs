//! Measurements, as ratios within one run: `cargo dev bench`. One file a measurement.
//!
//! The machines are noisy, so each measurement has its yardstick beside it, taken in the same run: the plain tool, or the
//! least that could be done. A release build of the operator on a fresh stack; nothing is asserted.

mod admission;
mod bridge;
mod memory;
mod metering;
mod stage;
mod tenancy;

use crate::tasks;
use anyhow::{Result, bail};

/// The names of the measurements, in the order in which they are made. `bridge` makes `followed` too.
const NAMES: [&str; 5] = ["bridge", "followed", "admission", "tenancy", "metering"];

/// Runs one measurement, or all, each on a fresh stack.
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
    let chosen = |one: &str| name.is_none_or(|name| name == one);
    if chosen("bridge") {
        bridge::measure().await?;
    }
    if name == Some("followed") {
        bridge::many().await?;
    }
    if chosen("admission") {
        // The operator is not in a request's way, so its build does not matter.
        fresh_stack(Build::Debug).await?;
        admission::measure().await?;
    }
    if chosen("tenancy") {
        tenancy::measure().await?;
    }
    if chosen("metering") {
        metering::measure().await?;
    }
    Ok(())
}

/// How the operator is built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    Debug,
    Release,
}

/// A stack from nothing.
async fn fresh_stack(operator: Build) -> Result<()> {
    tasks::up(tasks::Options {
        fresh: true,
        release: operator == Build::Release,
        ..tasks::Options::default()
    })
    .await
}

/// The middle of several measurements.
fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
