//! What an Invoice is: what the ledger has issued for it, else what it would be issued as.

use super::gather::{self, number_of};
use super::{Found, Wrong, parties};
use crate::Context;
use crate::billing::tariff;
use crate::failure::Failure;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mesocentre_api::{FundsCall, Invoice, InvoiceCredit};
use mesocentre_metering::invoice::{
    Account, Called, Credit, CreditedLine, Fault, InvoiceNumber, IssuedInvoice, ValidInvoice, call_for_funds,
    credit, draft,
};
use mesocentre_metering::{BillingMonth, Cents};
use std::collections::HashSet;

/// What it is.
///
/// # Errors
/// When the ledger or the API server does not say now.
pub async fn find(context: &Context, invoice: &Invoice) -> Result<Result<Found, Wrong>, Failure> {
    match (&invoice.spec.month, &invoice.spec.credits, &invoice.spec.call) {
        (_, Some(credit), _) => credit_note(context, invoice, credit).await,
        (_, None, Some(call)) => of_call(context, invoice, call).await,
        (Some(month), None, None) => of_month(context, invoice, month).await,
        (None, None, None) => Ok(Err(Wrong::new(
            "NothingToBill",
            "an invoice bills a month, a credit note takes back what was billed, a call for funds asks ahead: write one of month, credits and call",
        ))),
    }
}

/// Stops with what is wrong.
macro_rules! or_say {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(wrong) => return Ok(Err(wrong)),
        }
    };
}

async fn of_month(
    context: &Context,
    invoice: &Invoice,
    month: &str,
) -> Result<Result<Found, Wrong>, Failure> {
    let home = invoice.namespace().unwrap_or_default();
    let month = or_say!(month_of(month));
    if let Some(rival) = gather::rival(context, invoice) {
        return Ok(Err(Wrong::new(
            "MonthTaken",
            format!(
                "{month} of {home} is billed by the Invoice {rival}, which was first: delete this one, or credit that one and name it in replaces"
            ),
        )));
    }
    let replaces = or_say!(replaced(context, invoice));
    if let Some(issued) = gather::issued(context, &home, month, replaces.as_ref()).await? {
        return Ok(Ok(Found::Issued(Box::new(issued), None)));
    }
    let tenant = or_say!(gather::tenant(context, invoice));
    let series = or_say!(gather::series(context, invoice));
    let statement = or_say!(gather::statement(context, &home, month).await?);
    let (seller, buyer) = (parties::seller(&series.spec), parties::buyer(&tenant.spec));
    let account = context.ledger.account_of(&home).await?;
    let terms = parties::terms(&series.spec, replaces, account);
    Ok(draft(&statement, &seller, &buyer, &terms)
        .map(|draft| Found::Draft(Box::new(draft)))
        .map_err(|faults| cannot(&faults)))
}

fn month_of(text: &str) -> Result<BillingMonth, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(
            "NotAMonth",
            format!("{text} is no month: write it as year and month, for example 2026-11"),
        )
    })
}

/// The number of what it takes the place of.
fn replaced(context: &Context, invoice: &Invoice) -> Result<Option<InvoiceNumber>, Wrong> {
    let named = invoice.spec.replaces.as_ref();
    named.map(|name| number_of(context, invoice, name)).transpose()
}

async fn of_call(
    context: &Context,
    invoice: &Invoice,
    call: &FundsCall,
) -> Result<Result<Found, Wrong>, Failure> {
    let home = invoice.namespace().unwrap_or_default();
    let (from, until) = (or_say!(month_of(&call.from)), or_say!(month_of(&call.until)));
    if let Some(rival) = gather::rival(context, invoice) {
        return Ok(Err(Wrong::new(
            "CallTaken",
            format!(
                "{home} is called for these months of {} by the Invoice {rival}, which was first: delete this one, or credit that one and name it in replaces",
                call.cost_pool
            ),
        )));
    }
    let replaces = or_say!(replaced(context, invoice));
    if let Some(issued) = gather::called(context, &home, call, from, replaces.as_ref()).await? {
        return Ok(Ok(Found::Issued(Box::new(issued), None)));
    }
    let tenant = or_say!(gather::tenant(context, invoice));
    let series = or_say!(gather::series(context, invoice));
    let pool = or_say!(gather::pool(context, &call.cost_pool));
    let tariffs = tariff::gather(context);
    let (seller, buyer) = (parties::seller(&series.spec), parties::buyer(&tenant.spec));
    let terms = parties::terms(&series.spec, replaces, Account::default());
    let called = Called {
        tenant: &home,
        category: tenant.spec.category,
        pool: &pool,
        from,
        until,
        tariffs: &tariffs,
    };
    Ok(call_for_funds(&called, &seller, &buyer, &terms)
        .map(|draft| Found::Draft(Box::new(draft)))
        .map_err(|faults| cannot(&faults)))
}

