//! Labels, annotations and finalizers that the operator writes. Tenants can change none of them: admission
//! policies in the chart see to that.

/// On every object of a tenant: the tenant's name.
pub const TENANT: &str = "mesocentre.io/tenant";
/// On a workspace's namespace and what is in it: the workspace's name.
pub const WORKSPACE: &str = "mesocentre.io/workspace";
/// On a tenant's namespaces: the perimeter's name.
pub const PERIMETER: &str = "mesocentre.io/perimeter";
/// On a tenant's namespaces: `home` or `workspace`.
pub const NAMESPACE_KIND: &str = "mesocentre.io/namespace-kind";
/// On a tenant's namespaces: `true` where the perimeter says on which nodes or by which runtime pods run, `false` elsewhere.
/// Where it is false, the API server need not think of placement for each pod that is created.
pub const PLACES_PODS: &str = "mesocentre.io/places-pods";
/// On every object that the operator made.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "mesocentre";
/// Annotation on a tenant or workspace: `"true"` lets it be deleted in spite of running jobs or unbilled use.
pub const FORCE_DELETE: &str = "mesocentre.io/force-delete";
/// The finalizer of every kind that has something outside Kubernetes to undo, or an order to keep.
pub const FINALIZER: &str = "mesocentre.io/finalizer";
