//! Promises: a tenant whose shares bear VAT is asked ahead by a prepayment invoice in the ordinary series; what is paid on it
//! is set against the invoices that have VAT at its rate, with its VAT; it is in no sum of what was billed; and it is
//! credited as any invoice, but for what was set against others.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use jiff::civil::{Date, date};
use mesocentre_api::TenantCategory;
use mesocentre_metering::invoice::*;
use mesocentre_metering::ledger::{IssueError, Payment};
use mesocentre_metering::*;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;
use std::path::Path;
use support::*;

const ISSUED: Date = date(2026, 10, 1);
const TENANT: &str = "univ-caen";

fn series() -> Series {
    "F2026".parse().unwrap()
}

/// The examples, with shares at this rate.
fn at_rate(month: &str, rate: &str) -> RatingBasis {
    let mut basis = basis(month);
    for tariff in &mut basis.tariffs {
        tariff.spec.vat.rate = rate.parse().unwrap();
    }
    basis
}

fn call(basis: &RatingBasis, from: &str, until: &str) -> Result<ValidInvoice, Vec<Fault>> {
    let called = Called {
        tenant: TENANT,
        category: TenantCategory::University,
        pool: &basis.cost_pools[0],
        from: from.parse().unwrap(),
        until: until.parse().unwrap(),
        tariffs: &basis.tariffs,
    };
    call_for_funds(&called, &seller(), &university(), &terms(30))
}

/// A ledger in which the last quarter is asked for: 18,000.00 a month and 20 % VAT.
async fn called_quarter() -> (TestLedger, IssuedInvoice) {
    let test = TestLedger::new().await;
    let called = call(&basis("2026-11"), "2026-10", "2026-12").unwrap();
    let issued = test.ledger.issue(&series(), &called, ISSUED).await.unwrap();
    (test, issued)
}

async fn pay(test: &TestLedger, number: &InvoiceNumber, reference: &str, cents: i128) {
    let payment = Payment {
        reference: reference.to_owned(),
        amount: Cents(cents),
        paid_on: date(2026, 10, 20),
    };
    test.ledger.record_payment(number, &payment).await.unwrap();
}

/// A month, closed by this basis, as an invoice of what the tenant's account says now.
async fn invoice_of(test: &TestLedger, basis: &RatingBasis) -> ValidInvoice {
    let statement = closed_statement(&test.ledger, basis, TENANT).await;
    let terms = Terms {
        account: test.ledger.account_of(TENANT).await.unwrap(),
        exemption: Some(Exemption::Cgi261B),
        ..terms(30)
    };
    draft(&statement, &seller(), &university(), &terms).unwrap()
}

async fn issue(test: &TestLedger, draft: &ValidInvoice, on: Date) -> IssuedInvoice {
    test.ledger.issue(&series(), draft, on).await.unwrap()
}

/// What people read of it, where somebody asked to look.
fn look_at(issued: &IssuedInvoice, name: &str) {
    let pdf = render_pdf(issued).unwrap();
    assert!(String::from_utf8_lossy(&pdf).contains("factur-x.xml"));
    if let Some(folder) = std::env::var_os("MESO_LOOK_AT") {
        std::fs::write(Path::new(&folder).join(name), &pdf).unwrap();
    }
}

fn reviewed(issued: &IssuedInvoice, name: &str) {
    golden(name, &render_xml(issued).unwrap());
}

fn vat(rate: &str, base: i128, amount: i128) -> VatSum {
    VatSum {
        category: VatCategory::Rate(rate.parse().unwrap()),
        base: Cents(base),
        amount: Cents(amount),
    }
}

