//! Measurements, as ratios within one run: `cargo dev bench`. One file a measurement.

use anyhow::{Result, bail};

/// Runs one measurement, or all.
pub async fn bench(_name: Option<&str>) -> Result<()> {
    bail!("`cargo dev bench` measures nothing yet: e2e/src/bench/ is the place")
}
