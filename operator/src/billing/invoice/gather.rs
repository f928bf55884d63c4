//! What an Invoice refers to: from the caches, and from the ledger.

use super::Wrong;
use super::series::first_of_series;
use crate::Context;
use crate::elder::first_before;
use crate::failure::Failure;
use crate::report::is_leaving;
use crate::watch::key;
use kube::ResourceExt;
use mesocentre_api::{FundsCall, Invoice, InvoiceSeries, Tenant};
use mesocentre_metering::invoice::{InvoiceNumber, IssuedInvoice, Purpose};
use mesocentre_metering::{BillingMonth, MonthDocument, NamedPool, TenantStatement};
use mesocentre_tenancy::validate::seniority;
use std::sync::Arc;

/// The tenant whose home namespace it is in.
pub fn tenant(context: &Context, invoice: &Invoice) -> Result<Arc<Tenant>, Wrong> {
    let home = invoice.namespace().unwrap_or_default();
    context.stores.tenants.get(&key(None, &home)).ok_or_else(|| {
        Wrong::new(
            "NoTenant",
            format!(
                "{home} is no tenant's home namespace: write the invoice into the namespace of the tenant's own name"
            ),
        )
    })
}

/// The series that it is issued in.
pub fn series(context: &Context, invoice: &Invoice) -> Result<Arc<InvoiceSeries>, Wrong> {
    let name = &invoice.spec.series;
    let Some(series) = context.stores.series.get(&key(None, name)) else {
        return Err(Wrong::new(
            "UnknownSeries",
            format!(
                "there is no InvoiceSeries {name}: make it, or name one that kubectl get invoiceseries shows"
            ),
        ));
    };
    match first_of_series(context, &series) {
        None => Ok(series),
        Some(first) => Err(Wrong::new(
            "SeriesTaken",
            format!(
                "the numbers {} are those of the InvoiceSeries {first}, which was made before {name}: write spec.series: {first}",
                series.spec.series
            ),
        )),
    }
}

/// Another Invoice of the same namespace that was made for the same.
pub fn rival(context: &Context, invoice: &Invoice) -> Option<String> {
    first_before(
        &context.stores.invoices.state(),
        invoice,
        // What has its number comes first.
        |invoice| {
            let number = invoice.status.as_ref().and_then(|status| status.number.as_ref());
            (number.is_none(), seniority(&invoice.metadata))
        },
        |other| {
            !is_leaving(other)
                && other.namespace() == invoice.namespace()
                && other.spec.credits.is_none()
                && other.spec.month == invoice.spec.month
                && other.spec.call == invoice.spec.call
                && other.spec.replaces == invoice.spec.replaces
        },
    )
}

/// The number of an Invoice of the same namespace.
pub fn number_of(context: &Context, invoice: &Invoice, name: &str) -> Result<InvoiceNumber, Wrong> {
    let home = invoice.namespace().unwrap_or_default();
    let Some(named) = context.stores.invoices.get(&key::<Invoice>(Some(&home), name)) else {
        return Err(Wrong::new(
            "UnknownInvoice",
            format!(
                "there is no Invoice {name} in {home}: name one that kubectl get invoices -n {home} shows"
            ),
        ));
    };
    match named.status.as_ref().and_then(|status| status.number.clone()) {
        Some(number) => Ok(InvoiceNumber(number)),
        None => Err(Wrong::new(
            "NotIssued",
            format!(
                "the Invoice {name} is not issued, so there is nothing to credit or to replace: issue it, or change the draft"
            ),
        )),
    }
}

/// What the ledger has issued for this month, this replaced invoice or none.
pub async fn issued(
    context: &Context,
    tenant: &str,
    month: BillingMonth,
    replaces: Option<&InvoiceNumber>,
) -> Result<Option<IssuedInvoice>, Failure> {
    let all = context.ledger.invoices_of(tenant, month).await?;
    Ok(all.into_iter().find(|issued| match issued.document().purpose() {
        Purpose::Invoice { replaces: replaced } => replaced.as_ref() == replaces,
        Purpose::MonthCredit { .. } => replaces.is_none(),
        Purpose::CreditNote { .. } | Purpose::Call { .. } | Purpose::Prepayment { .. } => false,
    }))
}

/// What the ledger has issued for this call, in place of that one or of none.
pub async fn called(
    context: &Context,
    tenant: &str,
    call: &FundsCall,
    from: BillingMonth,
    replaces: Option<&InvoiceNumber>,
) -> Result<Option<IssuedInvoice>, Failure> {
    let all = context.ledger.invoices_of(tenant, from).await?;
    Ok(all.into_iter().find(|issued| {
        let purpose = issued.document().purpose();
        purpose.replaces() == replaces
            && purpose
                .called()
                .is_some_and(|(pool, until)| pool == call.cost_pool && until.to_string() == call.until)
    }))
}

/// The pool that is called for.
pub fn pool(context: &Context, name: &str) -> Result<NamedPool, Wrong> {
    context
        .stores
        .pools
        .get(&key(None, name))
        .map(|pool| NamedPool {
            name: name.to_owned(),
            spec: pool.spec.clone(),
        })
        .ok_or_else(|| {
            Wrong::new(
                "UnknownCostPool",
                format!("there is no CostPool {name}: name one that kubectl get costpools shows"),
            )
        })
}

/// The tenant's statement of a closed month, as the ledger keeps it.
pub async fn statement(
    context: &Context,
    tenant: &str,
    month: BillingMonth,
) -> Result<Result<TenantStatement, Wrong>, Failure> {
    let Some(closed) = context.ledger.closed_month(month).await? else {
        return Ok(Err(Wrong::new(
            "MonthOpen",
            format!(
                "{month} is not closed, and only a closed month is invoiced: it waits for close: true of the BillingPeriod {month}"
            ),
        )));
    };
    let read: Result<MonthDocument, _> = serde_json::from_slice(&closed.statements);
    let document = match read {
        Ok(document) => document,
        Err(error) => {
            return Ok(Err(Wrong::new(
                "UnreadableMonth",
                format!(
                    "the closed month {month} in the ledger cannot be read ({error}): run meso ledger verify"
                ),
            )));
        }
    };
    Ok(document
        .statements
        .into_iter()
        .find(|statement| statement.tenant == tenant)
        .ok_or_else(|| {
            Wrong::new(
                "NoStatement",
                format!("{tenant} has no statement in {month}, so there is nothing to invoice: delete this invoice"),
            )
        }))
}
