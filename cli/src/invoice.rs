//! `meso invoice`: a tenant's invoices, credit notes and calls for funds, and their documents, in French with English beside.
//!
//! Who may read them is the API server's to say; numbers and amounts are shown as the operator wrote them.

use crate::api_answer;
use crate::batch_jobs::list_all;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::french_number::french_money;
use crate::output::{self, FormatArgument, List, machine_readable};
use crate::table::{Align, Table, on_one_line};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use kube::{Api, ResourceExt};
use mesocentre_api::{
    ConditionStatus, Invoice, InvoiceDocument, InvoiceKind, InvoicePhase, InvoiceStatus, find_condition,
};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

/// Whose invoices.
#[derive(Args, Debug)]
struct Tenant {
    /// The tenant [default: the namespace's]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    place: Place,
}

impl Tenant {
    fn home<'a>(&'a self, connection: &'a Connection) -> Result<&'a str, Failure> {
        connection.home_of_tenant(self.tenant.as_deref())
    }
}

/// What `invoice list` takes.
#[derive(Args, Debug)]
pub struct ListOptions {
    /// Those of all tenants, for who keeps the datacentre's accounts
    #[arg(long, conflicts_with = "tenant")]
    all_tenants: bool,
    #[command(flatten)]
    tenant: Tenant,
    #[command(flatten)]
    format: FormatArgument,
}

/// What `invoice show` takes.
#[derive(Args, Debug)]
pub struct ShowOptions {
    /// Its number, or the Invoice's name
    #[arg(value_name = "NUMBER")]
    invoice: String,
    #[command(flatten)]
    tenant: Tenant,
    #[command(flatten)]
    format: FormatArgument,
}

/// What `invoice pdf` and `invoice xml` take.
#[derive(Args, Debug)]
pub struct DocumentOptions {
    /// Its number, for example F2026-000001
    #[arg(value_name = "NUMBER")]
    number: String,
    /// The file to write, which must not be there yet; - is standard output [default: NUMBER.pdf, NUMBER.xml]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    tenant: Tenant,
}

/// Which of the two forms of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentForm {
    /// For people, with the XML inside.
    Pdf,
    /// For programs.
    Xml,
}

/// Lists invoices.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn list(options: ListOptions, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.tenant.place.clone().or(before)).await?;
    let client = connection.client.clone();
    let (api, whose): (Api<Invoice>, _) = if options.all_tenants {
        (Api::all(client), "all tenants")
    } else {
        let home = options.tenant.home(&connection)?;
        (Api::namespaced(client, home), home)
    };
    let mut all = list_all(&api, &format!("listing the invoices of {whose}")).await?;
    all.sort_by_key(|invoice| {
        let status = invoice.status.clone().unwrap_or_default();
        (
            status.issued_on.is_none(),
            status.issued_on,
            status.number,
            invoice.namespace(),
        )
    });
    let text = match machine_readable(options.format.format, &List::of(&all))? {
        Some(text) => text,
        None if all.is_empty() => format!("{whose}: aucune facture / no invoice\n"),
        None => table(&all, options.all_tenants),
    };
    output::print(&text)
}

fn table(all: &[Invoice], with_tenant: bool) -> String {
    let mut heads = vec![
        ("Numéro / Number", Align::Left),
        ("Pièce / Kind", Align::Left),
        ("Mois / Month", Align::Left),
        ("Émise / Issued", Align::Left),
        ("Échéance / Due", Align::Left),
        ("TTC / Gross", Align::Right),
        ("Reste dû / Owed", Align::Right),
        ("État / State", Align::Left),
    ];
    if with_tenant {
        heads.insert(0, ("Tenant", Align::Left));
    }
    let mut table = Table::new(&heads);
    for invoice in all {
        let status = invoice.status.clone().unwrap_or_default();
        let mut cells = vec![
            status
                .number
                .clone()
                .unwrap_or_else(|| format!("(projet / draft) {}", invoice.name_any())),
            kind(invoice, &status).to_owned(),
            months(&status),
            day(status.issued_on),
            day(status.due_on),
            money(&status, status.gross.as_deref()),
            money(&status, status.due.as_deref()),
            state(invoice, &status),
        ];
        if with_tenant {
            cells.insert(0, invoice.namespace().unwrap_or_default());
        }
        table.row(cells);
    }
    table.render(None)
}

/// Shows one.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn show(options: ShowOptions, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.tenant.place.clone().or(before)).await?;
    let home = options.tenant.home(&connection)?;
    let api: Api<Invoice> = Api::namespaced(connection.client.clone(), home);
    let all = list_all(&api, &format!("listing the invoices of {home}")).await?;
    let wanted = &options.invoice;
    let number = |invoice: &Invoice| invoice.status.as_ref().and_then(|status| status.number.clone());
    let found = all
        .iter()
        .find(|invoice| number(invoice).as_ref() == Some(wanted))
        .or_else(|| all.iter().find(|invoice| invoice.name_any() == *wanted));
    let Some(found) = found else {
        return Err(Failure::NotFound(format!(
            "{home} has no invoice {wanted}: name one that meso invoice list shows"
        )));
    };
    let mut found = found.clone();
    found.metadata.managed_fields = None;
    let text = match machine_readable(options.format.format, &found)? {
        Some(text) => text,
        None => describe(&found),
    };
    output::print(&text)
}

