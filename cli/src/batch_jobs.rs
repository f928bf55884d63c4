//! Reading batch jobs of the API server, page by page or as they change.

use crate::api_answer;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{ListParams, PostParams};
use kube::{Api, Resource};
use mesocentre_api::{BatchJob, BatchJobStatus, Phase};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Jobs carry their scripts: so many at a time.
const PAGE: u32 = 500;

/// Everything of a kind in a namespace, in pages.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn list_all<K>(api: &Api<K>, doing: &str) -> Result<Vec<K>, Failure>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut parameters = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api
            .list(&parameters)
            .await
            .map_err(|error| api_answer::failure(doing, &error))?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    for object in &mut all {
        object.meta_mut().managed_fields = None;
    }
    Ok(all)
}

/// The user's name, as the API server says it.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn who_am_i(connection: &Connection) -> Result<String, Failure> {
    let doing = "asking the API server who you are";
    let review = Api::<SelfSubjectReview>::all(connection.client.clone())
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(|error| api_answer::failure(doing, &error))?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username)
        .ok_or_else(|| Failure::Refused(format!("{doing}: it names nobody")))
}

/// One batch job by its name.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn get(api: &Api<BatchJob>, name: &str, doing: &str) -> Result<BatchJob, Failure> {
    let mut job = api
        .get(name)
        .await
        .map_err(|error| api_answer::failure(doing, &error))?;
    job.metadata.managed_fields = None;
    Ok(job)
}

/// Does something to each of some jobs, and prints what came of it; one that fails does not keep it from the others.
///
/// # Errors
/// The last [`Failure`]'s code, when one failed.
pub async fn each(
    names: &[String],
    does: impl AsyncFn(&str) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut last = Ok(());
    for name in names {
        match does(name).await {
            Ok(said) => output::print(&format!("{said}\n"))?,
            Err(failure) => {
                failure.report();
                last = Err(Failure::Exit(failure.code()));
            }
        }
    }
    last
}

/// Where a job is in its life; Pending before the operator has seen it.
pub fn phase(job: &BatchJob) -> Phase {
    job.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// The exit code that a job's end gives to `submit --wait`, as `sbatch --wait` does: the script's own, of an array the
/// highest, and 1 where a signal, a limit or a cancellation ended it.
pub fn exit_code(status: &BatchJobStatus) -> u8 {
    match (status.phase, status.exit_code) {
        (Phase::Succeeded, _) => 0,
        (_, Some(code)) if code != 0 => u8::try_from(code).unwrap_or(1),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_job_gives_its_exit_code() {
        let ended = |phase, exit_code| BatchJobStatus {
            phase,
            exit_code,
            ..BatchJobStatus::default()
        };
        for (status, code) in [
            (ended(Phase::Succeeded, Some(0)), 0),
            (ended(Phase::Succeeded, None), 0),
            (ended(Phase::Failed, Some(42)), 42),
            (ended(Phase::Failed, Some(0)), 1),
            (ended(Phase::Failed, None), 1),
            (ended(Phase::Failed, Some(256)), 1),
            (ended(Phase::TimedOut, Some(0)), 1),
            (ended(Phase::Cancelled, None), 1),
        ] {
            assert_eq!(exit_code(&status), code, "{status:?}");
        }
    }
}
