//! Promises: a tenant is called for its foreseen share of a pool ahead, by a document with a number of its own that is no
//! invoice; each month of a pool is called once; what is paid on calls is set against the invoices that follow, once, and
//! never more than was paid.
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
use std::collections::BTreeMap;
use std::path::Path;
use support::*;

const ISSUED: Date = date(2026, 10, 1);
const TENANT: &str = "univ-caen";

/// The examples, with shares that bear no VAT.
fn exempt(month: &str) -> RatingBasis {
    let mut basis = basis(month);
    for tariff in &mut basis.tariffs {
        tariff.spec.vat.rate = "0".parse().unwrap();
    }
    basis
}

fn exempt_terms(account: Account) -> Terms {
    Terms {
        exemption: Some(Exemption::Cgi261B),
        account,
        ..terms(30)
    }
}

fn month(text: &str) -> BillingMonth {
    text.parse().unwrap()
}

fn call(
    basis: &RatingBasis,
    from: &str,
    until: &str,
    replaces: Option<InvoiceNumber>,
) -> Result<ValidInvoice, Vec<Fault>> {
    let called = Called {
        tenant: TENANT,
        category: TenantCategory::University,
        pool: &basis.cost_pools[0],
        from: month(from),
        until: month(until),
        tariffs: &basis.tariffs,
    };
    let terms = Terms {
        replaces,
        ..exempt_terms(Account::default())
    };
    call_for_funds(&called, &seller(), &university(), &terms)
}

fn calls() -> Series {
    "AF2026".parse().unwrap()
}

fn invoices() -> Series {
    "F2026".parse().unwrap()
}

fn paid(reference: &str, cents: i128) -> Payment {
    Payment {
        reference: reference.to_owned(),
        amount: Cents(cents),
        paid_on: date(2026, 10, 20),
    }
}

/// November, closed, as an invoice of what the tenant's account says now.
async fn invoice_of(test: &TestLedger, month: &str) -> ValidInvoice {
    let statement = closed_statement(&test.ledger, &exempt(month), TENANT).await;
    let account = test.ledger.account_of(TENANT).await.unwrap();
    draft(&statement, &seller(), &university(), &exempt_terms(account)).unwrap()
}

#[tokio::test]
async fn a_call_is_the_foreseen_share_of_each_month_with_a_number_of_its_own() {
    let test = TestLedger::new().await;
    // 40,000.00 a month, and a weight of 45 among 100: the part by use goes by weight.
    let called = call(&exempt("2026-11"), "2026-10", "2026-12", None).unwrap();
    let amounts: Vec<String> = called
        .lines()
        .iter()
        .map(|line| line.amount.to_string())
        .collect();
    assert_eq!(amounts, ["18000.00"; 3]);
    assert_eq!(
        (called.sums().gross, called.sums().vat),
        (Cents(5_400_000), Cents(0))
    );
    let issued = test.ledger.issue(&calls(), &called, ISSUED).await.unwrap();
    assert_eq!(issued.number().to_string(), "AF2026-000001");
    assert_eq!(issued.due_on(), Some(date(2026, 10, 31)));
    assert!(!issued.document().purpose().is_invoice());
    let no_xml = render_xml(&issued).unwrap_err().to_string();
    assert!(no_xml.contains("is no invoice, and has no XML"), "{no_xml}");
    let pdf = render_pdf(&issued).unwrap();
    assert!(!String::from_utf8_lossy(&pdf).contains("factur-x.xml"));
    if let Some(folder) = std::env::var_os("MESO_LOOK_AT") {
        std::fs::write(Path::new(&folder).join("call.pdf"), &pdf).unwrap();
    }
    // Issued again, it is the same.
    let again = test.ledger.issue(&calls(), &called, ISSUED).await.unwrap();
    assert_eq!(again, issued);
}

