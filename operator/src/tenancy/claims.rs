//! Who holds each posix account and each hostname, over all tenants: computed when tenants changed, and shared by all reconciles.

use crate::Context;
use crate::lock::locked;
use mesocentre_tenancy::TenantClaims;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The claims of the tenants in the cache.
#[derive(Default)]
pub struct Claims {
    /// Counts the changes of tenants.
    changes: AtomicU64,
    computed: Mutex<Option<(u64, Arc<TenantClaims>)>>,
    /// Hostnames are given to one tenant at a time.
    giving: tokio::sync::Mutex<()>,
}

impl Claims {
    /// A tenant came, changed or went.
    pub fn outdated(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// While it is held, no other tenant is given a hostname.
    pub async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.giving.lock().await
    }

    /// As the cache and this process's own writes have it now.
    pub fn now(&self, context: &Context) -> Arc<TenantClaims> {
        // Read before the cache is: what changes meanwhile outdates what is computed.
        let changes = self.changes.load(Ordering::Acquire);
        let mut computed = locked(&self.computed);
        if let Some((of, claims)) = computed.as_ref()
            && *of == changes
        {
            return Arc::clone(claims);
        }
        // A hostname that this process has just given to one is not given to another before the cache has it.
        let tenants: Vec<_> = context
            .stores
            .tenants
            .state()
            .into_iter()
            .map(|tenant| context.own_writes.fresher(tenant))
            .collect();
        let claims = Arc::new(TenantClaims::of(tenants.iter().map(AsRef::as_ref)));
        *computed = Some((changes, Arc::clone(&claims)));
        claims
    }
}
