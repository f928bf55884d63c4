//! An issued document where people find it: as files in the folder of its series, and as an InvoiceDocument in the
//! tenant's home namespace.
//!
//! What was delivered is never written over: a file with other bytes than were delivered is told of and left alone. One
//! that is missing is written again; the same document renders to the same bytes.

use crate::Context;
use crate::failure::{Failure, exists_already, is_not_found};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::ToSpan;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use mesocentre_api::{DeliveredFile, Invoice, InvoiceDocument, InvoiceDocumentSpec, InvoiceSeriesSpec};
use mesocentre_metering::Digest;
use mesocentre_metering::invoice::{IssuedInvoice, render_pdf, render_xml};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which folder of the operator's the documents go into; none where it has none.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The operator's own.
    pub root: PathBuf,
    /// The series' folder in it: one name, as the schema and [`is_one_name`] see to.
    pub series: String,
}

/// One folder's or file's name, and nothing that leads elsewhere.
fn is_one_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        && !name.starts_with('.')
}

/// Sees to it that the files of a document are there.
///
/// # Errors
/// Why not, in a sentence.
pub async fn to_folder(
    folder: Folder,
    issued: IssuedInvoice,
    delivered: Vec<DeliveredFile>,
) -> Result<Vec<DeliveredFile>, String> {
    tokio::task::spawn_blocking(move || write_files(&folder, &issued, &delivered))
        .await
        .map_err(|error| format!("writing the files was cut off: {error}"))?
}

fn write_files(
    folder: &Folder,
    issued: &IssuedInvoice,
    delivered: &[DeliveredFile],
) -> Result<Vec<DeliveredFile>, String> {
    let number = issued.number().to_string();
    if !is_one_name(&folder.series) || !is_one_name(&number) {
        return Err(format!(
            "{}/{number} is no place for a file: write one folder's name into spec.folder of the series",
            folder.series
        ));
    }
    let directory = folder.root.join(&folder.series);
    let mut files = Vec::new();
    for (kind, render) in [
        ("pdf", pdf as fn(&IssuedInvoice) -> Result<Vec<u8>, String>),
        ("xml", xml),
    ]
    .into_iter()
    .filter(|(kind, _)| *kind == "pdf" || has_xml(issued))
    {
        let name = format!("{number}.{kind}");
        let path = directory.join(&name);
        let known = format!("{}/{name}", folder.series);
        let told = |error: io::Error| {
            format!(
                "{} could not be read or written: {error}; it is tried again",
                path.display()
            )
        };
        let before = delivered.iter().find(|file| file.path == known);
        let there = match fs::read(&path) {
            Ok(bytes) => Some(Digest::of(&[&bytes]).to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(told(error)),
        };
        let sha256 = match (there, before) {
            (Some(there), Some(before)) if there == before.sha256 => there,
            (there, _) => {
                let bytes = render(issued)?;
                let sha256 = Digest::of(&[&bytes]).to_string();
                match there {
                    None => write_new(&directory, &name, &bytes).map_err(told)?,
                    Some(there) if there == sha256 => {}
                    Some(_) => {
                        return Err(format!(
                            "{} holds something else than {number}: it is left alone; move it away, and the document is written again",
                            path.display()
                        ));
                    }
                }
                sha256
            }
        };
        files.push(DeliveredFile { path: known, sha256 });
    }
    Ok(files)
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

/// Whole or not at all, and on the disk when it returns. Another file of that name is not written over.
fn write_new(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)?;
    let unfinished = directory.join(format!(".{name}.unfinished"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link fails where a rename would replace.
    let linked = fs::hard_link(&unfinished, directory.join(name));
    fs::remove_file(&unfinished)?;
    linked?;
    fs::File::open(directory)?.sync_all()
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "é", "a\0"] {
            assert!(!is_one_name(name), "{name:?}");
        }
        assert!(is_one_name("factures-2026") && is_one_name("F2026-000001"));
    }

    #[test]
    fn a_file_is_written_whole_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("factures");
        write_new(&directory, "F.pdf", b"first").unwrap();
        // What a killed process left.
        fs::write(directory.join(".G.pdf.unfinished"), b"half").unwrap();
        write_new(&directory, "G.pdf", b"second").unwrap();
        let error = write_new(&directory, "F.pdf", b"other").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(directory.join("F.pdf")).unwrap(), b"first");
        assert_eq!(fs::read(directory.join("G.pdf")).unwrap(), b"second");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    }
}
