//! The sharing of a cost pool, exact to the cent: pure, integers only.
//!
//! ```text
//!  annual amount ──twelfths──► month's amount P ──key──► F (fixed) + V (by use)
//!  due of a tenant = LR(F · weight / Σ weights) + LR(V · use / Σ use)
//! ```
//!
//! LR is the method of largest remainder (Hamilton): each part first gets its quota rounded down, and the cents that
//! are left go one each to the largest remainders, ties in the order of the tenants' names. So the parts sum exactly to
//! the whole, and the same input gives the same parts. A negative amount (money to give back) is shared by its absolute
//! value. Where nobody used the meter, the part by use goes by weight.
//!
//! **A key that changes** holds from its day on: an amount over several keys is first split by their days, by LR, and
//! each part is shared by its own key and by the use of its own days.
//!
//! **The true-up** shares the real costs of the pool's whole span in just that way, by all use of the span that the
//! ledger knows by then, and takes off what each tenant was called: what was called and the true-up are together the
//! real costs, to the cent, when these are below nothing, too.

use crate::calendar::{BillingMonth, CalendarError};
use crate::exact::{quota, round_half_up};
use crate::money::Cents;
use jiff::civil::Date;
use mesocentre_api::{ContributionKey, CostPoolSpec, Meter, Share};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a pool cannot be shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum SharingFault {
    /// Nobody carries it.
    #[error(
        "the cost pool {pool} has no share with a weight above 0, so its costs fall on nobody: give at least one tenant a weight"
    )]
    NobodyShares {
        /// The pool.
        pool: String,
    },
    /// A weight below nothing, or a tenant twice.
    #[error(
        "the share of {tenant} in the cost pool {pool} is negative or written twice: write one weight of 0 or more"
    )]
    BadShare {
        /// The pool.
        pool: String,
        /// The tenant.
        tenant: String,
    },
    /// Percentages that are no whole.
    #[error(
        "fixed and usage of the cost pool {pool} must be percentages that add up to 100, and a part by use needs a meter: mend its key"
    )]
    BadKey {
        /// The pool.
        pool: String,
    },
    /// More than cents.
    #[error(
        "the annual amount of the cost pool {pool} is no amount in whole cents: write at most two decimals"
    )]
    BadAmount {
        /// The pool.
        pool: String,
    },
    /// A true-up that cannot be.
    #[error("the true-up of the cost pool {pool} {why}")]
    BadTrueUp {
        /// The pool.
        pool: String,
        /// Why, and what to write.
        why: String,
    },
    /// A part of a month.
    #[error(
        "the cost pool {pool} is valid for a part of {month} only: a pool is shared by whole months, so begin it on the first day of a month and end it on a last one"
    )]
    PartOfMonth {
        /// The pool.
        pool: String,
        /// The month.
        month: String,
    },
}

/// Parts that sum exactly to `amount`, each the nearest that whole cents allow to `amount × weight ÷ Σ weights`.
/// The order of `weights` decides ties: sort it by tenant. None when no weight is above 0 or one is below.
pub fn largest_remainder(amount: Cents, weights: &[i128]) -> Option<Vec<Cents>> {
    apportion(amount.0, weights).map(|parts| parts.into_iter().map(Cents).collect())
}

/// The same of any whole number.
pub(crate) fn apportion(amount: i128, weights: &[i128]) -> Option<Vec<i128>> {
    if weights.iter().any(|w| *w < 0) {
        return None;
    }
    let total = weights
        .iter()
        .try_fold(0_i128, |sum, w| sum.checked_add(*w))
        .filter(|sum| *sum > 0)?;
    let whole = amount.checked_abs()?;
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (place, weight) in weights.iter().enumerate() {
        let (part, remainder) = quota(whole, *weight, total);
        parts.push(part);
        remainders.push((remainder, place));
    }
    let left = whole - parts.iter().sum::<i128>();
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    // Fewer cents are left than there are remainders above 0, so each place gets at most one.
    for (_, place) in remainders.iter().take(usize::try_from(left).ok()?) {
        parts[*place] += 1;
    }
    let sign = amount.signum();
    Some(parts.into_iter().map(|part| part * sign).collect())
}

