//! What allocations have used, by the ledger: read once, then kept up to date by what was appended.

use crate::Context;
use crate::lock::locked;
use crate::watch::key;
use jiff::civil::Date;
use kube::ResourceExt;
use mesocentre_api::{Activity, Meter};
use mesocentre_metering::ledger::{AllocationUse, DailyUse, UseKey};
use mesocentre_metering::{Head, LedgerError};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// What was used up to a record of the ledger.
#[derive(Default)]
pub struct Usage {
    up_to: tokio::sync::Mutex<Option<Head>>,
    used: Mutex<AllocationUse>,
    daily: Mutex<Daily>,
}

/// The days of allocations of which somebody needs them.
#[derive(Default)]
struct Daily {
    of: BTreeSet<(String, String)>,
    /// The record up to which they were read, which is another than that of the sums where reading those failed.
    up_to: i64,
    used: DailyUse,
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

    /// What an allocation used of a meter to the end of a civil day, in base units; none where its days were not read yet.
    pub fn until(&self, tenant: &str, allocation: &str, meter: Meter, day: Date) -> Option<i128> {
        let daily = locked(&self.daily);
        if !daily.of.contains(&(tenant.to_owned(), allocation.to_owned())) {
            return None;
        }
        let on = |day| (tenant.to_owned(), allocation.to_owned(), meter, day);
        let days = daily.used.range(on(Date::MIN)..=on(day));
        Some(days.map(|(_, quantity)| quantity).sum())
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
        self.read_days(context, head.seq).await?;
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

    /// Reads the days of what was appended, and all days of allocations that nobody asked for before.
    async fn read_days(&self, context: &Context, now: i64) -> Result<(), LedgerError> {
        let needed = days_needed(context);
        let (known, before) = {
            let daily = locked(&self.daily);
            (daily.of.clone(), daily.up_to)
        };
        let new: BTreeSet<(String, String)> = needed.difference(&known).cloned().collect();
        let goes_on: BTreeSet<(String, String)> = known.intersection(&needed).cloned().collect();
        let mut added = DailyUse::new();
        if !goes_on.is_empty() && now > before {
            added = context
                .ledger
                .daily_use((before, now), &goes_on, &context.zone)
                .await?;
        }
        if !new.is_empty() {
            let all = context.ledger.daily_use((0, now), &new, &context.zone).await?;
            added.extend(all);
        }
        {
            let mut daily = locked(&self.daily);
            daily
                .used
                .retain(|(tenant, allocation, ..), _| needed.contains(&(tenant.clone(), allocation.clone())));
            for (day, quantity) in added {
                *daily.used.entry(day).or_default() += quantity;
            }
            daily.of = needed;
            daily.up_to = now;
        }
        for (tenant, allocation) in new {
            let triggers = &context.triggers.allocations;
            triggers.reconcile(key(Some(&tenant), &allocation));
        }
        Ok(())
    }
}

/// The allocations that carry hours over or have a grace, and those that hours are carried over from.
fn days_needed(context: &Context) -> BTreeSet<(String, String)> {
    let mut needed = BTreeSet::new();
    for allocation in context.stores.allocations.state() {
        let home = allocation.namespace().unwrap_or_default();
        if allocation.spec.carry_over.is_some() || allocation.spec.grace.is_some() {
            needed.insert((home.clone(), allocation.name_any()));
        }
        if let Some(carry) = &allocation.spec.carry_over {
            needed.insert((home, carry.from.clone()));
        }
    }
    needed
}
