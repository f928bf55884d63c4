//! What an Invoice's status says.

use super::deliver::to_home;
use super::{Found, Wrong};
use crate::Context;
use crate::failure::Failure;
use crate::report::{Verdict, event, warn_when_not_ready, write_status};
use crate::watch::key;
use jiff::civil::Date;
use kube::ResourceExt;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{
    Condition, ConditionStatus, Invoice, InvoiceKind, InvoicePhase, InvoiceSeries, InvoiceStatus,
    find_condition,
};
use mesocentre_metering::invoice::{IssuedInvoice, Purpose, ValidInvoice};
use mesocentre_metering::ledger::Standing;
use std::sync::Arc;

const OVERDUE: &str = "Overdue";

/// Writes the status, with what was issued in the home namespace, and has it delivered. `beside` is wrong with what was asked beside the document.
///
/// # Errors
/// When the API server could not be read or written to now.
pub async fn report(
    context: &Context,
    invoice: Arc<Invoice>,
    found: Result<Found, Wrong>,
    beside: Option<Wrong>,
) -> Result<(), Failure> {
    let before = invoice.status.clone().unwrap_or_default();
    let mut status = before.clone();
    status.observed_generation = invoice.metadata.generation;
    let generation = invoice.metadata.generation;
    let ready = match found {
        Ok(Found::Draft(draft)) => {
            let said = Verdict::yes(
                "Draft",
                format!(
                    "a draft over {} with VAT: issue: true issues it, and then nothing of it changes",
                    draft.sums().gross
                ),
            );
            say(&mut status, &draft);
            said
        }
        Ok(Found::Issued(issued, standing)) => {
            say(&mut status, issued.document());
            tell(&mut status, &issued, standing, context.today());
            let series = context
                .stores
                .series
                .get(&key::<InvoiceSeries>(None, &invoice.spec.series));
            let spec = series.as_ref().map(|series| &series.spec);
            status.document = to_home(context, &invoice, spec, &issued).await?;
            Verdict::yes(
                "Issued",
                format!("{} of {} is issued", issued.number(), issued.issued_on()),
            )
        }
        Err(wrong) => {
            if status.number.is_none() {
                // Of a draft that cannot be made any more nothing is true.
                let conditions = std::mem::take(&mut status.conditions);
                status = InvoiceStatus {
                    observed_generation: generation,
                    conditions,
                    ..InvoiceStatus::default()
                };
            }
            Verdict::no(wrong.reason, wrong.message)
        }
    };
    let ready = beside.map_or(ready, |wrong| Verdict::no(wrong.reason, wrong.message));
    ready.ready(&mut status.conditions, generation);
    let now = status.conditions.clone();
    let invoice = write_status(context, &invoice, status).await?;
    warn_when_not_ready(context, invoice.as_ref(), &before.conditions, &now).await;
    context
        .triggers
        .deliveries
        .reconcile(ObjectRef::from_obj(invoice.as_ref()));
    if let (None, Some(told)) = (overdue(&before.conditions), overdue(&now)) {
        event(context, invoice.as_ref(), EventType::Warning, "Overdue", &told).await;
    }
    let others = context.stores.invoices.state();
    let overdue = others
        .iter()
        .filter(|other| other.uid() != invoice.uid())
        .filter_map(|other| overdue(&other.status.as_ref()?.conditions))
        .chain(overdue(&now))
        .count();
    context
        .metrics
        .invoices_overdue
        .set(i64::try_from(overdue).unwrap_or(i64::MAX));
    Ok(())
}

/// What is told of an invoice that is past its day.
fn overdue(conditions: &[Condition]) -> Option<String> {
    find_condition(conditions, OVERDUE)
        .filter(|condition| condition.status == ConditionStatus::True)
        .map(|condition| condition.message.clone())
}

