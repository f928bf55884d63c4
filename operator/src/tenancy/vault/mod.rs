//! What tenants have in Vault: looked at again and again, since Vault tells nobody of a change.
//!
//! ```text
//!  caches ─gather─► who wants what ─┐
//!  Vault ──look───► one listing ────┴─plan─► apply ─► a verdict a tenant ─► the condition Vault of the Tenant
//! ```
//! A look costs four requests however many tenants there are; what names cannot show is compared for some tenants each
//! time, in turn. It is one task of its own: while Vault is away nothing else waits for it, and a Tenant is Ready without
//! it. Any step may be cut: the next look begins from what is there.

mod apply;
mod gather;
mod keep;

pub use gather::asks;
pub use keep::keep;

use crate::Context;
use crate::lock::locked;
use crate::report::Verdict;
use kube::ResourceExt;
use mesocentre_api::{Condition, Tenant};
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::sync::Notify;

/// The condition's type.
pub const CONDITION: &str = "Vault";

/// How tenants stand in Vault, as the last look found them.
#[derive(Default)]
pub struct InVault {
    /// By the tenants' UIDs; none before the first look.
    verdicts: Mutex<Option<HashMap<String, Verdict>>>,
    changed: Notify,
    is_configured: bool,
}

impl InVault {
    /// With or without an address of Vault.
    pub fn new(is_configured: bool) -> Self {
        Self {
            is_configured,
            ..Self::default()
        }
    }

    /// A tenant, a workspace, a perimeter or a namespace changed: the next look is soon.
    pub fn look_soon(&self) {
        self.changed.notify_one();
    }

    /// Writes the condition of a tenant, or takes it away from one that has and wants nothing in Vault.
    pub fn report(&self, context: &Context, tenant: &Tenant, conditions: &mut Vec<Condition>) {
        let verdict = if self.is_configured {
            match locked(&self.verdicts).as_ref() {
                // What an earlier process found holds until this one has looked.
                None => return,
                Some(verdicts) => verdicts.get(&tenant.uid().unwrap_or_default()).cloned(),
            }
        } else {
            asks(context, tenant).then(|| {
                Verdict::no(
                    "NotConfigured",
                    "the perimeter asks for secrets in Vault, and the operator is told of none: set VAULT_ADDR (in the chart: vault.address) and set Vault up as docs/administrator.md says",
                )
            })
        };
        match verdict {
            Some(verdict) => {
                verdict.set(conditions, CONDITION, tenant.metadata.generation);
            }
            // A tenant that came since the last look keeps what it has, which is nothing.
            None if asks(context, tenant) => {}
            None => conditions.retain(|condition| condition.type_ != CONDITION),
        }
    }

    /// Takes what a look found; gives the UIDs of those of whom something else is said now.
    fn take(&self, found: HashMap<String, Verdict>) -> Vec<String> {
        let mut verdicts = locked(&self.verdicts);
        let before = verdicts.replace(found);
        let now = verdicts.as_ref();
        let of = |verdicts: Option<&HashMap<String, Verdict>>, uid: &str| {
            verdicts.and_then(|verdicts| verdicts.get(uid).cloned())
        };
        let uids = before.iter().chain(now).flat_map(HashMap::keys);
        let mut changed: Vec<String> = uids
            .filter(|uid| of(before.as_ref(), uid) != of(now, uid))
            .cloned()
            .collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}
