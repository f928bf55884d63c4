//! A document that may be issued: whoever holds one need check nothing again.

use super::account::{Account, Advance, BilledMonth, Cited};
use super::issued::InvoiceNumber;
use super::line::InvoiceLine;
use super::party::{Buyer, Seller};
use crate::calendar::BillingMonth;
use crate::digest::{Digest, canonical_json};
use crate::money::Cents;
use jiff::civil::Date;
use mesocentre_api::Currency;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an invoice needs to know besides its statement and its parties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Days from issue until payment is due.
    pub payment_days: u32,
    /// Why lines at rate 0 bear no VAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exemption: Option<Exemption>,
    /// The invoice of the same month that this one takes the place of. It must have been credited whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<InvoiceNumber>,
    /// What the tenant was billed and paid so far, as the ledger has it.
    #[serde(skip)]
    pub account: Account,
}

/// An article of the code général des impôts by which a service bears no VAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exemption {
    /// Services of a group to its members, at cost.
    Cgi261B,
    /// Teaching.
    Cgi261Teaching,
}

impl Exemption {
    /// Its code in the list VATEX (BT-121).
    pub fn code(self) -> &'static str {
        match self {
            Self::Cgi261B => "VATEX-FR-CGI261B",
            Self::Cgi261Teaching => "VATEX-FR-CGI261-4",
        }
    }

    /// The mention that must stand on the invoice (BT-120; CGI, ann. 2, art. 242 nonies A, I, 12°).
    pub fn mention(self) -> &'static str {
        match self {
            Self::Cgi261B => "Exonération de TVA, article 261 B du code général des impôts",
            Self::Cgi261Teaching => "Exonération de TVA, article 261, 4, 4° du code général des impôts",
        }
    }
}

/// The rates that French invoices may bear, in hundredths of a percent (BR-FR-16).
const FRENCH_RATES: [i64; 14] = [
    90, 105, 175, 210, 550, 700, 850, 920, 960, 1_000, 1_300, 1_960, 2_000, 2_060,
];

/// VAT on a line: a rate, or none and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VatCategory {
    /// Category E: exempt.
    Exempt,
    /// Category S, at a rate in percent.
    Rate(Decimal),
}

impl VatCategory {
    /// That of a rate in percent, where it is a French one or 0.
    pub(super) fn french(rate: Decimal) -> Option<Self> {
        match Cents::from_decimal(rate)?.0 {
            0 => Some(Self::Exempt),
            hundredths if FRENCH_RATES.iter().any(|known| i128::from(*known) == hundredths) => {
                Some(Self::Rate(rate.normalize()))
            }
            _ => None,
        }
    }

    /// The rate in percent; 0 where it is exempt.
    pub fn rate(self) -> Decimal {
        match self {
            Self::Exempt => Decimal::ZERO,
            Self::Rate(rate) => rate,
        }
    }
}

/// VAT of one category (BG-23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VatSum {
    /// The category.
    pub category: VatCategory,
    /// Sum of its lines.
    pub base: Cents,
    /// VAT on it.
    pub amount: Cents,
}

/// The sums of a document (BG-22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    /// Sum of the lines.
    pub net: Cents,
    /// Sum of the VAT.
    pub vat: Cents,
    /// Both.
    pub gross: Cents,
}

impl Sums {
    pub(super) fn of(vat: &[VatSum]) -> Self {
        let net = vat.iter().map(|sum| sum.base).sum();
        let tax = vat.iter().map(|sum| sum.amount).sum();
        Self {
            net,
            vat: tax,
            gross: net + tax,
        }
    }
}

/// What a document is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// An invoice (type 380).
    Invoice {
        /// The invoice that it takes the place of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<InvoiceNumber>,
    },
    /// A month that comes to less than nothing, as a credit note (type 381): the lines of its statement with their signs
    /// turned.
    MonthCredit {
        /// The invoices that it gives back of.
        corrects: Vec<Cited>,
    },
    /// A call for funds, which is no invoice. Its month is the first that it calls for.
    Call {
        /// The cost pool.
        cost_pool: String,
        /// The last month that it calls for.
        until: BillingMonth,
        /// The call that it takes the place of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<InvoiceNumber>,
    },
    /// A prepayment invoice (type 386): a call for funds whose shares bear VAT, all at one rate. Its month is the first
    /// that it calls for.
    Prepayment {
        /// The cost pool.
        cost_pool: String,
        /// The last month that it calls for.
        until: BillingMonth,
        /// The prepayment invoice that it takes the place of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<InvoiceNumber>,
    },
    /// A credit note (type 381).
    CreditNote {
        /// The invoice that it corrects (BT-25).
        corrects: InvoiceNumber,
        /// When that one was issued (BT-26).
        corrected_on: Date,
        /// Why.
        reason: String,
        /// The credit notes on the same invoice that were counted when it was drafted. Another one issued meanwhile makes
        /// it void.
        after: Vec<InvoiceNumber>,
        /// What it takes back, where that asks ahead.
        #[serde(flatten)]
        ahead: Option<Ahead>,
    },
}

/// What asks ahead, with the last month that it calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ahead {
    /// A call for funds; what takes it back is no more an invoice than the call.
    Call(BillingMonth),
    /// A prepayment invoice.
    Prepayment(BillingMonth),
}

impl Purpose {
    /// Whether the law of invoices holds for it: an invoice or a credit note on one. Else it is a call for funds, or takes
    /// one back, and has no XML.
    pub fn is_invoice(&self) -> bool {
        !matches!(self.ahead(), Some(Ahead::Call(_)))
    }

