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

/// A kind of object that is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlannedKind {
    /// v1 Namespace.
    Namespace,
    /// v1 ResourceQuota.
    ResourceQuota,
    /// v1 LimitRange.
    LimitRange,
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
    /// mesocentre.io/v1alpha1 PerimeterRules.
    PerimeterRules,
    /// rbac.authorization.k8s.io/v1 RoleBinding.
    RoleBinding,
}

impl PlannedKind {
    /// Every kind.
    pub const ALL: [PlannedKind; 6] = [
        PlannedKind::Namespace,
        PlannedKind::ResourceQuota,
        PlannedKind::LimitRange,
        PlannedKind::NetworkPolicy,
        PlannedKind::PerimeterRules,
        PlannedKind::RoleBinding,
    ];

    /// apiVersion, kind and the plural in paths.
    pub fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("v1", "Namespace", "namespaces"),
            Self::ResourceQuota => ("v1", "ResourceQuota", "resourcequotas"),
            Self::LimitRange => ("v1", "LimitRange", "limitranges"),
            Self::NetworkPolicy => ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Self::PerimeterRules => ("mesocentre.io/v1alpha1", "PerimeterRules", "perimeterrules"),
            Self::RoleBinding => ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
        }
    }
}

/// One object that must exist, whole: every field that the API server would fill in is written out, so that equality
/// means that nothing drifted.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Its kind.
    pub kind: PlannedKind,
    /// Its namespace; none for a Namespace.
    pub namespace: Option<NamespaceName>,
    /// Its name.
    pub name: String,
    /// The object, with apiVersion, kind and metadata, as server-side apply takes it.
    pub body: Value,
}

impl Planned {
    /// True when the live object says something else than the plan: a label or annotation of ours missing or
    /// different, or anything different in what the kind is about (spec, subjects, roleRef). A Namespace's own spec
    /// (its finalizers) is the API server's.
    ///
    /// Where applying the plan leaves it so (a foreign manager added a key to a map), replace the object; where a
    /// RoleBinding's `roleRef` differs, delete it first, since that field never changes.
    pub fn differs(&self, live: &Value) -> bool {
        let ours_stand = |of: &str| {
            self.body["metadata"][of].as_object().is_none_or(|ours| {
                ours.iter()
                    .all(|(key, value)| live["metadata"][of].get(key) == Some(value))
            })
        };
        let content = ["spec", "roleRef", "subjects"];
        !ours_stand("labels")
            || !ours_stand("annotations")
            || (self.kind != PlannedKind::Namespace
                && content
                    .iter()
                    .any(|field| self.body.get(field) != live.get(field)))
    }
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

/// What a tenant's home namespace must hold. No pods run in it.
pub fn plan_home(tenant: &ValidTenant) -> NamespacePlan {
    Place {
        tenant,
        workspace: None,
        namespace: tenant.home(),
    }
    .plan(&Amounts::default())
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
            fences: vec![
                fence::quota(self, hard),
                fence::limits(self),
                fence::network(self),
                fence::rules(self),
            ],
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
    fn planned(&self, kind: PlannedKind, name: &str, content: Value) -> Planned {
        Planned::in_namespace(kind, &self.namespace, name, self.labels(), content)
    }
}

impl Planned {
    /// An object in a namespace: `content` beside apiVersion, kind and metadata.
    pub(crate) fn in_namespace(
        kind: PlannedKind,
        namespace: &NamespaceName,
        name: &str,
        labels: Value,
        content: Value,
    ) -> Self {
        let (api_version, kind_name, _) = kind.names();
        let mut body = content;
        body["apiVersion"] = json!(api_version);
        body["kind"] = json!(kind_name);
        body["metadata"] = json!({"name": name, "namespace": namespace.as_str(), "labels": labels});
        Self {
            kind,
            namespace: Some(namespace.clone()),
            name: name.into(),
            body,
        }
    }
}
