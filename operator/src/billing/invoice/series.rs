//! InvoiceSeries: says whether invoices can be issued in it. Nothing is applied: it is read where an invoice is drafted.

use super::parties;
use crate::Context;
use crate::elder::first_before;
use crate::failure::Failure;
use crate::report::{self, Verdict, is_leaving};
use kube::runtime::controller::Action;
use mesocentre_api::InvoiceSeries;
use mesocentre_tenancy::validate::seniority;
use std::sync::Arc;

/// One reconcile.
///
/// # Errors
/// When the status could not be written now.
pub async fn reconcile(series: Arc<InvoiceSeries>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(series.as_ref()) {
        return Ok(Action::await_change());
    }
    let faults = parties::seller(&series.spec).check();
    let verdict = if let Some(first) = first_of_series(&context, &series) {
        Verdict::no(
            "SeriesTaken",
            format!(
                "the numbers {} are those of the InvoiceSeries {first}, which was made before: write another series, or delete this one",
                series.spec.series
            ),
        )
    } else if faults.is_empty() {
        Verdict::yes(
            "InOrder",
            format!(
                "invoices are issued as {0}-000001, {0}-000002 ...",
                series.spec.series
            ),
        )
    } else {
        let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Verdict::no("BadSeller", all.join("; "))
    };
    report::judge(&context, &series, &verdict).await?;
    Ok(Action::await_change())
}

/// The InvoiceSeries that had the same numbers first; none when it is this one.
pub fn first_of_series(context: &Context, series: &InvoiceSeries) -> Option<String> {
    let numbers = |s: &InvoiceSeries| {
        let mut all = vec![s.spec.series.clone()];
        all.extend(s.spec.credit_series.clone());
        all.extend(s.spec.call_series.clone());
        all
    };
    let ours = numbers(series);
    first_before(
        &context.stores.series.state(),
        series,
        |series| seniority(&series.metadata),
        |other| !is_leaving(other) && numbers(other).iter().any(|theirs| ours.contains(theirs)),
    )
}
