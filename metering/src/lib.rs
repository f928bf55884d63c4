//! Metering and billing: usage records, the ledger that keeps them, and the pure rules that turn them into statements.
//!
//! ```text
//!  sources ─► record ─► ledger ─┐
//!                  tariff ──────┼─► rating ─► statement ─► closed month (the same bytes, always)
//!                  calendar ────┤
//!                  sharing ─────┘                   └─► invoice, credit note
//! ```
//!
//! What the ledger was at a moment is a [`checkpoint`], by the tree of [`merkle`], that others keep.
//!
//! Everything between the ledger's rows and the statement's bytes is integers and decimals, no floats, and a pure
//! function: [`rating`], [`sharing`], [`tariff`], [`calendar`],
//! [`ceiling`], [`money`], [`invoice`]. I/O is in [`ledger`], and [`period`] joins
//! the two. Knows no Kubernetes and no scheduler: the operator hands over plain values.

pub mod calendar;
pub mod ceiling;
pub mod checkpoint;
pub mod counter;
mod digest;
mod exact;
pub mod focus;
pub mod holding;
pub mod invoice;
pub mod ledger;
pub mod merkle;
mod meter;
pub mod money;
pub mod period;
pub mod rating;
mod record;
pub mod rights;
pub mod sharing;
pub mod statement;
pub mod tariff;

pub use mesocentre_api::Activity;

pub use calendar::{BillingMonth, DatacentreZone, MonthWindow, TimeSpan};
pub use digest::{Digest, canonical_json};
pub use ledger::{Appended, DatabaseError, Head, Ledger, LedgerError, LedgerUrl, Quarantined, verify};
pub use meter::{base_unit, base_units_per_unit, in_units, parse_meter};
pub use money::Cents;
pub use period::{
    MonthStatements, PeriodError, close_month, rate_month, recompute_closed_month, recorded_basis, simulate,
    unbilled_records,
};
pub use rating::{NamedPool, Rated, RatedTenant, Rating, RatingBasis, RatingFault};
pub use record::{BatchRun, MODEL, RecordFault, RecordKey, UsageRecord, ValidRecord, from_batch_run};
pub use rights::{NamedCoInvestment, RightUse};
pub use statement::{MonthDocument, TenantStatement};
pub use tariff::{NamedTariff, TariffConflict, senseless_tiers, tariff_conflicts};
