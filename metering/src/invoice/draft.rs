//! From a final statement to an invoice: the same lines, the same VAT, the same totals.

use super::account::Cited;
use super::document::{Purpose, Sums, Terms, ValidInvoice, VatCategory, VatSum};
use super::fault::Fault;
use super::line::{EXACT_QUANTITY, InvoiceLine, Quantity, invoice_line};
use super::party::{Buyer, Seller, is_printable};
use crate::calendar::{BillingMonth, DatacentreZone};
use crate::digest::{Digest, canonical_json};
use crate::meter::base_units_per_unit;
use crate::money::Cents;
use crate::statement::TenantStatement;
use jiff::ToSpan as _;
use mesocentre_api::{StatementLine, StatementState};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

/// An invoice over a statement, whose every amount it keeps; a credit note over one that comes to less than nothing.
///
/// # Errors
/// All reasons why it cannot be made: of the statement, of the parties, of the terms.
pub fn draft(
    statement: &TenantStatement,
    seller: &Seller,
    buyer: &Buyer,
    terms: &Terms,
) -> Result<ValidInvoice, Vec<Fault>> {
    let mut faults = Vec::new();
    let (seller, buyer) = parties_and_term(seller, buyer, terms, &mut faults);
    let reader = Reader { statement };
    let billed = match reader.read(terms) {
        Ok(billed) => Some(billed),
        Err(found) => {
            faults.extend(found);
            None
        }
    };
    match billed {
        Some(billed) if faults.is_empty() => Ok(ValidInvoice {
            advances: match billed.purpose {
                Purpose::Invoice { .. } => terms.account.advances_on(&billed.vat),
                _ => Vec::new(),
            },
            year: terms.account.year_before(billed.month),
            purpose: billed.purpose,
            tenant: statement.tenant.clone(),
            month: billed.month,
            statement: billed.digest,
            currency: statement.status.currency,
            seller,
            buyer,
            payment_days: terms.payment_days,
            exemption: terms
                .exemption
                .filter(|_| billed.vat.iter().any(|sum| sum.category == VatCategory::Exempt)),
            lines: billed.lines,
            sums: Sums::of(&billed.vat),
            vat: billed.vat,
        }),
        _ => Err(faults),
    }
}

/// Both parties in one form, with what is wrong with them and with the term of payment.
pub(super) fn parties_and_term(
    seller: &Seller,
    buyer: &Buyer,
    terms: &Terms,
    faults: &mut Vec<Fault>,
) -> (Seller, Buyer) {
    let (seller, buyer) = (seller.in_one_form(), buyer.in_one_form());
    seller.faults(faults);
    buyer.faults(faults);
    let (longest, law) = buyer.kind.longest_term();
    if terms.payment_days > longest {
        faults.push(Fault::Term {
            days: terms.payment_days,
            longest,
            law,
        });
    }
    (seller, buyer)
}

/// SHA-256 of a statement's canonical JSON, without its conditions, which are no part of what is owed.
pub(crate) fn statement_digest(statement: &TenantStatement) -> Result<Digest, serde_json::Error> {
    let mut bare = statement.clone();
    bare.status.conditions.clear();
    canonical_json(&bare).map(|bytes| Digest::of(&[&bytes]))
}

/// VAT by category of lines, rounded half-up once a category.
pub(super) fn vat_of<'a>(lines: impl Iterator<Item = &'a InvoiceLine>) -> Option<Vec<VatSum>> {
    let mut bases: BTreeMap<VatCategory, Cents> = BTreeMap::new();
    for line in lines {
        let base = bases.entry(line.vat).or_default();
        *base = *base + line.amount;
    }
    bases
        .into_iter()
        .map(|(category, base)| {
            Some(VatSum {
                category,
                base,
                amount: base.vat(category.rate())?,
            })
        })
        .collect()
}

struct Billed {
    purpose: Purpose,
    month: BillingMonth,
    digest: Digest,
    lines: Vec<InvoiceLine>,
    vat: Vec<VatSum>,
}

struct Reader<'a> {
    statement: &'a TenantStatement,
}

