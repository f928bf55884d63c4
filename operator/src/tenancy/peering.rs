//! Peering agreements.
//!
//! Each agreement keeps the policies in its own tenant's namespaces; the other side's agreement of the same name keeps
//! those on the other side. Both come to the same plan. Traffic needs the policies of both sides, so either closes it.

use super::made::{Key, Kind};
use super::standing::{self, Standing};
use super::{apply, namespace, quota};
use crate::Context;
use crate::failure::Failure;
use crate::report::{
    Verdict, add_finalizer, is_leaving, remove_finalizer, warn_when_not_ready, write_status,
};
use crate::watch::key;
use futures::future::try_join_all;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{PeeringAgreement, PeeringAgreementStatus, labels};
use mesocentre_tenancy::peering::{PEERING, Peering, Side, plan_peering};
use mesocentre_tenancy::{Invalid, Planned, ValidTenant, ValidWorkspace, WorkspaceName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When something could not be done now.
pub async fn reconcile(agreement: Arc<PeeringAgreement>, context: Arc<Context>) -> Result<Action, Failure> {
    let tenant = agreement.namespace().unwrap_or_default();
    if is_leaving(agreement.as_ref()) {
        close(&context, &tenant, &agreement.name_any(), &[]).await?;
        remove_finalizer(&context, &agreement).await?;
        look_at_other_side(&context, &agreement);
        return Ok(Action::await_change());
    }
    let peering = plan(&context, &agreement, &tenant);
    let (agreement, verdict) = match peering {
        Peering::Closed { reason, message } => {
            close(&context, &tenant, &agreement.name_any(), &[]).await?;
            (agreement, Verdict::no(reason, message))
        }
        Peering::Open { message, policies } => {
            let agreement = add_finalizer(&context, &agreement).await?;
            let own: Vec<&Planned> = policies
                .iter()
                .filter(|planned| planned.body["metadata"]["labels"][labels::TENANT] == tenant.as_str())
                .collect();
            apply::apply(&context, own.iter().copied()).await?;
            close(&context, &tenant, &agreement.name_any(), &own).await?;
            (agreement, Verdict::yes("Open", message))
        }
    };
    report(&context, &agreement, verdict).await
}

/// One side, gathered.
struct Gathered {
    standing: Standing,
    agreement: Option<Arc<PeeringAgreement>>,
    workspaces: Vec<WorkspaceName>,
}

impl Gathered {
    fn side(&self) -> Side<'_> {
        let tenant: Option<Result<&ValidTenant, &Invalid>> = match &self.standing {
            Standing::Stands(tenant) | Standing::Suspended(tenant, _) => Some(Ok(tenant)),
            Standing::Refused(refused) => refused.wrong.first().map(Err),
            Standing::Not { .. } | Standing::Unknown => None,
        };
        Side {
            tenant,
            agreement: self.agreement.as_deref(),
            workspaces: &self.workspaces,
        }
    }
}

fn gather(context: &Context, tenant: &str, agreement: Option<Arc<PeeringAgreement>>) -> Gathered {
    let standing = standing::of(context, tenant);
    let workspaces = match &standing {
        Standing::Stands(valid) => workspaces_that_stand(context, valid),
        _ => Vec::new(),
    };
    Gathered {
        standing,
        agreement: agreement.filter(|agreement| !is_leaving(agreement.as_ref())),
        workspaces,
    }
}

fn workspaces_that_stand(context: &Context, tenant: &ValidTenant) -> Vec<WorkspaceName> {
    let mut names: Vec<WorkspaceName> = quota::of_tenant(context, tenant.name.as_str())
        .iter()
        .filter(|workspace| !is_leaving(workspace.as_ref()))
        .filter_map(|workspace| {
            let valid = ValidWorkspace::new(workspace, tenant, quota::earlier(context, workspace)).ok()?;
            namespace::stands(context, &valid.namespace(), &valid.uid).then_some(valid.name)
        })
        .collect();
    names.sort();
    names
}

fn plan(context: &Context, agreement: &Arc<PeeringAgreement>, tenant: &str) -> Peering {
    let with = &agreement.spec.with;
    let ours = gather(context, tenant, Some(Arc::clone(agreement)));
    let other = context
        .stores
        .agreements
        .get(&key(Some(with), &agreement.name_any()));
    let theirs = gather(context, with, other);
    for side in [&ours, &theirs] {
        if let Standing::Not { why } = &side.standing {
            return Peering::Closed {
                reason: "TenantNotReady",
                message: format!("traffic is closed: {why}"),
            };
        }
    }
    plan_peering(ours.side(), theirs.side(), context.today())
}

/// Takes away the policies of an agreement in its own tenant's namespaces, but for those that are planned.
async fn close(context: &Context, tenant: &str, name: &str, plan: &[&Planned]) -> Result<(), Failure> {
    let planned: BTreeSet<(&str, &str)> = plan
        .iter()
        .map(|planned| {
            (
                planned.namespace.as_deref().unwrap_or_default(),
                planned.name.as_str(),
            )
        })
        .collect();
    let made = &context.tenancy.made;
    let mut gone: Vec<Key> = Vec::new();
    // Also in namespaces whose workspace is gone or leaving.
    let namespaces = made.namespaces_of(tenant);
    for namespace in &namespaces {
        for policy in made.names(namespace, Kind::NetworkPolicy) {
            if planned.contains(&(namespace, &policy)) {
                continue;
            }
            let key = Key::within(Kind::NetworkPolicy, namespace, &policy);
            let of_this = made.live(&context.stores, &key).is_some_and(|live| {
                let metadata = &live["metadata"];
                metadata["labels"][PEERING] == name && metadata["deletionTimestamp"].is_null()
            });
            if of_this {
                gone.push(key);
            }
        }
    }
    try_join_all(gone.iter().map(|key| apply::delete(context, key, None)))
        .await
        .map(drop)
}

async fn report(
    context: &Context,
    agreement: &Arc<PeeringAgreement>,
    verdict: Verdict,
) -> Result<Action, Failure> {
    let before = agreement.status.clone().unwrap_or_default();
    let mut status = PeeringAgreementStatus {
        observed_generation: agreement.metadata.generation,
        ..before.clone()
    };
    verdict.ready(&mut status.conditions, agreement.metadata.generation);
    let agreement = write_status(context, agreement, status.clone()).await?;
    warn_when_not_ready(
        context,
        agreement.as_ref(),
        &before.conditions,
        &status.conditions,
    )
    .await;
    // What depends on dates, the sweep has looked at.
    Ok(Action::await_change())
}

fn look_at_other_side(context: &Context, agreement: &PeeringAgreement) {
    context
        .triggers
        .agreements
        .reconcile(key(Some(&agreement.spec.with), &agreement.name_any()));
}

/// Has the agreements of a tenant looked at, and those that name it.
pub fn look_at_those_of(context: &Context, tenant: &str) {
    for agreement in context.stores.agreements.state() {
        if agreement.metadata.namespace.as_deref() == Some(tenant) || agreement.spec.with == tenant {
            context
                .triggers
                .agreements
                .reconcile(ObjectRef::from_obj(agreement.as_ref()));
        }
    }
}
