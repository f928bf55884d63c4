//! Last step: what a period says of itself.

use super::plan::{Homeless, Plan};
use super::rate::RatedPeriod;
use super::validate::{Invalid, ValidPeriod};
use crate::Context;
use crate::billing::first_few;
use crate::failure::Failure;
use crate::report::{Verdict, event, warn_when_not_ready, write_status};
use jiff::Timestamp;
use kube::runtime::events::EventType;
use mesocentre_api::{BillingPeriod, BillingPeriodStatus, PeriodState};
use std::sync::Arc;

/// Month or zone are none.
///
/// # Errors
/// When the status could not be written now.
pub async fn invalid(
    context: &Context,
    period: &Arc<BillingPeriod>,
    invalid: &Invalid,
) -> Result<(), Failure> {
    let verdict = Verdict::no(invalid.reason, invalid.message.as_str());
    write(context, period, told(period, &verdict)).await
}

/// The ledger could not be asked.
///
/// # Errors
/// When the status could not be written now.
pub async fn cannot_rate(
    context: &Context,
    period: &Arc<BillingPeriod>,
    failure: &Failure,
) -> Result<(), Failure> {
    let verdict = Verdict::no("LedgerFailed", format!("{failure}; it is tried again"));
    write(context, period, told(period, &verdict)).await
}

/// What came of it.
///
/// # Errors
/// When the status could not be written now.
pub async fn report(
    context: &Context,
    period: &Arc<BillingPeriod>,
    valid: &ValidPeriod,
    rated: &RatedPeriod,
    plan: &Plan,
    now: Timestamp,
) -> Result<(), Failure> {
    let month = &rated.month;
    let mut status = told(period, &verdict(valid, rated, &plan.homeless, now));
    status.state = Some(if month.closed.is_some() {
        PeriodState::Closed
    } else {
        PeriodState::Open
    });
    status.statements = i32::try_from(month.rated.statements.len()).unwrap_or(i32::MAX);
    status.net = month.rated.net().map(|net| net.to_string());
    status.digest = month.closed.map(|(sha256, _)| sha256.to_string());
    status.closed_at = month.closed.map(|(_, at)| at);

    let was_closed = period.status.as_ref().and_then(|status| status.state) == Some(PeriodState::Closed);
    let closed_now = month.closed.filter(|_| !was_closed);
    let sum = status.net.clone().unwrap_or_default();
    write(context, period, status).await?;
    if let Some((sha256, _)) = closed_now {
        let note = format!(
            "{} is closed: {} final statements, {sum} net, SHA-256 {sha256}",
            valid.basis.month,
            month.rated.statements.len()
        );
        event(context, period.as_ref(), EventType::Normal, "Closed", &note).await;
        // The next month takes up the corrections from here on, and may be closed itself.
        context.triggers.periods.reconcile_all(&context.stores.periods);
    }
    Ok(())
}

fn told(period: &BillingPeriod, verdict: &Verdict) -> BillingPeriodStatus {
    let mut status = period.status.clone().unwrap_or_default();
    status.observed_generation = period.metadata.generation;
    verdict.ready(&mut status.conditions, period.metadata.generation);
    status
}

async fn write(
    context: &Context,
    period: &Arc<BillingPeriod>,
    status: BillingPeriodStatus,
) -> Result<(), Failure> {
    let before = period
        .status
        .as_ref()
        .map(|s| s.conditions.clone())
        .unwrap_or_default();
    let now = status.conditions.clone();
    let period = write_status(context, period, status).await?;
    warn_when_not_ready(context, period.as_ref(), &before, &now).await;
    Ok(())
}

fn verdict(valid: &ValidPeriod, rated: &RatedPeriod, homeless: &[Homeless], now: Timestamp) -> Verdict {
    let month = valid.basis.month;
    let faults = &rated.month.rated.faults;
    if let Some(refusal) = &rated.refusal {
        return Verdict::no(refusal.reason, refusal.message.as_str());
    }
    if !faults.is_empty() {
        let tenants: std::collections::BTreeSet<&str> =
            faults.iter().flat_map(|fault| fault.concerns()).collect();
        let tenants: Vec<&str> = tenants.into_iter().collect();
        return Verdict::no(
            "NotRateable",
            format!(
                "{} cannot be billed: {}",
                first_few(&tenants, ", "),
                first_few(faults, "; ")
            ),
        );
    }
    let homeless = without_home(homeless);
    match rated.month.closed {
        Some((_, at)) => Verdict::yes(
            "Closed",
            format!(
                "it is closed since {at}: its statements are final, and later use is a correction in the next period{homeless}"
            ),
        ),
        None if valid.window.span.to <= now => Verdict::yes(
            "Over",
            format!(
                "{month} is over: its statements stay provisional until close: true is written here{homeless}"
            ),
        ),
        None => Verdict::yes(
            "Open",
            format!("its statements are provisional and follow the ledger{homeless}"),
        ),
    }
}

/// Who reads no statement, and why; in the order of names.
fn without_home(homeless: &[Homeless]) -> String {
    if homeless.is_empty() {
        return String::new();
    }
    let mut names: Vec<String> = homeless
        .iter()
        .map(|Homeless { tenant, leaving }| {
            let why = if *leaving { "being deleted" } else { "not there" };
            format!("{tenant} ({why})")
        })
        .collect();
    names.sort();
    format!(
        ". No statement stands where the home namespace is missing: {}",
        first_few(&names, ", ")
    )
}
