//! Third step: the month's statements, from the ledger. They are computed again only when the ledger or the basis
//! changed, at a pace; what was computed last is kept, so that a statement that somebody touched is repaired at once.

use super::pace::{self, Turn};
use super::sources::{self, Behind};
use super::validate::{Close, Invalid, NOT_BEGUN, ValidPeriod};
use crate::Context;
use crate::failure::Failure;
use crate::lock::locked;
use jiff::Timestamp;
use kube::ResourceExt;
use mesocentre_metering::ledger::LastClosed;
use mesocentre_metering::{
    BillingMonth, Head, MonthStatements, PeriodError, Rated, RatingBasis, close_month, rate_month,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A month's statements, and why it could not be closed where that was asked for.
#[derive(Debug)]
pub struct RatedPeriod {
    /// The statements.
    pub month: MonthStatements,
    /// Why the month is open although it was to be closed, or should not be billed at all.
    pub refusal: Option<Invalid>,
    written: AtomicBool,
}

impl RatedPeriod {
    /// Computed, and not yet written.
    pub fn new(month: MonthStatements, refusal: Option<Invalid>) -> Self {
        Self {
            month,
            refusal,
            written: AtomicBool::new(false),
        }
    }

    /// Says that the statements stand as they were computed: what differs from now on was somebody else.
    pub fn set_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }

    /// Whether they stood once.
    pub fn was_written(&self) -> bool {
        self.written.load(Ordering::Relaxed)
    }
}

/// What came of the third step.
pub enum Rating {
    /// The statements.
    Now(Arc<RatedPeriod>),
    /// Something changed, and it is too early to compute again.
    In(std::time::Duration),
}

/// Everything that an open month's statements depend on: where none of it changed, neither did they.
#[derive(Clone, Debug, PartialEq)]
struct Foundations {
    basis: RatingBasis,
    close: Close,
    begun: bool,
    head: Head,
    last_closed: Option<LastClosed>,
    behind: Vec<Behind>,
}

#[derive(Debug)]
struct Kept {
    rated: pace::Rated<Foundations>,
    outcome: Arc<RatedPeriod>,
}

/// What each open month was rated to last. Closed months are not kept: the ledger gives them as they were closed.
#[derive(Debug, Default)]
pub struct Ratings(Mutex<BTreeMap<BillingMonth, Kept>>);

impl Ratings {
    fn turn(&self, month: BillingMonth, now: &Foundations) -> (Turn, Option<Arc<RatedPeriod>>) {
        let ratings = locked(&self.0);
        let kept = ratings.get(&month);
        // Who closes a month waits for the answer.
        let turn = pace::turn(kept.map(|kept| &kept.rated), now, Instant::now(), |before| {
            now.close == Close::Asked && (before.close != Close::Asked || before.behind != now.behind)
        });
        (turn, kept.map(|kept| Arc::clone(&kept.outcome)))
    }

    fn keep(&self, month: BillingMonth, kept: Option<Kept>, is_there: impl Fn(BillingMonth) -> bool) {
        let mut ratings = locked(&self.0);
        ratings.retain(|other, _| *other != month && is_there(*other));
        if let Some(kept) = kept {
            ratings.insert(month, kept);
        }
    }
}

/// Rates the month, or closes it where that is asked for and can be.
///
/// # Errors
/// When the ledger cannot be read or written.
pub async fn rate(context: &Context, valid: &ValidPeriod) -> Result<Rating, Failure> {
    let ledger = &context.ledger;
    let month = valid.basis.month;
    let mut on = Foundations {
        basis: valid.basis.clone(),
        close: valid.close,
        begun: valid.window.span.from <= Timestamp::now(),
        head: ledger.head().await?,
        last_closed: ledger.last_closed().await?,
        behind: sources::behind(context, valid).await?,
    };
    let (turn, kept) = context.billing.ratings.turn(month, &on);
    match (turn, kept) {
        (Turn::Holds, Some(outcome)) => return Ok(Rating::Now(outcome)),
        (Turn::In(pause), _) => return Ok(Rating::In(pause)),
        _ => {}
    }
    let started = Instant::now();
    let outcome = Arc::new(compute(context, valid, &on).await?);
    on.head = outcome.month.head;
    let kept = outcome.month.closed.is_none().then(|| Kept {
        rated: pace::Rated {
            on,
            at: Instant::now(),
            took: started.elapsed(),
        },
        outcome: Arc::clone(&outcome),
    });
    let periods = context.stores.periods.state();
    context.billing.ratings.keep(month, kept, |other| {
        let other = other.to_string();
        periods.iter().any(|period| period.name_any() == other)
    });
    Ok(Rating::Now(outcome))
}

