//! Every test of the workspace, on the stack: `cargo dev test`.
//!
//! All of them begin from nothing, since they close months and use up names, which happens once in a stack's life. Then
//! those that read what Slurm's commands answer, or keep what they do in a ledger, run again: on a stack with a much later
//! Slurm, with its ledger in PostgreSQL and its invoices in a bucket. These alone run, on a fresh stack as well, where a
//! later Slurm is asked for. Those that a filter picks run on the stack that stands, for who works on one.

use crate::slurm::Release;
use crate::state::{InvoicePlace, LedgerPlace};
use crate::{bucket, cargo, environment, parts, pods, public_tools, state, up};
use anyhow::{Context, Result};
use std::process::ExitCode;

/// Those that run again with the later Slurm, the other database and the bucket.
const WITH_A_LATER_SLURM: [&str; 10] = [
    "a_job_runs_once_as_its_author",
    "accounts_follow_what_is_desired",
    "e2e_a_person_closes_a_month",
    "e2e_batch_jobs",
    "e2e_examples",
    "e2e_ledger_in_postgresql",
    "e2e_output_of_batch_jobs",
    "e2e_scripts_as_they_are",
    "e2e_use_that_cannot_be_read",
    "e2e_what_a_job_is_made_of",
];

/// Those that make ledgers, and run once with files and once with PostgreSQL.
const OF_THE_LEDGER: [&str; 18] = [
    "a_closed_month_stays",
    "a_kept_checkpoint_shows_what_was_rewritten",
    "a_ledger_is_copied_whole",
    "a_month_can_be_simulated",
    "a_single_record_is_shown_to_be_in_a_checkpoint",
    "co_investors_use_what_they_paid_for",
    "focus_rows_say_what_statements_say",
    "funds_are_called_ahead",
    "intake_survives_being_killed",
    "invoice_numbers_have_no_gap",
    "invoices_say_what_statements_say",
    "keys_change_and_costs_become_known",
    "ledger_shows_what_was_changed",
    "ledger_takes_each_record_once",
    "node_failures_are_credited",
    "what_cannot_be_taken_keeps_months_open",
    "what_is_held_is_metered_once",
    "what_is_reserved_is_billed_once",
];

/// Brings the stack up, builds every test, then runs those whose name matches; gives cargo's own exit code.
pub async fn test(filter: Option<&str>, mut options: up::Options) -> Result<ExitCode> {
    options.fresh |= filter.is_none();
    // Built first: a test that does not compile needs no stack to say so.
    let code = run_cargo(&["test", "--workspace", "--no-run"], &[]).await?;
    if code != 0 {
        return Ok(ExitCode::from(code));
    }
    let code = match (filter, options.slurm) {
        (None, Some(release)) if release.is_later() => on_a_later_slurm(release, options).await?,
        (None, _) => all(options).await?,
        (Some(_), _) => {
            up(options).await?;
            run_on_the_stack(&arguments(filter), &[]).await?
        }
    };
    Ok(ExitCode::from(code))
}

/// Every test; those of the ledger, and those that a later Slurm may answer otherwise, twice.
async fn all(options: up::Options) -> Result<u8> {
    up(options).await?;
    // Minutes, on a new machine: they are no test's time.
    pods::prepare().await?;
    let mut code = run_on_the_stack(&arguments(None), &[]).await?;
    let in_postgres = [("MESO_TEST_LEDGERS_IN_POSTGRES", "yes".to_owned())];
    code = code.max(run_on_the_stack(&with_ledgers_in_postgres(), &in_postgres).await?);
    if !options.existing && options.slurm.is_none() {
        code = code.max(on_a_later_slurm(Release::Forky, options).await?);
    }
    Ok(code)
}

/// On a stack of their own, where all else that may be otherwise is, too.
async fn on_a_later_slurm(release: Release, options: up::Options) -> Result<u8> {
    up(up::Options {
        fresh: true,
        pods: false,
        slurm: Some(release),
        ledger: Some(LedgerPlace::Postgres),
        invoices: Some(InvoicePlace::Bucket),
        ..options
    })
    .await?;
    run_on_the_stack(&with_a_later_slurm(), &[]).await
}

/// Brings the stack up, and what tests take beside it.
async fn up(options: up::Options) -> Result<()> {
    up::up(options).await?;
    public_tools::prepare().await?;
    parts::build(&[bucket::NAME]).await
}

async fn run_on_the_stack(arguments: &[&str], more: &[(&'static str, String)]) -> Result<u8> {
    let mut environment = environment::of(&state::of_the_stack()?)?;
    environment.extend_from_slice(more);
    run_cargo(arguments, &environment).await
}

/// Those of the ledger, each with one in PostgreSQL instead of a file.
fn with_ledgers_in_postgres() -> Vec<&'static str> {
    let mut arguments = vec!["test", "--workspace", "--no-fail-fast"];
    arguments.extend(OF_THE_LEDGER.iter().flat_map(|test| ["--test", test]));
    arguments
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
