//! A call for funds (*appel de fonds*): a tenant's foreseen share of a cost pool for months to come, asked for ahead.
//!
//! What is paid on it is set against the invoices that follow, and the true-up of the pool makes what was billed up to the
//! real costs. The part by use goes by weight, as in a month without any use: nobody has used anything yet.
//!
//! Of shares without VAT it is no invoice. An advance on a taxed service is taxed when it is paid and needs an invoice (CGI,
//! art. 269, 2, c and 289, I, 1, c): of shares with VAT it is a prepayment invoice (*facture d'acompte*, type 386).

use super::document::{Purpose, Sums, Terms, ValidInvoice, VatCategory};
use super::draft::{parties_and_term, vat_of};
use super::fault::Fault;
use super::line::{InvoiceLine, Quantity};
use super::party::{Buyer, Seller, is_printable, tidy};
use crate::calendar::BillingMonth;
use crate::digest::{Digest, canonical_json};
use crate::money::Cents;
use crate::rating::NamedPool;
use crate::sharing::{Days, amount_of_month, share_over};
use crate::tariff::NamedTariff;
use mesocentre_api::TenantCategory;

/// Months of a pool that are called from a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// Its category, which decides on VAT.
    pub category: TenantCategory,
    /// The pool.
    pub pool: &'a NamedPool,
    /// The first month.
    pub from: BillingMonth,
    /// The last month.
    pub until: BillingMonth,
    /// All tariffs.
    pub tariffs: &'a [NamedTariff],
}

/// A call over months of a pool, a line for each month; a prepayment invoice where its shares bear VAT.
///
/// # Errors
/// All reasons why it cannot be made.
pub fn call_for_funds(
    called: &Called<'_>,
    seller: &Seller,
    buyer: &Buyer,
    terms: &Terms,
) -> Result<ValidInvoice, Vec<Fault>> {
    let mut faults = Vec::new();
    let (seller, buyer) = parties_and_term(seller, buyer, terms, &mut faults);
    let (lines, digest) = match (lines(called), basis(called)) {
        (Ok(lines), Ok(digest)) => (lines, digest),
        (lines, digest) => {
            faults.extend(lines.err().into_iter().flatten());
            faults.extend(digest.err());
            return Err(faults);
        }
    };
    let category = match one_category(called, &lines) {
        Ok(VatCategory::Exempt) if terms.exemption.is_none() => {
            faults.push(Fault::NoExemption {
                tenant: called.tenant.to_owned(),
                month: called.from.to_string(),
            });
            VatCategory::Exempt
        }
        Ok(category) => category,
        Err(fault) => {
            faults.push(fault);
            return Err(faults);
        }
    };
    let Some(vat) = vat_of(lines.iter()).filter(|_| faults.is_empty()) else {
        return Err(faults);
    };
    let (cost_pool, until, replaces) = (called.pool.name.clone(), called.until, terms.replaces.clone());
    Ok(ValidInvoice {
        purpose: match category {
            VatCategory::Exempt => Purpose::Call {
                cost_pool,
                until,
                replaces,
            },
            VatCategory::Rate(_) => Purpose::Prepayment {
                cost_pool,
                until,
                replaces,
            },
        },
        tenant: called.tenant.to_owned(),
        month: called.from,
        statement: digest,
        currency: called.pool.spec.currency,
        seller,
        buyer,
        payment_days: terms.payment_days,
        exemption: terms.exemption.filter(|_| category == VatCategory::Exempt),
        lines,
        sums: Sums::of(&vat),
        vat,
        advances: Vec::new(),
        year: Vec::new(),
    })
}

/// SHA-256 of the pool that it rests on.
fn basis(called: &Called<'_>) -> Result<Digest, Fault> {
    canonical_json(called.pool)
        .map(|bytes| Digest::of(&[&bytes]))
        .map_err(|error| cannot(called, error.to_string()))
}

fn cannot(called: &Called<'_>, why: String) -> Fault {
    Fault::CannotBeCalled {
        tenant: called.tenant.to_owned(),
        pool: called.pool.name.clone(),
        why,
    }
}

