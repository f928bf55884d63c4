//! What may be used free of charge: of the capacity that co-investors paid for, and what their unused rights bring back; and
//! within what is reserved for an allocation. Pure, integers.
//!
//! ```text
//!  capacity of the month  C  = a twelfth of the year's, with base units exact over the year
//!  right of a tenant      r  = LR(C · weight / Σ weights)
//!  covered                c  = min(r, used)                    free of charge; what is used beyond it is billed by the tariff
//!  lent, all together     L  = min(Σ (r − c), billed use of everybody, co-investors or not)
//!  lent by a tenant       l  = LR(L · (r − c) / Σ (r − c))     brings back l × the lending price
//! ```
//!
//! LR is the method of largest remainder, as for [cost pools](crate::sharing). Several co-investments in one meter count in
//! the order of their names: what the first covers or lends is not there for the next.
//!
//! **What is reserved** for an allocation is billed itself, used or not (`compute.reserved-core-hours` and its like), and is a
//! right of that allocation in the same month: `covered = min(reserved, used)`, before any co-investor's right. It is not
//! lent.
//!
//! Use that comes late changes what is covered of its month as if it had come in time; what was lent then stays as it was.

use crate::calendar::{BillingMonth, MonthWindow};
use crate::meter::base_units_per_unit;
use crate::sharing::{apportion, twelfth};
use mesocentre_api::{CoInvestmentSpec, Meter};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A co-investment and its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedCoInvestment {
    /// The object's name.
    pub name: String,
    /// Its terms.
    pub spec: CoInvestmentSpec,
}

/// What is used by right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RightOf {
    /// What is reserved for this allocation, counted by the meter of its use.
    Reserved(String, Meter),
    /// A share in this co-investment.
    CoInvestment(String),
}

/// What a tenant had, used and lent of its right in a month. In a month's document, one that is about a month before is what
/// came late changed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RightUse {
    /// What it is a right of.
    pub of: RightOf,
    /// The tenant.
    pub tenant: String,
    /// The month.
    pub month: BillingMonth,
    /// The right, in base units.
    #[serde(with = "crate::record::decimal_integer")]
    pub right: i128,
    /// What the tenant used of the meter, without what is free already.
    #[serde(with = "crate::record::decimal_integer")]
    pub used: i128,
    /// What of it the right covers.
    #[serde(with = "crate::record::decimal_integer")]
    pub covered: i128,
    /// What others used of the rest.
    #[serde(with = "crate::record::decimal_integer")]
    pub lent: i128,
}

/// Why rights cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("the co-investment {name} {why}")]
pub struct RightsFault {
    /// The co-investment.
    pub name: String,
    /// Why, and what to write.
    pub why: &'static str,
}

/// The rights of a month in base units, by tenant; nobody's where it is not valid then.
///
/// # Errors
/// [`RightsFault`], when it is valid for a part of the month only, or its numbers make no sense.
pub fn rights_of_month<'a>(
    of: &'a NamedCoInvestment,
    window: &MonthWindow,
) -> Result<BTreeMap<&'a str, i128>, RightsFault> {
    let (spec, month) = (&of.spec, window.month);
    let fault = |why| RightsFault {
        name: of.name.clone(),
        why,
    };
    if spec.valid_until < month.first_day() || month.last_day() < spec.valid_from {
        return Ok(BTreeMap::new());
    }
    if month.first_day() < spec.valid_from || spec.valid_until < month.last_day() {
        return Err(fault(
            "is valid for a part of a month only: begin it on the first day of a month and end it on a last one",
        ));
    }
    let year = annual_base_units(spec, window)
        .ok_or_else(|| fault("has a capacity that is too large to be computed"))?;
    let n = month.index() - BillingMonth::of(spec.valid_from).index() + 1;
    let capacity =
        twelfth(year, n).ok_or_else(|| fault("has a capacity that is too large to be computed"))?;
    let mut shares: Vec<_> = spec.shares.iter().collect();
    shares.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    let weights: Vec<i128> = shares.iter().map(|share| share.weight.into()).collect();
    let rights = apportion(capacity, &weights).ok_or_else(|| {
        fault("has no share with a weight above 0, or one below: write weights of 0 or more")
    })?;
    Ok(shares
        .into_iter()
        .map(|share| share.tenant.as_str())
        .zip(rights)
        .collect())
}

/// The year's capacity in base units; of the meters that the schema admits a unit has as many in every month.
fn annual_base_units(spec: &CoInvestmentSpec, window: &MonthWindow) -> Option<i128> {
    let units = base_units_per_unit(spec.meter, window);
    let whole = spec
        .annual_capacity
        .checked_mul(Decimal::try_from_i128_with_scale(units, 0).ok()?)?
        .trunc();
    (whole.scale() == 0).then(|| whole.mantissa())
}

/// The meter by which what is reserved is used, of a meter by which it is billed.
pub fn used_by(reserved: Meter) -> Option<Meter> {
    match reserved {
        Meter::ComputeReservedCoreHours => Some(Meter::ComputeCoreHours),
        Meter::ComputeReservedGpuHours => Some(Meter::ComputeGpuHours),
        _ => None,
    }
}

/// What of `used` is free by a right: all until the right is used up; nothing where more was taken back than used.
pub fn covered(right: i128, used: i128) -> i128 {
    right.min(used).max(0)
}

/// What each lends, of what everybody left: as much of it as others were billed.
pub fn lent(left: &[i128], billed: i128) -> Vec<i128> {
    let all: i128 = left.iter().sum();
    apportion(all.min(billed).max(0), left).unwrap_or_else(|| vec![0; left.len()])
}
