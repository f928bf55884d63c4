//! What allocations hold for themselves, used or not: the cores and GPUs that are reserved for them. Into the ledger, each
//! second once, by looking, as [`platform`](crate::platform) does with pods and volumes.
//!
//! Where no allocation ever had any, nothing is looked at and no month waits for it.

use crate::Context;
use crate::failure::Failure;
use crate::looks;
use crate::report::is_leaving;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mesocentre_api::{Allocation, Meter, TenantCategory};
use mesocentre_metering::DatacentreZone;
use mesocentre_metering::holding::{Holding, Shown, Source};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What reports it, in the ledger. It is of no one cluster.
pub const SOURCE: Source<'static> = Source {
    source: "allocation",
    cluster: "allocations",
};

/// Meters until the process ends.
pub async fn meter(context: Arc<Context>, shutdown: impl Future<Output = ()>) {
    let metering = looks::each_minute(&context, &context.reserved, SOURCE, async || {
        look_now(&context).await
    });
    tokio::select! {
        () = metering => {}
        () = shutdown => {}
    }
}

async fn look_now(context: &Context) -> Result<(), Failure> {
    let known = context.ledger.known_holdings(SOURCE).await?;
    let now = Timestamp::now();
    let categories: HashMap<String, TenantCategory> = context
        .stores
        .tenants
        .state()
        .iter()
        .map(|tenant| (tenant.name_any(), tenant.spec.category))
        .collect();
    let shown: Vec<Shown> = context
        .stores
        .allocations
        .state()
        .iter()
        .filter_map(|allocation| held(allocation, &categories, &context.zone, now))
        .collect();
    if known.looked.is_none() && shown.is_empty() {
        return Ok(());
    }
    // While the API server is away the caches show what was: nothing is said of now from them.
    Api::<Allocation>::all(context.client.clone())
        .list_metadata(&ListParams::default().limit(1))
        .await
        .map_err(|error| Failure::api("asking for an allocation".to_owned(), error))?;
    let day = context.zone.day_of(now);
    let midnight = context.zone.start_of(day).unwrap_or(now);
    looks::take(
        context,
        &context.reserved,
        SOURCE,
        (&known, shown),
        (now, midnight),
    )
    .await
}

/// What an allocation holds; none where nothing is reserved for it, before its first day, or where it is in no tenant's home.
fn held(
    allocation: &Allocation,
    categories: &HashMap<String, TenantCategory>,
    zone: &DatacentreZone,
    now: Timestamp,
) -> Option<Shown> {
    let (spec, home) = (&allocation.spec, allocation.namespace()?);
    let reserved = spec.reserved.as_ref()?;
    let (activity, activity_reason) = spec.judged(*categories.get(&home)?);
    let days = zone.days(spec.valid_from, spec.valid_until).ok()?;
    let made = allocation.metadata.creation_timestamp.as_ref()?.0;
    if now < days.from {
        return None;
    }
    let deleted = allocation
        .metadata
        .deletion_timestamp
        .as_ref()
        .filter(|_| is_leaving(allocation))
        .map(|deleted| deleted.0);
    let ended = (now >= days.to).then_some(days.to);
    let amount = |count: i64| u64::try_from(count).unwrap_or(0);
    let amounts = BTreeMap::from([
        (Meter::ComputeReservedCoreHours, amount(reserved.cores)),
        (Meter::ComputeReservedGpuHours, amount(reserved.gpus)),
    ]);
    Some(Shown {
        id: format!("allocation/{}", allocation.uid()?),
        holding: Holding {
            tenant: home,
            allocation: Some(allocation.name_any()),
            activity,
            activity_reason,
            amounts,
            evidence: BTreeMap::from([("scheduler".to_owned(), spec.scheduler.clone())]),
        },
        from: days.from.max(made),
        until: [deleted, ended].into_iter().flatten().min(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_allocation_holds_what_is_reserved_for_it_from_its_first_day_to_the_end_of_its_last() {
        let zone = DatacentreZone::named("Europe/Paris").unwrap();
        let categories = HashMap::from([("univ-caen".to_owned(), TenantCategory::University)]);
        let allocation = |more: serde_json::Value| -> Allocation {
            let mut spec = json!({"scheduler": "austral", "title": "t", "validFrom": "2026-03-01", "validUntil": "2026-03-31",
                "budget": {}});
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            serde_json::from_value(json!({"apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation", "spec": spec,
                "metadata": {"name": "a", "namespace": "univ-caen", "uid": "u", "creationTimestamp": "2026-02-10T09:00:00Z"}}))
            .unwrap()
        };
        let at =
            |at: &str, allocation: &Allocation| held(allocation, &categories, &zone, at.parse().unwrap());
        let holding = allocation(json!({"reserved": {"cores": 64, "gpus": 2}}));
        assert_eq!(at("2026-02-28T22:59:59Z", &holding), None);
        let first = at("2026-02-28T23:00:00Z", &holding).unwrap();
        assert_eq!(first.from.to_string(), "2026-02-28T23:00:00Z");
        assert_eq!(first.until, None);
        assert_eq!(first.holding.amounts[&Meter::ComputeReservedCoreHours], 64);
        assert_eq!(first.holding.allocation.as_deref(), Some("a"));
        // The clocks went forward in between.
        let after = at("2026-04-02T00:00:00Z", &holding).unwrap();
        assert_eq!(after.until.unwrap().to_string(), "2026-03-31T22:00:00Z");
        assert_eq!(at("2026-03-10T00:00:00Z", &allocation(json!({}))), None);
    }
}