#[tokio::test]
async fn no_month_of_a_pool_is_called_twice_unless_the_call_was_taken_back() {
    let test = TestLedger::new().await;
    let basis = exempt("2026-11");
    let first = call(&basis, "2026-10", "2026-12", None).unwrap();
    let first = test.ledger.issue(&calls(), &first, ISSUED).await.unwrap();
    for (from, until) in [
        ("2026-12", "2026-12"),
        ("2026-09", "2026-10"),
        ("2026-01", "2026-12"),
    ] {
        let over = call(&basis, from, until, None).unwrap();
        let refused = test.ledger.issue(&calls(), &over, ISSUED).await.unwrap_err();
        assert!(matches!(refused, IssueError::Called { .. }), "{refused}");
        assert!(refused.to_string().contains("AF2026-000001"), "{refused}");
    }
    let beside = call(&basis, "2026-07", "2026-09", None).unwrap();
    test.ledger.issue(&calls(), &beside, ISSUED).await.unwrap();

    let note = credit(&first, &[], &Credit::Whole, "Délibération rapportée").unwrap();
    assert!(!note.purpose().is_invoice());
    let note = test.ledger.issue(&calls(), &note, ISSUED).await.unwrap();
    assert_eq!(note.number().to_string(), "AF2026-000003");
    let pdf = render_pdf(&note).unwrap();
    if let Some(folder) = std::env::var_os("MESO_LOOK_AT") {
        std::fs::write(Path::new(&folder).join("call-taken-back.pdf"), &pdf).unwrap();
    }
    let second = call(&basis, "2026-10", "2026-12", Some(first.number().clone())).unwrap();
    let second = test.ledger.issue(&calls(), &second, ISSUED).await.unwrap();
    assert_eq!(second.number().to_string(), "AF2026-000004");
    assert_eq!(
        test.ledger.standing(first.number()).await.unwrap().unwrap().due(),
        Cents(0)
    );
}

#[tokio::test]
async fn what_cannot_be_called_is_told_with_what_to_write() {
    let told = |faults: Result<ValidInvoice, Vec<Fault>>| {
        let faults: Vec<String> = faults.unwrap_err().iter().map(ToString::to_string).collect();
        faults.join("\n")
    };
    let mut unknown = basis("2026-11");
    for tariff in &mut unknown.tariffs {
        tariff.spec.vat.rate = "19".parse().unwrap();
    }
    let unknown = told(call(&unknown, "2026-11", "2026-11", None));
    assert!(unknown.contains("the VAT rate 19 % is none"), "{unknown}");
    let turned = told(call(&exempt("2026-11"), "2026-12", "2026-11", None));
    assert!(turned.contains("2026-11 comes before 2026-12"), "{turned}");
    let beyond = told(call(&exempt("2026-11"), "2026-12", "2027-01", None));
    assert!(beyond.contains("the pool is not valid in 2027-01"), "{beyond}");
    let mut nobody = exempt("2026-11");
    nobody.cost_pools[0]
        .spec
        .shares
        .retain(|share| share.tenant != TENANT);
    let nobody = told(call(&nobody, "2026-11", "2026-11", None));
    assert!(nobody.contains("no share above zero"), "{nobody}");
}

