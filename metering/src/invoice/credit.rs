//! Credit notes: an invoice taken back, whole or by lines, and never by more than is left of it.
//!
//! The VAT of a credit note is what the VAT of the invoice's remaining lines goes down by. So the parts of an invoice
//! that is credited piece by piece sum to it to the cent, though each part is rounded.

use super::document::{Purpose, Sums, ValidInvoice, VatCategory, VatSum};
use super::fault::Fault;
use super::issued::{InvoiceNumber, IssuedInvoice};
use super::line::{InvoiceLine, Quantity};
use super::party::{is_printable, tidy};
use crate::money::Cents;
use std::collections::{BTreeMap, BTreeSet};

/// How much of an invoice is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credit {
    /// All that is left of it.
    Whole,
    /// These amounts of these lines.
    Lines(Vec<CreditedLine>),
}

/// An amount on a line of an invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditedLine {
    /// The line's number.
    pub line: u32,
    /// Net amount that is taken back: of the line's own sign, no more than is left of it.
    pub amount: Cents,
}

/// A credit note on an invoice, of which `issued` are all the credit notes so far.
///
/// # Errors
/// All reasons why it cannot be made.
pub fn credit(
    original: &IssuedInvoice,
    issued: &[IssuedInvoice],
    what: &Credit,
    reason: &str,
) -> Result<ValidInvoice, Vec<Fault>> {
    let mut faults = Vec::new();
    let reason = tidy(reason);
    if reason.is_empty() {
        faults.push(Fault::NoReason);
    }
    if !is_printable(&reason) {
        faults.push(Fault::Unprintable {
            who: "the credit note".to_owned(),
            what: "reason",
        });
    }
    if !matches!(
        original.document().purpose(),
        Purpose::Invoice { .. } | Purpose::Call { .. } | Purpose::Prepayment { .. }
    ) {
        faults.push(Fault::NotAnInvoice {
            number: original.number().to_string(),
        });
    }
    for note in issued {
        if !matches!(note.document().purpose(), Purpose::CreditNote { corrects, .. } if corrects == original.number())
        {
            faults.push(Fault::NotOnIt {
                number: note.number().to_string(),
                original: original.number().to_string(),
            });
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let left = Left::of(original, issued);
    let asked = match what {
        Credit::Whole => left.lines.clone(),
        Credit::Lines(lines) => left.asked(original, lines)?,
    };
    let document = original.document();
    let lines = credited_lines(document, &asked);
    let vat = left.vat_of(document, &asked).unwrap_or_default();
    let sums = Sums::of(&vat);
    if lines.is_empty() || sums.gross <= Cents(0) {
        return Err(vec![Fault::NothingToCredit {
            number: original.number().to_string(),
        }]);
    }
    if sums.gross > left.gross {
        return Err(vec![Fault::MoreThanInvoice {
            number: original.number().to_string(),
            asked: sums.gross,
            left: left.gross,
        }]);
    }
    Ok(ValidInvoice {
        purpose: Purpose::CreditNote {
            corrects: original.number().clone(),
            corrected_on: original.issued_on(),
            reason,
            after: numbers(issued),
            ahead: document.purpose.ahead(),
        },
        advances: Vec::new(),
        year: Vec::new(),
        exemption: document
            .exemption
            .filter(|_| vat.iter().any(|sum| sum.category == VatCategory::Exempt)),
        lines,
        vat,
        sums,
        ..document.clone()
    })
}

/// The numbers of these documents, in order.
pub(crate) fn numbers(documents: &[IssuedInvoice]) -> Vec<InvoiceNumber> {
    let numbers: BTreeSet<_> = documents.iter().map(|note| note.number().clone()).collect();
    numbers.into_iter().collect()
}

/// What credit notes have left of an invoice.
struct Left {
    /// By the line's number.
    lines: BTreeMap<u32, Cents>,
    gross: Cents,
}

impl Left {
    fn of(original: &IssuedInvoice, issued: &[IssuedInvoice]) -> Self {
        let document = original.document();
        let mut left = Self {
            lines: document
                .lines
                .iter()
                .map(|line| (line.number, line.amount))
                .collect(),
            gross: document.sums.gross,
        };
        for note in issued {
            left.gross = left.gross - note.document().sums.gross;
            for line in &note.document().lines {
                if let Some(of_line) = line.credits.and_then(|number| left.lines.get_mut(&number)) {
                    *of_line = *of_line - line.amount;
                }
            }
        }
        left
    }

    /// The amounts asked for, by line.
    fn asked(
        &self,
        original: &IssuedInvoice,
        lines: &[CreditedLine],
    ) -> Result<BTreeMap<u32, Cents>, Vec<Fault>> {
        let number = || original.number().to_string();
        let mut asked = BTreeMap::new();
        let mut faults = Vec::new();
        for CreditedLine { line, amount } in lines {
            let Some(left) = self.lines.get(line) else {
                faults.push(Fault::NoSuchLine {
                    number: number(),
                    line: *line,
                    lines: self.lines.len(),
                });
                continue;
            };
            if asked.insert(*line, *amount).is_some() {
                faults.push(Fault::LineTwice {
                    number: number(),
                    line: *line,
                });
            }
            let wrong_way = (amount.0 < 0) != (left.0 < 0) && amount.0 != 0;
            if wrong_way || amount.0.abs() > left.0.abs() {
                faults.push(Fault::MoreThanLeft {
                    number: number(),
                    line: *line,
                    asked: *amount,
                    left: *left,
                });
            }
        }
        if faults.is_empty() { Ok(asked) } else { Err(faults) }
    }

    /// What the VAT of the lines that are left goes down by, by category.
    fn vat_of(&self, document: &ValidInvoice, asked: &BTreeMap<u32, Cents>) -> Option<Vec<VatSum>> {
        let mut bases: BTreeMap<VatCategory, (Cents, Cents)> = BTreeMap::new();
        for line in &document.lines {
            let left = self.lines.get(&line.number).copied().unwrap_or_default();
            let (before, taken) = bases.entry(line.vat).or_default();
            *before = *before + left;
            *taken = *taken + asked.get(&line.number).copied().unwrap_or_default();
        }
        bases
            .into_iter()
            .filter(|(category, _)| {
                document.lines.iter().any(|line| {
                    line.vat == *category && asked.get(&line.number).is_some_and(|amount| amount.0 != 0)
                })
            })
            .map(|(category, (before, taken))| {
                let rate = category.rate();
                Some(VatSum {
                    category,
                    base: taken,
                    amount: before.vat(rate)? - (before - taken).vat(rate)?,
                })
            })
            .collect()
    }
}

/// The lines of the credit note: those of the invoice, with the amounts that are taken back.
fn credited_lines(document: &ValidInvoice, asked: &BTreeMap<u32, Cents>) -> Vec<InvoiceLine> {
    let taken = document.lines.iter().filter_map(|line| {
        let amount = *asked.get(&line.number).filter(|amount| amount.0 != 0)?;
        let quantity = if amount == line.amount {
            line.quantity.clone()
        } else {
            Quantity::lump(amount)?
        };
        Some(InvoiceLine {
            quantity,
            amount,
            credits: Some(line.number),
            ..line.clone()
        })
    });
    (1..)
        .zip(taken)
        .map(|(number, line)| InvoiceLine { number, ..line })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoice::{
        Account, Address, Buyer, BuyerKind, ElectronicAddress, Exemption, Seller, Terms, draft,
    };
    use crate::statement::TenantStatement;
    use proptest::prelude::*;
    use serde_json::json;

    const RATES: [&str; 4] = ["20", "5.5", "2.1", "0"];

    fn address() -> Address {
        Address {
            street: "1, rue Neuve".to_owned(),
            postal_code: "14000".to_owned(),
            city: "Caen".to_owned(),
            country_code: "FR".to_owned(),
        }
    }

    fn seller() -> Seller {
        Seller {
            name: "Mésocentre".to_owned(),
            legal_form: "GIP".to_owned(),
            siret: "13000000300017".to_owned(),
            vat_number: "FR75130000003".to_owned(),
            address: address(),
            electronic_address: ElectronicAddress::Directory("130000003".to_owned()),
            account: None,
        }
    }

    fn buyer() -> Buyer {
        Buyer {
            name: "Université".to_owned(),
            kind: BuyerKind::Public,
            siret: "19141408500016".to_owned(),
            vat_number: None,
            address: address(),
            electronic_address: ElectronicAddress::Directory("191414085".to_owned()),
            service_code: None,
            service_code_required: false,
            engagement_number: None,
            engagement_required: false,
            contract: None,
        }
    }

    /// A statement of lines of these cents at these rates, with the sums of rating.
    fn statement(lines: &[(i64, usize)]) -> TenantStatement {
        let mut bases: BTreeMap<&str, Cents> = BTreeMap::new();
        let written: Vec<_> = lines
            .iter()
            .map(|(cents, rate)| {
                let (amount, rate) = (Cents(i128::from(*cents)), RATES[*rate]);
                let base = bases.entry(rate).or_default();
                *base = *base + amount;
                json!({"kind": "CostShare", "costPool": "p", "amount": amount.to_string(), "vatRate": rate})
            })
            .collect();
        let vat: Vec<_> = bases
            .iter()
            .map(|(rate, base)| (rate, base, base.vat(rate.parse().unwrap()).unwrap()))
            .collect();
        let net: Cents = bases.values().copied().sum();
        let gross = net + vat.iter().map(|(.., amount)| *amount).sum();
        let vat: Vec<_> = vat
            .iter()
            .map(|(rate, base, amount)| json!({"rate": rate, "base": base, "amount": amount}))
            .collect();
        serde_json::from_value(json!({"tenant": "univ-caen", "status": {
            "state": "Final", "currency": "EUR",
            "period": {"month": "2026-11", "from": "2026-10-31T23:00:00Z", "to": "2026-11-30T23:00:00Z",
                "timeZone": "Europe/Paris"},
            "lines": written,
            "totals": {"net": net, "vat": vat, "gross": gross},
            "ledger": {"records": 0, "head": "00"},
        }}))
        .unwrap()
    }

    fn issued(seq: usize, document: ValidInvoice) -> IssuedInvoice {
        IssuedInvoice::new(
            InvoiceNumber(format!("F2026-{seq:06}")),
            jiff::civil::date(2026, 12, 7),
            document,
        )
    }

    fn drafted(lines: &[(i64, usize)]) -> Result<ValidInvoice, Vec<Fault>> {
        let terms = Terms {
            payment_days: 30,
            exemption: Some(Exemption::Cgi261B),
            replaces: None,
            account: Account::default(),
        };
        draft(&statement(lines), &seller(), &buyer(), &terms)
    }

    fn sums_agree(document: &ValidInvoice) {
        let of_lines: Cents = document.lines.iter().map(|line| line.amount).sum();
        let of_bases: Cents = document.vat.iter().map(|sum| sum.base).sum();
        let of_vat: Cents = document.vat.iter().map(|sum| sum.amount).sum();
        assert_eq!(document.sums.net, of_lines);
        assert_eq!(document.sums.net, of_bases);
        assert_eq!(document.sums.vat, of_vat);
        assert_eq!(document.sums.gross, of_lines + of_vat);
        for line in &document.lines {
            let price = line.quantity.unit_price * line.quantity.count;
            assert_eq!(Cents::from_decimal(price), Some(line.amount));
        }
        for sum in &document.vat {
            // EN 16931, BR-S-09: within a cent of the rate on the base.
            let exact = sum.base.vat(sum.category.rate()).unwrap();
            assert!((exact.0 - sum.amount.0).abs() <= 1, "{sum:?}");
        }
    }

    #[test]
    fn a_negative_statement_is_no_invoice() {
        let faults = drafted(&[(-100, 0), (50, 1)]).unwrap_err();
        assert!(matches!(faults[..], [Fault::Negative { .. }]), "{faults:?}");
    }

    proptest! {
        #[test]
        fn sums_agree_and_credit_notes_net_to_zero(
            lines in prop::collection::vec((1_i64..5_000_000, 0..RATES.len()), 1..12),
            given_back in prop::collection::vec((-10_000_i64..0, 0..RATES.len()), 0..3),
            parts in prop::collection::vec((0_usize..15, 1_i64..6_000_000), 0..12),
        ) {
            let lines: Vec<_> = lines.into_iter().chain(given_back).collect();
            let Ok(document) = drafted(&lines) else { return Ok(()) };
            sums_agree(&document);
            let invoice = issued(1, document);
            let mut notes: Vec<IssuedInvoice> = Vec::new();
            for (line, cents) in parts {
                let line = u32::try_from(line).unwrap() + 1;
                let what = Credit::Lines(vec![CreditedLine { line, amount: Cents(i128::from(cents)) }]);
                let left = Left::of(&invoice, &notes);
                let fits = left.lines.get(&line).is_some_and(|of_line| i128::from(cents) <= of_line.0);
                match credit(&invoice, &notes, &what, "panne") {
                    Ok(note) => {
                        prop_assert!(fits);
                        sums_agree(&note);
                        notes.push(issued(notes.len() + 2, note));
                    }
                    // A cent at a small rate may come to less than what is left without being more than its line.
                    Err(faults) => prop_assert!(!fits || matches!(faults[..], [Fault::MoreThanInvoice { .. }]), "{faults:?}"),
                }
            }
            let left = Left::of(&invoice, &notes).gross;
            prop_assert!(left >= Cents(0));
            if left > Cents(0) {
                let rest = credit(&invoice, &notes, &Credit::Whole, "solde").unwrap();
                sums_agree(&rest);
                notes.push(issued(notes.len() + 2, rest));
            }
            let credited: Cents = notes.iter().map(|note| note.document().sums.gross).sum();
            prop_assert_eq!(credited, invoice.document().sums.gross);
            let vat: Cents = notes.iter().map(|note| note.document().sums.vat).sum();
            if left > Cents(0) {
                prop_assert_eq!(vat, invoice.document().sums.vat);
            }
        }
    }
}
