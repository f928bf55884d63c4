//! What of a year is economic: the allocations, what they were granted, what the ledger says of their use.

use super::seconds;
use crate::Context;
use crate::elder::first_before;
use crate::report::is_leaving;
use crate::watch::key;
use jiff::Timestamp;
use kube::ResourceExt;
use mesocentre_api::{Activity, Allocation, CeilingGrant, EconomicCeiling, Meter, Tenant, TenantCategory};
use mesocentre_metering::Head;
use mesocentre_metering::ceiling::{Claim, HeldSeconds, part_of_year};
use mesocentre_tenancy::validate::seniority;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use std::collections::HashMap;

/// Which allocation, in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// When it was made.
    pub made: Option<Timestamp>,
    /// Tenant and name.
    pub name: String,
}

/// All that is known of a year.
pub struct Gathered {
    /// Economic allocations of the year that can be counted.
    pub claims: Vec<Claim<Id>>,
    /// Why each of these is economic, by tenant and name.
    pub because: HashMap<String, String>,
    /// Economic allocations of the year that ask for hours without an end, and which of them: they cannot be counted.
    pub boundless: Vec<(Id, &'static str)>,
    /// Economic use of allocations that are gone or not economic any more.
    pub used_by_others: HeldSeconds,
    /// All economic use.
    pub economic: HeldSeconds,
    /// All other use.
    pub non_economic: HeldSeconds,
    /// The ledger's end that is counted; none while nothing is in it.
    pub ledger: Option<Head>,
}

/// The ceiling of the same year that was made before this one.
pub fn first_of_year(context: &Context, object: &EconomicCeiling) -> Option<String> {
    first_before(
        &context.stores.ceilings.state(),
        object,
        |ceiling| seniority(&ceiling.metadata),
        |other| other.spec.year == object.spec.year && !is_leaving(other),
    )
}

/// `nova-motors/cfd-2026`.
pub fn name_of(allocation: &Allocation) -> String {
    format!(
        "{}/{}",
        allocation.namespace().unwrap_or_default(),
        allocation.name_any()
    )
}

/// Whether an allocation's use is economic, and why; none where there is no such tenant.
pub fn judged(context: &Context, allocation: &Allocation) -> Option<(Activity, String)> {
    let home = allocation.namespace()?;
    let category: TenantCategory = context
        .stores
        .tenants
        .get(&key::<Tenant>(None, &home))?
        .spec
        .category;
    Some(allocation.spec.judged(category))
}

pub async fn gather(context: &Context, object: &EconomicCeiling) -> Gathered {
    let year = object.spec.civil_year();
    let meters = [Meter::ComputeCoreHours, Meter::ComputeGpuHours];
    let (ledger, used) = context.batch.usage().of_year(year, &meters).await;
    let mut gathered = Gathered {
        claims: Vec::new(),
        because: HashMap::new(),
        boundless: Vec::new(),
        used_by_others: HeldSeconds::default(),
        economic: HeldSeconds::default(),
        non_economic: HeldSeconds::default(),
        ledger,
    };
    let mut economic: HashMap<String, HeldSeconds> = HashMap::new();
    for (whose, quantity) in used {
        let quantity = Decimal::from_i128(quantity).unwrap_or(Decimal::MAX);
        let amount = match whose.meter {
            Meter::ComputeGpuHours => HeldSeconds {
                gpu: quantity,
                ..HeldSeconds::default()
            },
            _ => HeldSeconds {
                core: quantity,
                ..HeldSeconds::default()
            },
        };
        match whose.activity {
            Activity::Economic => {
                gathered.economic = gathered.economic.and(amount);
                let name = format!("{}/{}", whose.tenant, whose.allocation.unwrap_or_default());
                let sum = economic.entry(name).or_default();
                *sum = sum.and(amount);
            }
            Activity::NonEconomic => gathered.non_economic = gathered.non_economic.and(amount),
        }
    }
    let before: HashMap<&str, &CeilingGrant> = object
        .status
        .iter()
        .flat_map(|status| &status.grants)
        .map(|grant| (grant.allocation.as_str(), grant))
        .collect();
    for allocation in context.stores.allocations.state() {
        if is_leaving(allocation.as_ref()) {
            continue;
        }
        let Some((Activity::Economic, because)) = judged(context, &allocation) else {
            continue;
        };
        let name = name_of(&allocation);
        let id = Id {
            made: allocation.metadata.creation_timestamp.clone().map(|t| t.0),
            name: name.clone(),
        };
        match wanted(&allocation, object) {
            Wanted::Nothing => {}
            Wanted::Boundless(what) => {
                gathered.because.insert(name, because);
                gathered.boundless.push((id, what));
            }
            Wanted::Hours(wanted) => {
                gathered.claims.push(Claim {
                    id,
                    wanted,
                    granted: before
                        .get(name.as_str())
                        .map_or_else(HeldSeconds::default, |grant| granted(grant)),
                    used: economic.remove(&name).unwrap_or_default(),
                });
                gathered.because.insert(name, because);
            }
        }
    }
    gathered.used_by_others = economic
        .into_values()
        .fold(HeldSeconds::default(), HeldSeconds::and);
    gathered
}

/// What an allocation asks of a year.
pub enum Wanted {
    /// It is of other years.
    Nothing,
    /// Hours without an end, of what there is a capacity of.
    Boundless(&'static str),
    /// So many seconds.
    Hours(HeldSeconds),
}

/// What an allocation asks of a ceiling's year.
pub fn wanted(allocation: &Allocation, ceiling: &EconomicCeiling) -> Wanted {
    let spec = &allocation.spec;
    let part = |hours: Option<Decimal>| {
        let hours = hours.unwrap_or_default();
        part_of_year(
            hours,
            spec.valid_from,
            spec.valid_until,
            ceiling.spec.civil_year(),
        )
        .map(|hours| seconds(hours).unwrap_or(Decimal::MAX))
    };
    // What is carried over and what a grace lets pass is granted, too.
    let hours = allocation.hours();
    let (Some(core), Some(gpu)) = (part(hours.core_hours), part(hours.gpu_hours)) else {
        return Wanted::Nothing;
    };
    let there_is = |capacity: Option<Decimal>| capacity.is_some_and(|hours| !hours.is_zero());
    if hours.core_hours.is_none() && there_is(ceiling.spec.capacity.core_hours) {
        return Wanted::Boundless("coreHours");
    }
    if hours.gpu_hours.is_none() && there_is(ceiling.spec.capacity.gpu_hours) {
        return Wanted::Boundless("gpuHours");
    }
    Wanted::Hours(HeldSeconds { core, gpu })
}

/// What a grant says, in seconds.
pub fn granted(grant: &CeilingGrant) -> HeldSeconds {
    let read = |hours: &str| hours.parse().ok().and_then(seconds).unwrap_or_default();
    HeldSeconds {
        core: read(&grant.core_hours),
        gpu: read(&grant.gpu_hours),
    }
}