#[tokio::test]
async fn what_was_paid_on_calls_is_set_against_invoices_once_and_the_rest_is_kept() {
    let test = TestLedger::new().await;
    let called = call(&exempt("2026-11"), "2026-10", "2026-12", None).unwrap();
    let called = test.ledger.issue(&calls(), &called, ISSUED).await.unwrap();
    // Before anything is paid, an invoice asks for all of it.
    assert_eq!(invoice_of(&test, "2026-10").await.prepaid(), Cents(0));
    test.ledger
        .record_payment(called.number(), &paid("VIR-1", 2_500_000))
        .await
        .unwrap();

    // Nobody used anything in October: the share is all by weight.
    let october = invoice_of(&test, "2026-10").await;
    assert_eq!(
        (october.sums().gross, october.prepaid()),
        (Cents(1_800_000), Cents(1_800_000))
    );
    let october = test
        .ledger
        .issue(&invoices(), &october, date(2026, 11, 3))
        .await
        .unwrap();
    let settled = test.ledger.standing(october.number()).await.unwrap().unwrap();
    assert_eq!(
        (settled.gross - settled.advances, settled.due()),
        (Cents(0), Cents(0))
    );

    let november = invoice_of(&test, "2026-11").await;
    assert_eq!(november.prepaid(), Cents(700_000));
    let stale = november.clone();
    test.ledger
        .record_payment(called.number(), &paid("VIR-2", 100_000))
        .await
        .unwrap();
    let refused = test
        .ledger
        .issue(&invoices(), &stale, date(2026, 12, 3))
        .await
        .unwrap_err();
    assert!(matches!(refused, IssueError::AdvancesChanged { .. }), "{refused}");
    let november = invoice_of(&test, "2026-11").await;
    let november = test
        .ledger
        .issue(&invoices(), &november, date(2026, 12, 3))
        .await
        .unwrap();
    assert_eq!(november.document().prepaid(), Cents(800_000));
    let standing = test.ledger.standing(november.number()).await.unwrap().unwrap();
    assert_eq!(standing.due(), Cents(1_000_000));
    let xml = render_xml(&november).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/invoice-less-advances.xml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &xml).unwrap();
    }
    assert!(
        std::fs::read(&file).unwrap_or_default() == xml,
        "invoice-less-advances.xml is another: UPDATE_GOLDEN=1, and read the difference"
    );
    if let Some(folder) = std::env::var_os("MESO_LOOK_AT") {
        std::fs::write(
            Path::new(&folder).join("invoice-less-advances.pdf"),
            render_pdf(&november).unwrap(),
        )
        .unwrap();
    }
    // Issued again after all that, it is the same; and nothing is left to set against December.
    let again = invoice_of(&test, "2026-11").await;
    let again = test
        .ledger
        .issue(&invoices(), &again, date(2026, 12, 4))
        .await
        .unwrap();
    assert_eq!(again.number(), november.number());
    assert_eq!(test.ledger.account_of(TENANT).await.unwrap().advances, []);

    // What it paid for cannot be taken back with the call: it would count twice.
    let whole = credit(&called, &[], &Credit::Whole, "Délibération rapportée").unwrap();
    let refused = test.ledger.issue(&calls(), &whole, ISSUED).await.unwrap_err();
    assert!(matches!(refused, IssueError::SetOff { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .starts_with("26000.00 of what was paid on AF2026-000001"),
        "{refused}"
    );
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

proptest! {
    /// Calls, what is paid on them, and invoices in any order: what is set against invoices is never more than was paid,
    /// nor an invoice's own amount, and what is left is the difference.
    #[test]
    fn advances_are_neither_lost_nor_used_twice(
        paid in prop::collection::vec(0_i128..30_000, 1..5),
        owed in prop::collection::vec(0_i128..20_000, 0..8),
    ) {
        let number = |place: usize| InvoiceNumber(format!("AF2026-{place:06}"));
        let mut account = Account {
            advances: paid
                .iter()
                .enumerate()
                .filter(|(_, cents)| **cents > 0)
                .map(|(place, cents)| Advance { call: number(place), amount: Cents(*cents), taxed: None })
                .collect(),
            ..Account::default()
        };
        let mut used = Cents(0);
        for gross in &owed {
            let taken = account.advances_on(&[VatSum {
                category: VatCategory::Exempt,
                base: Cents(*gross),
                amount: Cents(0),
            }]);
            let sum: Cents = taken.iter().map(|advance| advance.amount).sum();
            let left: Cents = account.advances.iter().map(|advance| advance.amount).sum();
            prop_assert_eq!(sum, Cents(*gross).min(left));
            used = used + sum;
            let by_call: BTreeMap<_, _> = taken.into_iter().map(|advance| (advance.call, advance.amount)).collect();
            for advance in &mut account.advances {
                advance.amount = advance.amount - by_call.get(&advance.call).copied().unwrap_or_default();
            }
            account.advances.retain(|advance| advance.amount > Cents(0));
        }
        let left: Cents = account.advances.iter().map(|advance| advance.amount).sum();
        prop_assert_eq!(used + left, paid.iter().map(|cents| Cents(*cents)).sum());
    }
}
