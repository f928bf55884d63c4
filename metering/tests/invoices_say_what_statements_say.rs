//! An invoice says what its statement says, to the cent, and its XML is what reviewers read in `tests/golden/`.
//!
//! After a change that is meant: `UPDATE_GOLDEN=1 cargo test -p mesocentre-metering`, and read the difference.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use jiff::civil::{Date, date};
use mesocentre_metering::invoice::*;
use mesocentre_metering::*;
use std::path::Path;
use support::*;

const ISSUED: Date = date(2026, 12, 7);

async fn draft_of(test: &TestLedger, basis: &RatingBasis, buyer: &Buyer, terms: &Terms) -> ValidInvoice {
    let tenant = match buyer.kind {
        BuyerKind::Business => "nova-motors",
        _ => "univ-caen",
    };
    let statement = closed_statement(&test.ledger, basis, tenant).await;
    let drafted = draft(&statement, &seller(), buyer, terms).unwrap();
    let totals = &statement.status.totals;
    assert_eq!(drafted.sums().net.to_string(), totals.net);
    assert_eq!(drafted.sums().gross.to_string(), totals.gross);
    assert_eq!(drafted.lines().len(), statement.status.lines.len());
    for (line, of_statement) in drafted.lines().iter().zip(&statement.status.lines) {
        assert_eq!(line.amount.to_string(), of_statement.amount);
    }
    drafted
}

fn series() -> Series {
    "F2026".parse().unwrap()
}

#[tokio::test]
async fn an_invoice_to_a_public_buyer_is_the_one_that_was_reviewed() {
    let test = month_of_three().await;
    let drafted = draft_of(&test, &basis("2026-11"), &university(), &terms(30)).await;
    let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
    golden("invoice-univ-caen.xml", &render_xml(&issued).unwrap());
}

#[tokio::test]
async fn the_same_invoice_is_the_same_pdf_on_as_many_pages_as_it_takes() {
    let test = month_of_three().await;
    let drafted = draft_of(&test, &basis("2026-11"), &university(), &terms(30)).await;
    let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
    let pdf = render_pdf(&issued).unwrap();
    let kept = test.ledger.invoice(issued.number()).await.unwrap().unwrap();
    assert!(render_pdf(&kept).unwrap() == pdf, "two bytes for one invoice");
    assert_eq!(pages(&pdf), 1);
    look_at("invoice-univ-caen.pdf", &pdf);
}

#[tokio::test]
async fn a_long_invoice_goes_on_on_the_next_page() {
    let test = TestLedger::new().await;
    let records: Vec<UsageRecord> = (0..60)
        .map(|i| UsageRecord {
            allocation: Some(format!("project-{i:02}")),
            ..record(
                &format!("{i}"),
                "univ-caen",
                3_600 * (i + 1),
                "2026-11-10T10:00:00Z",
                "2026-11-10T11:00:00Z",
            )
        })
        .collect();
    test.append(&records).await;
    let drafted = draft_of(&test, &basis("2026-11"), &university(), &terms(30)).await;
    let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
    let pdf = render_pdf(&issued).unwrap();
    look_at("invoice-long.pdf", &pdf);
    assert_eq!(pages(&pdf), 5);
}

/// Leaves a PDF in the folder that MESO_LOOK_AT names, to look at it: `pdftoppm -r 90 -png FILE page`.
fn look_at(name: &str, pdf: &[u8]) {
    if let Some(folder) = std::env::var_os("MESO_LOOK_AT") {
        std::fs::write(Path::new(&folder).join(name), pdf).unwrap();
    }
}

/// How many pages a PDF says that it has.
fn pages(pdf: &[u8]) -> usize {
    let text = String::from_utf8_lossy(pdf);
    text.matches("/Type /Page\n").count()
}

