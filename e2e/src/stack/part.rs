//! Parts of the stack that go away and come back, for tests of what survives.

use super::Stack;
use crate::process::Started;
use crate::{control_plane, operator, process, slurm, vault};
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::time::Duration;

/// A part that a test may stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The API server; etcd keeps what it knew.
    ApiServer,
    /// Slurm's controller; its nodes go on.
    Slurmctld,
    /// Slurm's accounting; its database goes on.
    Slurmdbd,
    /// Vault, whose development mode forgets everything.
    Vault,
    /// The operator.
    Operator,
}

impl Part {
    fn process(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::Slurmctld => "slurmctld",
            Self::Slurmdbd => "slurmdbd",
            Self::Vault => "vault",
            Self::Operator => operator::NAME,
        }
    }
}

impl Stack {
    /// Ends a part as its administrator does, and returns when it is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&self, part: Part) -> Result<()> {
        match process::running(part.process())? {
            Some(running) => running.stop(patience(part)).await,
            None => Ok(()),
        }
    }

    /// Ends a part as a power cut does, and returns when it is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&self, part: Part) -> Result<()> {
        match process::running(part.process())? {
            Some(running) => running.kill().await,
            None => Ok(()),
        }
    }

    /// Starts a part when it does not run, and returns when it answers.
    ///
    /// # Errors
    /// When it does not answer in time: with the last state and the end of its log.
    pub async fn start(&self, part: Part) -> Result<()> {
        match part {
            Part::ApiServer => control_plane::up().await,
            Part::Slurmctld => slurm::start_controller().await,
            Part::Slurmdbd => slurm::start_accounting().await,
            Part::Vault => {
                vault::up().await?;
                vault::set_up().await
            }
            Part::Operator => self.operator().start().await,
        }
    }

    /// Lets a part hang: it lives and answers nobody.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self, part: Part) -> Result<()> {
        running(part)?.signal(Signal::STOP);
        Ok(())
    }

    /// Lets a part go on where it hung.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self, part: Part) -> Result<()> {
        running(part)?.signal(Signal::CONT);
        Ok(())
    }
}

/// How long an orderly end may take.
fn patience(part: Part) -> Duration {
    match part {
        // It waits a minute for watches to end, which do not; etcd has all that it knows.
        Part::ApiServer => Duration::from_secs(1),
        _ => Duration::from_secs(30),
    }
}

fn running(part: Part) -> Result<Started> {
    process::running(part.process())?.with_context(|| format!("{} does not run", part.process()))
}
