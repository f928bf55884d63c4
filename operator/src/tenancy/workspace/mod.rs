//! Workspaces: each becomes the namespace `<tenant>--<workspace>`.
//!
//! One whose tenant is suspended keeps what stands, with who may act in it; after the grace what runs there is stopped.
//! One whose tenant does not fit keeps what stands, and what stands is kept in repair as far as it can be
//! planned; so does one that is too many, whose slice of the quota then only shrinks.

mod leave;

use super::standing::{self, Standing};
use super::{fence, namespace, quota, stop};
use crate::Context;
use crate::batch::WaitsFor;
use crate::failure::Failure;
use crate::report::{Verdict, add_finalizer, is_leaving, warn_when_not_ready, write_status};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use mesocentre_api::{ConditionStatus, READY, Workspace, WorkspaceStatus, find_condition};
use mesocentre_tenancy::convention;
use mesocentre_tenancy::deletion::{WorkspaceRemains, workspace_blockers};
use mesocentre_tenancy::plan::QUOTA_NAME;
use mesocentre_tenancy::quota::Amounts;
use mesocentre_tenancy::{Invalid, NamespaceName, ValidTenant, ValidWorkspace, plan_workspace};
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(workspace: Arc<Workspace>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(workspace.as_ref()) {
        return leave::reconcile(&context, workspace).await;
    }
    match validate(&context, &workspace) {
        Ok((tenant, valid)) => {
            let workspace = add_finalizer(&context, &workspace).await?;
            let verdict = stand_up(&context, &tenant, &valid).await?;
            report(&context, &workspace, Some(valid.namespace()), verdict).await
        }
        Err(refused) => {
            let Refused { verdict, kept } = *refused;
            let namespace = kept.as_ref().map(|(_, valid)| valid.namespace());
            let mut runs_still = false;
            if let Some((tenant, valid)) = kept {
                runs_still = keep_in_repair(&context, &tenant, &valid).await?;
            }
            let action = report(&context, &workspace, namespace, verdict).await?;
            Ok(if runs_still {
                Action::requeue(super::LOOKED_AT_AGAIN)
            } else {
                action
            })
        }
    }
}

type Proven = (Box<ValidTenant>, ValidWorkspace);

/// A workspace that does not fit.
struct Refused {
    /// What is wrong.
    verdict: Verdict,
    /// What is kept in repair all the same.
    kept: Option<Proven>,
}

impl Refused {
    fn new(verdict: Verdict, kept: Option<Proven>) -> Box<Self> {
        Box::new(Self { verdict, kept })
    }
}

/// Proves that it fits its tenant, or says what is wrong.
fn validate(context: &Context, workspace: &Workspace) -> Result<Proven, Box<Refused>> {
    let home = workspace.namespace().unwrap_or_default();
    let not_ready = |why: String| Verdict::no("TenantNotReady", why);
    let tenant = match standing::of(context, &home) {
        Standing::Stands(tenant) => tenant,
        Standing::Suspended(tenant, suspension) => {
            let kept = ValidWorkspace::new(workspace, &tenant, quota::earlier(context, workspace)).ok();
            let verdict = Verdict::no(
                "TenantSuspended",
                convention::in_full(&suspension, &context.now()),
            );
            return Err(Refused::new(verdict, kept.map(|valid| (tenant, valid))));
        }
        Standing::Refused(refused) => {
            let kept = refused.before_convention.as_ref().and_then(|tenant| {
                let earlier = quota::earlier(context, workspace);
                let valid = ValidWorkspace::new(workspace, tenant, earlier).ok()?;
                Some((tenant.clone(), valid))
            });
            return Err(Refused::new(not_ready(refused.verdict().message), kept));
        }
        Standing::Not { why } => return Err(Refused::new(not_ready(why), None)),
        Standing::Unknown => {
            return Err(Refused::new(
                Verdict::no(
                    "NotInHomeNamespace",
                    format!(
                        "the namespace {home} is no tenant's home: make the workspace in the namespace that bears its tenant's name"
                    ),
                ),
                None,
            ));
        }
    };
    match ValidWorkspace::new(workspace, &tenant, quota::earlier(context, workspace)) {
        Ok(valid) => Ok((tenant, valid)),
        Err(invalid) => {
            let verdict = Verdict::no(invalid.reason(), invalid.to_string());
            let kept = matches!(invalid, Invalid::TooManyWorkspaces { .. })
                .then(|| ValidWorkspace::new(workspace, &tenant, 0).ok())
                .flatten();
            Err(Refused::new(verdict, kept.map(|valid| (tenant, valid))))
        }
    }
}