/// What a document says, issued or not.
fn say(status: &mut InvoiceStatus, document: &ValidInvoice) {
    let sums = document.sums();
    status.month = Some(document.month().to_string());
    status.currency = Some(document.currency());
    status.net = Some(sums.net.to_string());
    status.vat = Some(sums.vat.to_string());
    status.gross = Some(sums.gross.to_string());
    status.until = document.purpose().until().map(|until| until.to_string());
    let prepaid = document.prepaid();
    status.advances = (prepaid.0 != 0).then(|| prepaid.to_string());
    let (kind, corrects) = match document.purpose() {
        Purpose::Invoice { .. } => (InvoiceKind::Invoice, None),
        Purpose::Call { .. } => (InvoiceKind::Call, None),
        Purpose::Prepayment { .. } => (InvoiceKind::Prepayment, None),
        Purpose::CreditNote { corrects, .. } => (InvoiceKind::CreditNote, Some(corrects.to_string())),
        Purpose::MonthCredit { corrects } => {
            let numbers: Vec<&str> = corrects.iter().map(|cited| cited.number.0.as_str()).collect();
            (InvoiceKind::CreditNote, Some(numbers.join(", ")))
        }
    };
    status.kind = Some(kind);
    status.corrects = corrects;
}

/// What came of it since it was issued.
fn tell(status: &mut InvoiceStatus, issued: &IssuedInvoice, standing: Option<Standing>, today: Date) {
    status.number = Some(issued.number().to_string());
    status.issued_on = Some(issued.issued_on());
    status.due_on = issued.due_on();
    status.phase = standing.map_or(InvoicePhase::Issued, phase_of);
    status.credited = standing.map(|standing| standing.credited.to_string());
    status.paid = standing.map(|standing| standing.paid.to_string());
    status.due = standing.map(|standing| standing.due().to_string());
    let is_due = standing.is_some_and(|standing| standing.due().0 > 0);
    let verdict = match status.due_on.filter(|due_on| is_due && today > *due_on) {
        Some(due_on) => Verdict::yes(
            "NotPaid",
            format!(
                "{} was due on {due_on}, and {} is not paid",
                issued.number(),
                status.due.as_deref().unwrap_or_default()
            ),
        ),
        None if standing.is_none() => return,
        None => Verdict::no("InTime", "nothing is to be paid that is past its day"),
    };
    verdict.set(&mut status.conditions, OVERDUE, status.observed_generation);
}

fn phase_of(standing: Standing) -> InvoicePhase {
    let (gross, due) = (standing.gross.0, standing.due().0);
    // What is asked for and what is given back are settled from either side.
    let is_settled = if gross < 0 { due >= 0 } else { due <= 0 };
    if standing.credited == standing.gross {
        InvoicePhase::Credited
    } else if is_settled {
        InvoicePhase::Paid
    } else if standing.paid.0 != 0 {
        InvoicePhase::PartlyPaid
    } else {
        InvoicePhase::Issued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesocentre_metering::Cents;

    #[test]
    fn a_phase_follows_from_what_was_paid_and_taken_back() {
        let phase = |credited, paid| {
            phase_of(Standing {
                gross: Cents(100),
                advances: Cents(0),
                credited: Cents(credited),
                paid: Cents(paid),
            })
        };
        assert_eq!(phase(0, 0), InvoicePhase::Issued);
        assert_eq!(phase(40, 0), InvoicePhase::Issued);
        assert_eq!(phase(0, 99), InvoicePhase::PartlyPaid);
        assert_eq!(phase(40, 60), InvoicePhase::Paid);
        assert_eq!(phase(0, 120), InvoicePhase::Paid);
        assert_eq!(phase(100, 0), InvoicePhase::Credited);
        let given_back = |paid| {
            phase_of(Standing {
                gross: Cents(-100),
                advances: Cents(0),
                credited: Cents(0),
                paid: Cents(paid),
            })
        };
        assert_eq!(given_back(0), InvoicePhase::Issued);
        assert_eq!(given_back(-60), InvoicePhase::PartlyPaid);
        assert_eq!(given_back(-100), InvoicePhase::Paid);
        let of_advances = |credited| {
            phase_of(Standing {
                gross: Cents(100),
                advances: Cents(60),
                credited: Cents(credited),
                paid: Cents(0),
            })
        };
        assert_eq!(of_advances(0), InvoicePhase::Issued);
        assert_eq!(of_advances(40), InvoicePhase::Paid);
        assert_eq!(of_advances(100), InvoicePhase::Credited);
    }
}
