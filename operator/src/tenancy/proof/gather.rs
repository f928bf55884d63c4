//! The first step of a report: everything that is known of a tenant's perimeter, from the caches; and what is tried.

use super::super::apply::key_of;
use super::super::{namespace, quota, vault};
use crate::Context;
use crate::failure::Failure;
use crate::packed::Packed;
use crate::watch::key;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{Resource, ResourceExt};
use mesocentre_api::{
    ConditionStatus, OpenWay, PerimeterRulesSpec, Tenant, find_condition, is_ready, labels,
};
use mesocentre_tenancy::drift::Change;
use mesocentre_tenancy::plan::{QUOTA_NAME, is_ours};
use mesocentre_tenancy::proof::{
    Fence, Foreign, Found, VaultPlace, attempts, binding_that_reaches_in, foreign_binding, foreign_namespace,
    foreign_policy,
};
use mesocentre_tenancy::quota::Amounts;
use mesocentre_tenancy::reachability::{Network, Promised, View, ways_of};
use mesocentre_tenancy::{
    NamespaceName, NamespacePlan, Planned, ValidTenant, ValidWorkspace, plan_home, plan_workspace,
};
use serde_json::Value;
use std::collections::HashSet;

/// Looks at everything and tries what is forbidden, in one namespace: the `turn`th of the workspaces, or the home.
///
/// # Errors
/// When an object of ours has no form: a defect.
pub async fn gather(
    context: &Context,
    tenant: &Tenant,
    valid: &ValidTenant,
    claimed: &[Namespace],
    foreign: Vec<Foreign>,
    turn: usize,
) -> Result<Found, Failure> {
    let home = plan_home(valid);
    let mut plans = vec![home];
    for workspace in quota::of_tenant(context, valid.name.as_str()) {
        let Ok(workspace) = ValidWorkspace::new(&workspace, valid, quota::earlier(context, &workspace))
        else {
            continue;
        };
        if namespace::stands(context, &workspace.namespace(), &workspace.uid) {
            plans.push(plan_workspace(valid, &workspace, &Amounts::default()));
        }
    }
    plans.sort_by(|a, b| a.namespace.as_str().cmp(b.namespace.as_str()));
    let mut fences = Vec::new();
    for planned in plans.iter().flat_map(NamespacePlan::all) {
        fences.push(fence(context, planned)?);
    }
    let rules = rules(&plans)?;
    let workspaces: Vec<&NamespaceName> = plans
        .iter()
        .map(|plan| &plan.namespace)
        .filter(|name| name.as_str() != valid.name.as_str())
        .collect();
    let (place, is_workspace) = match turn.checked_rem(workspaces.len()).and_then(|n| workspaces.get(n)) {
        Some(name) => (name.as_str(), true),
        None => (valid.name.as_str(), false),
    };
    let is_suspended = valid.suspension.is_some();
    let attempts = attempts(&rules, place, is_workspace, is_suspended);
    let tried = context
        .tenancy
        .proof
        .auditor
        .try_all(context, attempts, is_suspended)
        .await;
    Ok(Found {
        rules,
        pod_security: valid.perimeter.rules.pod_security,
        walls: context.tenancy.proof.guard.walls(),
        fences,
        foreign,
        ways: ways(context, valid, claimed),
        tried: tried.map_err(|failure| format!("nothing was tried: {failure}")),
        vault: vault::asks(context, tenant).then(|| place_in_vault(context, tenant)),
    })
}

/// As the last look at Vault found it.
fn place_in_vault(context: &Context, tenant: &Tenant) -> VaultPlace {
    let mut conditions = tenant.status.clone().unwrap_or_default().conditions;
    context.tenancy.vault.report(context, tenant, &mut conditions);
    match find_condition(&conditions, vault::CONDITION) {
        Some(found) if found.status == ConditionStatus::True => VaultPlace::AsPlanned(found.message.clone()),
        Some(found) => VaultPlace::NotKnown(found.message.clone()),
        None => VaultPlace::NotKnown("it has not been looked at yet".into()),
    }
}

/// What admission is to enforce, as planned.
fn rules(plans: &[NamespacePlan]) -> Result<PerimeterRulesSpec, Failure> {
    let planned = plans
        .iter()
        .flat_map(|plan| &plan.fences)
        .find(|planned| planned.kind == "PerimeterRules");
    let spec = planned.map_or(Value::Null, |planned| planned.body["spec"].clone());
    serde_json::from_value(spec).map_err(|source| Failure::Form {
        doing: "reading the rules that were planned".into(),
        source,
    })
}

fn fence(context: &Context, planned: &Planned) -> Result<Fence, Failure> {
    let live = context.tenancy.made.live(&context.stores, &key_of(planned)?);
    let wrong = match &live {
        None => Some("is missing".to_owned()),
        // Its amounts are shared out among the namespaces, and may move.
        Some(live) if planned.kind == "ResourceQuota" && planned.name == QUOTA_NAME => (live["spec"]["hard"]
            != live["status"]["hard"])
            .then(|| "is not in force: the control plane has not taken up its amounts".to_owned()),
        Some(live) if mesocentre_tenancy::drift::differs(&planned.body, live) => {
            Some(Change::of(&planned.body, live).what)
        }
        Some(_) => None,
    };
    let metadata = live.as_ref().map_or(&Value::Null, |live| &live["metadata"]);
    let version = match metadata["generation"].as_i64() {
        Some(generation) => format!("generation {generation}"),
        None => format!(
            "version {}",
            metadata["resourceVersion"].as_str().unwrap_or("unknown")
        ),
    };
    Ok(Fence {
        kind: planned.kind.clone(),
        namespace: planned.namespace.clone().unwrap_or_default(),
        name: planned.name.clone(),
        version,
        wrong,
    })
}