#[tokio::test]
async fn an_invoice_without_vat_says_by_which_article() {
    let test = month_of_three().await;
    let mut basis = basis("2026-11");
    for tariff in &mut basis.tariffs {
        tariff.spec.vat.rate = "0".parse().unwrap();
    }
    let statement = closed_statement(&test.ledger, &basis, "univ-caen").await;
    assert_eq!(
        draft(&statement, &seller(), &university(), &terms(30)).unwrap_err(),
        [Fault::NoExemption {
            tenant: "univ-caen".to_owned(),
            month: "2026-11".to_owned()
        }]
    );
    let exempt = Terms {
        exemption: Some(Exemption::Cgi261B),
        ..terms(30)
    };
    let drafted = draft_of(&test, &basis, &university(), &exempt).await;
    let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
    golden("invoice-exempt.xml", &render_xml(&issued).unwrap());
    look_at("invoice-exempt.pdf", &render_pdf(&issued).unwrap());
}

#[tokio::test]
async fn a_credit_note_cites_what_it_corrects() {
    let test = month_of_three().await;
    let drafted = draft_of(&test, &basis("2026-11"), &company(), &terms(45)).await;
    let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
    golden("invoice-nova-motors.xml", &render_xml(&issued).unwrap());
    let lines = Credit::Lines(vec![
        CreditedLine {
            line: 1,
            amount: issued.document().lines()[0].amount,
        },
        CreditedLine {
            line: 2,
            amount: Cents(3_333),
        },
    ]);
    let note = credit(&issued, &[], &lines, "Panne du 12 novembre").unwrap();
    let note = test
        .ledger
        .issue(&"A2026".parse().unwrap(), &note, date(2026, 12, 15))
        .await
        .unwrap();
    golden("credit-note-nova-motors.xml", &render_xml(&note).unwrap());
    look_at("credit-note-nova-motors.pdf", &render_pdf(&note).unwrap());
}

#[tokio::test]
async fn an_invoice_that_replaces_another_names_it() {
    let test = month_of_three().await;
    let first = draft_of(&test, &basis("2026-11"), &university(), &terms(30)).await;
    let first = test.ledger.issue(&series(), &first, ISSUED).await.unwrap();
    let note = credit(&first, &[], &Credit::Whole, "Mauvais service").unwrap();
    let note = test.ledger.issue(&series(), &note, ISSUED).await.unwrap();
    golden("credit-note-whole.xml", &render_xml(&note).unwrap());
    let buyer = Buyer {
        service_code: Some("RECHERCHE".to_owned()),
        ..university()
    };
    let replacing = Terms {
        replaces: Some(first.number().clone()),
        ..terms(30)
    };
    let second = draft_of(&test, &basis("2026-11"), &buyer, &replacing).await;
    let second = test.ledger.issue(&series(), &second, ISSUED).await.unwrap();
    golden("invoice-replacing.xml", &render_xml(&second).unwrap());
}

#[tokio::test]
async fn what_is_given_back_of_a_closed_month_is_a_line_below_zero() {
    let test = TestLedger::new().await;
    let used = |key: &str, quantity, start: &str, end: &str| record(key, "univ-caen", quantity, start, end);
    let november = used("1", 7_200_003, "2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z");
    test.append(std::slice::from_ref(&november)).await;
    close_month(
        &test.ledger,
        &basis_without_pools("2026-11"),
        at("2026-12-05T08:00:00Z"),
    )
    .await
    .unwrap();
    test.append(&[
        revised(november, 1, 3_600_001),
        used("2", 90_000_000, "2026-12-10T10:00:00Z", "2026-12-10T11:00:00Z"),
    ])
    .await;
    let drafted = draft_of(&test, &basis_without_pools("2026-12"), &university(), &terms(30)).await;
    let given_back = &drafted.lines()[1];
    assert!(given_back.amount < Cents(0) && given_back.quantity.count.is_sign_negative());
    assert!(!given_back.quantity.unit_price.is_sign_negative());
    let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
    golden("invoice-with-correction.xml", &render_xml(&issued).unwrap());
    look_at("invoice-with-correction.pdf", &render_pdf(&issued).unwrap());
}

