//! What a tenant's documents come to: what it paid in advance, what it was billed month by month, which invoices stand.
//! Pure: the [ledger](crate::ledger) has the documents and what was paid on them.

use super::document::Purpose;
use super::issued::{InvoiceNumber, IssuedInvoice};
use crate::calendar::BillingMonth;
use crate::money::Cents;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Money that was paid on a call for funds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advance {
    /// The call.
    pub call: InvoiceNumber,
    /// How much of it.
    pub amount: Cents,
}

/// What a month was billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BilledMonth {
    /// The month.
    pub month: BillingMonth,
    /// Invoices less credit notes, without VAT.
    pub net: Cents,
}

/// An invoice as another document names it (BT-25, BT-26).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cited {
    /// Its number.
    pub number: InvoiceNumber,
    /// The month that it bills.
    pub month: BillingMonth,
    /// The day of its issue.
    pub issued_on: Date,
}

/// A tenant's account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Paid on calls for funds and set against no invoice yet, in the order of the calls.
    pub advances: Vec<Advance>,
    /// What was billed, by month, in order.
    pub billed: Vec<BilledMonth>,
    /// The invoices that are not credited whole, in the order of their months.
    pub standing: Vec<Cited>,
}

impl Account {
    /// The account of one tenant: all its documents in the order of issue, and what was paid on each.
    pub fn of(documents: &[IssuedInvoice], paid: &BTreeMap<InvoiceNumber, Cents>) -> Self {
        let mut billed: BTreeMap<BillingMonth, Cents> = BTreeMap::new();
        let mut credited: BTreeMap<&InvoiceNumber, Cents> = BTreeMap::new();
        let mut used: BTreeMap<&InvoiceNumber, Cents> = BTreeMap::new();
        for issued in documents {
            let document = issued.document();
            let sums = document.sums();
            let net = match document.purpose() {
                Purpose::Invoice { .. } => sums.net,
                Purpose::MonthCredit { .. } => Cents(-sums.net.0),
                Purpose::CreditNote { corrects, call, .. } => {
                    let before = credited.entry(corrects).or_default();
                    *before = *before + sums.gross;
                    if call.is_some() {
                        continue;
                    }
                    Cents(-sums.net.0)
                }
                Purpose::Call { .. } => continue,
            };
            let of_month = billed.entry(document.month()).or_default();
            *of_month = *of_month + net;
            for advance in document.advances() {
                let before = used.entry(&advance.call).or_default();
                *before = *before + advance.amount;
            }
        }
        let taken_back = |number| credited.get(number).copied().unwrap_or_default();
        let advances = documents
            .iter()
            .filter(|issued| matches!(issued.document().purpose(), Purpose::Call { .. }))
            .filter_map(|call| {
                let number = call.number();
                let paid = paid.get(number).copied().unwrap_or_default();
                // What was paid beyond what is still called is to be paid back, and no advance.
                let called = Cents(call.document().sums().gross.0 - taken_back(number).0);
                let amount = paid.min(called).0 - used.get(number).copied().unwrap_or_default().0;
                (amount > 0).then(|| Advance {
                    call: number.clone(),
                    amount: Cents(amount),
                })
            })
            .collect();
        let mut standing: Vec<Cited> = documents
            .iter()
            .filter(|issued| matches!(issued.document().purpose(), Purpose::Invoice { .. }))
            .filter(|issued| taken_back(issued.number()) < issued.document().sums().gross)
            .map(|issued| Cited {
                number: issued.number().clone(),
                month: issued.document().month(),
                issued_on: issued.issued_on(),
            })
            .collect();
        standing.sort_by_key(|cited| cited.month);
        Self {
            advances,
            billed: billed
                .into_iter()
                .map(|(month, net)| BilledMonth { month, net })
                .collect(),
            standing,
        }
    }

    /// What of the advances is set against an invoice over `gross`: the oldest call first, never more than is owed.
    pub fn advances_on(&self, gross: Cents) -> Vec<Advance> {
        let mut owed = gross.0.max(0);
        let mut taken = Vec::new();
        for advance in &self.advances {
            let amount = advance.amount.0.min(owed);
            if amount > 0 {
                owed -= amount;
                taken.push(Advance {
                    call: advance.call.clone(),
                    amount: Cents(amount),
                });
            }
        }
        taken
    }

    /// What was billed of the months before this one in its year.
    pub fn year_before(&self, month: BillingMonth) -> Vec<BilledMonth> {
        let is_before = |billed: &&BilledMonth| {
            billed.month.first_day().year() == month.first_day().year() && billed.month < month
        };
        self.billed.iter().filter(is_before).copied().collect()
    }
}