fn describe(invoice: &Invoice) -> String {
    let status = invoice.status.clone().unwrap_or_default();
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.row(vec![name.to_owned(), value]);
        }
    };
    row(
        kind(invoice, &status),
        status.number.clone().unwrap_or_else(|| "projet / draft".into()),
    );
    row("Tenant", invoice.namespace().unwrap_or_default());
    row("Mois / Month", months(&status));
    row("Rectifie / Corrects", status.corrects.clone().unwrap_or_default());
    row("Émise le / Issued on", day(status.issued_on));
    row("Échéance / Due on", day(status.due_on));
    row("HT / Net", money(&status, status.net.as_deref()));
    row("TVA / VAT", money(&status, status.vat.as_deref()));
    row("TTC / Gross", money(&status, status.gross.as_deref()));
    row(
        "Avances / Paid in advance",
        money(&status, status.advances.as_deref()),
    );
    row("Avoirs / Credited", money(&status, status.credited.as_deref()));
    row("Payé / Paid", money(&status, status.paid.as_deref()));
    row("Reste dû / Owed", money(&status, status.due.as_deref()));
    row("État / State", state(invoice, &status));
    if let Some(number) = status.document.as_ref().and(status.number.as_ref()) {
        row("Document", format!("meso invoice pdf {number}"));
    }
    // The heads are empty.
    table.render(None).trim_start_matches('\n').to_owned()
}

/// What it is: as the operator says, else as it is written.
fn kind(invoice: &Invoice, status: &InvoiceStatus) -> &'static str {
    let written = match (&invoice.spec.credits, &invoice.spec.call) {
        (Some(_), _) => InvoiceKind::CreditNote,
        (None, Some(_)) => InvoiceKind::Call,
        (None, None) => InvoiceKind::Invoice,
    };
    match status.kind.unwrap_or(written) {
        InvoiceKind::Invoice => "Facture / Invoice",
        InvoiceKind::CreditNote => "Avoir / Credit note",
        InvoiceKind::Call => "Appel de fonds / Call",
        InvoiceKind::Prepayment => "Facture d'acompte / Prepayment invoice",
    }
}

fn months(status: &InvoiceStatus) -> String {
    match (&status.month, &status.until) {
        (Some(from), Some(until)) if from != until => format!("{from} – {until}"),
        (month, _) => month.clone().unwrap_or_default(),
    }
}

/// How far it has come, and what stands in the way.
fn state(invoice: &Invoice, status: &InvoiceStatus) -> String {
    let phase = match status.phase {
        InvoicePhase::Draft => "projet / draft",
        InvoicePhase::Issued => "émise / issued",
        InvoicePhase::PartlyPaid => "payée en partie / partly paid",
        InvoicePhase::Paid => "payée / paid",
        InvoicePhase::Credited => "annulée par avoir / credited",
    };
    let with = |type_: &str, wrong: ConditionStatus| {
        find_condition(&status.conditions, type_)
            .filter(|condition| condition.status == wrong)
            .map(|condition| on_one_line(&condition.message))
    };
    if with("Overdue", ConditionStatus::True).is_some() {
        return format!("{phase}, en retard / overdue");
    }
    match with("Ready", ConditionStatus::False) {
        Some(why) => format!("{phase}: {why}"),
        None if invoice.spec.issue && status.number.is_none() => format!("{phase}, …"),
        None => phase.to_owned(),
    }
}

/// Writes a document into a file.
///
/// # Errors
/// [`Failure`], as the API server answers, or when the file cannot be written.
pub async fn document(options: DocumentOptions, form: DocumentForm, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.tenant.place.clone().or(before)).await?;
    let home = options.tenant.home(&connection)?;
    let api: Api<InvoiceDocument> = Api::namespaced(connection.client.clone(), home);
    let number = &options.number;
    let document = api
        .get_opt(&number.to_ascii_lowercase())
        .await
        .map_err(|error| api_answer::failure(&format!("reading the invoice {number} of {home}"), &error))?
        .ok_or_else(|| {
            Failure::NotFound(format!(
                "{home} has no document {number}: name a number that meso invoice list shows; a document is kept there for some months after its issue, and older ones are with who keeps the datacentre's accounts"
            ))
        })?;
    let (bytes, ending) = match form {
        DocumentForm::Pdf => (
            STANDARD.decode(&document.spec.pdf).map_err(|error| {
                Failure::Failed(format!(
                    "the PDF of {number} cannot be read ({error}): tell the datacentre's administrators"
                ))
            })?,
            "pdf",
        ),
        DocumentForm::Xml => match document.spec.xml {
            Some(xml) => (xml.into_bytes(), "xml"),
            None => {
                return Err(Failure::NotFound(format!(
                    "{number} is a call for funds, or takes one back: it is no invoice, and has no XML; take meso invoice pdf {number}"
                )));
            }
        },
    };
    let path = options
        .output
        .unwrap_or_else(|| format!("{}.{ending}", document.spec.number).into());
    if path.as_os_str() == "-" {
        return io::stdout().write_all(&bytes).map_err(|error| {
            Failure::Failed(format!("writing {number} to standard output failed: {error}"))
        });
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
    match written {
        Ok(()) => output::print(&format!("{}\n", path.display())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::Failed(format!(
            "{} is there already and is not written over: name another file with -o",
            path.display()
        ))),
        Err(error) => Err(Failure::Failed(format!(
            "writing {} failed: {error}",
            path.display()
        ))),
    }
}

fn day(date: Option<jiff::civil::Date>) -> String {
    date.map(|date| date.strftime("%d/%m/%Y").to_string())
        .unwrap_or_default()
}

fn money(status: &InvoiceStatus, amount: Option<&str>) -> String {
    let currency = status.currency.unwrap_or_default();
    amount
        .map(|amount| french_money(amount, currency.as_str()))
        .unwrap_or_default()
}
