//! `meso extend`: another time limit for jobs that exist; the operator tells the scheduler.

use crate::api_answer;
use crate::batch_jobs;
use crate::connection::{Connection, Place};
use crate::elapsed;
use crate::failure::Failure;
use crate::sbatch::{Said, time};
use clap::Args;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mesocentre_api::{BatchJob, Phase};
use std::time::Duration;

/// What `extend` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The jobs' names, as `meso queue` shows them
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// The whole limit from a job's start on, as sbatch's --time: 90 (minutes), 1:30:00, 2-12. Less than it has, its author
    /// may ask for; more, an Owner of the tenant
    #[arg(long, short = 't', visible_alias = "to", value_name = "TIME")]
    time: String,
    #[command(flatten)]
    place: Place,
}

/// Gives each its limit; one that fails does not keep the others from it.
///
/// # Errors
/// The last [`Failure`]'s code, when one failed.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let limit = match time::parse(&options.time).map_err(|error| Failure::Usage(error.to_string()))? {
        Said::Field(limit) => limit,
        Said::Line(_) => {
            return Err(Failure::Usage(
                "no limit at all is not to be had: write minutes (90), hours:minutes:seconds (1:30:00) or days-hours (2-12)"
                    .into(),
            ));
        }
    };
    let connection = Connection::open(options.place.or(before)).await?;
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), connection.namespace()?);
    let patch = Patch::Merge(serde_json::json!({"spec": {"timeLimit": kube::core::Duration::from(limit)}}));
    batch_jobs::each(&options.jobs, async |name| {
        let job = api
            .patch(name, &PatchParams::default(), &patch)
            .await
            .map_err(|error| api_answer::failure(&format!("extending {name}"), &error))?;
        Ok(said(name, batch_jobs::phase(&job), limit))
    })
    .await
}

fn said(name: &str, phase: Phase, limit: Duration) -> String {
    let limit = elapsed::limit(limit);
    match phase {
        phase if phase.is_finished() => format!("{name} had ended already ({})", phase.as_str()),
        _ => format!("{name} is given {limit} from its start on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_said_as_it_will() {
        let limit = Duration::from_secs(5400);
        assert!(said("pi", Phase::Running, limit).starts_with("pi is given 1:30:00"));
        assert!(said("pi", Phase::TimedOut, limit).contains("ended already (TimedOut)"));
    }
}
