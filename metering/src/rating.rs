//! Rating: usage records, tariffs and cost pools in, statements out. Pure, and the same bytes for any order of records.
//!
//! ```text
//!  record ──cut at the month's ends and where tariffs change──► pieces ──┐
//!                          (tenant, meter, tariff, allocation) ◄── sum ──┘
//!                                     │ tiers: a line each; rounded once a line
//!                                     ▼
//!  cost pools ──shares by weight and by use──► lines ──► totals, VAT by rate ──► StatementStatus
//! ```
//!
//! Records are taken one by one and only their sums are kept, so memory grows with the lines and not with the records.
//!
//! The rules, where the words of a tariff leave a choice:
//! - **Models** of GPUs and devices have the price that the tariff has for them, else the one that it has for all models; what
//!   has that price is one line, whatever its model.
//! - **Tiers** are filled by all that a tenant used at that price under that tariff in the month. Where several
//!   allocations used it, they fill the tiers in the order of their names (use outside any allocation first), so the
//!   lines are the same whatever came first. A new tariff in the middle of a month begins at its own first tier.
//! - **Corrections** are what changed in closed months since they were closed: use that came late, and revisions (minus
//!   the old, plus the new). They are priced by the tariff in force at the time of use and take up the tiers where the
//!   closed statements left them. A month's cost pool is not shared again by late use: the true-up at the year's end does that.
//! - **True-ups** share a pool's real costs by all use of its span that the ledger has by then, and take off what closed
//!   months called. They wait until all of the pool's months are closed.
//! - **Node failures** are free where the tariff in force says so: all use stands on the statement and fills the tiers, and
//!   credits take what was free of it off again, from the highest tier down. What is free does not count in a pool's part
//!   by use.
//! - **What is reserved** for an allocation covers that allocation's use of the month, and stands as credits.
//! - **Co-investors' rights** cover use in the order of tariffs, models and allocations, after what is free already, and stand on the
//!   statement as credits, too; what they lend comes after. See [`rights`](crate::rights).
//! - **VAT** of use is its tariff's; VAT of a share in a cost pool is that of the tariff in force for the tenant's
//!   category on the month's last day. VAT is computed on the sum of the lines at one rate, half-up, once.
//! - **Nothing is priced at 0 by default**: use without a price is a [`RatingFault`], and its tenant gets no statement
//!   until somebody writes the price. The other tenants get theirs.

use crate::calendar::{BillingMonth, CalendarError, DatacentreZone, MonthWindow, TimeSpan, cut};
use crate::ledger::Head;
use crate::meter::{base_units_per_unit, in_units};
use crate::money::Cents;
use crate::record::ValidRecord;
use crate::rights::{
    NamedCoInvestment, RightOf, RightUse, RightsFault, covered, lent, rights_of_month, used_by,
};
use crate::sharing::{
    Days, SharedPool, SharingFault, TruedUp, amount_of_month, keys_over, share_over, true_up, true_up_of,
};
use crate::statement::{BilledBefore, MonthDocument, TenantStatement};
use crate::tariff::{NamedTariff, TariffInForce, bands, fall_in_bands, priced};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use mesocentre_api::{
    AcknowledgedGap, Activity, CostPoolSpec, Currency, LedgerReference, LineKind, Meter, NodeFailure,
    StatementLine, StatementPeriod, StatementState, StatementStatus, TenantCategory, Totals, VatTotal,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A tenant, as far as rating needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatedTenant {
    /// Its name.
    pub name: String,
    /// Its category, which decides its tariff.
    pub category: TenantCategory,
}

/// A cost pool and its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedPool {
    /// The object's name.
    pub name: String,
    /// Its terms.
    pub spec: CostPoolSpec,
}

/// All that a month's statements rest on besides the ledger. It is kept beside the statements when the month is closed,
/// so that they can be computed again when the objects are long gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatingBasis {
    /// The month.
    pub month: BillingMonth,
    /// The datacentre's time zone (IANA).
    pub time_zone: String,
    /// All tenants.
    pub tenants: Vec<RatedTenant>,
    /// All tariffs.
    pub tariffs: Vec<NamedTariff>,
    /// All cost pools.
    pub cost_pools: Vec<NamedPool>,
    /// All co-investments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub co_investments: Vec<NamedCoInvestment>,
    /// Clusters without the rest of whose use a person closed the month, and why. It changes no amount, and whoever audits
    /// the month finds it beside what does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged_gaps: Vec<AcknowledgedGap>,
}

impl RatingBasis {
    /// The same in the order of names: the order in which a cluster lists its objects means nothing.
    pub fn sorted(mut self) -> Self {
        self.tenants.sort_by(|a, b| a.name.cmp(&b.name));
        self.tariffs.sort_by(|a, b| a.name.cmp(&b.name));
        self.cost_pools.sort_by(|a, b| a.name.cmp(&b.name));
        self.co_investments.sort_by(|a, b| a.name.cmp(&b.name));
        self.acknowledged_gaps
            .sort_by(|a, b| (&a.cluster, &a.reason).cmp(&(&b.cluster, &b.reason)));
        self
    }
}

