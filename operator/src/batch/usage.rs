//! What allocations have used, by the ledger: read once, then kept up to date by what was appended.

use crate::Context;
use crate::lock::locked;
use crate::watch::key;
use mesocentre_api::Meter;
use mesocentre_metering::LedgerError;
use mesocentre_metering::ledger::AllocationUse;
use std::sync::Mutex;

/// What was used up to a record of the ledger.
#[derive(Default)]
pub struct Usage {
    up_to: tokio::sync::Mutex<i64>,
    used: Mutex<AllocationUse>,
}

impl Usage {
    /// What an allocation used of a meter, in base units.
    pub fn of(&self, tenant: &str, allocation: &str, meter: Meter) -> i128 {
        let used = locked(&self.used);
        used.get(&(tenant.to_owned(), Some(allocation.to_owned()), meter))
            .copied()
            .unwrap_or(0)
    }

    /// Reads what was appended since the last time, and has the allocations that it touches looked at.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn refresh(&self, context: &Context) -> Result<(), LedgerError> {
        // One at a time, or the same records would be added twice.
        let mut up_to = self.up_to.lock().await;
        let head = context.ledger.head().await?;
        if head.seq == *up_to {
            return Ok(());
        }
        let added = context.ledger.allocation_use(*up_to, head.seq).await?;
        *up_to = head.seq;
        {
            let mut used = locked(&self.used);
            for (whose, quantity) in &added {
                *used.entry(whose.clone()).or_default() += quantity;
            }
        }
        for (tenant, allocation, _) in added.keys() {
            if let Some(allocation) = allocation {
                context
                    .triggers
                    .allocations
                    .reconcile(key(Some(tenant), allocation));
            }
        }
        Ok(())
    }
}
