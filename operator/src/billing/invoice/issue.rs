//! What reaches the ledger: the document with its number, and payments.

use super::{Wrong, gather};
use crate::Context;
use crate::failure::Failure;
use crate::report::event;
use kube::runtime::events::EventType;
use mesocentre_api::Invoice;
use mesocentre_metering::Cents;
use mesocentre_metering::invoice::{Ahead, IssuedInvoice, Purpose, Series, ValidInvoice};
use mesocentre_metering::ledger::{IssueError, Payment};

/// Issues a draft today; a draft that was issued before is given what it was issued as.
///
/// # Errors
/// When the ledger could not be written to now.
pub async fn issue(
    context: &Context,
    invoice: &Invoice,
    draft: &ValidInvoice,
) -> Result<Result<IssuedInvoice, Wrong>, Failure> {
    let series = match gather::series(context, invoice) {
        Ok(series) => series,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let prefix = match draft.purpose() {
        Purpose::Invoice { .. } | Purpose::Prepayment { .. } => Some(&series.spec.series),
        Purpose::Call { .. }
        | Purpose::CreditNote {
            ahead: Some(Ahead::Call(_)),
            ..
        } => series.spec.call_series.as_ref(),
        Purpose::CreditNote { .. } | Purpose::MonthCredit { .. } => {
            series.spec.credit_series.as_ref().or(Some(&series.spec.series))
        }
    };
    let Some(prefix) = prefix else {
        return Ok(Err(Wrong::new(
            "NoCallSeries",
            format!(
                "calls for funds have numbers of their own, and the InvoiceSeries {} names none: write callSeries into it, for example AF2026",
                invoice.spec.series
            ),
        )));
    };
    let numbers: Series = match prefix.parse() {
        Ok(numbers) => numbers,
        Err(error) => return Ok(Err(Wrong::new("NotASeries", format!("{error}")))),
    };
    let issued = match context.ledger.issue(&numbers, draft, context.today()).await {
        Ok(issued) => issued,
        Err(IssueError::Ledger(error)) => return Err(error.into()),
        Err(refused) => return Ok(Err(Wrong::new("NotIssued", refused.to_string()))),
    };
    context.metrics.invoices_issued.inc();
    let sums = issued.document().sums();
    tracing::info!(number = %issued.number(), tenant = draft.tenant(), gross = %sums.gross, "issued");
    event(
        context,
        invoice,
        EventType::Normal,
        "Issued",
        &format!(
            "{} of {} is issued, over {} with VAT",
            issued.number(),
            issued.issued_on(),
            sums.gross
        ),
    )
    .await;
    Ok(Ok(issued))
}

/// Records what was paid; what is recorded is recorded once.
///
/// # Errors
/// When the ledger could not be written to now.
pub async fn pay(
    context: &Context,
    invoice: &Invoice,
    issued: &IssuedInvoice,
) -> Result<Result<(), Wrong>, Failure> {
    for payment in &invoice.spec.payments {
        let Some(amount) = Cents::from_decimal(payment.amount) else {
            return Ok(Err(Wrong::new(
                "PaymentRefused",
                format!(
                    "the payment {} is no amount in cents: write at most two decimals",
                    payment.reference
                ),
            )));
        };
        let payment = Payment {
            reference: payment.reference.clone(),
            amount,
            paid_on: payment.paid_on,
        };
        match context.ledger.record_payment(issued.number(), &payment).await {
            Ok(()) => {}
            Err(IssueError::Ledger(error)) => return Err(error.into()),
            Err(refused) => return Ok(Err(Wrong::new("PaymentRefused", refused.to_string()))),
        }
    }
    Ok(Ok(()))
}