/// Why a tenant cannot be billed. Each names what to write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum RatingFault {
    /// Use by nobody known.
    #[error(
        "the ledger holds use of the tenant {tenant} in {month}, and there is no such tenant: make the Tenant {tenant} again, or have the source send the next revision under the right tenant"
    )]
    UnknownTenant {
        /// The tenant.
        tenant: String,
        /// The month.
        month: BillingMonth,
    },
    /// No tariff on a day.
    #[error(
        "{tenant} used {meter} on {day}, and no tariff covers {category} on that day: write a tariff for {category} that is valid then"
    )]
    NoTariff {
        /// The tenant.
        tenant: String,
        /// The meter.
        meter: &'static str,
        /// The first such day.
        day: Date,
        /// The tenant's category.
        category: &'static str,
    },
    /// Two tariffs on a day.
    #[error(
        "{tenant} used {meter} on {day}, and more than one tariff covers {category} then: {tariffs}. Let one of them end before"
    )]
    ManyTariffs {
        /// The tenant.
        tenant: String,
        /// The meter.
        meter: &'static str,
        /// The first such day.
        day: Date,
        /// The tenant's category.
        category: &'static str,
        /// Their names.
        tariffs: String,
    },
    /// A tariff without a price for it.
    #[error(
        "{tenant} used {what} on {day}, and the tariff {tariff} has no price for it: a tariff's prices do not change, so end {tariff} before that day and write a tariff that prices {what} (\"0\" when it is free)"
    )]
    NoPrice {
        /// The tenant.
        tenant: String,
        /// The meter, with the model where there is one.
        what: String,
        /// The first such day.
        day: Date,
        /// The tariff.
        tariff: String,
    },
    /// Tiers that make no sense.
    #[error(
        "the tariff {tariff} prices {what} by tiers whose bounds do not rise or whose last has a bound, so {tenant} cannot be billed: let each upTo be above the one before, and leave it out in the last"
    )]
    BadTiers {
        /// The tenant.
        tenant: String,
        /// The tariff.
        tariff: String,
        /// The meter, with the model where the price is for one.
        what: String,
    },
    /// A number that cannot be.
    #[error(
        "{what} of {tenant} is too large to be computed exactly: look at the records and prices behind it"
    )]
    TooLarge {
        /// The tenant.
        tenant: String,
        /// What.
        what: String,
    },
    /// A pool that cannot be shared.
    #[error("{fault}")]
    Pool {
        /// Who waits for it.
        tenants: Vec<String>,
        /// Why.
        fault: SharingFault,
    },
    /// Rights that cannot be told.
    #[error("{fault}")]
    Rights {
        /// Who waits for it.
        tenants: Vec<String>,
        /// Why.
        fault: RightsFault,
    },
    /// A share of nobody known.
    #[error(
        "the cost pool {pool} names the tenant {tenant}, and there is no such tenant: make it, or take it out of the pool's shares"
    )]
    PoolTenant {
        /// The pool.
        pool: String,
        /// The tenant.
        tenant: String,
        /// Who waits for it.
        tenants: Vec<String>,
    },
    /// A right of nobody known.
    #[error(
        "the co-investment {co_investment} names the tenant {tenant}, and there is no such tenant: make it, or end the co-investment before this month"
    )]
    RightsTenant {
        /// The co-investment.
        co_investment: String,
        /// The tenant.
        tenant: String,
        /// Who waits for it.
        tenants: Vec<String>,
    },
    /// A true-up before what was called is known.
    #[error(
        "the cost pool {pool} is made up to its real costs in {month}, and {open} of it is not closed: close it first, or write a later month into trueUp.month"
    )]
    TrueUpEarly {
        /// The pool.
        pool: String,
        /// The month of the true-up.
        month: BillingMonth,
        /// The pool's last month.
        open: BillingMonth,
        /// Who waits for it.
        tenants: Vec<String>,
    },
    /// No VAT rate for a share.
    #[error(
        "{tenant} has a share in {of}, and no single tariff covers {category} on {day}, the month's last day: VAT on the share is that of this tariff, so write one"
    )]
    NoVat {
        /// The tenant.
        tenant: String,
        /// The pool or co-investment.
        of: String,
        /// The tenant's category.
        category: &'static str,
        /// The day.
        day: Date,
    },
}

impl RatingFault {
    /// The tenants that get no statement because of it.
    pub fn concerns(&self) -> Vec<&str> {
        match self {
            Self::UnknownTenant { tenant, .. }
            | Self::NoTariff { tenant, .. }
            | Self::ManyTariffs { tenant, .. }
            | Self::NoPrice { tenant, .. }
            | Self::BadTiers { tenant, .. }
            | Self::TooLarge { tenant, .. }
            | Self::NoVat { tenant, .. } => vec![tenant],
            Self::Pool { tenants, .. }
            | Self::Rights { tenants, .. }
            | Self::RightsTenant { tenants, .. }
            | Self::PoolTenant { tenants, .. }
            | Self::TrueUpEarly { tenants, .. } => tenants.iter().map(String::as_str).collect(),
        }
    }
}

/// Whether a change of closed months adds a record or takes one away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It came after the close.
    Added,
    /// It was billed, and a later revision took its place.
    Removed,
}

impl Change {
    /// A quantity of the record, as it counts.
    pub fn signed(self, quantity: i128) -> i128 {
        match self {
            Self::Added => quantity,
            Self::Removed => -quantity,
        }
    }
}

/// Use of a meter by activity class, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UseByActivity {
    /// Economic.
    pub economic: i128,
    /// Not economic.
    pub non_economic: i128,
}

/// A month's statements.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// One for each tenant that can be billed, in the order of names; without lines where it used and shares nothing.
    pub statements: Vec<TenantStatement>,
    /// How each cost pool was shared, in the order of names.
    pub pools: Vec<SharedPool>,
    /// How pools were made up to their real costs in this month, in the order of names.
    pub true_ups: Vec<TruedUp>,
    /// What tenants had, used and lent of their rights, and what came late changed of months before.
    pub rights: Vec<RightUse>,
    /// The month's use by activity class, for the ceiling on economic use.
    pub activity: BTreeMap<Meter, UseByActivity>,
    /// Why the others cannot be billed, in order.
    pub faults: Vec<RatingFault>,
}

impl Rated {
    /// As it is kept when the month of this basis is closed.
    pub fn into_document(self, basis: &RatingBasis) -> MonthDocument {
        MonthDocument {
            form: MonthDocument::FORM,
            month: basis.month,
            time_zone: basis.time_zone.clone(),
            statements: self.statements,
            pools: self.pools,
            true_ups: self.true_ups,
            rights: self.rights,
        }
    }

    /// The net amount of all statements; none when a total is no amount, which no statement of ours has.
    pub fn net(&self) -> Option<Cents> {
        self.statements
            .iter()
            .map(|statement| {
                let net = statement.status.totals.net.parse().ok();
                net.and_then(Cents::from_decimal)
            })
            .sum()
    }
}

// The order of the fields is the order in which tiers are filled and lines are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LineKey {
    tenant: String,
    corrects: Option<BillingMonth>,
    meter: Meter,
    tariff: usize,
    /// The model that the price is for; none where it is for all that have none of their own.
    model: Option<String>,
    /// What is free of the use before it: its highest tiers first.
    credit: Option<CreditOf>,
    allocation: Option<String>,
}

/// Why use is free, in the order in which it is taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CreditOf {
    NodeFailure,
    /// Within what is reserved for the allocation.
    Reserved,
    /// By its place among the co-investments, in the order of names.
    Right(usize),
}

#[derive(Clone, Copy, Debug)]
struct LineSum {
    quantity: i128,
    records: i64,
    first: Timestamp,
    last: Timestamp,
}