#[tokio::test]
async fn a_call_on_shares_with_vat_is_a_prepayment_invoice_in_the_ordinary_series() {
    let (test, called) = called_quarter().await;
    let document = called.document();
    assert_eq!(document.vat(), [vat("20", 5_400_000, 1_080_000)]);
    assert_eq!(called.number().to_string(), "F2026-000001");
    assert_eq!(called.due_on(), Some(date(2026, 10, 31)));
    assert!(document.purpose().is_invoice());
    reviewed(&called, "prepayment-invoice.xml");
    look_at(&called, "prepayment-invoice.pdf");
    // The ledger reads it as it was, and issues it once.
    let read = test.ledger.invoice(called.number()).await.unwrap();
    assert_eq!(read.as_ref(), Some(&called));
    assert_eq!(issue(&test, document, ISSUED).await, called);
    let over = call(&basis("2026-11"), "2026-12", "2026-12").unwrap();
    let refused = test.ledger.issue(&series(), &over, ISSUED).await.unwrap_err();
    assert!(matches!(refused, IssueError::Called { .. }), "{refused}");
    // The next document has the next number, whatever it is.
    let october = invoice_of(&test, &basis("2026-10")).await;
    let october = issue(&test, &october, date(2026, 11, 3)).await;
    assert_eq!(october.number().to_string(), "F2026-000002");
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[tokio::test]
async fn what_was_paid_of_a_prepayment_invoice_is_set_against_invoices_with_its_vat() {
    let (test, called) = called_quarter().await;
    // Less than half of it is paid, and no more is set off.
    pay(&test, called.number(), "VIR-1", 3_000_000).await;
    let october = invoice_of(&test, &basis("2026-10")).await;
    assert_eq!(
        (october.sums().gross, october.prepaid()),
        (Cents(2_160_000), Cents(2_160_000))
    );
    assert_eq!(october.vat_of_advances(), [vat("20", 1_800_000, 360_000)]);
    let october = issue(&test, &october, date(2026, 11, 3)).await;
    let settled = test.ledger.standing(october.number()).await.unwrap().unwrap();
    assert_eq!(settled.due(), Cents(0));

    let november = invoice_of(&test, &basis("2026-11")).await;
    let stale = november.clone();
    assert_eq!(november.vat_of_advances(), [vat("20", 700_000, 140_000)]);
    let november = issue(&test, &november, date(2026, 12, 3)).await;
    let standing = test.ledger.standing(november.number()).await.unwrap().unwrap();
    assert_eq!(
        (standing.advances, standing.due()),
        (Cents(840_000), Cents(1_320_000))
    );
    reviewed(&november, "invoice-after-prepayment.xml");
    look_at(&november, "invoice-after-prepayment.pdf");
    assert_eq!(issue(&test, &stale, date(2026, 12, 4)).await, november);
    let rest = test.ledger.standing(called.number()).await.unwrap().unwrap();
    assert_eq!(rest.due(), Cents(3_480_000));
    assert_eq!(test.ledger.account_of(TENANT).await.unwrap().advances, []);
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[tokio::test]
async fn an_advance_with_vat_waits_for_an_invoice_with_vat_at_its_rate() {
    let (test, called) = called_quarter().await;
    pay(&test, called.number(), "VIR-1", 3_000_000).await;
    for (month, rate, day) in [
        ("2026-10", "0", date(2026, 11, 3)),
        ("2026-11", "10", date(2026, 12, 3)),
    ] {
        let other = invoice_of(&test, &at_rate(month, rate)).await;
        assert_eq!(other.advances(), [], "{month}");
        issue(&test, &other, day).await;
    }
    let december = invoice_of(&test, &at_rate("2026-12", "20")).await;
    assert_eq!(december.prepaid(), Cents(2_160_000));
}

#[tokio::test]
async fn an_advance_without_vat_and_one_with_are_set_off_in_their_order_and_told_apart() {
    let (test, called) = called_quarter().await;
    pay(&test, called.number(), "VIR-1", 1_200_000).await;
    let exempt = RatingBasis {
        cost_pools: example_pools(),
        ..at_rate("2026-10", "0")
    };
    let mut pool = exempt.cost_pools[0].clone();
    pool.name = "autre".to_owned();
    let without = Called {
        tenant: TENANT,
        category: TenantCategory::University,
        pool: &pool,
        from: "2026-10".parse().unwrap(),
        until: "2026-10".parse().unwrap(),
        tariffs: &exempt.tariffs,
    };
    let exempt_terms = Terms {
        exemption: Some(Exemption::Cgi261B),
        ..terms(30)
    };
    let without = call_for_funds(&without, &seller(), &university(), &exempt_terms).unwrap();
    let without = test
        .ledger
        .issue(&"AF2026".parse().unwrap(), &without, ISSUED)
        .await
        .unwrap();
    pay(&test, without.number(), "VIR-2", 1_800_000).await;
    let october = invoice_of(&test, &basis("2026-10")).await;
    let taken: Vec<_> = october
        .advances()
        .iter()
        .map(|advance| (advance.call.to_string(), advance.amount, advance.vat().is_some()))
        .collect();
    assert_eq!(
        taken,
        [
            ("F2026-000001".to_owned(), Cents(1_200_000), true),
            ("AF2026-000001".to_owned(), Cents(960_000), false),
        ]
    );
    assert_eq!(october.vat_of_advances(), [vat("20", 1_000_000, 200_000)]);
}

#[tokio::test]
async fn a_prepayment_invoice_is_in_no_sum_of_what_was_billed() {
    let (test, called) = called_quarter().await;
    pay(&test, called.number(), "VIR-1", 6_480_000).await;
    let mut net = Vec::new();
    for (month, day) in [("2026-10", date(2026, 11, 3)), ("2026-11", date(2026, 12, 3))] {
        let statement = closed_statement(&test.ledger, &basis(month), TENANT).await;
        let invoice = invoice_of(&test, &basis(month)).await;
        // In full, whatever was paid ahead.
        assert_eq!(invoice.sums().net.to_string(), statement.status.totals.net);
        net.push(invoice.sums().net);
        issue(&test, &invoice, day).await;
    }
    let note = credit(
        &called,
        &[],
        &Credit::Lines(vec![CreditedLine {
            line: 3,
            amount: Cents(100_000),
        }]),
        "Clé modifiée",
    )
    .unwrap();
    issue(&test, &note, date(2026, 12, 4)).await;
    let account = test.ledger.account_of(TENANT).await.unwrap();
    let billed: Vec<Cents> = account.billed.iter().map(|month| month.net).collect();
    assert_eq!(billed, net);
    assert_eq!(account.standing.len(), 2);
}

#[tokio::test]
async fn a_prepayment_invoice_is_credited_as_any_but_for_what_was_set_against_invoices() {
    let (test, called) = called_quarter().await;
    let part = |cents| {
        Credit::Lines(vec![CreditedLine {
            line: 3,
            amount: Cents(cents),
        }])
    };
    let note = credit(&called, &[], &part(300_000), "Clé modifiée").unwrap();
    assert!(note.purpose().is_invoice());
    assert_eq!(note.purpose().until(), called.document().purpose().until());
    assert_eq!(note.vat(), [vat("20", 300_000, 60_000)]);
    let note = issue(&test, &note, date(2026, 10, 2)).await;
    assert_eq!(note.number().to_string(), "F2026-000002");
    assert_eq!(
        test.ledger.invoice(note.number()).await.unwrap().as_ref(),
        Some(&note)
    );
    reviewed(&note, "credit-note-prepayment.xml");
    look_at(&note, "credit-note-prepayment.pdf");

    pay(&test, called.number(), "VIR-1", 2_160_000).await;
    let october = invoice_of(&test, &basis("2026-10")).await;
    issue(&test, &october, date(2026, 11, 3)).await;
    let notes = [note];
    let whole = credit(&called, &notes, &Credit::Whole, "Rapporté").unwrap();
    let refused = test
        .ledger
        .issue(&series(), &whole, date(2026, 11, 4))
        .await
        .unwrap_err();
    // 64,800.00 less 3,600.00 that were credited and 21,600.00 that were set off.
    let told = refused.to_string();
    assert!(
        matches!(refused, IssueError::SetOff { .. })
            && told.contains("21600.00 of what was paid on F2026-000001")
            && told.contains("at most 39600.00 with VAT"),
        "{told}"
    );
    let rest = Credit::Lines(vec![
        CreditedLine {
            line: 2,
            amount: Cents(1_800_000),
        },
        CreditedLine {
            line: 3,
            amount: Cents(1_500_000),
        },
    ]);
    let rest = credit(&called, &notes, &rest, "Rapporté").unwrap();
    issue(&test, &rest, date(2026, 11, 4)).await;
    let standing = test.ledger.standing(called.number()).await.unwrap().unwrap();
    assert_eq!(standing.due(), Cents(0));
}

#[test]
fn one_call_asks_for_one_rate() {
    let mut basis = basis("2026-11");
    let mut december = basis.tariffs.clone();
    for tariff in &mut basis.tariffs {
        tariff.spec.valid_until = date(2026, 11, 30);
    }
    for tariff in &mut december {
        tariff.spec.valid_from = date(2026, 12, 1);
        tariff.spec.vat.rate = Decimal::ZERO;
    }
    basis.tariffs.extend(december);
    let faults = call(&basis, "2026-11", "2026-12").unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|fault| fault.contains("bears 20 % VAT in some of these months and 0 % in others")),
        "{told:?}"
    );
    assert!(call(&basis, "2026-11", "2026-11").is_ok());
}

