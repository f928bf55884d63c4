//! A month from the ledger to its statements: provisional while it is open, final once it is closed. The only module
//! that joins the ledger with rating; it decides nothing itself.
//!
//! Months are closed one after the other. What reaches the ledger later and belongs to a closed month becomes a
//! correction in the month after the last closed one, and nowhere else.

use crate::calendar::{BillingMonth, CalendarError, DatacentreZone};
use crate::digest::{Digest, canonical_json};
use crate::ledger::{ClosedMonth, Head, LastClosed, Ledger, LedgerError};
use crate::rating::{Rated, Rating, RatingBasis, RatingFault};
use crate::statement::{BilledBefore, MonthDocument};
use jiff::Timestamp;
use mesocentre_api::StatementState;

/// Why a month has no statements, or cannot be closed.
#[derive(Debug, thiserror::Error)]
pub enum PeriodError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The month or zone.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// Somebody cannot be billed.
    #[error("{month} cannot be closed while use or shares in it cannot be billed: {}", sentences(.faults))]
    NotRateable {
        /// The month.
        month: BillingMonth,
        /// Why.
        faults: Vec<RatingFault>,
    },
    /// A month before it is open.
    #[error(
        "{month} cannot be closed before {first}: months are closed one after the other, since late use is billed in the month after the last closed one. Close {first} first"
    )]
    OutOfOrder {
        /// The month.
        month: BillingMonth,
        /// What must be closed first.
        first: BillingMonth,
    },
    /// It is too late.
    #[error(
        "{month} cannot be closed any more: {last} is closed already, and use of {month} was or will be billed as its correction. Delete the period {month}"
    )]
    TooLate {
        /// The month.
        month: BillingMonth,
        /// The month closed last.
        last: BillingMonth,
    },
    /// Another zone than before.
    #[error(
        "{month} is in the time zone {zone}, and {last} was closed in {before}: between two zones hours would be billed twice or never. Write timeZone: {before}"
    )]
    ZoneChanged {
        /// The month.
        month: BillingMonth,
        /// Its zone.
        zone: String,
        /// The month closed last.
        last: BillingMonth,
        /// The zone of that month.
        before: String,
    },
    /// What was kept is no document.
    #[error("what was kept of the closed month {month} cannot be read ({source}): run `meso ledger verify`")]
    Unreadable {
        /// The month.
        month: BillingMonth,
        /// Why.
        source: serde_json::Error,
    },
    /// It is open.
    #[error("{month} is not closed, so there is nothing to compute again")]
    NotClosed {
        /// The month.
        month: BillingMonth,
    },
}