/// The rating of one month: takes records one by one, in any order, then gives the statements.
pub struct Rating<'a> {
    basis: &'a RatingBasis,
    zone: DatacentreZone,
    window: MonthWindow,
    tenants: BTreeMap<&'a str, TenantCategory>,
    // In the order of their names.
    co_investments: Vec<&'a NamedCoInvestment>,
    tariffs: Vec<TariffInForce<'a>>,
    cuts: Vec<Timestamp>,
    past: BTreeMap<BillingMonth, MonthWindow>,
    sums: BTreeMap<LineKey, LineSum>,
    // By the first of the days between which no key of a pool changes.
    used: BTreeMap<(String, Meter, Date), i128>,
    key_days: Vec<(Timestamp, Date)>,
    true_ups: Vec<DueTrueUp<'a>>,
    records: BTreeMap<String, i64>,
    activity: BTreeMap<Meter, UseByActivity>,
    faults: BTreeSet<RatingFault>,
    // The first day of each kind of missing price, so that one month gives one sentence and not thirty.
    unpriced: BTreeMap<(String, Meter, Unpriced), Date>,
}

/// A pool that is made up to its real costs in this month.
struct DueTrueUp<'a> {
    pool: &'a NamedPool,
    actual: Cents,
    span: TimeSpan,
    /// When its keys begin, and on which day.
    key_days: Vec<(Timestamp, Date)>,
    cuts: Vec<Timestamp>,
    used: BTreeMap<(String, Meter, Date), i128>,
    called: BTreeMap<String, Cents>,
}

/// The day on which what holds at an instant began to: `begins` is in order, and its first is not later.
fn key_day(begins: &[(Timestamp, Date)], instant: Timestamp) -> Option<Date> {
    let place = begins.partition_point(|(from, _)| *from <= instant);
    begins.get(place.checked_sub(1)?).map(|(_, day)| *day)
}

