//! Who holds each posix account, over all tenants: computed when tenants changed, and shared by all reconciles.

use crate::context::Stores;
use crate::lock::locked;
use mesocentre_tenancy::PosixClaims;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The claims of the tenants in the cache.
#[derive(Default)]
pub struct Claims {
    /// Counts the changes of tenants.
    changes: AtomicU64,
    computed: Mutex<Option<(u64, Arc<PosixClaims>)>>,
}

impl Claims {
    /// A tenant came, changed or went.
    pub fn outdated(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// As the cache has it now.
    pub fn now(&self, stores: &Stores) -> Arc<PosixClaims> {
        // Read before the cache is: what changes meanwhile outdates what is computed.
        let changes = self.changes.load(Ordering::Acquire);
        let mut computed = locked(&self.computed);
        if let Some((of, claims)) = computed.as_ref()
            && *of == changes
        {
            return Arc::clone(claims);
        }
        let tenants = stores.tenants.state();
        let claims = Arc::new(PosixClaims::of(tenants.iter().map(AsRef::as_ref)));
        *computed = Some((changes, Arc::clone(&claims)));
        claims
    }
}
