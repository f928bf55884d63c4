//! Every test of the workspace, on the stack: `cargo dev test`.

use crate::{environment, paths, state, up};
use anyhow::{Context, Result};
use std::process::ExitCode;
use tokio::process::Command;

/// Brings the stack up, builds every test, then runs those whose name matches; gives cargo's own exit code.
pub async fn test(filter: Option<&str>, options: up::Options) -> Result<ExitCode> {
    // Built first: a test that does not compile needs no stack to say so.
    let code = cargo(&["test", "--workspace", "--no-run"], &[]).await?;
    if code != 0 {
        return Ok(ExitCode::from(code));
    }
    up::up(options).await?;
    let environment = environment::of(&state::of_the_stack()?)?;
    let mut arguments = vec!["test", "--workspace"];
    arguments.extend(filter);
    // Those that need the stack are left out by a plain `cargo test`.
    arguments.extend(["--", "--include-ignored"]);
    let code = cargo(&arguments, &environment).await?;
    Ok(ExitCode::from(code))
}

async fn cargo(arguments: &[&str], environment: &[(&str, String)]) -> Result<u8> {
    let status = Command::new(env!("CARGO"))
        .current_dir(paths::repository())
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
