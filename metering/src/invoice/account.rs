//! What a tenant's documents come to: what it paid in advance, what it was billed month by month, which invoices stand.
//! Pure: the [ledger](crate::ledger) has the documents and what was paid on them.

use super::document::{Purpose, Sums, VatCategory, VatSum};
use super::issued::{InvoiceNumber, IssuedInvoice};
use crate::calendar::BillingMonth;
use crate::money::Cents;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Money that was paid on a call for funds or on a prepayment invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advance {
    /// The call, or the prepayment invoice.
    pub call: InvoiceNumber,
    /// How much of it, with VAT.
    pub amount: Cents,
    /// Its VAT, where it was paid on a prepayment invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taxed: Option<TaxedAdvance>,
}

/// What a prepayment invoice says of the VAT on what was paid on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaxedAdvance {
    /// The day of its issue (BT-26).
    pub issued_on: Date,
    /// Its rate in percent.
    pub rate: Decimal,
    /// What of it was set against invoices before. VAT is rounded on the sum of the parts, so that theirs are its own to
    /// the cent.
    pub before: Cents,
}

impl Advance {
    /// The VAT that was asked for with it; none on a call for funds.
    pub fn vat(&self) -> Option<VatSum> {
        let TaxedAdvance { rate, before, .. } = self.taxed?;
        let vat = (before + self.amount).vat_within(rate)? - before.vat_within(rate)?;
        Some(VatSum {
            category: VatCategory::Rate(rate),
            base: self.amount - vat,
            amount: vat,
        })
    }
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
    /// Paid on calls for funds and prepayment invoices and set against no invoice yet, in the order of these.
    pub advances: Vec<Advance>,
    /// What of each of them was set against invoices.
    pub used: BTreeMap<InvoiceNumber, Cents>,
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
        let mut used: BTreeMap<InvoiceNumber, Cents> = BTreeMap::new();
        for issued in documents {
            let document = issued.document();
            let sums = document.sums();
            let net = match document.purpose() {
                Purpose::Invoice { .. } => sums.net,
                Purpose::MonthCredit { .. } => Cents(-sums.net.0),
                Purpose::CreditNote { corrects, ahead, .. } => {
                    let before = credited.entry(corrects).or_default();
                    *before = *before + sums.gross;
                    if ahead.is_some() {
                        continue;
                    }
                    Cents(-sums.net.0)
                }
                Purpose::Call { .. } | Purpose::Prepayment { .. } => continue,
            };
            let of_month = billed.entry(document.month()).or_default();
            *of_month = *of_month + net;
            for advance in document.advances() {
                let before = used.entry(advance.call.clone()).or_default();
                *before = *before + advance.amount;
            }
        }
        let taken_back = |number| credited.get(number).copied().unwrap_or_default();
        let advances = documents
            .iter()
            .filter(|issued| issued.document().purpose().called().is_some())
            .filter_map(|call| {
                let number = call.number();
                let paid = paid.get(number).copied().unwrap_or_default();
                // What was paid beyond what is still called is to be paid back, and no advance.
                let called = Cents(call.document().sums().gross.0 - taken_back(number).0);
                let before = used.get(number).copied().unwrap_or_default();
                let amount = paid.min(called) - before;
                (amount > Cents(0)).then(|| Advance {
                    call: number.clone(),
                    amount,
                    taxed: rate_of(call).map(|rate| TaxedAdvance {
                        issued_on: call.issued_on(),
                        rate,
                        before,
                    }),
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
            used,
            billed: billed
                .into_iter()
                .map(|(month, net)| BilledMonth { month, net })
                .collect(),
            standing,
        }
    }

    /// What of the advances is set against an invoice with this VAT: the oldest first, never more than is owed; of one with
    /// VAT never more than is owed at its rate.
    pub fn advances_on(&self, vat: &[VatSum]) -> Vec<Advance> {
        let mut owed = Sums::of(vat).gross;
        let mut at_rate: BTreeMap<VatCategory, Cents> = vat
            .iter()
            .map(|sum| (sum.category, sum.base + sum.amount))
            .collect();
        let mut taken = Vec::new();
        for advance in &self.advances {
            let mut amount = advance.amount.min(owed);
            if let Some(taxed) = advance.taxed {
                let room = at_rate.entry(VatCategory::Rate(taxed.rate)).or_default();
                amount = amount.min(*room);
                *room = *room - amount.max(Cents(0));
            }
            if amount > Cents(0) {
                owed = owed - amount;
                taken.push(Advance {
                    amount,
                    ..advance.clone()
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

/// The one rate of a prepayment invoice.
fn rate_of(issued: &IssuedInvoice) -> Option<Decimal> {
    let document = issued.document();
    match (document.purpose(), document.vat()) {
        (Purpose::Prepayment { .. }, [sum]) => Some(sum.category.rate()),
        _ => None,
    }
}
