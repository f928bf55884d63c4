//! What `cargo dev` does, a function a task.

pub use crate::bench::bench;
pub use crate::demo::demo;
pub use crate::down::down;
pub use crate::generate::generate;
pub use crate::slurm::Release as SlurmRelease;
pub use crate::state::{InvoicePlace, LedgerPlace};
pub use crate::test_run::test;
pub use crate::up::{Options, up};

use crate::{binaries, environment, kubeconfig, operator, output, state};
use anyhow::Result;

/// The shell exports of the stack.
pub fn env() -> Result<String> {
    environment::exports(&state::of_the_stack()?)
}

/// A kubeconfig for a user, by a client certificate.
pub async fn kubeconfig_of(user: &str, groups: &[String], namespace: Option<&str>) -> Result<String> {
    kubeconfig::for_user(&state::of_the_stack()?, user, groups, namespace).await
}

/// Builds the operator and starts it; returns when it is ready.
pub async fn start_operator(release: bool) -> Result<()> {
    state::of_the_stack()?;
    binaries::build(release).await?;
    binaries::link(release)?;
    output::up(release).await?;
    operator::up(release).await
}

/// Builds the operator, ends the one that runs, and starts the new one.
pub async fn restart_operator(release: bool) -> Result<()> {
    state::of_the_stack()?;
    binaries::build(release).await?;
    operator::stop(operator::NAME).await?;
    binaries::link(release)?;
    operator::up(release).await
}

/// Ends the operator as a site does.
pub async fn stop_operator() -> Result<()> {
    operator::stop(operator::NAME).await
}

/// Ends the operator as a power cut does.
pub async fn kill_operator() -> Result<()> {
    operator::kill(operator::NAME).await
}

/// The exports of the operator's own environment, for one that runs in a debugger.
pub async fn operator_env() -> Result<String> {
    state::of_the_stack()?;
    Ok(environment::for_sh(operator::prepare(operator::NAME).await?))
}