    /// Whether it asks ahead, or takes back what does.
    pub fn ahead(&self) -> Option<Ahead> {
        match self {
            Self::Call { until, .. } => Some(Ahead::Call(*until)),
            Self::Prepayment { until, .. } => Some(Ahead::Prepayment(*until)),
            Self::CreditNote { ahead, .. } => *ahead,
            Self::Invoice { .. } | Self::MonthCredit { .. } => None,
        }
    }

    /// The cost pool and the last month that it asks ahead for.
    pub fn called(&self) -> Option<(&str, BillingMonth)> {
        match self {
            Self::Call { cost_pool, until, .. } | Self::Prepayment { cost_pool, until, .. } => {
                Some((cost_pool, *until))
            }
            Self::Invoice { .. } | Self::MonthCredit { .. } | Self::CreditNote { .. } => None,
        }
    }

    /// The last month that it is about, where that is another than its month.
    pub fn until(&self) -> Option<BillingMonth> {
        self.ahead().map(|ahead| match ahead {
            Ahead::Call(until) | Ahead::Prepayment(until) => until,
        })
    }

    /// The document that it takes the place of.
    pub fn replaces(&self) -> Option<&InvoiceNumber> {
        match self {
            Self::Invoice { replaces } | Self::Call { replaces, .. } | Self::Prepayment { replaces, .. } => {
                replaces.as_ref()
            }
            Self::MonthCredit { .. } | Self::CreditNote { .. } => None,
        }
    }
}

/// An invoice or a credit note in which everything is proven but that it was issued: it has neither number nor date.
///
/// Made by [`draft`](super::draft()), [`call_for_funds`](super::call_for_funds()) and [`credit`](super::credit()) only; read back from the ledger only, which keeps
/// its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidInvoice {
    pub(super) purpose: Purpose,
    pub(super) tenant: String,
    pub(super) month: BillingMonth,
    pub(super) statement: Digest,
    pub(super) currency: Currency,
    pub(super) seller: Seller,
    pub(super) buyer: Buyer,
    pub(super) payment_days: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exemption: Option<Exemption>,
    pub(super) lines: Vec<InvoiceLine>,
    pub(super) vat: Vec<VatSum>,
    pub(super) sums: Sums,
    /// What of the tenant's advances is set against it (BT-113).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) advances: Vec<Advance>,
    /// What was billed of the months before it in its year: told beside it, and no part of what is owed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) year: Vec<BilledMonth>,
}

impl ValidInvoice {
    /// Invoice or credit note.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The tenant that it bills.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The month that it bills.
    pub fn month(&self) -> BillingMonth {
        self.month
    }

    /// SHA-256 of the statement that it says again, the canonical JSON of the
    /// [`TenantStatement`](crate::TenantStatement) without its conditions.
    pub fn statement(&self) -> Digest {
        self.statement
    }

    /// Who issues it.
    pub fn seller(&self) -> &Seller {
        &self.seller
    }

    /// Who owes it.
    pub fn buyer(&self) -> &Buyer {
        &self.buyer
    }

    /// Days from issue until payment is due.
    pub fn payment_days(&self) -> u32 {
        self.payment_days
    }

    /// Why lines at rate 0 bear no VAT; there are such lines only where this is.
    pub fn exemption(&self) -> Option<Exemption> {
        self.exemption
    }

    /// Its lines.
    pub fn lines(&self) -> &[InvoiceLine] {
        &self.lines
    }

    /// VAT by category, exempt first, then by rate.
    pub fn vat(&self) -> &[VatSum] {
        &self.vat
    }

    /// Its sums.
    pub fn sums(&self) -> Sums {
        self.sums
    }

    /// What of the tenant's advances is set against it, by call.
    pub fn advances(&self) -> &[Advance] {
        &self.advances
    }

    /// What was paid in advance of it (BT-113).
    pub fn prepaid(&self) -> Cents {
        self.advances.iter().map(|advance| advance.amount).sum()
    }

    /// What of its VAT was invoiced before it, with the advances that are set against it, by rate.
    pub fn vat_of_advances(&self) -> Vec<VatSum> {
        let mut by_rate: BTreeMap<VatCategory, VatSum> = BTreeMap::new();
        for sum in self.advances.iter().filter_map(Advance::vat) {
            let of_rate = by_rate.entry(sum.category).or_insert(VatSum {
                base: Cents(0),
                amount: Cents(0),
                ..sum
            });
            of_rate.base = of_rate.base + sum.base;
            of_rate.amount = of_rate.amount + sum.amount;
        }
        by_rate.into_values().collect()
    }

    /// What it comes to for who pays: below zero where it gives back; nothing of a credit note on another document, whose
    /// own account it lowers.
    pub fn owed(&self) -> Cents {
        match self.purpose {
            Purpose::Invoice { .. } | Purpose::Call { .. } | Purpose::Prepayment { .. } => self.sums.gross,
            Purpose::MonthCredit { .. } => Cents(0) - self.sums.gross,
            Purpose::CreditNote { .. } => Cents(0),
        }
    }

    /// What was billed of the months before it in its year.
    pub fn year(&self) -> &[BilledMonth] {
        &self.year
    }

    /// Whether it is the same but for what came in and was billed meanwhile.
    pub fn is_again(&self, other: &Self) -> bool {
        let again = Self {
            advances: other.advances.clone(),
            year: other.year.clone(),
            ..self.clone()
        };
        again == *other
    }

    /// Its currency.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// SHA-256 of its canonical JSON: the same draft has the same, whoever makes it.
    ///
    /// # Errors
    /// When it has no JSON form, which none has.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        canonical_json(self).map(|bytes| Digest::of(&[&bytes]))
    }
}