impl Reader<'_> {
    fn tenant(&self) -> String {
        self.statement.tenant.clone()
    }

    fn month(&self) -> String {
        self.statement.status.period.month.clone()
    }

    fn unreadable(&self, what: &'static str, text: &str) -> Fault {
        Fault::Unreadable {
            tenant: self.tenant(),
            month: self.month(),
            what,
            text: text.to_owned(),
        }
    }

    fn cents(&self, what: &'static str, text: &str) -> Result<Cents, Fault> {
        text.parse()
            .ok()
            .and_then(Cents::from_decimal)
            .ok_or_else(|| self.unreadable(what, text))
    }

    fn read(&self, terms: &Terms) -> Result<Billed, Vec<Fault>> {
        let status = &self.statement.status;
        let mut faults = Vec::new();
        if status.state != StatementState::Final {
            faults.push(Fault::Provisional {
                tenant: self.tenant(),
                month: self.month(),
            });
        }
        if status.lines.is_empty() {
            faults.push(Fault::NoLines {
                tenant: self.tenant(),
                month: self.month(),
            });
        }
        let mut lines = Vec::with_capacity(status.lines.len());
        for (number, line) in (1..).zip(&status.lines) {
            match self.line(number, line) {
                Ok(line) => lines.push(line),
                Err(fault) => faults.push(fault),
            }
        }
        if terms.exemption.is_none() && lines.iter().any(|line| line.vat == VatCategory::Exempt) {
            faults.push(Fault::NoExemption {
                tenant: self.tenant(),
                month: self.month(),
            });
        }
        let month = self
            .month()
            .parse()
            .map_err(|_| self.unreadable("month", &status.period.month));
        let digest =
            statement_digest(self.statement).map_err(|error| self.unreadable("form", &error.to_string()));
        let vat = vat_of(lines.iter()).ok_or_else(|| self.unreadable("net total", &status.totals.net));
        match (month, digest, vat) {
            (Ok(month), Ok(digest), Ok(vat)) if faults.is_empty() => {
                self.totals(&vat)?;
                let billed = Billed {
                    purpose: Purpose::Invoice {
                        replaces: terms.replaces.clone(),
                    },
                    month,
                    digest,
                    lines,
                    vat,
                };
                if Sums::of(&billed.vat).gross < Cents(0) {
                    return self.given_back(billed, terms);
                }
                Ok(billed)
            }
            (month, digest, vat) => {
                faults.extend(month.err());
                faults.extend(digest.err());
                faults.extend(vat.err());
                Err(faults)
            }
        }
    }

    fn line(&self, number: u32, line: &StatementLine) -> Result<InvoiceLine, Fault> {
        let amount = self.cents("amount", &line.amount)?;
        let vat = match line.vat_rate.as_deref() {
            None => VatCategory::Exempt,
            Some(text) => {
                let rate: Decimal = text.parse().map_err(|_| self.unreadable("VAT rate", text))?;
                VatCategory::french(rate).ok_or_else(|| Fault::VatRate {
                    rate: text.to_owned(),
                })?
            }
        };
        let units = match line.meter {
            None => None,
            Some(meter) => {
                let month = line
                    .corrects
                    .as_deref()
                    .unwrap_or(&self.statement.status.period.month);
                let zone = &self.statement.status.period.time_zone;
                let window = DatacentreZone::named(zone)
                    .ok()
                    .zip(month.parse().ok())
                    .and_then(|(zone, month)| zone.month(month).ok())
                    .ok_or_else(|| self.unreadable("month", month))?;
                Some(base_units_per_unit(meter, &window))
            }
        };
        let written = invoice_line(number, line, amount, vat, units).ok_or_else(|| {
            self.unreadable("quantity or price", line.base_quantity.as_deref().unwrap_or(""))
        })?;
        let texts = written
            .note
            .iter()
            .chain(written.details.iter().map(|(_, value)| value));
        if texts.into_iter().any(|text| !is_printable(text)) {
            return Err(Fault::Unprintable {
                who: format!("the statement {} of {}", self.month(), self.tenant()),
                what: "description of a line",
            });
        }
        Ok(written)
    }

    /// The statement's own sums must be those of its lines: else it is none of ours.
    fn totals(&self, vat: &[VatSum]) -> Result<(), Vec<Fault>> {
        let totals = &self.statement.status.totals;
        let said = |what, text: &str| self.cents(what, text).map_err(|fault| vec![fault]);
        let found = Sums::of(vat);
        let mut faults = Vec::new();
        let mut compare = |what, found: Cents, said: Cents| {
            if found != said {
                faults.push(Fault::Totals {
                    tenant: self.tenant(),
                    month: self.month(),
                    what,
                    found,
                    said,
                });
            }
        };
        compare("net", found.net, said("net total", &totals.net)?);
        let mut tax = Cents::default();
        for sum in &totals.vat {
            tax = tax + said("VAT", &sum.amount)?;
        }
        compare("VAT", found.vat, tax);
        compare("gross", found.gross, said("gross total", &totals.gross)?);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// A month that comes to less than nothing, as a credit note on the invoices that it gives back of.
    fn given_back(&self, billed: Billed, terms: &Terms) -> Result<Billed, Vec<Fault>> {
        let corrects = self.gives_back_of(billed.month, &terms.account.standing);
        if corrects.is_empty() {
            return Err(vec![Fault::Negative {
                tenant: self.tenant(),
                month: self.month(),
                gross: Sums::of(&billed.vat).gross,
            }]);
        }
        Ok(Billed {
            purpose: Purpose::MonthCredit { corrects },
            lines: billed.lines.into_iter().map(turned).collect(),
            vat: billed
                .vat
                .into_iter()
                .map(|sum| VatSum {
                    base: Cents(0) - sum.base,
                    amount: Cents(0) - sum.amount,
                    ..sum
                })
                .collect(),
            ..billed
        })
    }

    /// Of the invoices that stand, those of the months that its lines correct; where something is given back that
    /// corrects no month, such as a true-up, those of the twelve months before, too.
    fn gives_back_of(&self, month: BillingMonth, standing: &[Cited]) -> Vec<Cited> {
        let lines = &self.statement.status.lines;
        let corrected: BTreeSet<&str> = lines.iter().filter_map(|line| line.corrects.as_deref()).collect();
        let else_given_back = lines
            .iter()
            .any(|line| line.corrects.is_none() && line.amount.starts_with('-'));
        let a_year_before = month
            .first_day()
            .checked_sub(12.months())
            .ok()
            .map(BillingMonth::of);
        standing
            .iter()
            .filter(|cited| {
                corrected.contains(cited.month.to_string().as_str())
                    || (else_given_back
                        && cited.month < month
                        && a_year_before.is_some_and(|first| first <= cited.month))
            })
            .cloned()
            .collect()
    }
}

/// A line with its sign turned: the count, since no price is below zero.
fn turned(line: InvoiceLine) -> InvoiceLine {
    let amount = Cents(0) - line.amount;
    let details = line.details.into_iter().map(|(label, value)| {
        let turned = match value.strip_prefix('-') {
            _ if label != EXACT_QUANTITY => value,
            Some(quantity) => quantity.to_owned(),
            None => format!("-{value}"),
        };
        (label, turned)
    });
    InvoiceLine {
        details: details.collect(),
        quantity: Quantity {
            count: -line.quantity.count,
            ..line.quantity
        },
        amount,
        ..line
    }
}
