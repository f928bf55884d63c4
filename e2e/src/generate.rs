//! Writes the chart's CRDs from the Rust types: `cargo dev generate`.

use crate::cargo;
use anyhow::{Context, Result, bail};

/// Writes them, by the api crate's own example: built now, from the types as they are.
pub async fn generate() -> Result<()> {
    let status = cargo::command()
        .args([
            "run",
            "--quiet",
            "--package",
            "mesocentre-api",
            "--example",
            "crds",
        ])
        .status()
        .await
        .context("starting cargo")?;
    if !status.success() {
        bail!("the CRDs could not be written: see above");
    }
    Ok(())
}
