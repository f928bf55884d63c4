//! Whether two agreements open traffic between two tenants, and the NetworkPolicies that do.

use crate::names::WorkspaceName;
use crate::plan::Planned;
use crate::validate::{Invalid, ValidTenant};
use jiff::civil::Date;
use mesocentre_api::PeeringAgreement;

/// One side of a peering: what the operator knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The tenant, or why it is not valid. None: there is no such tenant.
    pub tenant: Option<Result<&'a ValidTenant, &'a Invalid>>,
    /// The agreement of the name in question in its home namespace.
    pub agreement: Option<&'a PeeringAgreement>,
    /// Its workspaces that stand.
    pub workspaces: &'a [WorkspaceName],
}

/// What two agreements come to.
#[derive(Clone, Debug, PartialEq)]
pub enum Peering {
    /// Traffic is open: these NetworkPolicies must exist.
    Open {
        /// What is open, in a sentence, for the agreement's condition.
        message: String,
        /// In both tenants' workspaces, ours and theirs.
        policies: Vec<Planned>,
    },
    /// It is not: none may exist.
    Closed {
        /// One CamelCase word.
        reason: &'static str,
        /// Why, and what to do, in a sentence.
        message: String,
    },
}

/// Decides the peering of two agreements, seen from the side of `ours`; both sides come to the same policies.
/// `today` is the civil day in the datacentre's zone.
pub fn plan_peering(name: &str, ours: Side<'_>, theirs: Side<'_>, today: Date) -> Peering {
    let _ = (name, ours, theirs, today);
    todo!()
}