/// What was used on days: the sum over those between which no key changes.
fn used_on(used: &BTreeMap<(String, Meter, Date), i128>, tenant: &str, meter: Meter, days: Days) -> i128 {
    let key = |day: Date| (tenant.to_owned(), meter, day);
    used.range(key(days.first)..=key(days.last))
        .map(|(_, quantity)| quantity)
        .sum()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unpriced {
    NoTariff,
    ManyTariffs(String),
    /// In this tariff, for this model.
    NoPrice(usize, Option<String>),
}

impl<'a> Rating<'a> {
    /// Begins the rating of the basis's month.
    ///
    /// # Errors
    /// When the time zone is unknown or a date lies outside the calendar.
    pub fn new(basis: &'a RatingBasis) -> Result<Self, CalendarError> {
        let zone = DatacentreZone::named(&basis.time_zone)?;
        let window = zone.month(basis.month)?;
        let mut tariffs = basis
            .tariffs
            .iter()
            .map(|t| TariffInForce::new(t, &zone))
            .collect::<Result<Vec<_>, _>>()?;
        tariffs.sort_by(|a, b| (a.span, &a.tariff.name).cmp(&(b.span, &b.tariff.name)));
        let mut cuts: Vec<Timestamp> = tariffs.iter().flat_map(|t| [t.span.from, t.span.to]).collect();
        cuts.extend([window.span.from, window.span.to]);
        let tariff_cuts = cuts.clone();
        let month = Days {
            first: basis.month.first_day(),
            last: basis.month.last_day(),
        };
        let mut days: BTreeSet<Date> = BTreeSet::from([month.first]);
        let changes = basis.cost_pools.iter().flat_map(|pool| &pool.spec.changes);
        days.extend(
            changes
                .map(|change| change.from)
                .filter(|day| (month.first..=month.last).contains(day)),
        );
        let key_days = begins(&zone, days)?;
        cuts.extend(key_days.iter().map(|(from, _)| *from));
        cuts.sort_unstable();
        cuts.dedup();
        let mut faults = BTreeSet::new();
        let mut true_ups = Vec::new();
        for pool in &basis.cost_pools {
            let actual = match true_up_of(&pool.name, &pool.spec) {
                Ok(Some((actual, due_in))) if due_in == basis.month => actual,
                Ok(_) => continue,
                Err(fault) => {
                    faults.insert(RatingFault::Pool {
                        tenants: tenants_of(pool),
                        fault,
                    });
                    continue;
                }
            };
            let spec = &pool.spec;
            let all = Days {
                first: spec.valid_from,
                last: spec.valid_until,
            };
            let key_days = begins(&zone, keys_over(spec, all).iter().map(|key| key.days.first))?;
            let span = zone.days(all.first, all.last)?;
            let mut cuts = tariff_cuts.clone();
            cuts.extend(key_days.iter().map(|(from, _)| *from).chain([span.from, span.to]));
            cuts.sort_unstable();
            cuts.dedup();
            true_ups.push(DueTrueUp {
                pool,
                actual,
                span,
                key_days,
                cuts,
                used: BTreeMap::new(),
                called: BTreeMap::new(),
            });
        }
        true_ups.sort_by(|a, b| a.pool.name.cmp(&b.pool.name));
        let mut co_investments: Vec<&NamedCoInvestment> = basis.co_investments.iter().collect();
        co_investments.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            co_investments,
            key_days,
            true_ups,
            tenants: basis
                .tenants
                .iter()
                .map(|t| (t.name.as_str(), t.category))
                .collect(),
            basis,
            zone,
            window,
            tariffs,
            cuts,
            past: BTreeMap::new(),
            sums: BTreeMap::new(),
            used: BTreeMap::new(),
            records: BTreeMap::new(),
            activity: BTreeMap::new(),
            faults,
            unpriced: BTreeMap::new(),
        })
    }

    /// The month and its span.
    pub fn window(&self) -> &MonthWindow {
        &self.window
    }

    /// Takes a record: what of it lies in the month is billed.
    pub fn add_use(&mut self, record: &ValidRecord) {
        let span = record.span();
        if span.to <= self.window.span.from && span.from < self.window.span.from
            || span.from >= self.window.span.to
        {
            return;
        }
        if !self.is_known(record) {
            return;
        }
        match self.records.get_mut(&record.tenant) {
            Some(records) => *records += 1,
            None => {
                self.records.insert(record.tenant.clone(), 1);
            }
        }
        let Some(pieces) = cut(span, record.quantity, &self.cuts) else {
            return self.too_large(&record.tenant, "a usage record");
        };
        let mut seen = BTreeSet::new();
        for piece in pieces {
            if piece.quantity == 0 || !self.window.span.contains(piece.span.from) {
                continue;
            }
            let by = self.activity.entry(record.key.meter).or_default();
            match record.activity {
                Activity::Economic => by.economic += piece.quantity,
                Activity::NonEconomic => by.non_economic += piece.quantity,
            }
            let is_free = self.add_piece(
                record,
                None,
                piece.span.from,
                piece.span.to,
                piece.quantity,
                &mut seen,
            );
            if !is_free && let Some(day) = key_day(&self.key_days, piece.span.from) {
                let of = (record.tenant.clone(), record.key.meter, day);
                *self.used.entry(of).or_default() += piece.quantity;
            }
        }
    }

    /// The spans of the pools that are made up to their real costs in this month: all use in them is needed.
    pub fn true_up_spans(&self) -> Vec<TimeSpan> {
        self.true_ups.iter().map(|due| due.span).collect()
    }

    /// Takes a record for one of the [`true_up_spans`](Self::true_up_spans).
    pub fn add_use_of_span(&mut self, span: usize, record: &ValidRecord) {
        let Some(&category) = self.tenants.get(record.tenant.as_str()) else {
            return;
        };
        let Some(due) = self.true_ups.get(span) else {
            return;
        };
        let Some(pieces) = cut(record.span(), record.quantity, &due.cuts) else {
            return self.too_large(&record.tenant, "a usage record");
        };
        for piece in pieces.into_iter().filter(|piece| piece.quantity != 0) {
            let tariff = self.tariff_at(category, piece.span.from).ok();
            let is_free = tariff.is_some_and(|tariff| self.is_free(tariff, record));
            let Some(due) = self.true_ups.get_mut(span) else {
                return;
            };
            if is_free || !due.span.contains(piece.span.from) {
                continue;
            }
            if let Some(day) = key_day(&due.key_days, piece.span.from) {
                let of = (record.tenant.clone(), record.key.meter, day);
                *due.used.entry(of).or_default() += piece.quantity;
            }
        }
    }

    /// Takes what a closed month called of the pools that are made up in this month.
    pub fn add_called(&mut self, closed: &MonthDocument) {
        for due in &mut self.true_ups {
            let spec = &due.pool.spec;
            if closed.month.last_day() < spec.valid_from || spec.valid_until < closed.month.first_day() {
                continue;
            }
            for part in closed
                .pools
                .iter()
                .filter(|pool| pool.pool == due.pool.name)
                .flat_map(|pool| &pool.parts)
            {
                let called = due.called.entry(part.tenant.clone()).or_default();
                *called = *called + part.due();
            }
        }
    }

    /// The first month of which closed statements are needed, for a true-up.
    pub fn called_since(&self) -> Option<BillingMonth> {
        self.true_ups
            .iter()
            .map(|due| BillingMonth::of(due.pool.spec.valid_from))
            .min()
    }

    /// Says which month was closed last: a true-up needs all that was called.
    pub fn closed_through(&mut self, last: Option<BillingMonth>) {
        let month = self.basis.month;
        for due in &self.true_ups {
            let open = BillingMonth::of(due.pool.spec.valid_until);
            if last.is_none_or(|last| last < open) {
                self.faults.insert(RatingFault::TrueUpEarly {
                    pool: due.pool.name.clone(),
                    month,
                    open,
                    tenants: tenants_of(due.pool),
                });
            }
        }
    }

    /// Takes a change of closed months: what of the record lies in months up to `closed_through` becomes a correction.
    /// What lies in later months is left to [`add_use`](Self::add_use).
    ///
    /// # Errors
    /// When the record lies outside the calendar.
    pub fn add_change(
        &mut self,
        change: Change,
        record: &ValidRecord,
        closed_through: BillingMonth,
    ) -> Result<(), CalendarError> {
        let span = record.span();
        let end = self
            .zone
            .month(closed_through)?
            .span
            .to
            .min(self.window.span.from);
        if span.from >= end || !self.is_known(record) {
            return Ok(());
        }
        let mut cuts = self.cuts.clone();
        let mut month = BillingMonth::of(self.zone.day_of(span.from));
        loop {
            let window = match self.past.get(&month) {
                Some(window) => window.clone(),
                None => self.zone.month(month)?,
            };
            if window.span.from >= end {
                break;
            }
            cuts.extend([window.span.from, window.span.to]);
            self.past.insert(month, window);
            month = month.next()?;
        }
        cuts.sort_unstable();
        cuts.dedup();
        // What reaches into the open month is counted there.
        if change == Change::Removed || span.to <= self.window.span.from {
            *self.records.entry(record.tenant.clone()).or_default() += 1;
        }
        let Some(pieces) = cut(span, record.quantity, &cuts) else {
            self.too_large(&record.tenant, "a usage record");
            return Ok(());
        };
        let mut seen = BTreeSet::new();
        for piece in pieces {
            if piece.quantity == 0 || piece.span.from >= end {
                continue;
            }
            let month = BillingMonth::of(self.zone.day_of(piece.span.from));
            let quantity = change.signed(piece.quantity);
            self.add_piece(
                record,
                Some(month),
                piece.span.from,
                piece.span.to,
                quantity,
                &mut seen,
            );
        }
        Ok(())
    }

    /// The closed months that corrections were found for, the earliest first.
    pub fn corrected_months(&self) -> Vec<BillingMonth> {
        let months: BTreeSet<BillingMonth> = self.sums.keys().filter_map(|key| key.corrects).collect();
        months.into_iter().collect()
    }

    /// Whether there is such a tenant. Nothing at all needs none: that is how a source takes back use of a tenant that
    /// never was.
    fn is_known(&mut self, record: &ValidRecord) -> bool {
        let known = self.tenants.contains_key(record.tenant.as_str());
        if !known && record.quantity != 0 {
            self.faults.insert(RatingFault::UnknownTenant {
                tenant: record.tenant.clone(),
                month: self.basis.month,
            });
        }
        known
    }

    fn too_large(&mut self, tenant: &str, what: &str) {
        self.faults.insert(RatingFault::TooLarge {
            tenant: tenant.to_owned(),
            what: what.to_owned(),
        });
    }

    fn tariff_at(&self, category: TenantCategory, instant: Timestamp) -> Result<usize, Unpriced> {
        let mut covering = (0..self.tariffs.len()).filter(|i| self.tariffs[*i].covers(category, instant));
        match (covering.next(), covering.next()) {
            (None, _) => Err(Unpriced::NoTariff),
            (Some(only), None) => Ok(only),
            (Some(first), Some(second)) => {
                let names: Vec<&str> = [first, second]
                    .into_iter()
                    .chain(covering)
                    .map(|i| self.tariffs[i].tariff.name.as_str())
                    .collect();
                Err(Unpriced::ManyTariffs(names.join(", ")))
            }
        }
    }

    fn is_free(&self, tariff: usize, record: &ValidRecord) -> bool {
        self.tariffs[tariff].tariff.spec.node_failure == NodeFailure::Free && record.ended_by_the_node()
    }

    /// True when it is free.
    fn add_piece(
        &mut self,
        record: &ValidRecord,
        corrects: Option<BillingMonth>,
        from: Timestamp,
        to: Timestamp,
        quantity: i128,
        seen: &mut BTreeSet<(Option<BillingMonth>, usize)>,
    ) -> bool {
        let Some(&category) = self.tenants.get(record.tenant.as_str()) else {
            return false;
        };
        let (meter, model) = (record.key.meter, record.model());
        let priced = self.tariff_at(category, from).and_then(|tariff| {
            self.tariffs[tariff]
                .price(meter, model)
                .map(|price| (tariff, price))
                .ok_or_else(|| Unpriced::NoPrice(tariff, model.map(str::to_owned)))
        });
        let (tariff, price) = match priced {
            Ok(priced) => priced,
            Err(unpriced) => {
                let day = self.zone.day_of(from);
                let first = self
                    .unpriced
                    .entry((record.tenant.clone(), meter, unpriced))
                    .or_insert(day);
                *first = day.min(*first);
                return false;
            }
        };
        let use_ = LineKey {
            tenant: record.tenant.clone(),
            corrects,
            meter,
            tariff,
            model: price.model.clone(),
            credit: None,
            allocation: record.allocation.clone(),
        };
        let is_free = self.is_free(tariff, record);
        let credit = is_free.then(|| LineKey {
            credit: Some(CreditOf::NodeFailure),
            ..use_.clone()
        });
        let is_first = seen.insert((corrects, tariff));
        for (key, quantity) in [(Some(use_), quantity), (credit, -quantity)] {
            let Some(key) = key else { continue };
            let sum = self.sums.entry(key).or_insert(LineSum {
                quantity: 0,
                records: 0,
                first: from,
                last: to,
            });
            sum.quantity += quantity;
            sum.first = sum.first.min(from);
            sum.last = sum.last.max(to);
            sum.records += i64::from(is_first);
        }
        is_free
    }

    /// The statements. `head` is the ledger's head that the records were read at; `billed` is what closed statements
    /// already billed of the [`corrected_months`](Self::corrected_months).
    pub fn finish(mut self, state: StatementState, head: &Head, billed: &BilledBefore) -> Rated {
        self.name_unpriced();
        let mut lines: BTreeMap<String, Vec<StatementLine>> = BTreeMap::new();
        let mut sums = std::mem::take(&mut self.sums);
        let mut rights = self.cover_within_reserved(&mut sums, billed);
        rights.extend(self.cover_by_rights(&mut sums, billed));
        // How far the tiers of one tenant, month, meter, tariff and model are filled.
        let mut filled: Option<(LineKey, i128)> = None;
        for (key, sum) in &sums {
            let group = LineKey {
                allocation: None,
                credit: None,
                ..key.clone()
            };
            let from = match filled.take() {
                Some((of, position)) if of == group => position,
                _ => key.corrects.map_or(0, |month| {
                    let tariff = &self.tariffs[key.tariff].tariff.name;
                    billed.quantity(month, &key.tenant, key.meter, key.model.as_deref(), tariff)
                }),
            };
            filled = Some((group, from + sum.quantity));
            if let Some(of_key) = self.lines_of(key, sum, from) {
                lines.entry(key.tenant.clone()).or_default().extend(of_key);
            }
        }
        self.lend(&sums, &mut rights, &mut lines);
        let pools = self.share_pools(&mut lines);
        let true_ups = self.make_up_pools(&mut lines);
        let faults = std::mem::take(&mut self.faults);
        let blocked: BTreeSet<&str> = faults.iter().flat_map(RatingFault::concerns).collect();
        let mut statements = Vec::new();
        let mut late_faults = Vec::new();
        for tenant in self.tenants.keys().filter(|name| !blocked.contains(**name)) {
            let mut lines = lines.remove(*tenant).unwrap_or_default();
            // Stable: within a kind the lines keep the order in which they were written.
            lines.sort_by_key(|line| line.kind);
            match self.statement(tenant, lines, state, head) {
                Some(status) => statements.push(TenantStatement {
                    tenant: (*tenant).to_owned(),
                    status,
                }),
                None => late_faults.push(RatingFault::TooLarge {
                    tenant: (*tenant).to_owned(),
                    what: "the total".to_owned(),
                }),
            }
        }
        let mut faults: Vec<RatingFault> = faults.into_iter().chain(late_faults).collect();
        faults.sort();
        Rated {
            statements,
            pools,
            true_ups,
            rights,
            activity: self.activity,
            faults,
        }
    }

    fn name_unpriced(&mut self) {
        for ((tenant, meter, unpriced), day) in std::mem::take(&mut self.unpriced) {
            let category = self
                .tenants
                .get(tenant.as_str())
                .map_or("", |category| category.as_str());
            self.faults.insert(match unpriced {
                Unpriced::NoTariff => RatingFault::NoTariff {
                    tenant,
                    meter: meter.as_str(),
                    day,
                    category,
                },
                Unpriced::ManyTariffs(tariffs) => RatingFault::ManyTariffs {
                    tenant,
                    meter: meter.as_str(),
                    day,
                    category,
                    tariffs,
                },
                Unpriced::NoPrice(tariff, model) => RatingFault::NoPrice {
                    tenant,
                    what: priced(meter, model.as_deref()),
                    day,
                    tariff: self.tariffs[tariff].tariff.name.clone(),
                },
            });
        }
    }

    fn lines_of(&mut self, key: &LineKey, sum: &LineSum, from: i128) -> Option<Vec<StatementLine>> {
        let window = match key.corrects {
            None => self.window.clone(),
            Some(month) => self.past.get(&month)?.clone(),
        };
        let tariff = self.tariffs[key.tariff].tariff;
        let units = base_units_per_unit(key.meter, &window);
        let Some(bands) = self.tariffs[key.tariff]
            .price(key.meter, key.model.as_deref())
            .and_then(|price| bands(price, units))
        else {
            self.faults.insert(RatingFault::BadTiers {
                tenant: key.tenant.clone(),
                tariff: tariff.name.clone(),
                what: priced(key.meter, key.model.as_deref()),
            });
            return None;
        };
        let description = key.corrects.map(|month| {
            let last = Timestamp::from_nanosecond(sum.last.as_nanosecond() - 1).unwrap_or(sum.last);
            let (first, last) = (self.zone.day_of(sum.first), self.zone.day_of(last));
            let late = format!("from {first} to {last} that reached the ledger after {month} was closed");
            match key.credit {
                None => format!("Use {late}"),
                Some(CreditOf::NodeFailure) => format!("Node failures {late}: free"),
                Some(CreditOf::Reserved) => format!("Within what is reserved, for use {late}: free"),
                Some(CreditOf::Right(_)) => format!("Own right, for use {late}: free"),
            }
        });
        let description = description.or_else(|| match key.credit {
            None => None,
            Some(CreditOf::NodeFailure) => Some("Node failures: free".to_owned()),
            Some(CreditOf::Reserved) => Some("Within what is reserved: free".to_owned()),
            Some(CreditOf::Right(_)) => Some("Own right: free".to_owned()),
        });
        let co_investment = match key.credit {
            Some(CreditOf::Right(place)) => self.co_investments.get(place).map(|of| of.name.clone()),
            _ => None,
        };
        let mut lines = Vec::new();
        for (band, quantity) in fall_in_bands(&bands, from, from + sum.quantity) {
            let amount = Cents::of_line(quantity, band.unit_price, units);
            let shown = in_units(quantity, units);
            let (Some(amount), Some(shown)) = (amount, shown) else {
                self.too_large(&key.tenant, "the amount of a line");
                return None;
            };
            lines.push(StatementLine {
                kind: match (key.corrects, key.credit.is_some()) {
                    (Some(_), _) => LineKind::Correction,
                    (None, true) => LineKind::Credit,
                    (None, false) => LineKind::Usage,
                },
                meter: Some(key.meter),
                model: key.model.clone(),
                allocation: key.allocation.clone(),
                tariff: Some(tariff.name.clone()),
                tier: band.tier,
                cost_pool: None,
                co_investment: co_investment.clone(),
                reserved: key.credit == Some(CreditOf::Reserved),
                description: description.clone(),
                corrects: key.corrects.map(|month| month.to_string()),
                quantity: Some(shown),
                base_quantity: Some(quantity.to_string()),
                unit_price: Some(band.unit_price.to_string()),
                amount: amount.to_string(),
                vat_rate: Some(tariff.spec.vat.rate.normalize().to_string()),
                records: Some(sum.records),
            });
        }
        Some(lines)
    }

    fn share_pools(&mut self, lines: &mut BTreeMap<String, Vec<StatementLine>>) -> Vec<SharedPool> {
        let mut pools: Vec<&NamedPool> = self.basis.cost_pools.iter().collect();
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        let month = Days {
            first: self.basis.month.first_day(),
            last: self.basis.month.last_day(),
        };
        let mut shared_pools = Vec::new();
        for pool in pools {
            let spec = &pool.spec;
            let shared = match amount_of_month(&pool.name, spec, self.basis.month) {
                Ok(None) => continue,
                Ok(Some(amount)) => share_over(&pool.name, spec, month, amount, |tenant, meter, days| {
                    used_on(&self.used, tenant, meter, days)
                }),
                Err(fault) => Err(fault),
            };
            let shared = match shared {
                Ok(shared) => shared,
                Err(fault) => {
                    let tenants = tenants_of(pool);
                    self.faults.insert(RatingFault::Pool { tenants, fault });
                    continue;
                }
            };
            for one in &shared {
                let description = match one.days {
                    None => spec.description.clone(),
                    Some(days) => format!("{}, {}", spec.description, in_french(days)),
                };
                for part in &one.parts {
                    let share = Share {
                        kind: LineKind::CostShare,
                        tenant: &part.tenant,
                        description: description.clone(),
                        amount: part.due(),
                    };
                    self.share_line(pool, share, lines);
                }
            }
            shared_pools.extend(shared);
        }
        shared_pools
    }

    /// The difference between what was called of pools and their real costs.
    fn make_up_pools(&mut self, lines: &mut BTreeMap<String, Vec<StatementLine>>) -> Vec<TruedUp> {
        let mut all = Vec::new();
        for due in std::mem::take(&mut self.true_ups) {
            let (name, spec) = (&due.pool.name, &due.pool.spec);
            let made = true_up(name, spec, due.actual, &due.called, |tenant, meter, days| {
                used_on(&due.used, tenant, meter, days)
            });
            let made = match made {
                Ok(made) => made,
                Err(fault) => {
                    let tenants = tenants_of(due.pool);
                    self.faults.insert(RatingFault::Pool { tenants, fault });
                    continue;
                }
            };
            let days = in_french(Days {
                first: spec.valid_from,
                last: spec.valid_until,
            });
            for part in &made.parts {
                let comma = |amount: Cents| amount.to_string().replace('.', ",");
                let share = Share {
                    kind: LineKind::TrueUp,
                    tenant: &part.tenant,
                    description: format!(
                        "{}, {days} : part des charges réelles {}, appelé {}",
                        spec.description,
                        comma(part.real),
                        comma(part.called)
                    ),
                    amount: part.due(),
                };
                self.share_line(due.pool, share, lines);
            }
            all.push(made);
        }
        all
    }

    fn share_line(
        &mut self,
        pool: &NamedPool,
        share: Share<'_>,
        lines: &mut BTreeMap<String, Vec<StatementLine>>,
    ) {
        let Some(&category) = self.tenants.get(share.tenant) else {
            self.faults.insert(RatingFault::PoolTenant {
                pool: pool.name.clone(),
                tenant: share.tenant.to_owned(),
                tenants: tenants_of(pool),
            });
            return;
        };
        let Some(vat) = self.vat_of_share(share.tenant, category, || format!("the cost pool {}", pool.name))
        else {
            return;
        };
        lines
            .entry(share.tenant.to_owned())
            .or_default()
            .push(StatementLine {
                kind: share.kind,
                meter: None,
                model: None,
                allocation: None,
                tariff: None,
                tier: None,
                cost_pool: Some(pool.name.clone()),
                co_investment: None,
                reserved: false,
                description: Some(share.description),
                corrects: None,
                quantity: None,
                base_quantity: None,
                unit_price: None,
                amount: share.amount.to_string(),
                vat_rate: Some(vat.to_string()),
                records: None,
            });
    }

    /// VAT of what no use of a tariff is: that of the tariff in force on the month's last day.
    fn vat_of_share(
        &mut self,
        tenant: &str,
        category: TenantCategory,
        of: impl Fn() -> String,
    ) -> Option<Decimal> {
        let last = self.window.span.to - SignedDuration::from_nanos(1);
        match self.tariff_at(category, last) {
            Ok(tariff) => Some(self.tariffs[tariff].tariff.spec.vat.rate.normalize()),
            Err(_) => {
                self.faults.insert(RatingFault::NoVat {
                    tenant: tenant.to_owned(),
                    of: of(),
                    category: category.as_str(),
                    day: self.basis.month.last_day(),
                });
                None
            }
        }
    }

    /// Adds what is used within what is reserved as credits, of this month and of what changed in months before.
    fn cover_within_reserved(
        &self,
        sums: &mut BTreeMap<LineKey, LineSum>,
        billed: &BilledBefore,
    ) -> Vec<RightUse> {
        // What is reserved, or what changed of it; and of months before, what else changed of what was.
        type Reserved = (String, Option<BillingMonth>, String, Meter);
        let mut reserved: BTreeMap<Reserved, Option<(LineKey, LineSum)>> = BTreeMap::new();
        for (key, sum) in sums.iter() {
            let Some(allocation) = &key.allocation else {
                continue;
            };
            let of = |meter| (key.tenant.clone(), key.corrects, allocation.clone(), meter);
            if let Some(meter) = used_by(key.meter) {
                reserved
                    .entry(of(meter))
                    .or_default()
                    .get_or_insert_with(|| (self.used_within(key, meter), LineSum { quantity: 0, ..*sum }))
                    .1
                    .quantity += sum.quantity;
            } else if let Some(month) = key.corrects {
                let right = RightOf::Reserved(allocation.clone(), key.meter);
                if billed.right(month, &key.tenant, &right).is_some() {
                    reserved.entry(of(key.meter)).or_default();
                }
            }
        }
        let mut told = Vec::new();
        for ((tenant, corrects, allocation, meter), by) in reserved {
            let right = by.as_ref().map_or(0, |(_, sum)| sum.quantity);
            let of = RightOf::Reserved(allocation.clone(), meter);
            let mut use_ = net_use(sums, &tenant, corrects, meter);
            use_.retain(|(key, _)| key.allocation.as_deref() == Some(allocation.as_str()));
            let used: i128 = use_.iter().map(|(_, sum)| sum.quantity).sum();
            let before = corrects.and_then(|month| billed.right(month, &tenant, &of));
            let (had, was_used, was_covered) =
                before.map_or((0, 0, 0), |before| (before.right, before.used, before.covered));
            let now = covered(had + right, was_used + used) - was_covered;
            let left = take_off(sums, use_, CreditOf::Reserved, now);
            // More or less of what was used before is free, since more or less was reserved then.
            if let Some(by) = by.filter(|_| left != 0) {
                take_off_at(sums, by, CreditOf::Reserved, left);
            }
            told.push(RightUse {
                of,
                tenant,
                month: corrects.unwrap_or(self.basis.month),
                right,
                used,
                covered: now,
                lent: 0,
            });
        }
        told
    }

    /// Where use within what is reserved stands, when nothing says where else.
    fn used_within(&self, reserved: &LineKey, meter: Meter) -> LineKey {
        let price = self.tariffs[reserved.tariff].any_price(meter);
        LineKey {
            meter,
            model: price.and_then(|price| price.model.clone()),
            ..reserved.clone()
        }
    }

    /// Adds what rights cover of the use as credits, of this month and of what changed in months before.
    fn cover_by_rights(
        &mut self,
        sums: &mut BTreeMap<LineKey, LineSum>,
        billed: &BilledBefore,
    ) -> Vec<RightUse> {
        let mut told = Vec::new();
        for (place, of) in self.co_investments.clone().into_iter().enumerate() {
            let credit = CreditOf::Right(place);
            let rights = match rights_of_month(of, &self.window) {
                Ok(rights) => rights,
                Err(fault) => {
                    self.faults.insert(RatingFault::Rights {
                        tenants: owners_of(of),
                        fault,
                    });
                    continue;
                }
            };
            for (tenant, right) in rights {
                if !self.tenants.contains_key(tenant) {
                    self.faults.insert(RatingFault::RightsTenant {
                        co_investment: of.name.clone(),
                        tenant: tenant.to_owned(),
                        tenants: owners_of(of),
                    });
                    continue;
                }
                let use_ = net_use(sums, tenant, None, of.spec.meter);
                let used: i128 = use_.iter().map(|(_, sum)| sum.quantity).sum();
                let covered = covered(right, used);
                take_off(sums, use_, credit, covered);
                told.push(RightUse {
                    of: RightOf::CoInvestment(of.name.clone()),
                    tenant: tenant.to_owned(),
                    month: self.basis.month,
                    right,
                    used,
                    covered,
                    lent: 0,
                });
            }
            let late: BTreeSet<(String, BillingMonth)> = sums
                .keys()
                .filter(|key| key.meter == of.spec.meter)
                .filter_map(|key| Some((key.tenant.clone(), key.corrects?)))
                .collect();
            for (tenant, month) in late {
                let right = RightOf::CoInvestment(of.name.clone());
                let Some(before) = billed.right(month, &tenant, &right) else {
                    continue;
                };
                let use_ = net_use(sums, &tenant, Some(month), of.spec.meter);
                let used: i128 = use_.iter().map(|(_, sum)| sum.quantity).sum();
                let now = covered(before.right, before.used + used) - before.covered;
                take_off(sums, use_, credit, now);
                told.push(RightUse {
                    of: right,
                    tenant,
                    month,
                    right: 0,
                    used,
                    covered: now,
                    lent: 0,
                });
            }
        }
        told
    }

    /// What unused rights bring back: as much of them as was billed of the meter, to whomever.
    fn lend(
        &mut self,
        sums: &BTreeMap<LineKey, LineSum>,
        rights: &mut [RightUse],
        lines: &mut BTreeMap<String, Vec<StatementLine>>,
    ) {
        let mut billed: BTreeMap<Meter, i128> = BTreeMap::new();
        for (key, sum) in sums.iter().filter(|(key, _)| key.corrects.is_none()) {
            *billed.entry(key.meter).or_default() += sum.quantity;
        }
        for of in self.co_investments.clone() {
            let (Some(price), Some(billed)) = (of.spec.lending_price, billed.get_mut(&of.spec.meter)) else {
                continue;
            };
            let month = self.basis.month;
            let mut lenders: Vec<&mut RightUse> = rights
                .iter_mut()
                .filter(|right| right.of == RightOf::CoInvestment(of.name.clone()) && right.month == month)
                .collect();
            let left: Vec<i128> = lenders.iter().map(|right| right.right - right.covered).collect();
            let units = base_units_per_unit(of.spec.meter, &self.window);
            for (right, lent) in lenders.iter_mut().zip(lent(&left, *billed)) {
                right.lent = lent;
                *billed -= lent;
                let Some(&category) = self.tenants.get(right.tenant.as_str()) else {
                    continue;
                };
                let vat = self.vat_of_share(&right.tenant, category, || {
                    format!("the co-investment {}", of.name)
                });
                let Some(vat) = vat.filter(|_| lent != 0) else {
                    continue;
                };
                let (Some(amount), Some(shown)) =
                    (Cents::of_line(-lent, price, units), in_units(-lent, units))
                else {
                    self.too_large(&right.tenant, "the amount of a line");
                    continue;
                };
                lines
                    .entry(right.tenant.clone())
                    .or_default()
                    .push(StatementLine {
                        kind: LineKind::Lent,
                        meter: Some(of.spec.meter),
                        model: None,
                        allocation: None,
                        tariff: None,
                        tier: None,
                        cost_pool: None,
                        co_investment: Some(of.name.clone()),
                        reserved: false,
                        description: Some(of.spec.description.clone()),
                        corrects: None,
                        quantity: Some(shown),
                        base_quantity: Some((-lent).to_string()),
                        unit_price: Some(price.to_string()),
                        amount: amount.to_string(),
                        vat_rate: Some(vat.to_string()),
                        records: None,
                    });
            }
        }
    }

    fn statement(
        &self,
        tenant: &str,
        lines: Vec<StatementLine>,
        state: StatementState,
        head: &Head,
    ) -> Option<StatementStatus> {
        let mut by_rate: BTreeMap<Decimal, Cents> = BTreeMap::new();
        for line in &lines {
            let amount = line.amount.parse().ok().and_then(Cents::from_decimal)?;
            let rate = line.vat_rate.as_deref()?.parse().ok()?;
            let base = by_rate.entry(rate).or_default();
            *base = *base + amount;
        }
        let mut vat = Vec::new();
        let net: Cents = by_rate.values().copied().sum();
        let mut gross = net;
        for (rate, base) in by_rate {
            let amount = base.vat(rate)?;
            gross = gross + amount;
            vat.push(VatTotal {
                rate: rate.to_string(),
                base: base.to_string(),
                amount: amount.to_string(),
            });
        }
        Some(StatementStatus {
            state,
            currency: Currency::EUR,
            period: StatementPeriod {
                month: self.basis.month.to_string(),
                from: self.window.span.from,
                to: self.window.span.to,
                time_zone: self.zone.name().to_owned(),
            },
            lines,
            totals: Totals {
                net: net.to_string(),
                vat,
                gross: gross.to_string(),
            },
            ledger: LedgerReference {
                records: self.records.get(tenant).copied().unwrap_or(0),
                head: head.hash.to_string(),
            },
            conditions: Vec::new(),
        })
    }
}