/// The n-th twelfth of a year's amount, by cumulative rounding: any twelve in a row from the first sum exactly to it.
pub(crate) fn twelfth(annual: i128, n: i128) -> Option<i128> {
    let up_to = |months: i128| round_half_up(&[annual, months], &[12]);
    Some(up_to(n)? - up_to(n - 1)?)
}

/// What a pool costs in a month: none when it is not valid then. A twelfth of the annual amount, by cumulative
/// rounding: the amount of month n since the beginning is `round(n × A ÷ 12) − round((n − 1) × A ÷ 12)`, so that any
/// twelve months in a row from the beginning sum exactly to A.
///
/// # Errors
/// [`SharingFault`], when the amount is not in cents or the pool covers a part of the month only.
pub fn amount_of_month(
    pool: &str,
    spec: &CostPoolSpec,
    month: BillingMonth,
) -> Result<Option<Cents>, SharingFault> {
    if spec.valid_until < month.first_day() || month.last_day() < spec.valid_from {
        return Ok(None);
    }
    if month.first_day() < spec.valid_from || spec.valid_until < month.last_day() {
        return Err(SharingFault::PartOfMonth {
            pool: pool.to_owned(),
            month: month.to_string(),
        });
    }
    let bad = || SharingFault::BadAmount {
        pool: pool.to_owned(),
    };
    let annual = Cents::from_decimal(spec.annual_amount).ok_or_else(bad)?;
    let n = month.index() - BillingMonth::of(spec.valid_from).index() + 1;
    twelfth(annual.0, n).map(|part| Some(Cents(part))).ok_or_else(bad)
}

/// One tenant's share of a pool in a month, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolPart {
    /// The tenant.
    pub tenant: String,
    /// Its weight.
    #[serde(with = "crate::record::decimal_integer")]
    pub weight: i128,
    /// Its use of the key's meter in the month, in base units; 0 where the key has no part by use.
    #[serde(with = "crate::record::decimal_integer")]
    pub used: i128,
    /// Its share of the part by weight.
    pub fixed: Cents,
    /// Its share of the part by use.
    pub by_use: Cents,
}

impl PoolPart {
    /// Both shares.
    pub fn due(&self) -> Cents {
        self.fixed + self.by_use
    }
}

/// A pool shared out for a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedPool {
    /// The pool.
    pub pool: String,
    /// The days that it is about, where a key changes among those of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Days>,
    /// What it costs in the month: the parts sum exactly to this.
    pub amount: Cents,
    /// The part of it that goes by weight.
    pub fixed: Cents,
    /// The part of it that goes by use.
    pub by_use: Cents,
    /// The shares, in the order of the tenants' names.
    pub parts: Vec<PoolPart>,
}

/// Days in a row, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Days {
    /// The first.
    pub first: Date,
    /// The last.
    pub last: Date,
}

impl Days {
    /// How many.
    pub fn count(self) -> i128 {
        i128::from((self.last - self.first).get_days()) + 1
    }
}

/// Days on which one key of a pool holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyDays<'a> {
    /// The days.
    pub days: Days,
    /// Who shares.
    pub shares: &'a [Share],
    /// By what.
    pub key: &'a ContributionKey,
}

/// The keys of a pool over days that it is valid on, in order.
pub fn keys_over(spec: &CostPoolSpec, days: Days) -> Vec<KeyDays<'_>> {
    let mut changes: Vec<_> = spec.changes.iter().collect();
    changes.sort_by_key(|change| change.from);
    let (mut shares, mut key) = (spec.shares.as_slice(), &spec.key);
    let mut first = days.first;
    let mut keys = Vec::new();
    for change in changes.into_iter().filter(|change| change.from <= days.last) {
        if change.from > first
            && let Ok(last) = change.from.yesterday()
        {
            let days = Days { first, last };
            keys.push(KeyDays { days, shares, key });
            first = change.from;
        }
        shares = change.shares.as_deref().unwrap_or(shares);
        key = change.key.as_ref().unwrap_or(key);
    }
    let days = Days {
        first,
        last: days.last,
    };
    keys.push(KeyDays { days, shares, key });
    keys
}