fn sentences(faults: &[RatingFault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// A month's statements, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct MonthStatements {
    /// The ledger's head that they were computed at.
    pub head: Head,
    /// The statements and what else came of it. Of a closed month, activity and faults are empty.
    pub rated: Rated,
    /// SHA-256 of the canonical form, of a closed month.
    pub closed: Option<(Digest, Timestamp)>,
}

/// The statements of a month: those that were kept when it is closed, else what they would be by the ledger as it is
/// now. Faults stand beside the statements of those that can be billed.
///
/// # Errors
/// [`PeriodError`], when the ledger cannot be read or the basis names no month.
pub async fn rate_month(ledger: &Ledger, basis: &RatingBasis) -> Result<MonthStatements, PeriodError> {
    if let Some(closed) = ledger.closed_month(basis.month).await? {
        let document = document_of(&closed)?;
        return Ok(MonthStatements {
            head: closed.head,
            rated: Rated {
                statements: document.statements,
                pools: document.pools,
                true_ups: document.true_ups,
                rights: document.rights,
                activity: Default::default(),
                faults: Vec::new(),
            },
            closed: Some((closed.sha256, closed.closed_at)),
        });
    }
    let (head, rated) = rate_open(ledger, basis).await?;
    Ok(MonthStatements {
        head,
        rated,
        closed: None,
    })
}

/// Rates a month that is open, from the rows that there are.
async fn rate_open(ledger: &Ledger, basis: &RatingBasis) -> Result<(Head, Rated), PeriodError> {
    let last = ledger.last_closed().await?;
    let head = ledger.head().await?;
    let rated = rate_at(ledger, basis, last.as_ref(), &head, StatementState::Provisional).await?;
    Ok((head, rated))
}

/// Closes a month: from now on its statements are these bytes. Closing it again gives the same. A month may be closed
/// before it ends; what is used in the rest of it is then a correction in the next.
///
/// # Errors
/// [`PeriodError`], when something in the month cannot be billed, a month before it is open, or the ledger cannot be
/// written; then it is open as before.
pub async fn close_month(
    ledger: &Ledger,
    basis: &RatingBasis,
    closed_at: Timestamp,
) -> Result<ClosedMonth, PeriodError> {
    let month = basis.month;
    if let Some(closed) = ledger.closed_month(month).await? {
        return Ok(closed);
    }
    let basis = basis.clone().sorted();
    let last = ledger.last_closed().await?;
    // Between the two looks another may have closed it.
    if last.as_ref().is_some_and(|last| last.month >= month)
        && let Some(closed) = ledger.closed_month(month).await?
    {
        return Ok(closed);
    }
    let head = ledger.head().await?;
    in_turn(ledger, &basis, last.as_ref(), &head).await?;
    let rated = rate_at(ledger, &basis, last.as_ref(), &head, StatementState::Final).await?;
    if !rated.faults.is_empty() {
        return Err(PeriodError::NotRateable {
            month,
            faults: rated.faults,
        });
    }
    let statements = document_bytes(&basis, rated)?;
    let closed = ClosedMonth {
        month,
        time_zone: basis.time_zone.clone(),
        after_seq: last.map_or(0, |last| last.up_to_seq),
        head,
        basis: canonical(&basis, "the basis of a month")?,
        sha256: Digest::of(&[&statements]),
        statements,
        closed_at,
    };
    Ok(ledger.write_closed(&closed, &basis.acknowledged_gaps).await?)
}

/// How many usage records of a tenant no closed month has billed yet, wholly or in part.
///
/// # Errors
/// [`PeriodError`], when the ledger cannot be read.
pub async fn unbilled_records(ledger: &Ledger, tenant: &str) -> Result<i64, PeriodError> {
    let (up_to_seq, closed_until) = match ledger.last_closed().await? {
        None => (0, Timestamp::MIN),
        Some(last) => {
            let window = DatacentreZone::named(&last.time_zone)?.month(last.month)?;
            (last.up_to_seq, window.span.to)
        }
    };
    Ok(ledger.records_outside(tenant, up_to_seq, closed_until).await?)
}

/// Computes a closed month again, from the ledger's records and the basis that was kept: the same bytes as were kept,
/// unless somebody changed something.
///
/// # Errors
/// [`PeriodError`], when the month is open or the ledger cannot be read.
pub async fn recompute_closed_month(ledger: &Ledger, month: BillingMonth) -> Result<Vec<u8>, PeriodError> {
    let closed = ledger
        .closed_month(month)
        .await?
        .ok_or(PeriodError::NotClosed { month })?;
    let basis = basis_of(&closed)?;
    let rated = rate_closed(ledger, &closed, &basis).await?;
    if !rated.faults.is_empty() {
        return Err(PeriodError::NotRateable {
            month,
            faults: rated.faults,
        });
    }
    document_bytes(&basis, rated)
}

fn first_month() -> Result<BillingMonth, CalendarError> {
    "0001-01".parse()
}

fn basis_of(closed: &ClosedMonth) -> Result<RatingBasis, PeriodError> {
    kept_of(closed.month, &closed.basis)
}

fn kept_of<T: serde::de::DeserializeOwned>(month: BillingMonth, kept: &[u8]) -> Result<T, PeriodError> {
    serde_json::from_slice(kept).map_err(|source| PeriodError::Unreadable { month, source })
}

/// Rates a closed month by a basis, from the rows that it was closed with.
async fn rate_closed(
    ledger: &Ledger,
    closed: &ClosedMonth,
    basis: &RatingBasis,
) -> Result<Rated, PeriodError> {
    let months = ledger.closed_months_from(first_month()?).await?;
    let last = months
        .into_iter()
        .take_while(|earlier| *earlier < closed.month)
        .last()
        .map(|month| LastClosed {
            month,
            time_zone: closed.time_zone.clone(),
            up_to_seq: closed.after_seq,
        });
    rate_at(ledger, basis, last.as_ref(), &closed.head, StatementState::Final).await
}

/// What a closed month rested on: tenants, tariffs and pools as they were. None of a month that is open.
///
/// # Errors
/// [`PeriodError`], when the ledger cannot be read.
pub async fn recorded_basis(
    ledger: &Ledger,
    month: BillingMonth,
) -> Result<Option<RatingBasis>, PeriodError> {
    let closed = ledger.closed_month(month).await?;
    closed.as_ref().map(basis_of).transpose()
}

/// What a month would come to by another basis: a closed one from the rows that it was closed with, an open one from
/// those that there are. Nothing is written.
///
/// # Errors
/// [`PeriodError`], when the ledger cannot be read or the basis names no month.
pub async fn simulate(ledger: &Ledger, basis: &RatingBasis) -> Result<Rated, PeriodError> {
    match ledger.closed_month(basis.month).await? {
        Some(closed) => rate_closed(ledger, &closed, basis).await,
        None => Ok(rate_open(ledger, basis).await?.1),
    }
}

fn canonical(value: &impl serde::Serialize, what: &'static str) -> Result<Vec<u8>, LedgerError> {
    canonical_json(value).map_err(|source| LedgerError::Canonical { what, source })
}

fn document_bytes(basis: &RatingBasis, rated: Rated) -> Result<Vec<u8>, PeriodError> {
    let document = rated.into_document(basis);
    Ok(canonical(&document, "the statements of a month")?)
}

fn document_of(closed: &ClosedMonth) -> Result<MonthDocument, PeriodError> {
    kept_of(closed.month, &closed.statements)
}

/// Whether it is this month's turn to be closed.
async fn in_turn(
    ledger: &Ledger,
    basis: &RatingBasis,
    last: Option<&LastClosed>,
    head: &Head,
) -> Result<(), PeriodError> {
    let month = basis.month;
    match last {
        Some(last) => {
            if month < last.month {
                return Err(PeriodError::TooLate {
                    month,
                    last: last.month,
                });
            }
            let first = last.month.next()?;
            if month != first {
                return Err(PeriodError::OutOfOrder { month, first });
            }
            if basis.time_zone != last.time_zone {
                return Err(PeriodError::ZoneChanged {
                    month,
                    zone: basis.time_zone.clone(),
                    last: last.month,
                    before: last.time_zone.clone(),
                });
            }
        }
        None => {
            if let Some(first_use) = ledger.first_use(head.seq).await? {
                let first = BillingMonth::of(DatacentreZone::named(&basis.time_zone)?.day_of(first_use));
                if first < month {
                    return Err(PeriodError::OutOfOrder { month, first });
                }
            }
        }
    }
    Ok(())
}

async fn rate_at(
    ledger: &Ledger,
    basis: &RatingBasis,
    last: Option<&LastClosed>,
    head: &Head,
    state: StatementState,
) -> Result<Rated, PeriodError> {
    let mut rating = Rating::new(basis)?;
    let span = rating.window().span;
    ledger
        .for_each_use(span, head.seq, |record| rating.add_use(record))
        .await?;
    for (place, span) in rating.true_up_spans().into_iter().enumerate() {
        ledger
            .for_each_use(span, head.seq, |record| rating.add_use_of_span(place, record))
            .await?;
    }
    if let Some(first) = rating.called_since() {
        let last = last.map(|last| last.month);
        rating.closed_through(last);
        for month in ledger.closed_months_from(first).await? {
            if last.is_some_and(|last| month <= last)
                && let Some(closed) = ledger.closed_month(month).await?
            {
                rating.add_called(&document_of(&closed)?);
            }
        }
    }
    let mut billed = BilledBefore::default();
    if let Some(last) = last
        && last.month.next()? == basis.month
    {
        let mut outcome = Ok(());
        ledger
            .for_each_change(last.up_to_seq, head.seq, |change, record| {
                if outcome.is_ok() {
                    outcome = rating.add_change(change, record, last.month);
                }
            })
            .await?;
        outcome?;
        if let Some(first) = rating.corrected_months().first() {
            let months = ledger.closed_months_from(*first).await?;
            for month in months.into_iter().take_while(|month| *month <= last.month) {
                if let Some(closed) = ledger.closed_month(month).await? {
                    billed.add(&document_of(&closed)?);
                }
            }
        }
    }
    Ok(rating.finish(state, head, &billed))
}
