//! Statements as the ledger keeps them, and how an accountant recomputes a line.
//!
//! The document of a closed month is canonical JSON: its bytes depend on the ledger up to the month's last record and
//! on the [`RatingBasis`](crate::RatingBasis), on nothing else.

use crate::calendar::{BillingMonth, CalendarError, DatacentreZone};
use crate::meter::{base_unit, base_units_per_unit};
use crate::money::Cents;
use crate::rights::{RightOf, RightUse};
use crate::sharing::{SharedPool, TruedUp};
use mesocentre_api::{Currency, LineKind, Meter, StatementLine, StatementPeriod, StatementStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A tenant's statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantStatement {
    /// The tenant.
    pub tenant: String,
    /// What goes into the status of the Statement in its home namespace.
    pub status: StatementStatus,
}

/// What is kept of a closed month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonthDocument {
    /// Version of this form.
    pub form: u32,
    /// The month.
    pub month: BillingMonth,
    /// The datacentre's time zone.
    pub time_zone: String,
    /// The statements, in the order of tenants' names.
    pub statements: Vec<TenantStatement>,
    /// How the cost pools were shared, in the order of their names.
    pub pools: Vec<SharedPool>,
    /// How pools were made up to their real costs in the month, in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub true_ups: Vec<TruedUp>,
    /// What tenants had, used and lent of their rights: first of what is reserved, then of co-investments, in the order of
    /// names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<RightUse>,
}

impl MonthDocument {
    /// The version that is written today.
    pub const FORM: u32 = 1;
}

/// What closed statements already billed, so that late use takes up the tiers where they left them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BilledBefore {
    quantities: BTreeMap<Billed, i128>,
    rights: BTreeMap<(BillingMonth, String, RightOf), RightUse>,
}

/// The month, the tenant, and what has a price: a meter, perhaps a model, and the tariff.
type Billed = (BillingMonth, String, Meter, Option<String>, String);

impl BilledBefore {
    /// Adds what a closed month billed: its own use, and its corrections of months before.
    pub fn add(&mut self, closed: &MonthDocument) {
        for right in &closed.rights {
            let key = (right.month, right.tenant.clone(), right.of.clone());
            match self.rights.entry(key) {
                Entry::Vacant(first) => {
                    first.insert(right.clone());
                }
                Entry::Occupied(mut before) => {
                    let before = before.get_mut();
                    before.right += right.right;
                    before.used += right.used;
                    before.covered += right.covered;
                }
            }
        }
        for statement in &closed.statements {
            for line in &statement.status.lines {
                let (Some(meter), Some(tariff), Some(quantity)) =
                    (line.meter, &line.tariff, &line.base_quantity)
                else {
                    continue;
                };
                let month = match &line.corrects {
                    None => Some(closed.month),
                    Some(month) => month.parse().ok(),
                };
                if let (Some(month), Ok(quantity)) = (month, quantity.parse::<i128>()) {
                    let (tenant, model) = (statement.tenant.clone(), line.model.clone());
                    let key = (month, tenant, meter, model, tariff.clone());
                    *self.quantities.entry(key).or_default() += quantity;
                }
            }
        }
    }

    /// What was billed of a meter, at the price of this model or else at that of all, under a tariff in a month; in base
    /// units.
    pub fn quantity(
        &self,
        month: BillingMonth,
        tenant: &str,
        meter: Meter,
        model: Option<&str>,
        tariff: &str,
    ) -> i128 {
        let model = model.map(str::to_owned);
        let key = (month, tenant.to_owned(), meter, model, tariff.to_owned());
        self.quantities.get(&key).copied().unwrap_or(0)
    }
}

impl BilledBefore {
    /// What a tenant had, used and was covered of a right in a month, what came late until now included.
    pub fn right(&self, month: BillingMonth, tenant: &str, of: &RightOf) -> Option<&RightUse> {
        self.rights.get(&(month, tenant.to_owned(), of.clone()))
    }
}

/// Why a line cannot be recomputed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// The month or zone.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// No metered line, or numbers that are none.
    #[error(
        "the line over {amount} cannot be recomputed from what stands on it: only lines of use carry a quantity and a price; a cost share is explained by the month's pools"
    )]
    NotMetered {
        /// Its amount.
        amount: String,
    },
}

fn month_of(line: &StatementLine, period: &StatementPeriod) -> Result<crate::MonthWindow, CalendarError> {
    let month = line.corrects.as_deref().unwrap_or(&period.month).parse()?;
    DatacentreZone::named(&period.time_zone)?.month(month)
}

/// The amount of a line of use, from nothing but what stands on it and its period: as an accountant would.
///
/// # Errors
/// [`ExplainError`], for a line that is no use.
pub fn recompute_line(line: &StatementLine, period: &StatementPeriod) -> Result<Cents, ExplainError> {
    let no = || ExplainError::NotMetered {
        amount: line.amount.clone(),
    };
    let units = base_units_per_unit(line.meter.ok_or_else(no)?, &month_of(line, period)?);
    let quantity = line
        .base_quantity
        .as_deref()
        .and_then(|q| q.parse().ok())
        .ok_or_else(no)?;
    let unit_price = line
        .unit_price
        .as_deref()
        .and_then(|p| p.parse().ok())
        .ok_or_else(no)?;
    Cents::of_line(quantity, unit_price, units).ok_or_else(no)
}

/// A line of use in one sentence: `72001 core_seconds ÷ 3600 × 0.0120 EUR = 0.24 EUR, by the tariff public-2026, from
/// 22 usage records`.
///
/// # Errors
/// [`ExplainError`], for a line that is no use.
pub fn explain_line(
    line: &StatementLine,
    period: &StatementPeriod,
    currency: Currency,
) -> Result<String, ExplainError> {
    let no = || ExplainError::NotMetered {
        amount: line.amount.clone(),
    };
    let amount = recompute_line(line, period)?;
    let meter = line.meter.ok_or_else(no)?;
    let (Some(quantity), Some(price), Some(tariff)) = (&line.base_quantity, &line.unit_price, &line.tariff)
    else {
        return Err(no());
    };
    let currency = currency.as_str();
    let tier = line.tier.map(|tier| format!(", tier {tier}")).unwrap_or_default();
    let corrects = match (line.kind, &line.corrects) {
        (LineKind::Correction, Some(month)) => format!(", correcting {month}"),
        _ => String::new(),
    };
    Ok(format!(
        "{quantity} {} ÷ {} × {price} {currency} = {amount} {currency}, by the tariff {tariff}{tier}{corrects}, from {} usage records",
        base_unit(meter),
        base_units_per_unit(meter, &month_of(line, period)?),
        line.records.unwrap_or(0),
    ))
}
