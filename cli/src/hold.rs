//! `meso hold` and `meso release`: keep jobs from starting, or let them; the operator tells the scheduler.

use crate::api_answer;
use crate::batch_jobs;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use clap::Args;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mesocentre_api::{BatchJob, Phase};

/// What `hold` and `release` take.
#[derive(Args, Debug)]
pub struct Options {
    /// The jobs' names, as `meso queue` shows them
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    place: Place,
}

/// Holds each, or releases each; one that fails does not keep the others from it.
///
/// # Errors
/// The last [`Failure`]'s code, when one failed.
pub async fn run(options: Options, hold: bool, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), connection.namespace()?);
    batch_jobs::each(&options.jobs, async |name| {
        let doing = format!("{} {name}", if hold { "holding" } else { "releasing" });
        let patch = Patch::Merge(serde_json::json!({"spec": {"hold": hold}}));
        let job = api
            .patch(name, &PatchParams::default(), &patch)
            .await
            .map_err(|error| api_answer::failure(&doing, &error))?;
        Ok(said(name, batch_jobs::phase(&job), is_array(&job), hold))
    })
    .await
}

fn is_array(job: &BatchJob) -> bool {
    job.spec.array.is_some()
        || job
            .status
            .as_ref()
            .and_then(|status| status.tasks.as_ref())
            .is_some_and(|tasks| tasks.total > 1)
}

fn said(name: &str, phase: Phase, is_array: bool, hold: bool) -> String {
    match (phase, hold) {
        (phase, _) if phase.is_finished() => format!("{name} had ended already ({})", phase.as_str()),
        (Phase::Running, true) if is_array => format!("{name}: the tasks that wait are being held"),
        (Phase::Running, true) => format!("{name} runs already, and goes on: a job is held while it waits"),
        (_, true) => format!("{name} is being held"),
        (_, false) => format!("{name} is being released"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_said_as_it_will() {
        assert_eq!(said("pi", Phase::Queued, false, true), "pi is being held");
        assert_eq!(said("pi", Phase::Queued, false, false), "pi is being released");
        assert_eq!(
            said("pi", Phase::Running, true, true),
            "pi: the tasks that wait are being held"
        );
        assert!(said("pi", Phase::Running, false, true).contains("goes on"));
        assert!(said("pi", Phase::Failed, false, true).contains("ended already (Failed)"));
    }
}
