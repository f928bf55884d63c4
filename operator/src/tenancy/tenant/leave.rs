//! A tenant's deletion: one step a look, in the order of `mesocentre_tenancy::deletion`, until nothing is left.

use crate::Context;
use crate::failure::Failure;
use crate::report::{
    self, Verdict, has_finalizer, is_forced, remove_finalizer, warn_when_not_ready, write_status,
};
use crate::tenancy::{namespace, quota, remains::is_finished, standing};
use crate::watch::key;
use futures::future::try_join_all;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{BatchJob, Tenant, TenantStatus};
use mesocentre_tenancy::deletion::{
    DeletionStep, JobName, TenantRemains, UnbilledUse, next_tenant_step, tenant_blockers,
};
use mesocentre_tenancy::{NamespaceName, TenantName, WorkspaceName};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How soon what goes is looked at again.
const GOING: Duration = Duration::from_millis(500);

/// One step.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(context: &Context, tenant: Arc<Tenant>) -> Result<Action, Failure> {
    let name = tenant.name_any();
    if !has_finalizer(tenant.as_ref()) {
        return Ok(Action::await_change());
    }
    let Ok(valid_name) = TenantName::new(&name) else {
        // Nothing was ever made for it.
        remove_finalizer(context, &tenant).await?;
        return Ok(Action::await_change());
    };
    let home = NamespaceName::home(&valid_name);
    let home_live = namespace::remains(context, &home, &tenant.uid().unwrap_or_default()).await?;
    let mut remains = remains(context, &valid_name, home_live.is_some().then(|| home.clone())).await?;
    remains.retention = standing::suspension(context, &tenant).and_then(|s| s.retention_blocker());
    let step = next_tenant_step(&remains, is_forced(tenant.as_ref()));
    let (verdict, again) = act(context, &name, &step, home_live.as_ref()).await?;
    let Some(verdict) = verdict else {
        remove_finalizer(context, &tenant).await?;
        context.tenancy.quotas.forget(&name);
        context.metrics.tenant_is_gone(&name);
        tracing::info!(tenant = name, "the tenant and all that was made for it are gone");
        return Ok(Action::await_change());
    };
    let before = tenant.status.clone().unwrap_or_default();
    let mut status = TenantStatus {
        observed_generation: tenant.metadata.generation,
        deletion_blockers: tenant_blockers(&remains),
        workspaces: i32::try_from(remains.workspaces.len()).unwrap_or(i32::MAX),
        ..before.clone()
    };
    let turned = verdict.ready(&mut status.conditions, tenant.metadata.generation);
    let tenant = write_status(context, &tenant, status.clone()).await?;
    warn_when_not_ready(context, tenant.as_ref(), &before.conditions, &status.conditions).await;
    if turned {
        super::dependents(context, &name);
    }
    Ok(Action::requeue(again))
}

/// What is left of it, as things are and not as they were at the last sweep.
async fn remains(
    context: &Context,
    tenant: &TenantName,
    home: Option<NamespaceName>,
) -> Result<TenantRemains, Failure> {
    let s = &context.stores;
    let in_home = |namespace: Option<String>| namespace.as_deref() == Some(tenant.as_str());
    let prefix = format!("{tenant}--");
    let jobs = s.jobs.state_filter(|job| {
        job.metadata
            .namespace
            .as_deref()
            .is_some_and(|namespace| namespace.starts_with(&prefix))
            && !is_finished(job)
    });
    Ok(TenantRemains {
        jobs: jobs.iter().filter_map(|job| name_of(job)).collect(),
        unbilled: unbilled(context, tenant).await?,
        retention: None,
        workspaces: quota::of_tenant(context, tenant.as_str())
            .iter()
            .filter_map(|workspace| WorkspaceName::new(&workspace.name_any()).ok())
            .collect(),
        agreements: s
            .agreements
            .state_filter(|agreement| in_home(agreement.namespace()))
            .iter()
            .map(|agreement| agreement.name_any())
            .collect(),
        allocations: s
            .allocations
            .state_filter(|allocation| in_home(allocation.namespace()))
            .iter()
            .map(|allocation| allocation.name_any())
            .collect(),
        home,
    })
}

