//! Last step: what a period says of itself.

use super::plan::{Homeless, Plan};
use super::rate::RatedPeriod;
use super::validate::{Close, Invalid, ValidPeriod};
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

/// The ledger could not be asked. A close that was refused as too early stays so: the condition is where that is known
/// from, and this failure is in the log and on other periods.
///
/// # Errors
/// When the status could not be written now.
pub async fn cannot_rate(
    context: &Context,
    period: &Arc<BillingPeriod>,
    close: Close,
    failure: &Failure,
) -> Result<(), Failure> {
    if close == Close::RefusedBefore {
        return Ok(());
    }
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
    if month.closed.is_some() && status.checkpoint.is_none() {
        status.checkpoint = checkpoint(context, period).await;
    }
    status.close_asked_at = valid.close_asked_at;

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

/// What the ledger is, signed; none of one that is not intact, or cannot be read now: then at the next look.
async fn checkpoint(context: &Context, period: &Arc<BillingPeriod>) -> Option<String> {
    let found = match mesocentre_metering::verify(context.ledger.url()).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "no checkpoint is signed now");
            return None;
        }
    };
    if let Some(fault) = found.faults.first() {
        let note =
            format!("no checkpoint is signed, the ledger is not intact: {fault}; run `meso ledger verify`");
        event(
            context,
            period.as_ref(),
            EventType::Warning,
            "LedgerNotIntact",
            &note,
        )
        .await;
        return None;
    }
    match context
        .signer
        .sign_checkpoint(&found.checkpoint(&context.ledger_origin))
    {
        Ok(signed) => Some(signed),
        Err(error) => {
            tracing::warn!(%error, origin = context.ledger_origin, "MESO_LEDGER_ORIGIN cannot name a ledger");
            None
        }
    }
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
        Some((_, at)) => {
            let late = if at < valid.window.span.to {
                "what is used in the rest of the month, or comes late,"
            } else {
                "what comes late"
            };
            Verdict::yes(
                "Closed",
                format!(
                    "it is closed since {at}: its statements are final, and {late} is a correction in the next period{homeless}"
                ),
            )
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::super::validate::november;
    use super::*;
    use mesocentre_api::ConditionStatus;
    use mesocentre_metering::{Digest, Head, MonthStatements, Rated, RatingFault};

    fn rated(closed: Option<&str>, faults: Vec<RatingFault>) -> RatedPeriod {
        let month = MonthStatements {
            head: Head {
                seq: 0,
                hash: Digest::ZERO,
            },
            rated: Rated {
                statements: Vec::new(),
                pools: Vec::new(),
                true_ups: Vec::new(),
                rights: Vec::new(),
                activity: Default::default(),
                faults,
            },
            closed: closed.map(|at| (Digest::ZERO, at.parse().unwrap())),
        };
        RatedPeriod::new(month, None)
    }

    fn said(rated: &RatedPeriod, homeless: &[Homeless], now: &str) -> Verdict {
        verdict(&november(), rated, homeless, now.parse().unwrap())
    }

    #[test]
    fn a_month_that_is_over_waits_to_be_closed() {
        let open = rated(None, Vec::new());
        assert_eq!(said(&open, &[], "2026-11-30T22:59:59Z").reason, "Open");
        let over = said(&open, &[], "2026-11-30T23:00:00Z");
        assert_eq!(
            (over.status, over.reason.as_str()),
            (ConditionStatus::True, "Over")
        );
        assert!(over.message.contains("until close: true"), "{over:?}");
    }

    #[test]
    fn a_closed_period_says_what_becomes_of_later_use() {
        let early = rated(Some("2026-11-24T10:00:00Z"), Vec::new());
        let message = said(&early, &[], "2026-12-24T10:00:00Z").message;
        assert!(message.contains("the rest of the month"), "{message}");
        let late = rated(Some("2026-12-05T10:00:00Z"), Vec::new());
        let message = said(&late, &[], "2026-12-24T10:00:00Z").message;
        assert!(!message.contains("the rest of the month"), "{message}");
    }

    #[test]
    fn who_cannot_be_billed_is_named_with_the_reason() {
        let fault = RatingFault::UnknownTenant {
            tenant: "lab".into(),
            month: "2026-11".parse().unwrap(),
        };
        let said = said(&rated(None, vec![fault]), &[], "2026-11-24T10:00:00Z");
        assert_eq!(
            (said.status, said.reason.as_str()),
            (ConditionStatus::False, "NotRateable")
        );
        assert!(
            said.message
                .starts_with("lab cannot be billed: the ledger holds use of the tenant lab"),
            "{said:?}"
        );
    }

    #[test]
    fn a_statement_that_has_no_place_to_stand_is_said_and_holds_nothing_up() {
        let gone = |tenant: &str, leaving| Homeless {
            tenant: tenant.into(),
            leaving,
        };
        let said = said(
            &rated(None, Vec::new()),
            &[gone("b", true), gone("a", false)],
            "2026-11-24T10:00:00Z",
        );
        assert_eq!(said.status, ConditionStatus::True);
        assert!(
            said.message.ends_with(
                "No statement stands where the home namespace is missing: a (not there), b (being deleted)"
            ),
            "{said:?}"
        );
    }
}
