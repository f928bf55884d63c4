//! What is in a tenant's namespaces, or reaches into them, and is not the operator's: it weakens the perimeter although
//! nothing that the operator made has changed. It is reported and left alone, since somebody may need it; an
//! administrator decides.

use super::Rule;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, Subject};
use mesocentre_api::{Tenant, labels};

/// Something foreign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The rule that it weakens.
    pub rule: Rule,
    /// Which object, as Kind name or Kind namespace/name.
    pub object: String,
    /// What it does, to follow its name.
    pub what: String,
}

impl Foreign {
    /// All of it, in a sentence.
    pub fn sentence(&self) -> String {
        format!("the {} {}", self.object, self.what)
    }
}

/// A network policy in a tenant's namespace that the operator did not make.
pub fn foreign_policy(policy: &NetworkPolicy) -> Foreign {
    Foreign {
        rule: Rule::Network,
        object: format!("NetworkPolicy {}", placed(policy.metadata.namespace.as_deref(), policy.metadata.name.as_deref())),
        what: "is not the operator's, and network policies add up: it can only open. Delete it, or put what it opens into the perimeter or a PeeringAgreement".into(),
    }
}

/// A role binding in a tenant's namespace that the operator did not make.
pub fn foreign_binding(binding: &RoleBinding) -> Foreign {
    Foreign {
        rule: Rule::Roles,
        object: format!(
            "RoleBinding {}",
            placed(
                binding.metadata.namespace.as_deref(),
                binding.metadata.name.as_deref()
            )
        ),
        what: format!(
            "is not the operator's, and gives {} to {}. Delete it, or make them members of the tenant",
            binding.role_ref.name,
            listed(binding.subjects.iter().flatten())
        ),
    }
}

/// A namespace that bears a tenant's label and was not made for it.
pub fn foreign_namespace(namespace: &Namespace) -> Foreign {
    Foreign {
        rule: Rule::Namespaces,
        object: format!(
            "Namespace {}",
            namespace.metadata.name.as_deref().unwrap_or_default()
        ),
        what: format!(
            "bears the label {} of the tenant and was not made for it, so its pods count as the tenant's own in the network. Take the label off",
            labels::TENANT
        ),
    }
}

/// The roles that Kubernetes itself gives to everybody: they let one ask about oneself and read versions, nothing else.
const EVERYBODYS: [&str; 4] = [
    "system:basic-user",
    "system:discovery",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
];

/// Whether a binding over the whole cluster gives somebody of the tenant a right: a member, a group that is a member,
/// everybody, or the service accounts of its namespaces.
pub fn binding_that_reaches_in(binding: &ClusterRoleBinding, tenant: &Tenant) -> Option<Foreign> {
    if EVERYBODYS.contains(&binding.role_ref.name.as_str()) {
        return None;
    }
    let home = tenant.metadata.name.as_deref().unwrap_or_default();
    let is_of_tenant = |namespace: &str| {
        namespace == home
            || namespace
                .split_once("--")
                .is_some_and(|(tenant, _)| tenant == home)
    };
    let reached: Vec<&Subject> = binding
        .subjects
        .iter()
        .flatten()
        .filter(|subject| match subject.kind.as_str() {
            "User" => {
                tenant
                    .spec
                    .members
                    .iter()
                    .any(|m| m.user.as_deref() == Some(&subject.name))
                    || service_account(&subject.name).is_some_and(is_of_tenant)
            }
            "Group" => {
                tenant
                    .spec
                    .members
                    .iter()
                    .any(|m| m.group.as_deref() == Some(&subject.name))
                    || [
                        "system:authenticated",
                        "system:unauthenticated",
                        "system:serviceaccounts",
                    ]
                    .contains(&subject.name.as_str())
                    || subject
                        .name
                        .strip_prefix("system:serviceaccounts:")
                        .is_some_and(is_of_tenant)
            }
            "ServiceAccount" => subject.namespace.as_deref().is_some_and(is_of_tenant),
            _ => false,
        })
        .collect();
    (!reached.is_empty()).then(|| Foreign {
        rule: Rule::Roles,
        object: format!(
            "ClusterRoleBinding {}",
            binding.metadata.name.as_deref().unwrap_or_default()
        ),
        what: format!(
            "gives {} in every namespace to {}, who belong to the tenant. Take them out of it",
            binding.role_ref.name,
            listed(reached)
        ),
    })
}

/// The namespace of the service account that is meant by a user name.
fn service_account(user: &str) -> Option<&str> {
    let (namespace, _) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    Some(namespace)
}

fn placed(namespace: Option<&str>, name: Option<&str>) -> String {
    format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
}

fn listed<'a>(subjects: impl IntoIterator<Item = &'a Subject>) -> String {
    let names: Vec<String> = subjects
        .into_iter()
        .map(|subject| match &subject.namespace {
            Some(namespace) => format!("the {} {namespace}/{}", subject.kind, subject.name),
            None => format!("the {} {}", subject.kind, subject.name),
        })
        .collect();
    match names.len() {
        0 => "nobody".into(),
        1..=5 => names.join(", "),
        many => format!("{} and {} more", names[..5].join(", "), many.saturating_sub(5)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may end itself.

    use super::*;
    use serde_json::json;

    #[test]
    fn a_binding_over_the_cluster_counts_when_it_reaches_the_tenants_people() {
        let tenant: Tenant = serde_json::from_value(json!({
            "metadata": {"name": "chu"}, "spec": {
                "displayName": "x", "category": "PublicService", "perimeter": "p",
                "legalEntity": {"name": "x", "siret": "19141408500016",
                    "address": {"street": "1", "postalCode": "14000", "city": "Caen", "countryCode": "FR"},
                    "invoicing": {"email": "a@b.test"}},
                "convention": {"reference": "C", "validFrom": "2026-01-01", "validUntil": "2026-12-31"},
                "members": [{"user": "zoe", "role": "Owner"}, {"group": "chu-data", "role": "Viewer"}],
                "quota": {"cpu": "1", "memory": "1Gi", "storage": "1Gi", "pods": 1, "gpus": 0, "workspaces": 1},
            },
        }))
        .unwrap();
        let reaches = |role: &str, subject: serde_json::Value| {
            let binding = serde_json::from_value(json!({
                "metadata": {"name": "b"}, "subjects": [subject],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            }))
            .unwrap();
            binding_that_reaches_in(&binding, &tenant).is_some()
        };
        let user = |name: &str| json!({"kind": "User", "name": name});
        let group = |name: &str| json!({"kind": "Group", "name": name});
        assert!(reaches("view", user("zoe")));
        assert!(reaches("view", group("chu-data")));
        assert!(reaches("view", group("system:authenticated")));
        assert!(reaches("view", group("system:serviceaccounts:chu--lab")));
        assert!(reaches("view", user("system:serviceaccount:chu--lab:default")));
        assert!(reaches(
            "view",
            json!({"kind": "ServiceAccount", "name": "default", "namespace": "chu--lab"})
        ));
        assert!(!reaches("system:discovery", group("system:authenticated")));
        assert!(!reaches("view", user("yves")));
        assert!(!reaches("view", group("system:masters")));
        assert!(!reaches(
            "view",
            json!({"kind": "ServiceAccount", "name": "default", "namespace": "chu-other"})
        ));
    }
}
