//! Every object that must exist in a tenant's namespaces, complete, in the order in which they must come.

mod access;
mod fence;
mod namespace;

use crate::names::NamespaceName;
use crate::quota::Amounts;
use crate::validate::{ValidTenant, ValidWorkspace};
use mesocentre_api::labels;
use serde_json::{Value, json};

pub use fence::{QUOTA_NAME, first_quota_status};
pub use namespace::{MADE_FOR, is_ours};

/// One object that must exist, whole: every field that the API server would fill in is written out, so that equality
/// with the live object's means that nothing drifted.
///
/// It is created, or put in place of the live one as a whole, so that nothing foreign stays in it (decision 0010); a
/// RoleBinding whose `roleRef` differs is deleted first, since that field never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Its kind.
    pub kind: String,
    /// Its namespace; none for what is cluster-scoped.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The object, with apiVersion, kind and metadata, as the API server takes it.
    pub body: Value,
}

/// Everything that must exist for one namespace of a tenant.
///
/// In this order: the namespace, then its `fences`, then, once the quota's `status.hard` is there, `access`. Before
/// that the API server enforces no quota, so nobody may act in it yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NamespacePlan {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The Namespace object.
    pub object: Planned,
    /// Quota, limits, network and rules, in any order.
    pub fences: Vec<Planned>,
    /// Role bindings, in any order.
    pub access: Vec<Planned>,
}

impl NamespacePlan {
    /// Every object, in order.
    pub fn all(&self) -> impl Iterator<Item = &Planned> {
        std::iter::once(&self.object)
            .chain(&self.fences)
            .chain(&self.access)
    }
}

/// What a tenant's home namespace must hold. No pods run in it, and its quota is not sliced.
pub fn plan_home(tenant: &ValidTenant) -> NamespacePlan {
    Place {
        tenant,
        workspace: None,
        namespace: tenant.home(),
    }
    .plan(&tenant.home_quota)
}

/// What a workspace's namespace must hold; `hard` is its slice of the tenant's quota (see [`crate::quota`]).
pub fn plan_workspace(tenant: &ValidTenant, workspace: &ValidWorkspace, hard: &Amounts) -> NamespacePlan {
    Place {
        tenant,
        workspace: Some(workspace),
        namespace: workspace.namespace(),
    }
    .plan(hard)
}

/// The namespace that is being planned, and whose it is.
struct Place<'a> {
    tenant: &'a ValidTenant,
    /// None in the home namespace.
    workspace: Option<&'a ValidWorkspace>,
    namespace: NamespaceName,
}

impl Place<'_> {
    fn plan(&self, hard: &Amounts) -> NamespacePlan {
        NamespacePlan {
            namespace: self.namespace.clone(),
            object: namespace::object(self),
            fences: [fence::quota(self, hard), fence::network(self), fence::rules(self)]
                .into_iter()
                // No pods run in the home namespace: its quota is nothing.
                .chain(self.workspace.map(|_| fence::limits(self)))
                .collect(),
            access: access::bindings(self),
        }
    }

    /// The labels of everything in the namespace.
    fn labels(&self) -> Value {
        let mut labels = json!({
            labels::MANAGED_BY: labels::MANAGED_BY_VALUE,
            labels::TENANT: self.tenant.name.as_str(),
        });
        if let Some(workspace) = self.workspace {
            labels[labels::WORKSPACE] = json!(workspace.name.as_str());
        }
        labels
    }

    /// An object in the namespace: `content` and the metadata that all have.
    fn planned(&self, api_version: &str, kind: &str, name: &str, content: Value) -> Planned {
        Planned::in_namespace(api_version, kind, &self.namespace, name, self.labels(), content)
    }
}

impl Planned {
    /// An object in a namespace: `content` beside apiVersion, kind and metadata.
    pub(crate) fn in_namespace(
        api_version: &str,
        kind: &str,
        namespace: &NamespaceName,
        name: &str,
        labels: Value,
        content: Value,
    ) -> Self {
        let mut body = content;
        body["apiVersion"] = json!(api_version);
        body["kind"] = json!(kind);
        body["metadata"] = json!({"name": name, "namespace": namespace.as_str(), "labels": labels});
        Self {
            kind: kind.into(),
            namespace: Some(namespace.to_string()),
            name: name.into(),
            body,
        }
    }
}