/// What ledgers hold of calls that were taken back before there were prepayment invoices is read as it was written.
#[test]
fn what_takes_a_call_back_is_written_as_before() {
    let written = json!({"creditNote": {
        "corrects": "AF2026-000001", "corrected_on": "2026-10-01", "reason": "Rapporté", "after": [], "call": "2026-12",
    }});
    let read: Purpose = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(read.ahead(), Some(Ahead::Call("2026-12".parse().unwrap())));
    assert_eq!(serde_json::to_value(&read).unwrap(), written);
    let on_an_invoice = json!({"creditNote": {
        "corrects": "F2026-000001", "corrected_on": "2026-10-01", "reason": "Panne", "after": ["A2026-000001"],
    }});
    let read: Purpose = serde_json::from_value(on_an_invoice.clone()).unwrap();
    assert_eq!(read.ahead(), None);
    assert_eq!(serde_json::to_value(&read).unwrap(), on_an_invoice);
}

proptest! {
    /// However what was paid is set off in parts, at whatever rates the invoices are: a part is never more than is owed at
    /// its rate, and the VAT of the parts is the VAT of what they come to.
    #[test]
    fn the_vat_of_an_advance_in_parts_is_its_vat(
        paid in 1_i128..100_000,
        invoices in prop::collection::vec((prop::sample::select(vec!["20", "5.5", "2.1"]), 1_i128..20_000, 0_i128..5_000), 1..12),
    ) {
        let rate: Decimal = "20".parse().unwrap();
        let advance = |amount, before| Advance {
            call: InvoiceNumber("F2026-000001".to_owned()),
            amount,
            taxed: Some(TaxedAdvance { issued_on: ISSUED, rate, before }),
        };
        let (mut used, mut vat) = (Cents(0), Cents(0));
        for (at, net, exempt) in invoices {
            let left = Cents(paid) - used;
            let account = Account { advances: vec![advance(left, used)], ..Account::default() };
            let taxed = VatSum {
                category: VatCategory::Rate(at.parse().unwrap()),
                base: Cents(net),
                amount: Cents(net).vat(at.parse().unwrap()).unwrap(),
            };
            let without = VatSum { category: VatCategory::Exempt, base: Cents(exempt), amount: Cents(0) };
            let taken = account.advances_on(&[without, taxed]);
            let sum: Cents = taken.iter().map(|part| part.amount).sum();
            let most = if at == "20" { left.min(taxed.base + taxed.amount) } else { Cents(0) };
            prop_assert_eq!(sum, most);
            used = used + sum;
            vat = vat + taken.iter().filter_map(Advance::vat).map(|part| part.amount).sum();
        }
        prop_assert_eq!(Some(vat), used.vat_within(rate));
    }
}
