//! Whose jobs a list shows: of which user, and of one workspace or of all of the tenant.

use crate::batch_jobs::{list_all, who_am_i};
use crate::connection::Connection;
use crate::failure::Failure;
use clap::Args;
use kube::{Api, ResourceExt};
use mesocentre_api::{BatchJob, Workspace};

/// Whose jobs.
#[derive(Args, Debug)]
pub struct Whose {
    /// Jobs of every workspace of the tenant
    #[arg(short = 'A', long)]
    pub all_tenant: bool,
    /// Jobs of this user [default: yours]
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,
    /// Jobs of everyone
    #[arg(long, conflicts_with = "user")]
    everyone: bool,
}

impl Whose {
    /// The namespaces whose jobs are meant.
    ///
    /// # Errors
    /// As the API server answers, or when none is named.
    pub async fn namespaces(&self, connection: &Connection) -> Result<Vec<String>, Failure> {
        namespaces(connection, self.all_tenant).await
    }

    /// The user whose jobs are meant; none where everybody's are.
    ///
    /// # Errors
    /// When the API server does not say who asks.
    pub async fn user(&self, connection: &Connection) -> Result<Option<String>, Failure> {
        match (&self.user, self.everyone) {
            (Some(user), _) => Ok(Some(user.clone())),
            (None, true) => Ok(None),
            (None, false) => who_am_i(connection).await.map(Some),
        }
    }
}

/// The workspace's namespace, or those of all of the tenant's that stand.
///
/// # Errors
/// As the API server answers, or when none is named.
pub async fn namespaces(connection: &Connection, all_tenant: bool) -> Result<Vec<String>, Failure> {
    if !all_tenant {
        return Ok(vec![connection.namespace()?.to_owned()]);
    }
    let home = connection.home()?;
    let api: Api<Workspace> = Api::namespaced(connection.client.clone(), home);
    let all = list_all(&api, &format!("listing the workspaces of {home}")).await?;
    Ok(all
        .into_iter()
        .filter_map(|workspace| workspace.status.and_then(|status| status.namespace))
        .collect())
}

/// Every job of these namespaces.
///
/// # Errors
/// As the API server answers.
pub async fn jobs_of(connection: &Connection, namespaces: &[String]) -> Result<Vec<BatchJob>, Failure> {
    let mut jobs = Vec::new();
    for namespace in namespaces {
        let api: Api<BatchJob> = Api::namespaced(connection.client.clone(), namespace);
        jobs.extend(list_all(&api, &format!("listing the jobs of {namespace}")).await?);
    }
    Ok(jobs)
}

/// Whether a job was written by this user; by anybody when none is meant.
pub fn is_of(job: &BatchJob, user: Option<&str>) -> bool {
    user.is_none_or(|user| job.spec.submitted_by.as_deref() == Some(user))
}

/// ` of alice`, for sentences.
pub fn of(user: Option<&str>) -> String {
    user.map(|user| format!(" of {user}")).unwrap_or_default()
}

/// A job's place in a list: by when it was written.
pub fn written(job: &BatchJob) -> impl Ord + use<> {
    (
        job.creation_timestamp().map(|time| time.0),
        job.namespace(),
        job.name_any(),
    )
}
