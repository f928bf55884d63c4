//! Tariffs, cost pools and billing periods. All judgement about money is in the crate `mesocentre-metering`; here it is
//! gathered for, asked, and written where people read it.
//!
//! ```text
//!  Tenant, Tariff, CostPool ──► basis ─┐
//!  ledger (the batch feed fills it) ───┴─► metering: rate, or close ─► Statement in each home namespace
//!                                                   │
//!                                                   └─► the closed month, in the ledger: the last word
//!  Invoice, InvoiceSeries, closed month ──► metering: draft, issue ─► the document, in the ledger ─► files, InvoiceDocument
//! ```
//!
//! A provisional statement is a view of the ledger as it is; a final one is a copy of the closed month that the ledger
//! keeps. So a statement that somebody changes or deletes costs nothing but a write: it is made again from there.

pub mod ceiling;
pub mod cost_pool;
pub mod invoice;
pub mod period;
pub mod tariff;

use crate::Context;
use kube::runtime::reflector::ObjectRef;
use mesocentre_api::{BillingPeriod, PeriodState};
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
