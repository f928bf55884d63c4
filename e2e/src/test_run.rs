//! Every test of the workspace, on the stack: `cargo dev test`.
//!
//! All of them begin from nothing, since they close months and use up names, which happens once in a stack's life. Then
//! those that read what Slurm's commands answer run again, on a stack with a much later Slurm. Those that a filter picks
//! run on the stack that stands, for who works on one.

use crate::slurm::Release;
use crate::{cargo, environment, invoice_tools, pods, state, up};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Those that run again with the later Slurm.
const WITH_A_LATER_SLURM: [&str; 6] = [
    "a_job_runs_once_as_its_author",
    "accounts_follow_what_is_desired",
    "e2e_batch_jobs",
    "e2e_output_of_batch_jobs",
    "e2e_scripts_as_they_are",
    "e2e_what_a_job_is_made_of",
];

/// Brings the stack up, builds every test, then runs those whose name matches; gives cargo's own exit code.
pub async fn test(filter: Option<&str>, mut options: up::Options) -> Result<ExitCode> {
    options.fresh |= filter.is_none();
    // Built first: a test that does not compile needs no stack to say so.
    let code = run_cargo(&["test", "--workspace", "--no-run"], &[]).await?;
    if code != 0 {
        return Ok(ExitCode::from(code));
    }
    up::up(options).await?;
    if filter.is_none() {
        // Minutes, on a new machine: they are no test's time.
        pods::prepare().await?;
    }
    invoice_tools::prepare().await?;
    let mut code = run_on_the_stack(&arguments(filter)).await?;
    if filter.is_none() && !options.existing && options.slurm.is_none() {
        let later = up::Options {
            fresh: true,
            pods: false,
            slurm: Some(Release::Forky),
            ..options
        };
        up::up(later).await?;
        let again = run_on_the_stack(&with_a_later_slurm()).await?;
        code = code.max(again);
    }
    Ok(ExitCode::from(code))
}

async fn run_on_the_stack(arguments: &[&str]) -> Result<u8> {
    let environment = environment::of(&state::of_the_stack()?)?;
    run_cargo(arguments, &environment).await
}

/// Of the whole workspace, as before: of a part of it, cargo would build our dependencies anew with other features.
fn with_a_later_slurm() -> Vec<&'static str> {
    let mut arguments = vec!["test", "--workspace", "--no-fail-fast"];
    arguments.extend(WITH_A_LATER_SLURM.iter().flat_map(|test| ["--test", test]));
    // They wait for Slurm most of the time, and for each other where they must.
    arguments.extend(["--", "--include-ignored", "--test-threads=6"]);
    arguments
}

fn arguments(filter: Option<&str>) -> Vec<&str> {
    // One test that fails must not keep the others from being run.
    let mut arguments = vec!["test", "--workspace", "--no-fail-fast"];
    arguments.extend(filter);
    // Those that need the stack are left out by a plain `cargo test`.
    arguments.extend(["--", "--include-ignored"]);
    arguments
}

async fn run_cargo(arguments: &[&str], environment: &[(&str, String)]) -> Result<u8> {
    let status = cargo::command()
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .status()
        .await
        .context("starting cargo")?;
    // Ended by a signal: no code of its own.
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_runs_whatever_fails_and_a_filter_picks_by_name() {
        assert_eq!(
            arguments(None).join(" "),
            "test --workspace --no-fail-fast -- --include-ignored"
        );
        assert_eq!(
            arguments(Some("ledger")).join(" "),
            "test --workspace --no-fail-fast ledger -- --include-ignored"
        );
    }
}
