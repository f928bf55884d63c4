//! Tenants.
//!
//! A tenant that does not fit (its convention has ended, its perimeter is gone …) loses nothing that stands and gets
//! nothing new: its namespaces, its fences and its role bindings stay as they are, no workspace is made, no peering is
//! open, and `Ready` is false with the reason. When nothing but the date is wrong, its fences are still kept in repair.

mod leave;

pub use leave::{delete_jobs, name_of};

use super::standing::{self, Refused};
use super::{fence, namespace, quota, vault};
use crate::Context;
use crate::failure::Failure;
use crate::report::{Verdict, add_finalizer, is_leaving, warn_when_not, warn_when_not_ready, write_status};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{READY, Tenant, TenantStatus, find_condition};
use mesocentre_tenancy::deletion::{TenantRemains, tenant_blockers};
use mesocentre_tenancy::{TenantName, ValidTenant, plan_home};
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(tenant.as_ref()) {
        return leave::reconcile(&context, tenant).await;
    }
    match standing::validate(&context, &tenant) {
        Ok(valid) => {
            let tenant = add_finalizer(&context, &tenant).await?;
            let verdict = stand_up(&context, &valid).await?;
            report(&context, &tenant, verdict).await
        }
        Err(refused) => {
            keep_in_repair(&context, &refused).await?;
            report(&context, &tenant, refused.verdict()).await
        }
    }
}

/// The home namespace and all that must be in it.
async fn stand_up(context: &Context, tenant: &ValidTenant) -> Result<Verdict, Failure> {
    let plan = plan_home(tenant);
    let owner = format!("the tenant {}", tenant.name);
    let made = namespace::stand_up(context, &plan.object, &tenant.uid, &plan.namespace, &owner).await?;
    if let Err(taken) = made {
        return Ok(taken);
    }
    // No pods run in it and nobody may start one, so its access need not wait until its quota of nothing is in force.
    fence::apply(context, &plan.fences).await?;
    fence::apply(context, &plan.access).await?;
    fence::prune(context, &plan).await?;
    Ok(Verdict::yes(
        "Standing",
        format!(
            "the home namespace {} stands inside the perimeter {}",
            plan.namespace, tenant.perimeter.name
        ),
    ))
}

async fn keep_in_repair(context: &Context, refused: &Refused) -> Result<(), Failure> {
    let Some(tenant) = &refused.out_of_convention else {
        return Ok(());
    };
    let plan = plan_home(tenant);
    if namespace::stands(context, &plan.namespace, &tenant.uid) {
        fence::apply(context, std::iter::once(&plan.object).chain(&plan.fences)).await?;
    }
    Ok(())
}

/// Writes down how it stands, and has those looked at that depend on it.
async fn report(context: &Context, tenant: &Arc<Tenant>, verdict: Verdict) -> Result<Action, Failure> {
    let before = tenant.status.clone().unwrap_or_default();
    let name = tenant.name_any();
    let mut status = TenantStatus {
        observed_generation: tenant.metadata.generation,
        ..before.clone()
    };
    if verdict.status == mesocentre_api::ConditionStatus::True {
        status.home_namespace = Some(name.clone());
    }
    if let Some(blockers) = blockers(context, &name) {
        status.deletion_blockers = blockers;
    }
    verdict.ready(&mut status.conditions, tenant.metadata.generation);
    context
        .tenancy
        .vault
        .report(context, tenant, &mut status.conditions);

    let uid = tenant.uid().unwrap_or_default();
    let workspaces = i32::try_from(quota::of_tenant(context, &name).len()).unwrap_or(i32::MAX);
    if status == before
        && status.workspaces != workspaces
        && let Some(later) = context.tenancy.counts.later(&uid)
    {
        return Ok(Action::requeue(later));
    }
    context.tenancy.counts.written(&uid);
    status.workspaces = workspaces;
    let tenant = write_status(context, tenant, status.clone()).await?;
    warn_when_not_ready(context, tenant.as_ref(), &before.conditions, &status.conditions).await;
    warn_when_not(
        context,
        tenant.as_ref(),
        vault::CONDITION,
        &before.conditions,
        &status.conditions,
    )
    .await;
    if find_condition(&before.conditions, READY) != find_condition(&status.conditions, READY) {
        dependents(context, &name);
    }
    Ok(match verdict.reason.as_str() {
        // Nobody tells of a namespace that is not ours.
        "NamespaceTaken" => Action::requeue(super::LOOKED_AT_AGAIN),
        _ => Action::await_change(),
    })
}

/// Why it could not be deleted now; none while that is not known.
fn blockers(context: &Context, name: &str) -> Option<Vec<String>> {
    let (jobs, unbilled) = context.tenancy.remains.of_tenant(&TenantName::new(name).ok()?)?;
    Some(tenant_blockers(&TenantRemains {
        jobs,
        unbilled,
        ..TenantRemains::default()
    }))
}

/// Has what lives in a tenant, and those who peer with it, looked at.
pub fn dependents(context: &Context, name: &str) {
    for workspace in quota::of_tenant(context, name) {
        context
            .triggers
            .workspaces
            .reconcile(ObjectRef::from_obj(workspace.as_ref()));
    }
    super::peering::look_at_those_of(context, name);
}