/// Shares an amount over days, each key's part by itself. `used` is what a tenant used of a meter on days, in base units.
///
/// # Errors
/// As [`share_pool`].
pub fn share_over(
    pool: &str,
    spec: &CostPoolSpec,
    days: Days,
    amount: Cents,
    used: impl Fn(&str, Meter, Days) -> i128,
) -> Result<Vec<SharedPool>, SharingFault> {
    let keys = keys_over(spec, days);
    let counts: Vec<i128> = keys.iter().map(|key| key.days.count()).collect();
    let amounts = largest_remainder(amount, &counts).ok_or_else(|| SharingFault::NobodyShares {
        pool: pool.to_owned(),
    })?;
    let is_one = keys.len() == 1;
    keys.into_iter()
        .zip(amounts)
        .map(|(one, amount)| {
            let meter = one.key.meter;
            let of_tenant = |tenant: &str| meter.map_or(0, |meter| used(tenant, meter, one.days));
            let shared = share(pool, one.shares, one.key, amount, of_tenant)?;
            Ok(SharedPool {
                days: (!is_one).then_some(one.days),
                ..shared
            })
        })
        .collect()
}

/// What one tenant really owes of a pool, and what it was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrueUpPart {
    /// The tenant.
    pub tenant: String,
    /// Its share of the real costs.
    pub real: Cents,
    /// What closed months called.
    pub called: Cents,
}

impl TrueUpPart {
    /// What is still to be paid, or given back.
    pub fn due(&self) -> Cents {
        self.real - self.called
    }
}

/// A pool made up to its real costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TruedUp {
    /// The pool.
    pub pool: String,
    /// The real costs: what was called and what is due now sum exactly to this.
    pub actual: Cents,
    /// How the real costs are shared.
    pub shared: Vec<SharedPool>,
    /// The tenants, in the order of their names.
    pub parts: Vec<TrueUpPart>,
}

/// Makes a pool up to its real costs. `called` is what each tenant was called in closed months.
///
/// # Errors
/// As [`share_pool`], and when the real costs are no amount in cents.
pub fn true_up(
    pool: &str,
    spec: &CostPoolSpec,
    actual: Cents,
    called: &BTreeMap<String, Cents>,
    used: impl Fn(&str, Meter, Days) -> i128,
) -> Result<TruedUp, SharingFault> {
    let days = Days {
        first: spec.valid_from,
        last: spec.valid_until,
    };
    let shared = share_over(pool, spec, days, actual, used)?;
    let mut real: BTreeMap<&str, Cents> = called.keys().map(|tenant| (tenant.as_str(), Cents(0))).collect();
    for part in shared.iter().flat_map(|shared| &shared.parts) {
        let sum = real.entry(part.tenant.as_str()).or_default();
        *sum = *sum + part.due();
    }
    let parts = real
        .into_iter()
        .map(|(tenant, real)| TrueUpPart {
            tenant: tenant.to_owned(),
            real,
            called: called.get(tenant).copied().unwrap_or_default(),
        })
        .collect();
    Ok(TruedUp {
        pool: pool.to_owned(),
        actual,
        shared,
        parts,
    })
}