/// The namespace, what fences it, and then who may act in it.
async fn stand_up(
    context: &Context,
    tenant: &ValidTenant,
    workspace: &ValidWorkspace,
) -> Result<Verdict, Failure> {
    // Its amounts are not used: the quota is planned where no other plans.
    let plan = plan_workspace(tenant, workspace, &Amounts::default());
    let owner = format!("the workspace {} of {}", workspace.name, tenant.name);
    let made = namespace::stand_up(context, &plan.object, &workspace.uid, &plan.namespace, &owner).await?;
    if let Err(taken) = made {
        return Ok(taken);
    }
    if !fences(context, tenant, workspace).await? {
        return Ok(Verdict::no(
            "QuotaPending",
            format!(
                "the quota of {} is not in force yet, so nobody may act in it: the control plane does that soon",
                plan.namespace
            ),
        ));
    }
    fence::apply(context, &plan.access).await?;
    fence::prune(context, &plan).await?;
    // Batch jobs that waited for the right to read there.
    context.batch.wake(&WaitsFor::Sources(plan.namespace.to_string()));
    Ok(Verdict::yes(
        "Standing",
        format!(
            "the namespace {} stands inside the perimeter {}",
            plan.namespace, tenant.perimeter.name
        ),
    ))
}

/// Everything that fences it; true when its quota is in force.
async fn fences(
    context: &Context,
    tenant: &ValidTenant,
    workspace: &ValidWorkspace,
) -> Result<bool, Failure> {
    let plan = plan_workspace(tenant, workspace, &Amounts::default());
    let others = plan.fences.iter().filter(|planned| planned.name != QUOTA_NAME);
    let (quota, others) = futures::join!(
        quota::share_out(context, tenant, workspace),
        fence::apply(context, others)
    );
    others?;
    quota
}

/// Keeps what stands as it should be; true while something runs that is to be stopped.
async fn keep_in_repair(
    context: &Context,
    tenant: &ValidTenant,
    workspace: &ValidWorkspace,
) -> Result<bool, Failure> {
    if !namespace::stands(context, &workspace.namespace(), &workspace.uid) {
        return Ok(false);
    }
    let plan = plan_workspace(tenant, workspace, &Amounts::default());
    fence::apply(context, std::iter::once(&plan.object)).await?;
    let in_force = fences(context, tenant, workspace).await?;
    let Some(suspension) = &tenant.suspension else {
        return Ok(false);
    };
    if in_force {
        fence::apply(context, &plan.access).await?;
        fence::prune(context, &plan).await?;
    }
    if !suspension.work_stops {
        return Ok(false);
    }
    stop::pods(context, &plan.namespace).await
}

/// Writes down how it stands, and has the tenant's peerings looked at when that changed.
async fn report(
    context: &Context,
    workspace: &Arc<Workspace>,
    namespace: Option<NamespaceName>,
    verdict: Verdict,
) -> Result<Action, Failure> {
    let before = workspace.status.clone().unwrap_or_default();
    let mut status = WorkspaceStatus {
        observed_generation: workspace.metadata.generation,
        ..before.clone()
    };
    if let Some(namespace) = &namespace {
        if verdict.status == ConditionStatus::True {
            status.namespace = Some(namespace.to_string());
        }
        if let Some(running) = context.tenancy.remains.of_workspace(namespace) {
            let suspension = standing::suspension_of(context, &workspace.namespace().unwrap_or_default());
            status.deletion_blockers = workspace_blockers(&WorkspaceRemains {
                running,
                retention: suspension.and_then(|s| s.retention_blocker()),
                ..WorkspaceRemains::default()
            });
        }
    }
    verdict.ready(&mut status.conditions, workspace.metadata.generation);
    let workspace = write_status(context, workspace, status.clone()).await?;
    warn_when_not_ready(
        context,
        workspace.as_ref(),
        &before.conditions,
        &status.conditions,
    )
    .await;
    let ready = |status: &WorkspaceStatus| find_condition(&status.conditions, READY).map(|c| c.status);
    if ready(&before) != ready(&status) {
        super::peering::look_at_those_of(context, &workspace.namespace().unwrap_or_default());
    }
    Ok(match verdict.reason.as_str() {
        // Nobody tells of a namespace that is not ours.
        "NamespaceTaken" => Action::requeue(super::LOOKED_AT_AGAIN),
        _ => Action::await_change(),
    })
}
