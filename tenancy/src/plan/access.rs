//! Who may act in a namespace: one RoleBinding a role that has members, to a ClusterRole of the chart
//! (`charts/mesocentre/templates/tenant-roles.yaml`). And what the operator itself may read in it, where its owner said so.

use super::{Place, Planned};
use crate::validate::MemberSubject;
use mesocentre_api::{OPERATOR_SERVICE_ACCOUNT, Role, SYSTEM_NAMESPACE};
use serde_json::{Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";

/// The role bindings of a namespace, in the order of the roles.
pub(super) fn bindings(place: &Place<'_>) -> Vec<Planned> {
    Role::ALL
        .into_iter()
        // Billing reads allocations and statements, and these are in the home namespace alone.
        .filter(|role| place.workspace.is_none() || *role != Role::Billing)
        .filter_map(|role| binding(place, role))
        .chain(sources_of_batch_jobs(place))
        .collect()
}

/// The ClusterRole by which the operator reads what batch jobs name of a workspace's Secrets and ConfigMaps.
const READS_SOURCES: &str = "mesocentre-operator-reads-sources";

fn sources_of_batch_jobs(place: &Place<'_>) -> Option<Planned> {
    place
        .workspace
        .filter(|workspace| workspace.batch_jobs_may_read_secrets)?;
    Some(place.planned(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        READS_SOURCES,
        json!({
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": READS_SOURCES},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR_SERVICE_ACCOUNT, "namespace": SYSTEM_NAMESPACE}],
        }),
    ))
}

fn binding(place: &Place<'_>, role: Role) -> Option<Planned> {
    let subjects: Vec<Value> = place
        .tenant
        .members
        .iter()
        .filter(|member| member.role == role)
        .map(|member| match &member.subject {
            MemberSubject::User { name, .. } => json!({"apiGroup": RBAC, "kind": "User", "name": name}),
            MemberSubject::Group { name } => json!({"apiGroup": RBAC, "kind": "Group", "name": name}),
            MemberSubject::ServiceAccount(account) => {
                json!({"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace})
            }
        })
        .collect();
    if subjects.is_empty() {
        return None;
    }
    let scope = if place.workspace.is_none() {
        "tenant"
    } else {
        "workspace"
    };
    let cluster_role = format!("mesocentre-{scope}-{}", role.as_str());
    Some(place.planned(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        &format!("mesocentre-{}", role.as_str()),
        json!({
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": cluster_role},
            "subjects": subjects,
        }),
    ))
}
