//! Parts of the stack that go away and come back, for tests of what survives.

use super::Stack;
use crate::process::Started;
use crate::{control_plane, operator, process, slurm, vault, wait};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim};
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use mesocentre_api::labels;
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
            Part::ApiServer => {
                control_plane::up().await?;
                self.policies_judge().await
            }
            Part::Slurmctld => slurm::start_controller().await,
            Part::Slurmdbd => slurm::start_accounting().await,
            Part::Vault => {
                vault::up().await?;
                vault::set_up().await
            }
            Part::Operator => self.operator().start().await,
        }
    }

    /// Returns when the API server judges by policies with parameters again. One that has just started says that it is ready
    /// and refuses for up to half a minute whatever such a policy is about: it looked for the kind of the parameters before it
    /// served its CRDs, and forgets what it found every 30 seconds (apiserver, `pkg/server/options/admission.go`).
    async fn policies_judge(&self) -> Result<()> {
        let tenants = ListParams::default().labels(labels::TENANT).limit(1);
        let Some(namespace) = Api::<Namespace>::all(self.admin())
            .list(&tenants)
            .await?
            .items
            .pop()
        else {
            return Ok(());
        };
        // In a dry run: nothing is made whatever is answered.
        let claim: PersistentVolumeClaim = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "judged"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}},
        }))?;
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.admin(), &namespace.name_any());
        wait::until(
            "policies with parameters judge",
            Duration::from_secs(90),
            async || match claims.create(&dry_run, &claim).await {
                Err(kube::Error::Api(status)) if status.message.contains("failed to configure policy") => {
                    Err(status.message.clone())
                }
                _ => Ok(()),
            },
        )
        .await
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
