//! What was used, by Slurm's own accounting and by our ledger, each in core-seconds an account.

use super::jobs::JobName;
use super::people::Person;
use anyhow::{Context, Result, ensure};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

/// Core-seconds by account.
pub type CoreSeconds = BTreeMap<String, i128>;

/// What `sacct` says of accounts of ours: AllocCPUS × ElapsedRaw of each run, requeues and all.
pub async fn of_slurm(administrator: &Person) -> Result<CoreSeconds> {
    let rows = administrator
        .slurm(
            "sacct",
            &[
                "--allusers",
                "--duplicates",
                "--allocations",
                "--noheader",
                "--parsable2",
                "--starttime=now-1day",
                "--format=Account,AllocCPUS,ElapsedRaw",
            ],
        )
        .await?;
    let mut used = CoreSeconds::new();
    for row in rows.lines() {
        let mut fields = row.split('|');
        let (Some(account), Some(cpus), Some(seconds)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if account.contains('.') {
            let number = |text: &str| text.parse::<i128>().with_context(|| format!("sacct's row {row}"));
            *used.entry(account.to_owned()).or_default() += number(cpus)? * number(seconds)?;
        }
    }
    Ok(used)
}

/// What our own objects say, from the ledger: hours used of each allocation, and core-seconds of each job.
pub async fn of_jobs(administrator: &Person, jobs: &[JobName]) -> Result<CoreSeconds> {
    let mut used = CoreSeconds::new();
    for (namespace, name) in jobs {
        let told = administrator
            .kubectl(&[
                "get",
                "batchjob",
                name,
                "-n",
                namespace,
                "-o",
                r#"jsonpath={.status.scheduler.account}{" "}{.status.usage.coreSeconds}"#,
            ])
            .await?;
        let (account, seconds) = told
            .split_once(' ')
            .with_context(|| format!("{namespace}/{name} says no use: {told}"))?;
        let seconds: i128 = seconds
            .parse()
            .with_context(|| format!("{namespace}/{name} says {told}"))?;
        *used.entry(account.to_owned()).or_default() += seconds;
    }
    Ok(used)
}

/// A table of both, which must be the same.
pub fn side_by_side(by_slurm: &CoreSeconds, by_us: &CoreSeconds) -> Result<String> {
    let mut table = format!(
        "{:<28} {:>14} {:>14} {:>12}\n",
        "ACCOUNT", "SLURM (s)", "OURS (s)", "CORE-HOURS"
    );
    for (account, seconds) in by_slurm {
        let ours = by_us.get(account).copied().unwrap_or(0);
        let hours = Decimal::try_from_i128_with_scale(*seconds, 0)? / Decimal::from(3_600);
        table.push_str(&format!("{account:<28} {seconds:>14} {ours:>14} {hours:>12.6}\n"));
    }
    ensure!(
        by_slurm.values().any(|seconds| *seconds > 0),
        "Slurm's accounting knows of no use at all"
    );
    ensure!(
        by_slurm == by_us,
        "Slurm and we do not agree on what was used:\n{table}"
    );
    Ok(table)
}
