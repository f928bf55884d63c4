//! The ledger's own speed, on both databases: `metering/examples/metering_rate.rs`, a release build.

use super::{Build, fresh_stack};
use crate::{cargo, postgres};
use anyhow::{Context, Result, bail};

/// How many records. PostgreSQL's are fewer: it is the ratio that tells.
const IN_A_FILE: [&str; 2] = ["1000000", "10000000"];
const IN_POSTGRES: &str = "1000000";

/// Prints what the example says of both.
pub async fn measure() -> Result<()> {
    // Nothing else of the stack is needed, but that nothing of an earlier one is in the way.
    fresh_stack(Build::Debug).await?;
    for records in IN_A_FILE {
        run(&[records]).await?;
    }
    run(&[IN_POSTGRES, &postgres::url()?]).await
}

async fn run(arguments: &[&str]) -> Result<()> {
    let status = cargo::command()
        .args(["run", "--quiet", "--release", "-p", "mesocentre-metering"])
        .args(["--example", "metering_rate", "--"])
        .args(arguments)
        .status()
        .await
        .context("starting cargo")?;
    if !status.success() {
        bail!("the measurement failed: {status}");
    }
    Ok(())
}
