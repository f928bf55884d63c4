//! Tenancy: a tenant and its perimeter in, every object that must exist out.
//!
//! Pure: no I/O, no clock, no client. The operator gathers, asks here, and applies what it is told:
//!
//! ```text
//! Tenant, TrustPerimeter, neighbours, now ───validate──▶ ValidTenant ─┐
//! Workspace ────────────────────────────────validate──▶ ValidWorkspace ┼─plan──▶ NamespacePlan (objects, in order)
//! ResourceQuotas as the API server has them ──quota──▶ slices ─────────┘
//! a TrustPerimeter with dedicated nodes, nodes ──nodes──▶ whether they are its alone
//! two PeeringAgreements, both tenants ──peering──▶ open or closed, and the NetworkPolicies
//! its convention, an administrator's word, now ──convention──▶ warned, suspended, resumed
//! what a tenant still has ──deletion──▶ blockers, and the next step
//! tenants, one listing of Vault ──vault──▶ what must be written there, what is left over
//! ```
//!
//! What is enforced while the operator is away is in the chart: `charts/mesocentre/templates/admission/`.

pub mod convention;
pub mod deletion;
pub mod drift;
pub mod names;
pub mod nodes;
pub mod peering;
pub mod plan;
pub mod proof;
pub mod quantity;
pub mod quota;
pub mod reachability;
pub mod validate;
pub mod vault;

pub use convention::{Now, Suspension};
pub use names::{NameError, NamespaceName, PerimeterName, TenantName, WorkspaceName};
pub use plan::{NamespacePlan, Planned, plan_home, plan_workspace};
pub use validate::{Invalid, TenantClaims, ValidMember, ValidPerimeter, ValidTenant, ValidWorkspace};