async fn unbilled(context: &Context, tenant: &TenantName) -> Result<Vec<UnbilledUse>, Failure> {
    let mut ledger = context.tenancy.remains.ledger.lock().await;
    let changed = ledger.catch_up(&context.ledger, &context.zone).await?;
    context.tenancy.remains.note_unbilled(&ledger, &changed);
    Ok(ledger.of(tenant.as_str()))
}

/// The name by which plans know a batch job.
pub fn name_of(job: &BatchJob) -> Option<JobName> {
    let (_, workspace) = NamespaceName::split(&job.namespace()?).ok()?;
    Some(JobName {
        workspace: workspace?,
        name: job.name_any(),
    })
}

/// Deletes batch jobs; their finalizers cancel them on the scheduler.
///
/// # Errors
/// When the API server refuses.
pub async fn delete_jobs(context: &Context, tenant: &str, jobs: &[JobName]) -> Result<(), Failure> {
    let going = jobs.iter().filter_map(|job| {
        let namespace = format!("{tenant}--{}", job.workspace);
        context.stores.jobs.get(&key(Some(&namespace), &job.name))
    });
    delete_all(context, going).await
}

async fn delete_all<K: report::Home>(
    context: &Context,
    objects: impl Iterator<Item = Arc<K>>,
) -> Result<(), Failure> {
    try_join_all(
        objects
            .filter(|object| !report::is_leaving(object.as_ref()))
            .map(|object| async move { report::delete(context, object.as_ref()).await }),
    )
    .await
    .map(drop)
}

/// Does a step; what it waits for, or none when nothing is left.
async fn act(
    context: &Context,
    tenant: &str,
    step: &DeletionStep,
    home: Option<&Value>,
) -> Result<(Option<Verdict>, Duration), Failure> {
    let s = &context.stores;
    let waits = |what: String| {
        (
            Some(Verdict::no("Deleting", format!("the deletion waits for {what}"))),
            GOING,
        )
    };
    Ok(match step {
        DeletionStep::Blocked(why) => (
            Some(Verdict::no(
                "DeletionBlocked",
                format!(
                    "{}; or write the annotation mesocentre.io/force-delete: \"true\" to delete it in spite of that",
                    why.join("; ")
                ),
            )),
            Duration::from_secs(2),
        ),
        DeletionStep::DeleteJobs(jobs) => {
            delete_jobs(context, tenant, jobs).await?;
            waits(format!("the end of {} batch jobs", jobs.len()))
        }
        DeletionStep::DeleteWorkspaces(names) => {
            let objects = names
                .iter()
                .filter_map(|name| s.workspaces.get(&key(Some(tenant), name.as_str())));
            delete_all(context, objects).await?;
            waits(format!(
                "its workspaces: {}",
                listed(names.iter().map(WorkspaceName::as_str))
            ))
        }
        DeletionStep::DeleteAgreements(names) => {
            let objects = names
                .iter()
                .filter_map(|name| s.agreements.get(&key(Some(tenant), name)));
            delete_all(context, objects).await?;
            waits(format!(
                "its peering agreements: {}",
                listed(names.iter().map(String::as_str))
            ))
        }
        DeletionStep::DeleteAllocations(names) => {
            let objects = names
                .iter()
                .filter_map(|name| s.allocations.get(&key(Some(tenant), name)));
            delete_all(context, objects).await?;
            waits(format!(
                "its allocations: {}",
                listed(names.iter().map(String::as_str))
            ))
        }
        DeletionStep::DeleteNamespace(name) => {
            if let Some(live) = home {
                namespace::delete(context, live).await?;
            }
            waits(format!("its home namespace {name}"))
        }
        DeletionStep::Done => (None, Duration::ZERO),
    })
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.join(", ")
}