#[tokio::test]
async fn a_month_below_nothing_is_a_credit_note_on_the_invoices_that_it_gives_back_of() {
    let test = TestLedger::new().await;
    let used = |key: &str, quantity, start: &str, end: &str| record(key, "univ-caen", quantity, start, end);
    let november = used("1", 90_000_000, "2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z");
    test.append(std::slice::from_ref(&november)).await;
    let first = draft_of(&test, &basis_without_pools("2026-11"), &university(), &terms(30)).await;
    test.append(&[
        revised(november, 1, 3_600_001),
        used("2", 36_000, "2026-12-10T10:00:00Z", "2026-12-10T11:00:00Z"),
    ])
    .await;
    let statement = closed_statement(&test.ledger, &basis_without_pools("2026-12"), "univ-caen").await;
    let drafted = |account| {
        let terms = Terms { account, ..terms(30) };
        draft(&statement, &seller(), &university(), &terms)
    };
    let unbilled = drafted(test.ledger.account_of("univ-caen").await.unwrap()).unwrap_err();
    assert!(matches!(unbilled[..], [Fault::Negative { .. }]), "{unbilled:?}");

    let first = test.ledger.issue(&series(), &first, ISSUED).await.unwrap();
    let account = test.ledger.account_of("univ-caen").await.unwrap();
    let note = drafted(account).unwrap();
    let totals = &statement.status.totals;
    assert_eq!(format!("-{}", note.sums().net), totals.net);
    assert_eq!(format!("-{}", note.sums().gross), totals.gross);
    let Purpose::MonthCredit { corrects } = note.purpose() else {
        panic!("{:?}", note.purpose());
    };
    assert_eq!(corrects.len(), 1);
    assert_eq!(corrects[0].number, *first.number());
    let credit_series: Series = "A2026".parse().unwrap();
    let issued = test.ledger.issue(&credit_series, &note, ISSUED).await.unwrap();
    golden("credit-note-month.xml", &render_xml(&issued).unwrap());
    look_at("credit-note-month.pdf", &render_pdf(&issued).unwrap());

    // It is the month's bill: issued once, owed to the tenant until it is paid back, and no invoice's own credit.
    let again = test.ledger.issue(&series(), &note, ISSUED).await.unwrap();
    assert_eq!(again.number(), issued.number());
    assert_eq!(test.ledger.credit_notes_on(first.number()).await.unwrap(), []);
    let standing = async || test.ledger.standing(issued.number()).await.unwrap().unwrap();
    assert_eq!(standing().await.due(), Cents(0) - note.sums().gross);
    let paid_back = ledger::Payment {
        reference: "VIR-1".to_owned(),
        amount: Cents(0) - note.sums().gross,
        paid_on: date(2026, 12, 20),
    };
    test.ledger
        .record_payment(issued.number(), &paid_back)
        .await
        .unwrap();
    assert_eq!(standing().await.due(), Cents(0));
    let refused = credit(&issued, &[], &Credit::Whole, "une erreur").unwrap_err();
    assert!(matches!(refused[..], [Fault::NotAnInvoice { .. }]), "{refused:?}");
}

#[tokio::test]
async fn an_invoice_tells_what_the_months_of_its_year_were_billed() {
    let test = TestLedger::new().await;
    let mut last = None;
    for (month, hours) in [(7, 900), (8, 300), (9, 1_200), (10, 700), (11, 1_000)] {
        let day = format!("2026-{month:02}-10T10:00:00Z");
        let until = format!("2026-{month:02}-10T11:00:00Z");
        let key = month.to_string();
        test.append(&[record(&key, "univ-caen", hours * 3_600_000, &day, &until)])
            .await;
        let basis = basis_without_pools(&format!("2026-{month:02}"));
        let statement = closed_statement(&test.ledger, &basis, "univ-caen").await;
        let terms = Terms {
            account: test.ledger.account_of("univ-caen").await.unwrap(),
            ..terms(30)
        };
        let drafted = draft(&statement, &seller(), &university(), &terms).unwrap();
        let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
        if month == 9 {
            let half = issued.document().lines()[0].amount.0 / 2;
            let lines = Credit::Lines(vec![CreditedLine {
                line: 1,
                amount: Cents(half),
            }]);
            let note = credit(&issued, &[], &lines, "Panne").unwrap();
            test.ledger.issue(&series(), &note, ISSUED).await.unwrap();
        }
        last = Some(issued);
    }
    let last = last.unwrap();
    let told: Vec<String> = last
        .document()
        .year()
        .iter()
        .map(|billed| format!("{} {}", billed.month, billed.net))
        .collect();
    assert_eq!(
        told,
        [
            "2026-07 10800.00",
            "2026-08 3600.00",
            "2026-09 7200.00",
            "2026-10 8400.00"
        ]
    );
    let pdf = render_pdf(&last).unwrap();
    look_at("invoice-with-year.pdf", &pdf);
    // What is told beside it makes no other draft of it.
    let kept = test.ledger.invoice(last.number()).await.unwrap().unwrap();
    assert!(kept.document().is_again(last.document()));
    assert_eq!(pages(&pdf), 1);
}