fn lines(called: &Called<'_>) -> Result<Vec<InvoiceLine>, Vec<Fault>> {
    if called.until < called.from {
        return Err(vec![cannot(
            called,
            format!(
                "{} comes before {}: write a last month that is not before the first",
                called.until, called.from
            ),
        )]);
    }
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    let mut month = called.from;
    loop {
        match line(called, month, lines.len()) {
            Ok(line) => lines.extend(line),
            Err(fault) => faults.push(fault),
        }
        match month.next() {
            Ok(next) if next <= called.until => month = next,
            _ => break,
        }
    }
    if faults.is_empty() && lines.iter().map(|line| line.amount).sum::<Cents>() <= Cents(0) {
        faults.push(cannot(
            called,
            "it has no share above zero in these months: give it a weight in the pool, or delete the call"
                .to_owned(),
        ));
    }
    if faults.is_empty() { Ok(lines) } else { Err(faults) }
}

/// The line of a month; none where the tenant shares nothing in it.
fn line(called: &Called<'_>, month: BillingMonth, before: usize) -> Result<Option<InvoiceLine>, Fault> {
    let NamedPool { name, spec } = called.pool;
    let not = |why: String| cannot(called, why);
    let Some(amount) = amount_of_month(name, spec, month).map_err(|fault| not(fault.to_string()))? else {
        return Err(not(format!(
            "the pool is not valid in {month}: call months from {} to {}",
            spec.valid_from, spec.valid_until
        )));
    };
    let days = Days {
        first: month.first_day(),
        last: month.last_day(),
    };
    let shared = share_over(name, spec, days, amount, |_, _, _| 0).map_err(|fault| not(fault.to_string()))?;
    let share: Cents = shared
        .iter()
        .flat_map(|shared| &shared.parts)
        .filter(|part| part.tenant == called.tenant)
        .map(crate::sharing::PoolPart::due)
        .sum();
    if share == Cents(0) {
        return Ok(None);
    }
    let vat = vat_of_share(called, month)?;
    let mut details = vec![
        ("Charges".to_owned(), name.clone()),
        ("Montant du mois".to_owned(), amount.to_string().replace('.', ",")),
    ];
    if let [only] = shared.as_slice() {
        let weights: i128 = only.parts.iter().map(|part| part.weight).sum();
        let own = only.parts.iter().find(|part| part.tenant == called.tenant);
        details.extend(own.map(|own| ("Clé".to_owned(), format!("{} / {weights}", own.weight))));
    }
    let note = tidy(&spec.description);
    if !is_printable(&note) {
        return Err(Fault::Unprintable {
            who: format!("the cost pool {name}"),
            what: "description",
        });
    }
    let number = u32::try_from(before + 1).map_err(|_| not("it has too many months".to_owned()))?;
    let (what, what_en) = match vat {
        VatCategory::Exempt => ("Appel de fonds", "Call for funds"),
        VatCategory::Rate(_) => ("Acompte", "Advance on"),
    };
    Ok(Some(InvoiceLine {
        number,
        name: format!("{what} {month} : part des charges mutualisées"),
        name_en: format!("{what_en} {month}: share of mutualised costs"),
        details,
        note: Some(note),
        quantity: Quantity::lump(share).ok_or_else(|| not("its amount is too large".to_owned()))?,
        amount: share,
        vat,
        credits: None,
    }))
}

/// VAT on a share is that of the tariff in force for the tenant's category on the month's last day.
fn vat_of_share(called: &Called<'_>, month: BillingMonth) -> Result<VatCategory, Fault> {
    let day = month.last_day();
    let tariff = called.tariffs.iter().find(|tariff| {
        tariff.spec.categories.contains(&called.category)
            && tariff.spec.valid_from <= day
            && day <= tariff.spec.valid_until
    });
    let Some(tariff) = tariff else {
        return Err(cannot(
            called,
            format!(
                "no tariff covers {} on {day}, and whether a share bears VAT is the tariff's to say: write that tariff first",
                called.category.as_str()
            ),
        ));
    };
    let rate = tariff.spec.vat.rate;
    VatCategory::french(rate).ok_or_else(|| Fault::VatRate {
        rate: rate.normalize().to_string(),
    })
}

/// One document asks for one rate, so that what is paid on it has one.
fn one_category(called: &Called<'_>, lines: &[InvoiceLine]) -> Result<VatCategory, Fault> {
    let mut categories = lines.iter().map(|line| line.vat);
    let first = categories.next().unwrap_or(VatCategory::Exempt);
    match categories.find(|other| *other != first) {
        None => Ok(first),
        Some(other) => Err(cannot(
            called,
            format!(
                "its share bears {} % VAT in some of these months and {} % in others, and one call asks for one rate: call the months of each rate by themselves",
                first.rate(),
                other.rate()
            ),
        )),
    }
}
