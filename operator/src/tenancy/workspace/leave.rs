//! A workspace's deletion: its batch jobs, its namespace, its finalizer.

use crate::Context;
use crate::failure::Failure;
use crate::report::{
    Verdict, has_finalizer, is_forced, is_leaving, remove_finalizer, warn_when_not_ready, write_status,
};
use crate::tenancy::namespace;
use crate::tenancy::remains::is_finished;
use crate::tenancy::suspension_of;
use crate::tenancy::tenant::{delete_jobs, name_of};
use crate::watch::key;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{Workspace, WorkspaceStatus};
use mesocentre_tenancy::deletion::{DeletionStep, WorkspaceRemains, next_workspace_step, workspace_blockers};
use mesocentre_tenancy::{NamespaceName, TenantName, WorkspaceName};
use std::sync::Arc;
use std::time::Duration;

/// How soon what goes is looked at again.
const GOING: Duration = Duration::from_millis(500);

/// One step.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(context: &Context, workspace: Arc<Workspace>) -> Result<Action, Failure> {
    if !has_finalizer(workspace.as_ref()) {
        return Ok(Action::await_change());
    }
    let home = workspace.namespace().unwrap_or_default();
    let (Ok(tenant), Ok(name)) = (TenantName::new(&home), WorkspaceName::new(&workspace.name_any())) else {
        // Nothing was ever made for it.
        remove_finalizer(context, &workspace).await?;
        return Ok(Action::await_change());
    };
    let namespace = NamespaceName::workspace(&tenant, &name);
    let live = namespace::remains(context, &namespace, &workspace.uid().unwrap_or_default()).await?;
    let jobs = match live {
        // Jobs in a namespace that is not ours are none of ours.
        None => Vec::new(),
        Some(_) => context
            .stores
            .jobs
            .state_filter(|job| job.metadata.namespace.as_deref() == Some(namespace.as_str())),
    };
    let remains = WorkspaceRemains {
        running: jobs
            .iter()
            .filter(|job| !is_finished(job))
            .filter_map(|job| name_of(job))
            .collect(),
        jobs: jobs.iter().filter_map(|job| name_of(job)).collect(),
        namespace: live.is_some().then(|| namespace.clone()),
        // Nothing is kept of a workspace that holds nothing.
        retention: live
            .is_some()
            .then(|| suspension_of(context, &home)?.retention_blocker())
            .flatten(),
    };
    let verdict = match next_workspace_step(&remains, forced(context, &workspace)) {
        DeletionStep::Blocked(why) => Verdict::no(
            "DeletionBlocked",
            format!(
                "{}; or have the administrators write the annotation mesocentre.io/force-delete: \"true\" to delete it in spite of that",
                why.join("; ")
            ),
        ),
        DeletionStep::DeleteJobs(jobs) => {
            delete_jobs(context, tenant.as_str(), &jobs).await?;
            Verdict::no(
                "Deleting",
                format!("the deletion waits for the end of {} batch jobs", jobs.len()),
            )
        }
        DeletionStep::DeleteNamespace(_) => {
            if let Some(live) = &live {
                namespace::delete(context, live).await?;
            }
            Verdict::no(
                "Deleting",
                format!("the deletion waits for its namespace {namespace}"),
            )
        }
        _ => {
            remove_finalizer(context, &workspace).await?;
            return Ok(Action::await_change());
        }
    };
    let before = workspace.status.clone().unwrap_or_default();
    let mut status = WorkspaceStatus {
        observed_generation: workspace.metadata.generation,
        deletion_blockers: workspace_blockers(&remains),
        ..before.clone()
    };
    let turned = verdict.ready(&mut status.conditions, workspace.metadata.generation);
    let workspace = write_status(context, &workspace, status.clone()).await?;
    warn_when_not_ready(
        context,
        workspace.as_ref(),
        &before.conditions,
        &status.conditions,
    )
    .await;
    if turned {
        crate::tenancy::peering::look_at_those_of(context, &home);
    }
    Ok(Action::requeue(GOING))
}

/// By its own annotation, or by that of its tenant that goes.
fn forced(context: &Context, workspace: &Workspace) -> bool {
    let home = workspace.namespace().unwrap_or_default();
    is_forced(workspace)
        || context
            .stores
            .tenants
            .get(&key(None, &home))
            .is_some_and(|tenant| is_leaving(tenant.as_ref()) && is_forced(tenant.as_ref()))
}
