//! Tenants.
//!
//! A tenant that does not fit (its perimeter is gone, a SIRET number is mistyped …) loses nothing that stands and gets
//! nothing new: its namespaces, its fences and its role bindings stay as they are, no workspace is made, no peering is
//! open, and `Ready` is false with the reason. When its convention has not begun, its fences are still kept in repair.
//!
//! One that is suspended (its convention has ended, or an administrator said so) stands as it is: all that was made for it
//! is kept as planned, nothing more is made, and after the grace what runs is stopped. Whoever is suspended and does not
//! fit otherwise is held by the rules that stand.

mod leave;

pub use leave::{delete_jobs, name_of};

use super::standing::{self, Refused};
use super::{fence, namespace, quota, vault};
use crate::Context;
use crate::failure::Failure;
use crate::report::{
    Verdict, add_finalizer, event, is_leaving, warn_when_not, warn_when_not_ready, write_status,
};
use crate::tenancy::remains::is_finished;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{ConditionStatus, READY, Tenant, TenantStatus, find_condition};
use mesocentre_tenancy::convention::{self, Suspension};
use mesocentre_tenancy::deletion::{TenantRemains, tenant_blockers};
use mesocentre_tenancy::{TenantName, ValidTenant, plan_home};
use std::sync::Arc;
use std::time::Duration;

/// One reconcile.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(tenant.as_ref()) {
        return leave::reconcile(&context, tenant).await;
    }
    let suspension = standing::suspension(&context, &tenant);
    let (tenant, validated) = hold_hostnames(&context, tenant).await?;
    match validated {
        Ok(valid) => {
            let tenant = add_finalizer(&context, &tenant).await?;
            let verdict = match &suspension {
                Some(suspension) => stay(&context, &valid, suspension).await?,
                None => stand_up(&context, &valid).await?,
            };
            report(&context, &tenant, verdict, suspension).await
        }
        Err(refused) => {
            keep_in_repair(&context, &tenant, &refused).await?;
            report(&context, &tenant, refused.verdict(), suspension).await
        }
    }
}

/// What stands of a suspended tenant is kept as planned; what does not, is not made.
async fn stay(context: &Context, tenant: &ValidTenant, suspension: &Suspension) -> Result<Verdict, Failure> {
    if namespace::stands(context, &tenant.home(), &tenant.uid) {
        let stands = stand_up(context, tenant).await?;
        if stands.status != ConditionStatus::True {
            return Ok(stands);
        }
    }
    Ok(Verdict::no(
        suspension.reason(),
        convention::in_full(suspension, &context.now()),
    ))
}

