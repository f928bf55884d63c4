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

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_api::{Meter, TenantCategory};
    use mesocentre_metering::{
        Activity, NamedTariff, RatedTenant, RatingBasis, RecordKey, UsageRecord, close_month,
    };
    use serde_json::json;

    fn at(instant: &str) -> Timestamp {
        instant.parse().unwrap()
    }

    fn record(tenant: &str, key: &str, revision: u32, quantity: i128, day: &str) -> UsageRecord {
        UsageRecord {
            key: RecordKey {
                source: "slurm".into(),
                cluster: "austral".into(),
                native_key: key.into(),
                meter: Meter::ComputeCoreHours,
                revision,
            },
            tenant: tenant.into(),
            allocation: None,
            user: None,
            activity: Activity::NonEconomic,
            activity_reason: "category".into(),
            quantity,
            start: at(&format!("{day}T10:00:00Z")),
            end: at(&format!("{day}T11:00:00Z")),
            evidence: BTreeMap::new(),
        }
    }

    struct Case {
        ledger: Ledger,
        zone: DatacentreZone,
        unbilled: Unbilled,
        folder: std::path::PathBuf,
    }

    impl Case {
        async fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("meso-unbilled-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            let url = format!("sqlite://{}/ledger.db", folder.display());
            Self {
                ledger: Ledger::open(&url.parse().unwrap()).await.unwrap(),
                zone: DatacentreZone::named("Europe/Paris").unwrap(),
                unbilled: Unbilled::default(),
                folder,
            }
        }

        async fn append(&mut self, records: &[UsageRecord]) -> Vec<String> {
            let appended = self
                .ledger
                .append(records, at("2026-11-24T12:00:00Z"))
                .await
                .unwrap();
            assert!(appended.quarantined.is_empty(), "{:?}", appended.quarantined);
            self.catch_up().await
        }

        async fn catch_up(&mut self) -> Vec<String> {
            self.unbilled.catch_up(&self.ledger, &self.zone).await.unwrap()
        }

        /// `2026-10: 1, 2026-11: 2`, and the same from a fresh count.
        async fn of(&self, tenant: &str) -> String {
            let mut fresh = Unbilled::default();
            fresh.catch_up(&self.ledger, &self.zone).await.unwrap();
            let text = |unbilled: &Unbilled| {
                let months = unbilled.of(tenant);
                let months: Vec<String> = months
                    .iter()
                    .map(|u| format!("{}: {}", u.month, u.records))
                    .collect();
                months.join(", ")
            };
            assert_eq!(
                text(&self.unbilled),
                text(&fresh),
                "kept up with and counted anew"
            );
            text(&fresh)
        }

        async fn close(&self, month: &str) {
            let tariff = json!({
                "currency": "EUR", "validFrom": "2026-01-01", "validUntil": "2026-12-31",
                "categories": ["University"], "vat": {"rate": "20"},
                "prices": [{"meter": "compute.core-hours", "unitPrice": "0.0120"}],
            });
            let basis = RatingBasis {
                month: month.parse().unwrap(),
                time_zone: "Europe/Paris".into(),
                tenants: ["a", "b"]
                    .map(|name| RatedTenant {
                        name: name.into(),
                        category: TenantCategory::University,
                    })
                    .to_vec(),
                tariffs: vec![NamedTariff {
                    name: "public".into(),
                    spec: serde_json::from_value(tariff).unwrap(),
                }],
                cost_pools: Vec::new(),
                co_investments: Vec::new(),
                acknowledged_gaps: Vec::new(),
            };
            close_month(&self.ledger, &basis, at("2026-11-24T12:00:00Z"))
                .await
                .unwrap();
        }
    }

    impl Drop for Case {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[tokio::test]
    async fn use_is_counted_by_tenant_and_month_until_its_month_is_closed() {
        let mut case = Case::new("months").await;
        let october = record("a", "1", 0, 3600, "2026-10-05");
        let changed = case
            .append(&[
                october,
                record("a", "2", 0, 3600, "2026-11-05"),
                record("b", "3", 0, 0, "2026-11-05"),
            ])
            .await;
        assert_eq!(changed, ["a"], "what used nothing is not billed");
        assert_eq!(case.of("a").await, "2026-10: 1, 2026-11: 1");
        assert_eq!(case.catch_up().await, [""; 0], "nothing new");
        case.close("2026-10").await;
        assert_eq!(case.catch_up().await, ["a"]);
        assert_eq!(case.of("a").await, "2026-11: 1");
        case.close("2026-11").await;
        case.catch_up().await;
        assert_eq!(case.of("a").await, "");
    }

    #[tokio::test]
    async fn what_is_taken_back_before_the_close_is_gone_and_after_it_still_to_be_billed() {
        let mut case = Case::new("revisions").await;
        case.append(&[record("a", "1", 0, 3600, "2026-10-05")]).await;
        case.append(&[record("b", "2", 0, 3600, "2026-10-06")]).await;
        assert_eq!(case.append(&[record("a", "1", 1, 0, "2026-10-05")]).await, ["a"]);
        assert_eq!(case.of("a").await, "");
        assert_eq!(case.of("b").await, "2026-10: 1");
        case.close("2026-10").await;
        case.catch_up().await;
        assert_eq!(case.of("b").await, "");
        case.append(&[record("b", "2", 1, 0, "2026-10-06")]).await;
        assert_eq!(
            case.of("b").await,
            "2026-11: 1",
            "it is given back in the next month"
        );
        case.append(&[record("a", "3", 0, 60, "2026-10-07")]).await;
        assert_eq!(
            case.of("a").await,
            "2026-11: 1",
            "what comes late is billed in the next month"
        );
    }
}
