//! Resident memory of the operator, after whatever was measured before.

use crate::operator;
use anyhow::{Context, Result};

/// Prints it.
pub async fn measure() -> Result<()> {
    println!("memory: the operator holds {} MB (goal < 60)", megabytes().await?);
    Ok(())
}

/// As the operator's own metrics say it, in 10^6 bytes.
pub async fn megabytes() -> Result<u64> {
    let metrics = operator::metrics(operator::NAME).await?;
    let bytes: u64 = metrics
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
        .context("the operator's metrics do not say its memory")?
        .trim()
        .parse()?;
    Ok(bytes / 1_000_000)
}
