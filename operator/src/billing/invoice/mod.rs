//! Invoice: a closed month of a tenant, from draft to paid; a credit note on one; or a call for funds ahead.
//!
//! ```text
//!  gather    the series, the tenant, the closed month and what was issued, from the ledger    gather.rs
//!  validate  seller, buyer and terms in the library's own types                               parties.rs
//!  plan      what it is: a draft, or what the ledger has issued                               plan.rs
//!  apply     the number, payments, the document in the home namespace                         issue.rs, deliver.rs
//!  report    status and conditions                                                            report.rs
//!               └─► files in a folder or a bucket, by a controller of their own               deliver.rs, archive/
//! ```
//!
//! The ledger has the last word: what it has issued for a tenant and a month is shown, whatever became of the object, and
//! only its transaction takes numbers. One invoice is looked at at a time.

mod archive;
pub mod deliver;
mod gather;
mod issue;
mod parties;
mod plan;
mod report;
pub mod series;

pub use archive::{Archive, InvoiceSettings};

use crate::Context;
use crate::failure::Failure;
use crate::report::is_leaving;
use kube::runtime::controller::Action;
use mesocentre_api::Invoice;
use mesocentre_metering::invoice::{IssuedInvoice, ValidInvoice};
use mesocentre_metering::ledger::Standing;
use std::sync::Arc;
use std::time::Duration;

/// How often an invoice that may become overdue, or a draft whose month may be closed, is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(900);

/// What stands in the way, for who can mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    reason: &'static str,
    message: String,
}

impl Wrong {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// What an Invoice is.
enum Found {
    /// It could be issued as this.
    Draft(Box<ValidInvoice>),
    /// It was issued, and stands at this; a credit note stands at nothing.
    Issued(Box<IssuedInvoice>, Option<Standing>),
}

/// One reconcile.
///
/// # Errors
/// When the ledger or the API server could not be read or written to now.
pub async fn reconcile(invoice: Arc<Invoice>, context: Arc<Context>) -> Result<Action, Failure> {
    if is_leaving(invoice.as_ref()) {
        return Ok(Action::await_change());
    }
    let found = plan::find(&context, &invoice).await?;
    let found = match found {
        Ok(Found::Draft(draft)) if invoice.spec.issue => {
            match issue::issue(&context, &invoice, &draft).await? {
                Ok(issued) => standing(&context, issued).await.map(Ok)?,
                Err(wrong) => Err(wrong),
            }
        }
        Ok(Found::Issued(issued, _)) => match issue::pay(&context, &invoice, &issued).await? {
            Ok(()) => standing(&context, *issued).await.map(Ok)?,
            Err(wrong) => {
                let shown = standing(&context, *issued).await?;
                report::report(&context, invoice, Ok(shown), Some(wrong)).await?;
                return Ok(Action::requeue(LOOKED_AT_EVERY));
            }
        },
        other => other,
    };
    report::report(&context, invoice, found, None).await?;
    Ok(Action::requeue(LOOKED_AT_EVERY))
}

async fn standing(context: &Context, issued: IssuedInvoice) -> Result<Found, Failure> {
    let standing = context.ledger.standing(issued.number()).await?;
    Ok(Found::Issued(Box::new(issued), standing))
}
