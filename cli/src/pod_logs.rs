//! `meso logs` of a job that ran as pods: their log, asked of the API server as the user who runs meso.

use crate::api_answer;
use crate::batch_jobs::{get, phase};
use crate::failure::Failure;
use crate::output;
use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use mesocentre_api::BatchJob;
use mesocentre_api::output::no_output_yet;
use mesocentre_scheduler_bridge::kubernetes::{CONTAINER, FOR_UID, INDEX};
use mesocentre_scheduler_bridge::slurm::ScriptHeader;
use mesocentre_scheduler_bridge::{ArrayIndices, JobId};
use std::time::Duration;

const LOOKED_AGAIN_AFTER: Duration = Duration::from_millis(500);
const PIECE: usize = 64 << 10;

/// What is to be printed.
pub struct Wanted {
    /// The task of an array.
    pub task: Option<String>,
    /// Go on as it grows.
    pub follow: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
}

/// Whether a job runs as pods.
pub fn runs_as_pods(job: &BatchJob) -> bool {
    let scheduler = job.status.as_ref().and_then(|status| status.scheduler.as_ref());
    let id = scheduler.and_then(|scheduler| scheduler.job_id.as_deref()?.parse::<JobId>().ok());
    matches!(id, Some(JobId::Made(_)))
}

/// Prints the log of a job's pod, of several the last: a node may have failed under the others.
///
/// # Errors
/// [`Failure`], as the API server answers, or when there is no output.
pub async fn run(
    api: Api<BatchJob>,
    pods: Api<Pod>,
    mut job: BatchJob,
    wanted: &Wanted,
) -> Result<(), Failure> {
    let name = job.name_any();
    let doing = format!("reading the output of {name}");
    let place = place(&job, wanted.task.as_deref())?;
    let mut printed: Option<String> = None;
    loop {
        // Decided before the log is read: what the job wrote until its end is then in what is read.
        let goes_on = wanted.follow && !phase(&job).is_finished();
        let pod = last_pod(&pods, &job, place, &doing).await?;
        match pod {
            Some(pod) if printed.as_deref() != Some(pod.name_any().as_str()) => {
                if has_begun(&pod) {
                    if !print(&pods, &pod.name_any(), wanted, &doing).await? {
                        return Ok(());
                    }
                    printed = Some(pod.name_any());
                } else if !goes_on {
                    return Err(Failure::Failed(no_output_yet(&job)));
                }
            }
            Some(_) => {}
            None if printed.is_none() && !goes_on => {
                return Err(Failure::Failed(
                    if phase(&job).is_finished()
                        && job.status.as_ref().is_some_and(|s| s.started_at.is_some())
                    {
                        format!(
                            "the pods of {name} are gone, and its output with them: what is to stay is written into a claim (spec.container.homeClaim)"
                        )
                    } else {
                        no_output_yet(&job)
                    },
                ));
            }
            None => {}
        }
        if !goes_on {
            return Ok(());
        }
        tokio::time::sleep(LOOKED_AGAIN_AFTER).await;
        job = get(&api, &name, &doing).await?;
    }
}

/// The place of a task among its array's, as Kubernetes counts them; none of a job that is no array.
fn place(job: &BatchJob, task: Option<&str>) -> Result<Option<u32>, Failure> {
    let name = job.name_any();
    let header = ScriptHeader::parse(job.spec.script.as_bytes()).ok();
    let written = match &job.spec.array {
        Some(array) => Some(array.indices.clone()),
        None => header.and_then(|header| header.value("array").map(str::to_owned)),
    };
    let indices = written.and_then(|written| ArrayIndices::parse(&written).ok());
    match (indices, task) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Failure::Usage(format!(
            "{name} is no array and has no tasks: write `meso logs {name}`"
        ))),
        (Some(_), None) => Err(Failure::Usage(format!(
            "{name} is an array, and each task has an output of its own: name the task, for example `meso logs {name}.1`"
        ))),
        (Some(indices), Some(task)) => match task.parse().ok().and_then(|task| indices.place_of(task)) {
            Some(place) => Ok(Some(place)),
            None => Err(Failure::Usage(format!(
                "{name} has no task {task}: its indices are {}",
                indices
                    .bounds()
                    .map_or_else(String::new, |(lowest, highest)| format!(
                        "from {lowest} to {highest}"
                    ))
            ))),
        },
    }
}

