//! Mesocentre's custom resources: what users write and what the operator answers.
//!
//! One file a kind. No I/O, nothing of ours below this crate. The CRDs in `charts/mesocentre/crds/` are generated
//! from these types by `cargo dev generate`; a test fails when they are stale.

mod allocation;
mod batch_job;
mod billing_period;
mod co_investment;
mod condition;
mod cost_pool;
pub mod crds;
mod economic_ceiling;
mod invoice;
mod invoice_document;
mod invoice_series;
pub mod job_template;
pub mod labels;
pub mod output;
mod peering_agreement;
mod perimeter_report;
mod perimeter_rules;
mod scheduler;
mod schema;
mod siret;
mod statement;
mod tariff;
mod tenant;
mod trust_perimeter;
mod workspace;

pub use allocation::*;
pub use batch_job::*;
pub use billing_period::*;
pub use co_investment::*;
pub use condition::*;
pub use cost_pool::*;
pub use economic_ceiling::*;
pub use invoice::*;
pub use invoice_document::*;
pub use invoice_series::*;
pub use peering_agreement::*;
pub use perimeter_report::*;
pub use perimeter_rules::*;
pub use scheduler::*;
pub use siret::is_siret;
pub use statement::*;
pub use tariff::*;
pub use tenant::*;
pub use trust_perimeter::*;
pub use workspace::*;

/// API group of every kind.
pub const GROUP: &str = "mesocentre.io";
/// The version of every kind.
pub const VERSION: &str = "v1alpha1";
/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "mesocentre.io";
/// Namespace of the operator.
pub const SYSTEM_NAMESPACE: &str = "mesocentre-system";
/// Service account of the operator, in [`SYSTEM_NAMESPACE`].
pub const OPERATOR_SERVICE_ACCOUNT: &str = "mesocentre-operator";