/// The namespaces that bear this tenant's label, whoever made them.
pub fn claimed_namespaces(context: &Context, tenant: &str) -> Vec<Namespace> {
    let all = context.stores.namespaces.state();
    // One at a time: all of them, typed, would be as much again as all that is kept.
    all.iter()
        .filter_map(|namespace| namespace.read())
        .filter(|namespace| namespace.labels().get(labels::TENANT).map(String::as_str) == Some(tenant))
        .collect()
}

/// What is in the tenant's namespaces, or reaches into them, and is not ours.
pub fn foreign(context: &Context, tenant: &Tenant, claimed: &[Namespace]) -> Vec<Foreign> {
    let s = &context.stores;
    let name = tenant.name_any();
    let claimed: Vec<&Namespace> = claimed
        .iter()
        .filter(|namespace| namespace.metadata.deletion_timestamp.is_none())
        .collect();
    let names: HashSet<&str> = claimed
        .iter()
        .filter_map(|n| n.metadata.name.as_deref())
        .collect();
    let is_inside = |namespace: Option<&str>| namespace.is_some_and(|namespace| names.contains(namespace));
    let mut found: Vec<Foreign> = Vec::new();
    for namespace in &claimed {
        let owner = match NamespaceName::split(&namespace.name_any()) {
            Ok((_, None)) => tenant.uid(),
            Ok((_, Some(workspace))) => s
                .workspaces
                .get(&key(Some(&name), workspace.as_str()))
                .and_then(|workspace| workspace.uid()),
            Err(_) => None,
        };
        let live = serde_json::to_value(namespace).unwrap_or_default();
        if !owner.is_some_and(|uid| is_ours(&live, &uid)) {
            found.push(foreign_namespace(namespace));
        }
    }
    let policies = s
        .foreign_policies
        .state_filter(|policy| is_inside(policy.meta().namespace.as_deref()));
    found.extend(
        policies
            .iter()
            .filter_map(|policy| policy.read())
            .map(|policy| foreign_policy(&policy)),
    );
    let bindings = s
        .foreign_bindings
        .state_filter(|binding| is_inside(binding.meta().namespace.as_deref()));
    found.extend(
        bindings
            .iter()
            .filter_map(|binding| binding.read())
            .map(|binding| foreign_binding(&binding)),
    );
    let over_all = s.cluster_bindings.state();
    found.extend(
        over_all
            .iter()
            .filter_map(|binding| binding_that_reaches_in(binding, tenant)),
    );
    found.sort_by(|a, b| a.object.cmp(&b.object));
    found
}

/// The ways that are open into and out of the tenant's namespaces.
fn ways(context: &Context, tenant: &ValidTenant, claimed: &[Namespace]) -> Vec<OpenWay> {
    let s = &context.stores;
    let names: Vec<&str> = claimed
        .iter()
        .filter_map(|n| n.metadata.name.as_deref())
        .collect();
    let mut policies = policies_in(context, &names);
    let others: Vec<Namespace> = {
        let view = View::of(&names, &policies);
        let all = s.namespaces.state();
        all.iter()
            .filter(|namespace| !names.contains(&namespace.name_any().as_str()))
            .filter_map(|namespace| namespace.read())
            .filter(|namespace| view.holds(namespace.labels()))
            .collect()
    };
    let in_view: Vec<&str> = others.iter().filter_map(|n| n.metadata.name.as_deref()).collect();
    policies.extend(policies_in(context, &in_view));
    let network = Network::new(
        claimed
            .iter()
            .chain(&others)
            .filter_map(|n| Some((n.metadata.name.as_deref()?, n.labels()))),
        &policies,
    );
    let own = s.agreements.state_filter(|agreement| {
        agreement.metadata.namespace.as_deref() == Some(tenant.name.as_str())
            && agreement
                .status
                .as_ref()
                .is_some_and(|status| is_ready(&status.conditions))
    });
    let pairs: Vec<_> = own
        .into_iter()
        .filter_map(|agreement| {
            let other = s
                .agreements
                .get(&key(Some(&agreement.spec.with), &agreement.name_any()))?;
            Some([agreement, other])
        })
        .collect();
    let promised = Promised {
        egress: &tenant.perimeter.rules.network.egress,
        peerings: pairs
            .iter()
            .map(|[one, other]| [one.as_ref(), other.as_ref()])
            .collect(),
    };
    ways_of(tenant.name.as_str(), &network, &promised)
}

/// The policies in these namespaces, the operator's and others'.
fn policies_in(context: &Context, namespaces: &[&str]) -> Vec<NetworkPolicy> {
    let s = &context.stores;
    let is_inside = |policy: &Packed<NetworkPolicy>| {
        policy
            .meta()
            .namespace
            .as_deref()
            .is_some_and(|n| namespaces.contains(&n))
    };
    let ours = s.policies.state_filter(is_inside);
    let theirs = s.foreign_policies.state_filter(is_inside);
    ours.iter()
        .chain(&theirs)
        .filter_map(|policy| policy.read())
        .collect()
}