async fn last_pod(
    pods: &Api<Pod>,
    job: &BatchJob,
    place: Option<u32>,
    doing: &str,
) -> Result<Option<Pod>, Failure> {
    let uid = job.uid().unwrap_or_default();
    let theirs = ListParams::default().labels(&format!("{FOR_UID}={uid}"));
    let found = pods
        .list(&theirs)
        .await
        .map_err(|error| api_answer::failure(doing, &error))?;
    let place = place.map(|place| place.to_string());
    Ok(found
        .items
        .into_iter()
        .filter(|pod| pod.annotations().get(INDEX) == place.as_ref())
        .max_by_key(|pod| (pod.creation_timestamp(), pod.name_any())))
}

/// Whether the container was started, so that there is a log.
fn has_begun(pod: &Pod) -> bool {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses
        .into_iter()
        .flatten()
        .filter_map(|status| status.state.as_ref())
        .any(|state| state.running.is_some() || state.terminated.is_some())
}

/// Prints a pod's log, to its end where it is followed; false when nobody reads any more.
async fn print(pods: &Api<Pod>, pod: &str, wanted: &Wanted, doing: &str) -> Result<bool, Failure> {
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        follow: wanted.follow,
        tail_lines: wanted.tail.map(|lines| i64::try_from(lines).unwrap_or(i64::MAX)),
        ..LogParams::default()
    };
    let stream = pods
        .log_stream(pod, &parameters)
        .await
        .map_err(|error| api_answer::failure(doing, &error))?;
    let mut stream = std::pin::pin!(stream);
    let mut piece = vec![0; PIECE];
    loop {
        let read = stream
            .read(&mut piece)
            .await
            .map_err(|error| Failure::Unreachable(format!("{doing}: the log was cut off: {error}")))?;
        if read == 0 {
            return Ok(true);
        }
        if !output::print_bytes(&piece[..read])? {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(spec: serde_json::Value, id: &str) -> BatchJob {
        serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "BatchJob", "metadata": {"name": "sweep"}, "spec": spec,
            "status": {"phase": "Running", "scheduler": {"name": "s", "jobId": id}},
        }))
        .unwrap()
    }

    #[test]
    fn a_task_is_found_by_the_index_that_its_author_wrote() {
        let made = "bj-5b0e2c1a-0000-4000-8000-000000000000";
        let array = job(
            json!({"allocation": "a", "script": "#!/bin/sh", "array": {"indices": "5-9:2"}}),
            made,
        );
        assert!(runs_as_pods(&array) && !runs_as_pods(&job(json!({"allocation": "a", "script": ""}), "42")));
        assert_eq!(place(&array, Some("7")).unwrap(), Some(1));
        assert!(
            place(&array, Some("6"))
                .unwrap_err()
                .to_string()
                .contains("from 5 to 9")
        );
        assert!(
            place(&array, None)
                .unwrap_err()
                .to_string()
                .contains("name the task")
        );
        let by_line = job(
            json!({"allocation": "a", "script": "#!/bin/sh\n#SBATCH -a 3\n"}),
            made,
        );
        assert_eq!(place(&by_line, Some("3")).unwrap(), Some(0));
        let plain = job(json!({"allocation": "a", "script": "#!/bin/sh\n"}), made);
        assert_eq!(place(&plain, None).unwrap(), None);
        assert!(place(&plain, Some("1")).is_err());
    }
}