/// What a tenant used of a meter, less what is free of it already, by tariff and allocation.
fn net_use(
    sums: &BTreeMap<LineKey, LineSum>,
    tenant: &str,
    corrects: Option<BillingMonth>,
    meter: Meter,
) -> Vec<(LineKey, LineSum)> {
    let mut net: BTreeMap<LineKey, LineSum> = BTreeMap::new();
    let is_of = |key: &LineKey| key.tenant == tenant && key.corrects == corrects && key.meter == meter;
    for (key, sum) in sums.iter().filter(|(key, _)| is_of(key)) {
        let of_use = LineKey {
            credit: None,
            ..key.clone()
        };
        net.entry(of_use)
            .and_modify(|net| net.quantity += sum.quantity)
            .or_insert(*sum);
    }
    net.into_iter().collect()
}

/// Takes `covered` off use as credits, from the first on; below nothing, it gives back what was taken off before. Gives what
/// could not be taken off of this use.
fn take_off(
    sums: &mut BTreeMap<LineKey, LineSum>,
    use_: Vec<(LineKey, LineSum)>,
    credit: CreditOf,
    covered: i128,
) -> i128 {
    let mut left = covered;
    for (key, sum) in use_ {
        let of_this = if left > 0 {
            left.min(sum.quantity.max(0))
        } else {
            left.max(sum.quantity.min(0))
        };
        if of_this != 0 {
            left -= of_this;
            take_off_at(sums, (key, sum), credit, of_this);
        }
    }
    left
}