#[tokio::test]
async fn a_missing_service_code_is_refused_where_the_buyer_requires_one() {
    let test = month_of_three().await;
    let statement = closed_statement(&test.ledger, &basis("2026-11"), "univ-caen").await;
    let mut buyer = university();
    buyer.service_code = Some("  ".to_owned());
    let faults = draft(&statement, &seller(), &buyer, &terms(30)).unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "Université de Caen Normandie refuses invoices without a service code (BT-10), and none is written: ask it for \
         the code of the service that pays, and write it as serviceCode"
    );
    buyer.service_code_required = false;
    draft(&statement, &seller(), &buyer, &terms(30)).unwrap();
}

#[tokio::test]
async fn a_text_that_xml_cannot_hold_is_refused_and_a_long_one_is_wrapped() {
    let test = month_of_three().await;
    let mut basis = basis("2026-11");
    let mut spoiled = closed_statement(&test.ledger, &basis, "univ-caen").await;
    spoiled.status.lines[0].description = Some("a bell\u{7}".to_owned());
    let faults = draft(&spoiled, &seller(), &university(), &terms(30)).unwrap_err();
    assert!(matches!(faults[..], [Fault::Unprintable { .. }]), "{faults:?}");

    let test = month_of_three().await;
    let words = "Bâtiment,\n énergie 熱 et exploitation ".repeat(20);
    basis.cost_pools[0].spec.description = words;
    let mut buyer = university();
    buyer.name = "Institut national ".repeat(12);
    buyer.service_code = Some("SERVICE-".repeat(12));
    let drafted = draft_of(&test, &basis, &buyer, &terms(30)).await;
    let issued = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap();
    look_at("invoice-wordy.pdf", &render_pdf(&issued).unwrap());
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let test = month_of_three().await;
    let mut statement = closed_statement(&test.ledger, &basis("2026-11"), "univ-caen").await;
    statement.status.lines[0].amount = "4115.24".to_owned();
    statement.status.state = mesocentre_api::StatementState::Provisional;
    let mut seller = seller();
    seller.siret = "13000000300018".to_owned();
    seller.account.as_mut().unwrap().iban = "FR7630001007941234567890186".to_owned();
    let mut buyer = university();
    buyer.address.country_code = "DE".to_owned();
    buyer.electronic_address = ElectronicAddress::Email("nobody".to_owned());
    let faults = draft(&statement, &seller, &buyer, &terms(45)).unwrap_err();
    let named: Vec<String> = faults
        .iter()
        .map(|fault| format!("{fault:?}").split([' ', '{']).next().unwrap().to_owned())
        .collect();
    assert_eq!(
        named,
        [
            "Siret",
            "Iban",
            "Abroad",
            "ElectronicAddress",
            "Term",
            "Provisional"
        ]
    );
    statement.status.state = mesocentre_api::StatementState::Final;
    let faults = draft(&statement, &support::seller(), &university(), &terms(30)).unwrap_err();
    assert!(
        matches!(faults[0], Fault::Totals { what: "net", .. }),
        "{faults:?}"
    );
}
