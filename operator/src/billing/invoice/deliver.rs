//! An issued document where people find it: as files in the archive, and as an InvoiceDocument in the tenant's home
//! namespace.
//!
//! Files are the work of a controller of its own: an archive that is away holds up no issuing. It is asked to look whenever
//! the Invoice was looked at.

use super::archive::{Archive, FileName, NotKept};
use crate::Context;
use crate::failure::{Failure, exists_already, is_not_found};
use crate::report::{Verdict, is_leaving, warn_when_not, write_status};
use crate::watch::key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::ToSpan;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use mesocentre_api::{
    Condition, ConditionStatus, DeliveredFile, Invoice, InvoiceDocument, InvoiceDocumentSpec, InvoiceSeries,
    InvoiceSeriesSpec, find_condition,
};
use mesocentre_metering::invoice::{InvoiceNumber, IssuedInvoice, render_pdf, render_xml};
use std::sync::Arc;

const DELIVERED: &str = "Delivered";
const NOT_WRITTEN: &str = "NotWritten";

/// Sees to it that the files of an issued document are there, and says in its status whether they are. Of one that was
/// delivered nothing else is said while nobody can look.
///
/// # Errors
/// When the ledger or the API server could not be read or written to now.
pub async fn reconcile(invoice: Arc<Invoice>, context: Arc<Context>) -> Result<Action, Failure> {
    let before = invoice.status.clone().unwrap_or_default();
    let series = context
        .stores
        .series
        .get(&key::<InvoiceSeries>(None, &invoice.spec.series));
    let (Some(archive), Some(number), Some(series)) = (&context.archive, &before.number, series) else {
        return Ok(Action::await_change());
    };
    if is_leaving(invoice.as_ref()) {
        return Ok(Action::await_change());
    }
    let kept = match archive.away() {
        Some(away) => Err(away),
        None => {
            let Some(issued) = context.ledger.invoice(&InvoiceNumber(number.clone())).await? else {
                // Ready says so.
                return Ok(Action::await_change());
            };
            let folder = series.spec.folder.clone().unwrap_or_else(|| series.name_any());
            keep(archive, &folder, Arc::new(issued), &before.files).await
        }
    };
    let mut status = before.clone();
    let (verdict, next) = match kept {
        Ok(files) => {
            let told: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let verdict = Verdict::yes(DELIVERED, format!("written as {}", told.join(" and ")));
            status.files = files;
            (verdict, Action::await_change())
        }
        Err(NotKept::Wrong(why)) => (Verdict::no(NOT_WRITTEN, why), Action::await_change()),
        Err(NotKept::Away(_, pause)) if is_delivered(&before.conditions) => {
            return Ok(Action::requeue(pause));
        }
        Err(NotKept::Away(why, pause)) => (Verdict::no(NOT_WRITTEN, why), Action::requeue(pause)),
    };
    verdict.set(&mut status.conditions, DELIVERED, invoice.metadata.generation);
    let now = status.conditions.clone();
    let invoice = write_status(&context, &invoice, status).await?;
    warn_when_not(&context, invoice.as_ref(), DELIVERED, &before.conditions, &now).await;
    Ok(next)
}

fn is_delivered(conditions: &[Condition]) -> bool {
    find_condition(conditions, DELIVERED).is_some_and(|condition| condition.status == ConditionStatus::True)
}

type Render = fn(&IssuedInvoice) -> Result<Vec<u8>, String>;

async fn keep(
    archive: &Archive,
    folder: &str,
    issued: Arc<IssuedInvoice>,
    delivered: &[DeliveredFile],
) -> Result<Vec<DeliveredFile>, NotKept> {
    let mut files = Vec::new();
    for (ending, media_type, render) in [
        ("pdf", "application/pdf", pdf as Render),
        ("xml", "application/xml", xml as Render),
    ]
    .into_iter()
    .filter(|(ending, ..)| *ending == "pdf" || has_xml(&issued))
    {
        let file = FileName {
            folder,
            name: &format!("{}.{ending}", issued.number()),
            media_type,
        };
        let rendered = || rendered(render, Arc::clone(&issued));
        files.push(archive.keep(file, delivered, rendered).await?);
    }
    Ok(files)
}

/// A page takes its time.
async fn rendered(render: Render, issued: Arc<IssuedInvoice>) -> Result<Vec<u8>, String> {
    tokio::task::spawn_blocking(move || render(&issued))
        .await
        .map_err(|error| format!("writing out the document was cut off: {error}"))?
}

fn pdf(issued: &IssuedInvoice) -> Result<Vec<u8>, String> {
    render_pdf(issued).map_err(|error| error.to_string())
}

/// A call for funds is no invoice, and has none.
fn has_xml(issued: &IssuedInvoice) -> bool {
    issued.document().purpose().is_invoice()
}

fn xml(issued: &IssuedInvoice) -> Result<Vec<u8>, String> {
    render_xml(issued).map_err(|error| error.to_string())
}

/// Sees to it that the document stands in the home namespace for as long as the series says; its name while it does.
///
/// # Errors
/// When the API server could not be read or written to now.
pub async fn to_home(
    context: &Context,
    invoice: &Invoice,
    series: Option<&InvoiceSeriesSpec>,
    issued: &IssuedInvoice,
) -> Result<Option<String>, Failure> {
    let name = issued.number().to_string().to_ascii_lowercase();
    let home = invoice.namespace().unwrap_or_default();
    let documents: Api<InvoiceDocument> = Api::namespaced(context.client.clone(), &home);
    // Without its series nobody says how long: what is there stays.
    let is_kept = series.is_none_or(|series| {
        issued
            .issued_on()
            .checked_add(series.document_days.days())
            .is_ok_and(|until| context.today() <= until && series.document_days > 0)
    });
    let doing = |what: &str| format!("{what} the InvoiceDocument {home}/{name}");
    // Without its content, which may be a hundred kilobytes.
    let there = documents
        .get_metadata_opt(&name)
        .await
        .map_err(|error| Failure::api(doing("reading"), error))?;
    match (there, is_kept) {
        (Some(_), true) => Ok(Some(name)),
        (None, false) => Ok(None),
        (None, true) if series.is_none() => Ok(None),
        (Some(_), false) => match documents.delete(&name, &DeleteParams::default()).await {
            Ok(_) => Ok(None),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(Failure::api(doing("deleting"), error)),
        },
        (None, true) => {
            let document = document(&name, invoice, issued).map_err(|error| Failure::Render {
                number: issued.number().to_string(),
                why: error,
            })?;
            match documents.create(&PostParams::default(), &document).await {
                Ok(_) => Ok(Some(name)),
                Err(error) if exists_already(&error) => Ok(Some(name)),
                Err(error) => Err(Failure::api(doing("making"), error)),
            }
        }
    }
}

fn document(name: &str, invoice: &Invoice, issued: &IssuedInvoice) -> Result<InvoiceDocument, String> {
    let mut document = InvoiceDocument::new(
        name,
        InvoiceDocumentSpec {
            number: issued.number().to_string(),
            pdf: STANDARD.encode(pdf(issued)?),
            xml: has_xml(issued)
                .then(|| String::from_utf8(xml(issued)?).map_err(|error| error.to_string()))
                .transpose()?,
        },
    );
    document.metadata.namespace = invoice.namespace();
    document.metadata.owner_references = invoice.owner_ref(&()).map(|owner| vec![owner]);
    Ok(document)
}