/// Takes this much off at one place.
fn take_off_at(
    sums: &mut BTreeMap<LineKey, LineSum>,
    (key, sum): (LineKey, LineSum),
    credit: CreditOf,
    covered: i128,
) {
    let key = LineKey {
        credit: Some(credit),
        ..key
    };
    sums.entry(key).or_insert(LineSum { quantity: 0, ..sum }).quantity -= covered;
}

/// A line of a pool.
struct Share<'a> {
    kind: LineKind,
    tenant: &'a str,
    description: String,
    amount: Cents,
}

/// When days begin in a zone.
fn begins(
    zone: &DatacentreZone,
    days: impl IntoIterator<Item = Date>,
) -> Result<Vec<(Timestamp, Date)>, CalendarError> {
    days.into_iter()
        .map(|day| zone.start_of(day).map(|from| (from, day)))
        .collect()
}

/// All tenants that a pool names, each once.
fn tenants_of(pool: &NamedPool) -> Vec<String> {
    let all: BTreeSet<&str> = pool.spec.tenants().collect();
    all.into_iter().map(str::to_owned).collect()
}

/// All tenants that a co-investment names.
fn owners_of(of: &NamedCoInvestment) -> Vec<String> {
    of.spec.shares.iter().map(|share| share.tenant.clone()).collect()
}

fn in_french(days: Days) -> String {
    let day = |date: Date| date.strftime("%d/%m/%Y").to_string();
    format!("du {} au {}", day(days.first), day(days.last))
}
