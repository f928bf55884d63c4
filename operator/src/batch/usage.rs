//! What allocations have used, by the ledger: read once, then kept up to date by what was appended.

use crate::Context;
use crate::lock::locked;
use crate::watch::key;
use mesocentre_api::{Activity, Meter};
use mesocentre_metering::ledger::{AllocationUse, UseKey};
use mesocentre_metering::{Head, LedgerError};
use std::sync::Mutex;

/// What was used up to a record of the ledger.
#[derive(Default)]
pub struct Usage {
    up_to: tokio::sync::Mutex<Option<Head>>,
    used: Mutex<AllocationUse>,
}

impl Usage {
    /// What an allocation used of a meter, in base units.
    pub fn of(&self, tenant: &str, allocation: &str, meter: Meter) -> i128 {
        let of = |year, activity| UseKey {
            tenant: tenant.to_owned(),
            allocation: Some(allocation.to_owned()),
            meter,
            year,
            activity,
        };
        let all = of(i16::MIN, Activity::Economic)..=of(i16::MAX, Activity::NonEconomic);
        locked(&self.used).range(all).map(|(_, quantity)| quantity).sum()
    }

    /// What was used of these meters in a year, in base units, and up to which record.
    pub async fn of_year(&self, year: i16, meters: &[Meter]) -> (Option<Head>, Vec<(UseKey, i128)>) {
        let up_to = self.up_to.lock().await;
        let used = locked(&self.used);
        let of_year = used
            .iter()
            .filter(|(key, _)| key.year == year && meters.contains(&key.meter))
            .map(|(key, quantity)| (key.clone(), *quantity))
            .collect();
        (*up_to, of_year)
    }

    /// Reads what was appended since the last time, and has the allocations that it touches looked at.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn refresh(&self, context: &Context) -> Result<(), LedgerError> {
        // One at a time, or the same records would be added twice.
        let mut up_to = self.up_to.lock().await;
        let head = context.ledger.head().await?;
        let before = up_to.map_or(0, |head| head.seq);
        if head.seq == before {
            return Ok(());
        }
        let added = context
            .ledger
            .allocation_use(before, head.seq, &context.zone)
            .await?;
        *up_to = Some(head);
        {
            let mut used = locked(&self.used);
            for (whose, quantity) in &added {
                *used.entry(whose.clone()).or_default() += quantity;
            }
        }
        for whose in added.keys() {
            if let Some(allocation) = &whose.allocation {
                context
                    .triggers
                    .allocations
                    .reconcile(key(Some(&whose.tenant), allocation));
            }
        }
        Ok(())
    }
}
