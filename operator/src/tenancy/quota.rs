//! A tenant's quota over all its namespaces: one task a tenant plans at a time, on what is newest of each slice, and
//! each workspace's reconcile writes its own slice alone. Whoever sees that another's is to move has it looked at.

use super::apply;
use super::made::{Key, Kind};
use crate::Context;
use crate::failure::Failure;
use crate::lock::locked;
use crate::report::is_leaving;
use crate::watch::key;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use mesocentre_api::Workspace;
use mesocentre_tenancy::plan::{QUOTA_NAME, first_quota_status};
use mesocentre_tenancy::quota::{Amounts, Slice, plan_quota};
use mesocentre_tenancy::validate::seniority;
use mesocentre_tenancy::{
    NamespaceName, TenantName, ValidTenant, ValidWorkspace, WorkspaceName, plan_workspace,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use tokio::sync::OwnedMutexGuard;

/// Who is planning, tenant by tenant.
#[derive(Default)]
pub struct Quotas(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Quotas {
    async fn alone(&self, tenant: &TenantName) -> OwnedMutexGuard<()> {
        let lock = Arc::clone(locked(&self.0).entry(tenant.to_string()).or_default());
        lock.lock_owned().await
    }

    /// The tenant is gone.
    pub fn forget(&self, tenant: &str) {
        locked(&self.0).remove(tenant);
    }
}

/// How many of a tenant's workspaces are older than this one.
pub fn earlier(context: &Context, workspace: &Workspace) -> usize {
    let own = seniority(&workspace.metadata);
    of_tenant(context, workspace.namespace().as_deref().unwrap_or_default())
        .iter()
        .filter(|other| other.uid() != workspace.uid() && seniority(&other.metadata) < own)
        .count()
}

/// The Workspaces in a tenant's home namespace.
pub fn of_tenant(context: &Context, tenant: &str) -> Vec<Arc<Workspace>> {
    context.tenancy.workspaces.within(tenant)
}

/// Writes a workspace's slice; true when it is in force.
///
/// # Errors
/// When the API server refuses, or the quota changed meanwhile.
pub async fn share_out(
    context: &Context,
    tenant: &ValidTenant,
    workspace: &ValidWorkspace,
) -> Result<bool, Failure> {
    let _alone = context.tenancy.quotas.alone(&tenant.name).await;
    let slices = slices(context, tenant);
    let own = workspace.namespace();
    let mut hard = Amounts::default();
    for (namespace, next) in plan_quota(&tenant.quota, &slices) {
        if namespace == own {
            hard = next;
        } else if slices
            .iter()
            .any(|s| s.namespace == namespace && s.spec_hard.as_ref().is_some_and(|now| *now != next))
            && let Ok((_, Some(other))) = NamespaceName::split(namespace.as_str())
        {
            context
                .triggers
                .workspaces
                .reconcile(key(Some(tenant.name.as_str()), other.as_str()));
        }
    }
    let plan = plan_workspace(tenant, workspace, &hard);
    let Some(quota) = plan.fences.iter().find(|planned| planned.name == QUOTA_NAME) else {
        return Ok(false);
    };
    let mut live = apply::apply_one(context, quota).await?;
    let nobody_may_act = || {
        context
            .tenancy
            .made
            .names(own.as_str(), Kind::RoleBinding)
            .is_empty()
    };
    if let Some(status) = first_quota_status(quota, &live).filter(|_| nobody_may_act()) {
        let key = apply::key_of(quota)?;
        live = apply::patch_status(context, &key, &status).await?;
    }
    Ok(!live["status"]["hard"].is_null())
}

/// Every slice of a tenant's quota, as it is.
///
/// Those of workspaces that are being deleted, are one too many, or are gone though their namespace is not, only
/// shrink.
fn slices(context: &Context, tenant: &ValidTenant) -> Vec<Slice> {
    let mut workspaces = of_tenant(context, tenant.name.as_str());
    workspaces.sort_by_key(|workspace| seniority(&workspace.metadata));
    let allowed = usize::try_from(tenant.workspaces).unwrap_or(0);
    let mut leaving: BTreeMap<NamespaceName, bool> = BTreeMap::new();
    for (place, workspace) in workspaces.iter().enumerate() {
        if let Ok(name) = WorkspaceName::new(&workspace.name_any()) {
            leaving.insert(
                NamespaceName::workspace(&tenant.name, &name),
                place >= allowed || is_leaving(workspace.as_ref()),
            );
        }
    }
    let made = &context.tenancy.made;
    for namespace in made.namespaces_of(tenant.name.as_str()) {
        if let Ok(namespace) = NamespaceName::new(&namespace) {
            leaving.entry(namespace).or_insert(true);
        }
    }
    leaving
        .into_iter()
        .filter_map(|(namespace, leaving)| {
            let key = Key::within(Kind::ResourceQuota, namespace.as_str(), QUOTA_NAME);
            match made.live(&context.stores, &key) {
                Some(live) => Some(Slice {
                    spec_hard: Some(amounts(&live["spec"]["hard"], &tenant.quota)),
                    status_hard: live["status"]["hard"]
                        .is_object()
                        .then(|| amounts(&live["status"]["hard"], &tenant.quota)),
                    used: amounts(&live["status"]["used"], &Amounts::default()),
                    namespace,
                    leaving,
                }),
                // One that goes and has no slice asks for none.
                None => (!leaving).then(|| Slice {
                    namespace,
                    spec_hard: None,
                    status_hard: None,
                    used: Amounts::default(),
                    leaving,
                }),
            }
        })
        .collect()
}

/// The amounts of a quota's list. What cannot be read is taken for `unread`.
fn amounts(list: &Value, unread: &Amounts) -> Amounts {
    let list: BTreeMap<String, Quantity> = list
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, amount)| Some((name.clone(), Quantity(amount.as_str()?.to_owned()))))
        .collect();
    Amounts::of_resource_list(&list).unwrap_or_else(|(resource, error)| {
        tracing::warn!(resource, %error, "a quota in force cannot be read; it is taken for the whole of the tenant's");
        unread.clone()
    })
}
