//! Tariffs, cost pools, co-investments and billing periods. All judgement about money is in the crate `mesocentre-metering`; here it is
//! gathered for, asked, and written where people read it.
//!
//! ```text
//!  Tenant, Tariff, CostPool, CoInvestment ──► basis ─┐
//!  ledger (the feeds fill it) ────────────────────────┴─► metering: rate, or close ─► Statement in each home namespace
//!                                                                     │
//!                                                                     └─► the closed month, in the ledger: the last word
//!  Invoice, InvoiceSeries, closed month ──► metering: draft, issue ─► the document, in the ledger ─► folder or bucket, InvoiceDocument
//! ```
//!
//! A provisional statement is a view of the ledger as it is; a final one is a copy of the closed month that the ledger
//! keeps. So a statement that somebody changes or deletes costs nothing but a write: it is made again from there.

pub mod ceiling;
pub mod co_investment;
pub mod cost_pool;
pub mod invoice;
pub mod period;
pub mod tariff;

use crate::Context;
use crate::report::Verdict;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{BillingPeriod, PeriodState};
use mesocentre_metering::Appended;
use std::collections::BTreeSet;
use std::fmt::Display;

/// What this process knows of billing beyond its caches.
#[derive(Debug, Default)]
pub struct Billing {
    /// What each open period was rated to, and from what.
    pub ratings: period::Ratings,
}

/// The ledger has grown: open periods are rated again, soon and not too often (see [`period`]). Costs nothing when it
/// is called often.
pub fn ledger_grew(context: &Context) {
    look_at_open(context, |_| true);
}

/// What became of records that a source reported, for who looks after the operator.
pub fn count_appended(context: &Context, appended: &Appended) {
    context.metrics.ledger_records.inc_by(appended.new);
    for quarantined in appended.quarantined.iter().filter(|one| one.first_time) {
        context.metrics.ledger_quarantined.inc();
        tracing::warn!(
            reason = quarantined.reason,
            record = %quarantined.key,
            "what a source reported went into the ledger's quarantine: see `meso ledger verify`"
        );
    }
}

/// Shows how far a source's use is in the ledger, and what of it cannot be taken.
pub async fn show_source(context: &Context, source: &str, cluster: &str) {
    let labels = [source, cluster];
    if let Ok(Some(through)) = context.ledger.watermark(source, cluster).await {
        context
            .metrics
            .ledger_lag_seconds
            .with_label_values(&labels)
            .set(Timestamp::now().duration_since(through).as_secs());
    }
    if let Ok(unsettled) = context.ledger.unsettled(source, cluster).await {
        context
            .metrics
            .ledger_unsettled
            .with_label_values(&labels)
            .set(i64::try_from(unsettled.len()).unwrap_or(i64::MAX));
    }
}

/// A cluster's use has been read further: periods that wait for that are looked at.
pub fn read_further(context: &Context) {
    look_at_open(context, |period| period.spec.close);
}

fn look_at_open(context: &Context, which: impl Fn(&BillingPeriod) -> bool) {
    for period in context.stores.periods.state() {
        let closed = period.status.as_ref().and_then(|status| status.state) == Some(PeriodState::Closed);
        if !closed && which(&period) {
            context
                .triggers
                .periods
                .reconcile(ObjectRef::from_obj(period.as_ref()));
        }
    }
}

/// How many sentences or names a message holds before it counts the rest: a condition is no list.
const NAMED: usize = 5;

/// What is wrong when tenants that are named are not there: `whose` has no statement until they are.
fn unknown_tenants<'a>(
    named: impl Iterator<Item = &'a str>,
    tenants: &BTreeSet<String>,
    whose: &str,
) -> Option<Verdict> {
    let named: BTreeSet<&str> = named.collect();
    let unknown: Vec<&str> = named
        .into_iter()
        .filter(|tenant| !tenants.contains(*tenant))
        .collect();
    let (what, them) = match unknown.as_slice() {
        [] => return None,
        [_] => ("there is no tenant", "it"),
        _ => ("there are no such tenants:", "them"),
    };
    Some(Verdict::no(
        "UnknownTenant",
        format!(
            "{what} {}; make {them}, or take {them} out of the shares: until then nobody {whose} has a statement",
            first_few(&unknown, ", ")
        ),
    ))
}

/// The first few, and how many more there are.
fn first_few(all: &[impl Display], separator: &str) -> String {
    let mut text = all
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(separator);
    if all.len() > NAMED {
        text.push_str(&format!("{separator}and {} more", all.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::first_few;

    #[test]
    fn a_message_counts_what_it_does_not_name() {
        assert_eq!(first_few(&["a", "b"], "; "), "a; b");
        assert_eq!(
            first_few(&[1, 2, 3, 4, 5, 6, 7], ", "),
            "1, 2, 3, 4, 5, and 2 more"
        );
    }
}