async fn credit_note(
    context: &Context,
    invoice: &Invoice,
    wanted: &InvoiceCredit,
) -> Result<Result<Found, Wrong>, Failure> {
    let own = invoice.status.as_ref().and_then(|status| status.number.clone());
    if let Some(number) = own {
        return Ok(
            match context.ledger.invoice(&InvoiceNumber(number.clone())).await? {
                Some(issued) => Ok(Found::Issued(Box::new(issued), None)),
                None => Err(Wrong::new(
                    "NotInTheLedger",
                    format!(
                        "the ledger holds no document {number}, which this was issued as: run meso ledger verify, and restore the ledger"
                    ),
                )),
            },
        );
    }
    let number = or_say!(number_of(context, invoice, &wanted.invoice));
    let Some(original) = context.ledger.invoice(&number).await? else {
        return Ok(Err(Wrong::new(
            "NotInTheLedger",
            format!("the ledger holds no invoice {number}: run meso ledger verify, and restore the ledger"),
        )));
    };
    let notes = context.ledger.credit_notes_on(&number).await?;
    let what = or_say!(what_of(wanted));
    if invoice.spec.issue && !notes.is_empty() {
        let taken = numbers_of_others(context, invoice).await?;
        if let Some(ours) = issued_before(&original, &notes, &what, &wanted.reason, &taken) {
            return Ok(Ok(Found::Issued(Box::new(ours), None)));
        }
    }
    Ok(credit(&original, &notes, &what, &wanted.reason)
        .map(|draft| Found::Draft(Box::new(draft)))
        .map_err(|faults| cannot(&faults)))
}

/// The credit note that was issued for this before its number could be written down: it says what this one would have
/// said then, and no other Invoice has its number.
fn issued_before(
    original: &IssuedInvoice,
    notes: &[IssuedInvoice],
    what: &Credit,
    reason: &str,
    taken: &HashSet<String>,
) -> Option<IssuedInvoice> {
    let is_same = |then: &ValidInvoice, note: &IssuedInvoice| then == note.document();
    (0..notes.len()).find_map(|count| {
        let (before, note) = (notes.get(..count)?, notes.get(count)?);
        let then = credit(original, before, what, reason).ok()?;
        (is_same(&then, note) && !taken.contains(&note.number().0)).then(|| note.clone())
    })
}

/// The numbers that the other Invoices of the namespace have: asked of the API server, since a number that is missing here
/// would be a second credit note.
async fn numbers_of_others(context: &Context, invoice: &Invoice) -> Result<HashSet<String>, Failure> {
    let home = invoice.namespace().unwrap_or_default();
    let invoices: Api<Invoice> = Api::namespaced(context.client.clone(), &home);
    let all = invoices
        .list(&ListParams::default())
        .await
        .map_err(|error| Failure::api(format!("listing the invoices of {home}"), error))?;
    Ok(all
        .items
        .into_iter()
        .filter(|other| other.uid() != invoice.uid())
        .filter_map(|other| other.status?.number)
        .collect())
}

fn what_of(wanted: &InvoiceCredit) -> Result<Credit, Wrong> {
    if wanted.lines.is_empty() {
        return Ok(Credit::Whole);
    }
    wanted
        .lines
        .iter()
        .map(|line| {
            Some(CreditedLine {
                line: u32::try_from(line.line).ok()?,
                amount: Cents::from_decimal(line.amount)?,
            })
        })
        .collect::<Option<_>>()
        .map(Credit::Lines)
        .ok_or_else(|| {
            Wrong::new(
                "NotAnAmount",
                "a line that is credited has no such number or amount: write the line's number and an amount with two decimals",
            )
        })
}

/// All reasons at once.
fn cannot(faults: &[Fault]) -> Wrong {
    let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Wrong::new("CannotBeInvoiced", all.join("; "))
}
