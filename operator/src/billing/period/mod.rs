//! BillingPeriod: a month from the ledger to a Statement in each home namespace.
//!
//! ```text
//!  gather ─► validate ─► rate ─────────────────────► plan ─────────► apply ─► report
//!  caches    month and    again only when the        what each home  writes   state, net, digest
//!            zone         ledger or the basis        namespace must
//!                         changed, at a pace         hold
//! ```
//!
//! While it is open, statements are provisional and follow the ledger. `close: true` has the crate
//! `mesocentre-metering` close the month in the ledger, once all use up to then has been read (sources.rs); what stands there is the last word from then on, and statements
//! are copies of it. A month that is over stays open until a person closes it, and one that somebody wanted closed before
//! it began stays open until they write again.

mod apply;
mod gather;
mod pace;
mod plan;
mod rate;
mod report;
mod sources;
mod validate;

pub use rate::Ratings;

use crate::Context;
use crate::failure::Failure;
use crate::report::is_leaving;
use gather::gather;
use jiff::Timestamp;
use kube::runtime::controller::Action;
use mesocentre_api::BillingPeriod;
use rate::Rating;
use std::sync::Arc;
use std::time::Duration;
use validate::ValidPeriod;

/// How often an open period is looked at when nobody asks: the ledger can grow by other hands than this process's.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(600);

/// How often it is looked whether a month that is to be closed can be; what is read tells by itself, too.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// One reconcile.
///
/// # Errors
/// When the ledger or the API server could not be asked now.
pub async fn reconcile(period: Arc<BillingPeriod>, context: Arc<Context>) -> Result<Action, Failure> {
    // The statements of an open period are its own and go with it; those of a closed one stay.
    if is_leaving(period.as_ref()) {
        return Ok(Action::await_change());
    }
    let there = gather(&context, &period);
    let now = Timestamp::now();
    let valid = match ValidPeriod::new(&period, &there, now) {
        Ok(valid) => valid,
        Err(invalid) => {
            report::invalid(&context, &period, &invalid).await?;
            return Ok(Action::await_change());
        }
    };
    let rated = match rate::rate(&context, &valid).await {
        Ok(Rating::Now(rated)) => rated,
        Ok(Rating::In(pause)) => return Ok(Action::requeue(pause)),
        Err(failure) => {
            report::cannot_rate(&context, &period, valid.close, &failure).await?;
            return Err(failure);
        }
    };
    let mut plan = plan::plan(&period, &there, &rated);
    plan.homeless.extend(apply::apply(&context, &plan).await?);
    rated.set_written();
    report::report(&context, &period, &valid, &rated, &plan, now).await?;
    let waits = rated
        .refusal
        .as_ref()
        .is_some_and(|refusal| refusal.reason == sources::USE_NOT_READ);
    Ok(match rated.month.closed {
        Some(_) => Action::await_change(),
        None if waits => Action::requeue(ASKED_AGAIN_AFTER),
        None => Action::requeue(look_again_in(&valid, now)),
    })
}

/// Now and then, and when the month ends: an open period then says that it waits to be closed.
fn look_again_in(valid: &ValidPeriod, now: Timestamp) -> Duration {
    let left = Duration::try_from(now.duration_until(valid.window.span.to)).unwrap_or(LOOKED_AT_EVERY);
    LOOKED_AT_EVERY.min(left + Duration::from_secs(1))
}
