//! What an allocation may use under the ceilings of its years, as they stand written.

use super::gather::{Wanted, granted, judged, name_of, wanted};
use crate::Context;
use crate::report::is_leaving;
use kube::ResourceExt;
use mesocentre_api::{Activity, Allocation, Budget, CeilingGrant, EconomicCeiling};
use mesocentre_metering::ceiling::HeldSeconds;
use rust_decimal::Decimal;

/// Where an allocation stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It may use what its spec says: it is not economic, or no ceiling is set for its years, or all was granted.
    Whole,
    /// A ceiling has not counted it yet.
    NotCounted {
        /// Its name.
        ceiling: String,
    },
    /// It may use less.
    Less {
        /// So much.
        budget: Budget,
        /// The ceiling's name.
        ceiling: String,
        /// Why no more.
        why: String,
    },
}

impl Standing {
    /// Whether nothing at all may be used.
    pub fn is_nothing(&self) -> bool {
        let none = |hours: Option<Decimal>| hours.is_none_or(|hours| hours.is_zero());
        matches!(self, Self::Less { budget, .. } if none(budget.core_hours) && none(budget.gpu_hours))
    }
}

/// Whether two states of a ceiling let allocations use different hours, or for different reasons.
pub fn grants_differ(one: Option<&EconomicCeiling>, other: Option<&EconomicCeiling>) -> bool {
    let grants = |ceiling: Option<&EconomicCeiling>| -> Option<Vec<_>> {
        let grants = &ceiling?.status.as_ref()?.grants;
        let of = |grant: &CeilingGrant| {
            (
                grant.allocation.clone(),
                granted(grant).core,
                granted(grant).gpu,
                grant.refused.clone(),
            )
        };
        Some(grants.iter().map(of).collect())
    };
    one.is_some() != other.is_some() || grants(one) != grants(other)
}

/// Where an allocation stands under the ceilings that there are.
pub fn standing(context: &Context, allocation: &Allocation) -> Standing {
    if judged(context, allocation).is_none_or(|(activity, _)| activity == Activity::NonEconomic) {
        return Standing::Whole;
    }
    let name = name_of(allocation);
    let mut missing = HeldSeconds::default();
    let mut refused = None;
    for ceiling in context.stores.ceilings.state() {
        let is_first = super::gather::first_of_year(context, &ceiling).is_none();
        if is_leaving(ceiling.as_ref()) || !is_first {
            continue;
        }
        let wanted = wanted(allocation, &ceiling);
        if matches!(wanted, Wanted::Nothing) {
            continue;
        }
        // It holds from its first count on, so that whoever is at work is not stopped for want of one.
        let status = ceiling.status.as_ref();
        let Some(status) = status.filter(|status| !status.measures.is_empty()) else {
            continue;
        };
        let Some(grant) = status.grants.iter().find(|grant| grant.allocation == name) else {
            return Standing::NotCounted {
                ceiling: ceiling.name_any(),
            };
        };
        let Wanted::Hours(wanted) = wanted else {
            // Of hours without an end there is no part.
            let why = grant.refused.clone().unwrap_or_default();
            return Standing::Less {
                budget: Budget {
                    core_hours: Some(Decimal::ZERO),
                    gpu_hours: Some(Decimal::ZERO),
                },
                ceiling: ceiling.name_any(),
                why,
            };
        };
        let lacks = wanted.less(granted(grant));
        if lacks != HeldSeconds::default() {
            missing = missing.and(lacks);
            let why = grant
                .refused
                .clone()
                .unwrap_or_else(|| "more is asked than was counted yet".into());
            refused = Some((ceiling.name_any(), why));
        }
    }
    let Some((ceiling, why)) = refused else {
        return Standing::Whole;
    };
    let left = |hours: Option<Decimal>, missing: Decimal| {
        hours.map(|hours| (hours - missing / Decimal::from(3600)).max(Decimal::ZERO))
    };
    Standing::Less {
        budget: Budget {
            core_hours: left(allocation.hours().core_hours, missing.core),
            gpu_hours: left(allocation.hours().gpu_hours, missing.gpu),
        },
        ceiling,
        why,
    }
}
