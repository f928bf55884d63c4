//! What of each tenant's use no closed month has billed: counted once, then kept up with what the ledger gains.

use crate::failure::Failure;
use jiff::Timestamp;
use mesocentre_metering::ledger::LastClosed;
use mesocentre_metering::rating::Change;
use mesocentre_metering::{BillingMonth, DatacentreZone, Ledger, TimeSpan, ValidRecord};
use mesocentre_tenancy::deletion::UnbilledUse;
use std::collections::{BTreeMap, HashMap};

/// The count, and up to where the ledger was read for it.
#[derive(Default)]
pub struct Unbilled {
    /// Up to which record, and with which month closed last.
    read: Option<(i64, Option<BillingMonth>)>,
    by_tenant: HashMap<String, BTreeMap<String, u64>>,
}

/// Up to where use is billed.
struct Billed {
    up_to_seq: i64,
    until: Timestamp,
    /// The first month that is not.
    next: Option<BillingMonth>,
}

impl Unbilled {
    /// A tenant's, by month.
    pub fn of(&self, tenant: &str) -> Vec<UnbilledUse> {
        self.by_tenant
            .get(tenant)
            .into_iter()
            .flatten()
            .map(|(month, records)| UnbilledUse {
                month: month.clone(),
                records: *records,
            })
            .collect()
    }

    /// Catches up with the ledger; the tenants of whom something changed.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn catch_up(&mut self, ledger: &Ledger, zone: &DatacentreZone) -> Result<Vec<String>, Failure> {
        let head = ledger.head().await?.seq;
        let last = ledger.last_closed().await?;
        let closed = last.as_ref().map(|last| last.month);
        match self.read {
            Some((seq, month)) if month == closed && seq == head => return Ok(Vec::new()),
            Some((seq, month)) if month == closed => {
                let billed = billed(last.as_ref())?;
                let mut came = Vec::new();
                let mut revised = false;
                ledger
                    .for_each_change(seq, head, |change, record| match change {
                        Change::Added => came.extend(month_of(record, &billed, true, zone)),
                        Change::Removed => revised = true,
                    })
                    .await?;
                if !revised {
                    self.read = Some((head, closed));
                    let mut tenants: Vec<String> = came.iter().map(|(tenant, _)| tenant.clone()).collect();
                    came.into_iter()
                        .for_each(|(tenant, month)| self.count(tenant, month));
                    tenants.sort();
                    tenants.dedup();
                    return Ok(tenants);
                }
            }
            _ => {}
        }
        let before = std::mem::take(&mut self.by_tenant);
        self.read = None;
        let billed = billed(last.as_ref())?;
        let mut came = Vec::new();
        if billed.next.is_some() {
            // What reaches past the last close …
            let open = TimeSpan {
                from: billed.until,
                to: Timestamp::MAX,
            };
            ledger
                .for_each_use(open, head, |record| {
                    if record.end > billed.until {
                        came.extend(month_of(record, &billed, false, zone));
                    }
                })
                .await?;
        }
        // … and what came after it, of before.
        ledger
            .for_each_change(billed.up_to_seq, head, |change, record| {
                if change == Change::Added && (billed.next.is_none() || record.end <= billed.until) {
                    came.extend(month_of(record, &billed, true, zone));
                }
            })
            .await?;
        came.into_iter()
            .for_each(|(tenant, month)| self.count(tenant, month));
        self.read = Some((head, closed));
        let mut changed: Vec<String> = before
            .keys()
            .chain(self.by_tenant.keys())
            .filter(|tenant| before.get(*tenant) != self.by_tenant.get(*tenant))
            .cloned()
            .collect();
        changed.sort();
        changed.dedup();
        Ok(changed)
    }

    fn count(&mut self, tenant: String, month: String) {
        *self
            .by_tenant
            .entry(tenant)
            .or_default()
            .entry(month)
            .or_default() += 1;
    }
}

fn billed(last: Option<&LastClosed>) -> Result<Billed, Failure> {
    let Some(last) = last else {
        return Ok(Billed {
            up_to_seq: 0,
            until: Timestamp::MIN,
            next: None,
        });
    };
    let calendar = |error: mesocentre_metering::calendar::CalendarError| Failure::Period(error.into());
    let window = DatacentreZone::named(&last.time_zone)
        .map_err(calendar)?
        .month(last.month)
        .map_err(calendar)?;
    Ok(Billed {
        up_to_seq: last.up_to_seq,
        until: window.span.to,
        next: Some(last.month.next().map_err(calendar)?),
    })
}

/// Whose and of which month a record is that is not billed: the last that it touches, or the next to be closed.
fn month_of(
    record: &ValidRecord,
    billed: &Billed,
    late: bool,
    zone: &DatacentreZone,
) -> Option<(String, String)> {
    // Nothing was used; unless it takes back what may have been billed.
    if record.quantity == 0 && !(late && record.key.revision > 0 && billed.next.is_some()) {
        return None;
    }
    let last = record
        .end
        .checked_sub(jiff::SignedDuration::from_nanos(1))
        .unwrap_or(record.start)
        .max(record.start);
    let month = BillingMonth::of(zone.day_of(last));
    let month = billed.next.map_or(month, |next| next.max(month));
    Some((record.tenant.clone(), month.to_string()))
}
