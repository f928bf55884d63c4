//! What stands in a tenant's namespace beside the namespace: brought about, and what is no longer planned taken away.

use super::apply;
use super::made::{Key, Kind};
use crate::Context;
use crate::failure::Failure;
use crate::watch::key;
use kube::ResourceExt;
use mesocentre_api::{PERIMETER_RULES_NAME, Tenant, labels};
use mesocentre_tenancy::peering::PEERING;
use mesocentre_tenancy::{NamespacePlan, Planned, convention};
use serde_json::json;

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

/// Writes into the rules that stand whether the tenant is suspended, and nothing else: it does not fit, so no plan of it
/// can be made.
///
/// # Errors
/// When the API server refuses, or an object changed meanwhile.
pub async fn set_suspension(context: &Context, tenant: &Tenant) -> Result<(), Failure> {
    let name = tenant.name_any();
    let suspension = json!(convention::nothing_new(tenant, &context.now()));
    let made = &context.tenancy.made;
    let mut rules = Vec::new();
    for namespace in std::iter::once(name.clone()).chain(made.namespaces_of(&name)) {
        let key = Key::within(Kind::PerimeterRules, &namespace, PERIMETER_RULES_NAME);
        let Some(mut live) = made.live(&context.stores, &key) else {
            continue;
        };
        let marks = live["metadata"]["labels"].take();
        if marks[labels::TENANT] != name.as_str() || live["spec"]["suspension"] == suspension {
            continue;
        }
        let mut spec = live["spec"].take();
        spec["suspension"] = suspension.clone();
        rules.push(Planned {
            kind: Kind::PerimeterRules.as_str().to_owned(),
            namespace: Some(namespace.clone()),
            name: PERIMETER_RULES_NAME.to_owned(),
            body: json!({
                "apiVersion": "mesocentre.io/v1alpha1",
                "kind": "PerimeterRules",
                "metadata": {"name": PERIMETER_RULES_NAME, "namespace": namespace, "labels": marks},
                "spec": spec,
            }),
        });
    }
    apply(context, &rules).await
}
