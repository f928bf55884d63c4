//! `meso cancel`: asks for a job's end; the operator tells the scheduler.

use crate::api_answer;
use crate::batch_jobs;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use clap::Args;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use mesocentre_api::BatchJob;

/// What `cancel` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The jobs' names, as `meso queue` shows them
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Delete the job objects as well; what the jobs used stays in the ledger
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    place: Place,
}

/// Cancels each; one that fails does not keep the others from being cancelled.
///
/// # Errors
/// The last [`Failure`]'s code, when one failed.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), connection.namespace()?);
    batch_jobs::each(&options.jobs, async |name| {
        if options.delete {
            delete(&api, name).await
        } else {
            cancel(&api, name).await
        }
    })
    .await
}

async fn cancel(api: &Api<BatchJob>, name: &str) -> Result<String, Failure> {
    let doing = format!("cancelling {name}");
    let patch = Patch::Merge(serde_json::json!({"spec": {"cancel": true}}));
    let job = api
        .patch(name, &PatchParams::default(), &patch)
        .await
        .map_err(|error| api_answer::failure(&doing, &error))?;
    let phase = batch_jobs::phase(&job);
    Ok(if phase.is_finished() {
        format!("{name} had ended already ({})", phase.as_str())
    } else {
        format!("{name} is being cancelled")
    })
}

async fn delete(api: &Api<BatchJob>, name: &str) -> Result<String, Failure> {
    let doing = format!("deleting {name}");
    api.delete(name, &DeleteParams::default())
        .await
        .map_err(|error| api_answer::failure(&doing, &error))?;
    Ok(format!("{name} is being deleted"))
}