/// The real costs and the month of a pool's true-up; none when it has none.
///
/// # Errors
/// [`SharingFault::BadTrueUp`], when they make no sense.
pub fn true_up_of(pool: &str, spec: &CostPoolSpec) -> Result<Option<(Cents, BillingMonth)>, SharingFault> {
    let Some(true_up) = &spec.true_up else {
        return Ok(None);
    };
    let bad = |why: String| SharingFault::BadTrueUp {
        pool: pool.to_owned(),
        why,
    };
    let actual = Cents::from_decimal(true_up.actual_amount).ok_or_else(|| {
        bad("is no amount in whole cents: write at most two decimals into actualAmount".to_owned())
    })?;
    let month: BillingMonth = true_up.month.parse().map_err(|_| {
        bad(format!(
            "is in {:?}, which is no month: write one as 2027-03",
            true_up.month
        ))
    })?;
    let last = BillingMonth::of(spec.valid_until);
    if month <= last {
        return Err(bad(format!(
            "is in {month}, and the pool goes until {last}: write a later month"
        )));
    }
    Ok(Some((actual, month)))
}

/// Shares a month's amount of a pool by the key that it begins with. `used` is what each tenant used of the key's meter in the month, in base units;
/// the use of tenants without a share does not count.
///
/// # Errors
/// [`SharingFault`], when shares or key make no sense. Admission refuses them; this is the second lock.
pub fn share_pool(
    pool: &str,
    spec: &CostPoolSpec,
    amount: Cents,
    used: impl Fn(&str) -> i128,
) -> Result<SharedPool, SharingFault> {
    share(pool, &spec.shares, &spec.key, amount, used)
}

fn share(
    pool: &str,
    shares: &[Share],
    key: &ContributionKey,
    amount: Cents,
    used: impl Fn(&str) -> i128,
) -> Result<SharedPool, SharingFault> {
    let percentages = 0..=100;
    let counts = key.fixed + key.usage == 100
        && percentages.contains(&key.fixed)
        && (key.usage == 0 || key.meter.is_some());
    if !counts {
        return Err(SharingFault::BadKey {
            pool: pool.to_owned(),
        });
    }
    let mut weights = BTreeMap::new();
    for share in shares {
        let twice = weights
            .insert(share.tenant.as_str(), i128::from(share.weight))
            .is_some();
        if twice || share.weight < 0 {
            return Err(SharingFault::BadShare {
                pool: pool.to_owned(),
                tenant: share.tenant.clone(),
            });
        }
    }
    let nobody = || SharingFault::NobodyShares {
        pool: pool.to_owned(),
    };
    let keys: Vec<i128> = weights.values().copied().collect();
    let uses: Vec<i128> = weights
        .keys()
        .map(|tenant| if key.usage == 0 { 0 } else { used(tenant).max(0) })
        .collect();
    let split =
        largest_remainder(amount, &[i128::from(key.fixed), i128::from(key.usage)]).ok_or_else(nobody)?;
    let (fixed, by_use) = (split[0], split[1]);
    let fixed_parts = largest_remainder(fixed, &keys).ok_or_else(nobody)?;
    let use_parts = if uses.iter().all(|used| *used == 0) {
        largest_remainder(by_use, &keys)
    } else {
        largest_remainder(by_use, &uses)
    }
    .ok_or_else(nobody)?;
    let parts = weights
        .into_iter()
        .zip(uses)
        .zip(fixed_parts.into_iter().zip(use_parts))
        .map(|(((tenant, weight), used), (fixed, by_use))| PoolPart {
            tenant: tenant.to_owned(),
            weight,
            used,
            fixed,
            by_use,
        })
        .collect();
    Ok(SharedPool {
        pool: pool.to_owned(),
        days: None,
        amount,
        fixed,
        by_use,
        parts,
    })
}

/// The months in which a pool is shared.
///
/// # Errors
/// At the end of the calendar.
pub fn months_of(spec: &CostPoolSpec) -> Result<Vec<BillingMonth>, CalendarError> {
    let (mut month, last) = (
        BillingMonth::of(spec.valid_from),
        BillingMonth::of(spec.valid_until),
    );
    let mut months = Vec::new();
    while month <= last {
        months.push(month);
        month = month.next()?;
    }
    Ok(months)
}