/// Proves that it fits; and writes down which hostnames it holds before any rule lets it use them. Given to one tenant
/// at a time, on what this process has written last, so that no two hold one.
async fn hold_hostnames(
    context: &Context,
    tenant: Arc<Tenant>,
) -> Result<(Arc<Tenant>, Result<Box<ValidTenant>, Refused>), Failure> {
    let validated = standing::validate(context, &tenant);
    let mut status = tenant.status.clone().unwrap_or_default();
    let new = tenant
        .spec
        .hostnames
        .iter()
        .any(|hostname| !status.hostnames.contains(hostname));
    if validated.is_err() || !new {
        return Ok((tenant, validated));
    }
    let _alone = context.tenancy.claims.alone().await;
    context.tenancy.claims.outdated();
    if let Err(refused) = standing::validate(context, &tenant) {
        return Ok((tenant, Err(refused)));
    }
    // What it asks for no more is given up once its rules are without.
    for hostname in &tenant.spec.hostnames {
        if !status.hostnames.contains(hostname) {
            status.hostnames.push(hostname.clone());
        }
    }
    let tenant = write_status(context, &tenant, status).await?;
    context.tenancy.claims.outdated();
    dependents(context, &tenant.name_any());
    let validated = standing::validate(context, &tenant);
    Ok((tenant, validated))
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

async fn keep_in_repair(context: &Context, tenant: &Tenant, refused: &Refused) -> Result<(), Failure> {
    let Some(valid) = &refused.before_convention else {
        return fence::set_suspension(context, tenant).await;
    };
    let plan = plan_home(valid);
    if namespace::stands(context, &plan.namespace, &valid.uid) {
        fence::apply(context, std::iter::once(&plan.object).chain(&plan.fences)).await?;
    }
    Ok(())
}

/// Writes down how it stands, and has those looked at that depend on it.
async fn report(
    context: &Context,
    tenant: &Arc<Tenant>,
    verdict: Verdict,
    suspension: Option<Suspension>,
) -> Result<Action, Failure> {
    let now = context.now();
    let before = tenant.status.clone().unwrap_or_default();
    let name = tenant.name_any();
    let mut status = TenantStatus {
        observed_generation: tenant.metadata.generation,
        ..before.clone()
    };
    if verdict.status == ConditionStatus::True {
        status.home_namespace = Some(name.clone());
        status
            .hostnames
            .retain(|hostname| tenant.spec.hostnames.contains(hostname));
    }
    let retention = suspension.as_ref().and_then(Suspension::retention_blocker);
    if let Some(blockers) = blockers(context, &name, retention) {
        status.deletion_blockers = blockers;
    }
    verdict.ready(&mut status.conditions, tenant.metadata.generation);
    context
        .tenancy
        .vault
        .report(context, tenant, &mut status.conditions);
    convention::report(tenant, suspension.as_ref(), &now, &mut status);
    let days_left = convention::days_left(&tenant.spec.convention, now.today());
    context
        .metrics
        .tenant_in_time(&name, days_left, suspension.is_some());

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
    warn_when_not(
        context,
        tenant.as_ref(),
        vault::CONDITION,
        &before.conditions,
        &status.conditions,
    )
    .await;
    if before.hostnames != status.hostnames {
        context.tenancy.claims.outdated();
        super::look_at_those_who_wait(context);
    }
    for news in convention::news(&before, &status) {
        let type_ = if news.warns {
            EventType::Warning
        } else {
            EventType::Normal
        };
        event(context, tenant.as_ref(), type_, &news.reason, &news.note).await;
    }
    // That it is suspended is among the news.
    if suspension.as_ref().is_none_or(|s| s.reason() != verdict.reason) {
        warn_when_not_ready(context, tenant.as_ref(), &before.conditions, &status.conditions).await;
    }
    if find_condition(&before.conditions, READY) != find_condition(&status.conditions, READY) {
        dependents(context, &name);
    }
    if before.suspended_since != status.suspended_since || before.stopped_at != status.stopped_at {
        dependents(context, &name);
        work_of(context, &name);
    }
    Ok(match verdict.reason.as_str() {
        // Nobody tells of a namespace that is not ours.
        "NamespaceTaken" => Action::requeue(super::LOOKED_AT_AGAIN),
        // Midnight is the sweep's to tell of.
        _ => match convention::look_again_at(suspension.as_ref()) {
            Some(then) => Action::requeue(
                Duration::try_from(then.duration_since(now.instant)).unwrap_or(Duration::ZERO)
                    + Duration::from_millis(50),
            ),
            None => Action::await_change(),
        },
    })
}

/// Why it could not be deleted now; none while that is not known.
fn blockers(context: &Context, name: &str, retention: Option<String>) -> Option<Vec<String>> {
    let (jobs, unbilled) = context.tenancy.remains.of_tenant(&TenantName::new(name).ok()?)?;
    Some(tenant_blockers(&TenantRemains {
        jobs,
        unbilled,
        retention,
        ..TenantRemains::default()
    }))
}

/// Has a tenant's hours, accounts and batch jobs looked at: it was suspended, its work is to be stopped, or it is resumed.
fn work_of(context: &Context, name: &str) {
    for allocation in context
        .stores
        .allocations
        .state_filter(|allocation| allocation.metadata.namespace.as_deref() == Some(name))
    {
        context.batch.accounts_changed(&allocation.spec.scheduler);
        context
            .triggers
            .allocations
            .reconcile(ObjectRef::from_obj(allocation.as_ref()));
    }
    let prefix = format!("{name}--");
    for job in context.stores.jobs.state_filter(|job| {
        let namespace = job.metadata.namespace.as_deref();
        namespace.is_some_and(|namespace| namespace.starts_with(&prefix)) && !is_finished(job)
    }) {
        context.triggers.jobs.reconcile(ObjectRef::from_obj(job.as_ref()));
    }
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
