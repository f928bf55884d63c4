//! Resident memory of the operator, after whatever was measured before.

use crate::operator;
use anyhow::{Context, Result};

/// Reads it from the operator's own metrics, and prints it.
pub async fn measure() -> Result<()> {
    let metrics = operator::metrics(operator::NAME).await?;
    let bytes: u64 = metrics
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
        .context("the operator's metrics do not say its memory")?
        .trim()
        .parse()?;
    println!("memory: the operator holds {} MB (goal < 60)", bytes / 1_000_000);
    Ok(())
}
