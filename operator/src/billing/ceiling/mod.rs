//! EconomicCeiling: what of a year's capacity goes to economic use, and which economic allocations may have more of it.
//!
//! ```text
//!  gather    the year's economic allocations, what each was granted and has used    gather.rs
//!  plan      who is granted how much                                                mesocentre_metering::ceiling
//!  report    grants, measures, conditions                                           report.rs
//!  standing  what an allocation may use, out of these grants                        standing.rs
//! ```
//!
//! The grants stand in the ceiling's status, written by one reconcile at a time, and nowhere else: an allocation is
//! used by what stands there, so two that are made at once can not both have the last hours.

mod gather;
mod report;
mod standing;

pub use standing::{Standing, grants_differ, standing};

use crate::Context;
use crate::failure::Failure;
use crate::report::{Verdict, is_leaving, warn_when_not, warn_when_not_ready, write_status};
use kube::runtime::controller::Action;
use mesocentre_api::EconomicCeiling;
use mesocentre_metering::ceiling::{Ceiling, HeldSeconds, grant};
use rust_decimal::Decimal;
use std::sync::Arc;
use std::time::Duration;

/// How often use is counted anew.
const COUNTED_EVERY: Duration = Duration::from_secs(60);
/// The condition that says how near economic use is to the ceiling.
const WITHIN_CEILING: &str = "WithinCeiling";

/// One reconcile.
///
/// # Errors
/// When the status could not be written now.
pub async fn reconcile(object: Arc<EconomicCeiling>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(object.as_ref()) {
        return Ok(Action::await_change());
    }
    let before = object.status.clone().unwrap_or_default();
    let mut status = before.clone();
    status.observed_generation = object.metadata.generation;
    let ready = match (gather::first_of_year(&context, &object), ceiling_of(&object)) {
        (Some(other), _) => {
            status.grants.clear();
            status.measures.clear();
            status
                .conditions
                .retain(|condition| condition.type_ != WITHIN_CEILING);
            Verdict::no(
                "YearTaken",
                format!(
                    "{} is the ceiling of {} already, and the first one holds: delete one of them",
                    other, object.spec.year
                ),
            )
        }
        (None, None) => Verdict::no(
            "TooLarge",
            "the capacity is more than can be counted: write it in hours",
        ),
        (None, Some(ceiling)) => {
            let gathered = gather::gather(&context, &object).await;
            let granted = grant(&ceiling, gathered.claims.clone(), gathered.used_by_others);
            report::fill_in(&mut status, &object, &ceiling, &gathered, &granted, &context);
            Verdict::yes(
                "Counted",
                format!(
                    "{} of {} is counted up to record {} of the ledger",
                    match status.grants.len() {
                        1 => "1 economic allocation".to_owned(),
                        several => format!("{several} economic allocations"),
                    },
                    object.spec.year,
                    gathered.ledger.map_or(0, |head| head.seq)
                ),
            )
        }
    };
    ready.ready(&mut status.conditions, object.metadata.generation);
    report::measure(&context, &object, &status);
    let now = status.clone();
    let object = write_status(&context, &object, status).await?;
    warn_when_not_ready(&context, object.as_ref(), &before.conditions, &now.conditions).await;
    warn_when_not(
        &context,
        object.as_ref(),
        WITHIN_CEILING,
        &before.conditions,
        &now.conditions,
    )
    .await;
    Ok(Action::requeue(COUNTED_EVERY))
}

/// The terms in numbers; none when they are more than numbers hold.
fn ceiling_of(object: &EconomicCeiling) -> Option<Ceiling> {
    let spec = &object.spec;
    Some(Ceiling {
        capacity: HeldSeconds {
            core: seconds(spec.capacity.core_hours.unwrap_or_default())?,
            gpu: seconds(spec.capacity.gpu_hours.unwrap_or_default())?,
        },
        weights: spec.weights.as_ref().map(|weights| HeldSeconds {
            core: weights.core_hour,
            gpu: weights.gpu_hour,
        }),
        percent: Decimal::from(spec.percent),
    })
}

fn seconds(hours: Decimal) -> Option<Decimal> {
    hours.checked_mul(Decimal::from(3600))
}
