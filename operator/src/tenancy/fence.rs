//! What stands in a tenant's namespace beside the namespace: brought about, and what is no longer planned taken away.

use super::apply;
use super::made::Kind;
use crate::Context;
use crate::failure::Failure;
use crate::watch::key;
use mesocentre_tenancy::peering::PEERING;
use mesocentre_tenancy::{NamespacePlan, Planned};

/// Brings about these objects, side by side.
///
/// # Errors
/// When the API server refuses, or an object changed meanwhile.
pub async fn apply<'a>(
    context: &Context,
    plan: impl IntoIterator<Item = &'a Planned>,
) -> Result<(), Failure> {
    apply::apply(context, plan).await
}

/// Deletes what is ours in the plan's namespace and not in the plan. Policies of a peering are the agreements' own,
/// while there is one of that name.
///
/// # Errors
/// When the API server refuses.
pub async fn prune(context: &Context, plan: &NamespacePlan) -> Result<(), Failure> {
    const KINDS: [Kind; 5] = [
        Kind::LimitRange,
        Kind::NetworkPolicy,
        Kind::PerimeterRules,
        Kind::ResourceQuota,
        Kind::RoleBinding,
    ];
    let planned: Vec<&Planned> = plan.all().collect();
    let agreements = &context.stores.agreements;
    apply::prune(context, plan.namespace.as_str(), &KINDS, &planned, |live| {
        let labels = &live["metadata"]["labels"];
        let tenant = labels[mesocentre_api::labels::TENANT].as_str();
        labels[PEERING]
            .as_str()
            .is_some_and(|name| agreements.get(&key(tenant, name)).is_some())
    })
    .await
}