async fn compute(context: &Context, valid: &ValidPeriod, on: &Foundations) -> Result<RatedPeriod, Failure> {
    let ledger = &context.ledger;
    let mut refusal = None;
    if is_too_early(valid.close, on.begun) && ledger.closed_month(valid.basis.month).await?.is_none() {
        refusal = Some(not_begun(valid));
    } else if !on.behind.is_empty() && ledger.closed_month(valid.basis.month).await?.is_none() {
        refusal = Some(sources::wait_for(context, valid, &on.behind));
    } else if valid.close != Close::NotAsked {
        // Whole seconds, as Kubernetes keeps times.
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        if let Err(error) = close_month(ledger, &valid.basis, now).await {
            refusal = Some(refused(error)?);
        }
    }
    let mut month = rate_month(ledger, &valid.basis).await?;
    if month.closed.is_none()
        && let Some(last) = &on.last_closed
        && valid.basis.month < last.month
    {
        // What was used then was or will be billed as a correction: a statement would bill it a second time.
        refusal = Some(refused(PeriodError::TooLate {
            month: valid.basis.month,
            last: last.month,
        })?);
        month.rated = Rated {
            statements: Vec::new(),
            pools: Vec::new(),
            true_ups: Vec::new(),
            rights: Vec::new(),
            activity: BTreeMap::new(),
            faults: Vec::new(),
        };
    }
    Ok(RatedPeriod::new(month, refusal))
}

/// Whether a close was written before its month began: a slip of the pen in a month's name would else make corrections
/// of everything used before that month. That it has begun since makes no difference.
fn is_too_early(close: Close, begun: bool) -> bool {
    match close {
        Close::NotAsked => false,
        Close::Asked => !begun,
        Close::RefusedBefore => true,
    }
}

/// The same sentence before and after the month begins.
fn not_begun(valid: &ValidPeriod) -> Invalid {
    let month = valid.basis.month;
    Invalid {
        reason: NOT_BEGUN,
        message: format!(
            "close: true was written before {month} began ({}, {}), so it is not closed, and will not be by itself: \
             write close: false, and close: true again once it has begun; if another month was meant, delete this period",
            month.first_day(),
            valid.basis.time_zone
        ),
    }
}

/// What a person can mend; anything else is a failure, and tried again.
fn refused(error: PeriodError) -> Result<Invalid, Failure> {
    let reason = match &error {
        PeriodError::NotRateable { .. } => "CloseRefused",
        PeriodError::OutOfOrder { .. } => "OutOfOrder",
        PeriodError::TooLate { .. } => "TooLate",
        PeriodError::ZoneChanged { .. } => "ZoneChanged",
        _ => return Err(error.into()),
    };
    let message = match &error {
        PeriodError::NotRateable { month, faults } => format!(
            "{month} cannot be closed while use or shares in it cannot be billed: {}",
            crate::billing::first_few(faults, "; ")
        ),
        other => other.to_string(),
    };
    Ok(Invalid { reason, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_month_is_closed_by_the_clock() {
        // What was refused before the month began is refused after.
        assert!(is_too_early(Close::Asked, false));
        assert!(is_too_early(Close::RefusedBefore, false));
        assert!(is_too_early(Close::RefusedBefore, true));
        // Written once it had begun, it counts.
        assert!(!is_too_early(Close::Asked, true));
        assert!(!is_too_early(Close::NotAsked, false) && !is_too_early(Close::NotAsked, true));
    }
}
