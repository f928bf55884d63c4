//! A number is taken by a document or by nothing, whoever issues beside whom and whatever is killed meanwhile; what was
//! issued stays.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use jiff::civil::{Date, date};
use mesocentre_api::TenantCategory;
use mesocentre_metering::invoice::*;
use mesocentre_metering::ledger::{IssueError, LedgerFault, Payment};
use mesocentre_metering::*;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use support::*;

const ISSUED: Date = date(2026, 12, 7);
const LEDGER: &str = "MESO_TEST_LEDGER_TO_ISSUE_FROM";
const ANSWERED: &str = "issued ";
const TENANTS: usize = 50;

fn series() -> Series {
    "F2026".parse().unwrap()
}

fn tenant(i: usize) -> String {
    format!("tenant-{i:02}")
}

/// Fifty tenants that used something in November, the month closed.
async fn fifty() -> (TestLedger, Vec<ValidInvoice>) {
    let test = TestLedger::new().await;
    let mut basis = basis_without_pools("2026-11");
    basis.tenants = (0..TENANTS)
        .map(|i| RatedTenant {
            name: tenant(i),
            category: TenantCategory::University,
        })
        .collect();
    let records: Vec<UsageRecord> = (0..TENANTS)
        .map(|i| {
            let key = format!("{i}");
            record(
                &key,
                &tenant(i),
                360_000,
                "2026-11-10T10:00:00Z",
                "2026-11-10T11:00:00Z",
            )
        })
        .collect();
    test.append(&records).await;
    close_month(&test.ledger, &basis, at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    let drafts = drafts(&test.ledger).await;
    (test, drafts)
}

async fn drafts(ledger: &Ledger) -> Vec<ValidInvoice> {
    let closed = ledger
        .closed_month("2026-11".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let document: MonthDocument = serde_json::from_slice(&closed.statements).unwrap();
    let drafted = document
        .statements
        .iter()
        .map(|statement| draft(statement, &seller(), &university(), &terms(30)).unwrap());
    drafted.collect()
}

fn number(seq: usize) -> InvoiceNumber {
    InvoiceNumber(format!("F2026-{seq:06}"))
}

/// The child: ten issuers side by side, until they are through or killed.
#[tokio::test]
async fn issues_all_until_it_is_killed() {
    let Ok(url) = std::env::var(LEDGER) else { return };
    let ledger = Ledger::open(&url.parse().unwrap()).await.unwrap();
    let drafts = drafts(&ledger).await;
    let mut issuers = tokio::task::JoinSet::new();
    for first in 0..10 {
        let (ledger, drafts) = (ledger.clone(), drafts.clone());
        issuers.spawn(async move {
            for i in 0..drafts.len() {
                let drafted = &drafts[(i + first * 5) % drafts.len()];
                let issued = ledger.issue(&series(), drafted, ISSUED).await.unwrap();
                println!("\n{ANSWERED}{} {}", issued.number(), drafted.tenant());
            }
        });
    }
    while let Some(done) = issuers.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn fifty_issuers_side_by_side_with_crashes_leave_no_gap() {
    let (test, _) = fifty().await;
    test.ledger.close().await;
    let mut answered: BTreeSet<String> = BTreeSet::new();
    for kills in 0..5 {
        // Five processes with ten issuers each.
        let mut children: Vec<_> = (0..5)
            .map(|_| {
                std::process::Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "issues_all_until_it_is_killed", "--nocapture"])
                    .env(LEDGER, test.address.as_str())
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        // Those of the first are followed up to a few answers; then all are killed while they go on. The last round
        // is left alone.
        let mut followed = children.remove(0);
        let mut heard = 0;
        for line in BufReader::new(followed.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
        {
            if let Some(answer) = line.strip_prefix(ANSWERED) {
                answered.insert(answer.to_owned());
                heard += 1;
            }
            if kills < 4 && heard > 12 {
                break;
            }
        }
        children.push(followed);
        for mut child in children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(heard > 0, "nothing was issued");
    }

    let ledger = Ledger::open(&test.url).await.unwrap();
    let mut tenants = BTreeSet::new();
    for seq in 1..=TENANTS {
        let issued = ledger.invoice(&number(seq)).await.unwrap();
        let issued = issued.unwrap_or_else(|| panic!("no invoice has the number {seq}"));
        tenants.insert(issued.document().tenant().to_owned());
        answered.remove(&format!("{} {}", issued.number(), issued.document().tenant()));
    }
    assert_eq!(tenants.len(), TENANTS, "a tenant has two invoices");
    assert_eq!(ledger.invoice(&number(TENANTS + 1)).await.unwrap(), None);
    assert_eq!(answered, BTreeSet::new(), "answered and not there");
    ledger.close().await;
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[tokio::test]
async fn an_edit_of_an_issued_invoice_is_refused_by_the_store() {
    let (test, drafts) = fifty().await;
    for drafted in &drafts[..3] {
        test.ledger.issue(&series(), drafted, ISSUED).await.unwrap();
    }
    let payment = Payment {
        reference: "VIR 1".to_owned(),
        amount: Cents(100),
        paid_on: date(2026, 12, 20),
    };
    test.ledger.record_payment(&number(1), &payment).await.unwrap();
    let before = (test.dump("invoice").await, test.dump("invoice_payment").await);
    for edit in [
        "UPDATE invoice SET document = '{}' WHERE seq = 2",
        "UPDATE invoice SET issued_on = '2026-12-08'",
        "DELETE FROM invoice WHERE seq = 3",
        "INSERT OR REPLACE INTO invoice SELECT * FROM invoice WHERE seq = 2",
        "INSERT OR REPLACE INTO invoice SELECT 4, series, 4, number, claim, tenant, month, corrects, issued_on, draft, \
         document, hash FROM invoice WHERE seq = 2",
        "INSERT INTO invoice SELECT 4, series, 5, 'F2026-000005', 'x', tenant, month, corrects, issued_on, draft, document, \
         hash FROM invoice WHERE seq = 2",
        "UPDATE invoice_payment SET cents = '200'",
        "DELETE FROM invoice_payment",
        "INSERT OR REPLACE INTO invoice_payment VALUES ('F2026-000001', 'VIR 1', '200', '2026-12-20')",
    ] {
        test.behind_its_back(edit).await.expect_err(edit);
    }
    assert_eq!(
        (test.dump("invoice").await, test.dump("invoice_payment").await),
        before
    );

    // Who takes the triggers away first is found out.
    for edit in [
        "DROP TRIGGER invoice_refuses_update",
        "DROP TRIGGER invoice_refuses_delete",
        "UPDATE invoice SET document = CAST(replace(CAST(document AS TEXT), '2026-12-07', '2026-12-06') AS BLOB) \
         WHERE seq = 1",
        "DELETE FROM invoice WHERE seq = 2",
    ] {
        test.behind_its_back(edit).await.ok();
    }
    let faults = verify(&test.url).await.unwrap().faults;
    assert!(
        matches!(
            &faults[..],
            [
                LedgerFault::NoTrigger { .. },
                LedgerFault::NoTrigger { .. },
                LedgerFault::Invoice { number: first, .. },
                LedgerFault::Invoice { number: third, what },
            ] if first == "F2026-000001" && third == "F2026-000003" && what.contains("missing")
        ),
        "{faults:?}"
    );
}

#[tokio::test]
async fn the_last_invoice_taken_away_is_found_and_nothing_is_issued_after_it() {
    let (test, drafts) = fifty().await;
    for drafted in &drafts[..3] {
        test.ledger.issue(&series(), drafted, ISSUED).await.unwrap();
    }
    test.behind_its_back("DROP TRIGGER invoice_refuses_delete")
        .await
        .unwrap();
    test.behind_its_back("DELETE FROM invoice WHERE seq = 3")
        .await
        .unwrap();
    let faults = verify(&test.url).await.unwrap().faults;
    assert!(
        faults.contains(&LedgerFault::InvoicesCut { place: 3 }),
        "{faults:?}"
    );
    // Its number is not given to another.
    let refused = test
        .ledger
        .issue(&series(), &drafts[4], ISSUED)
        .await
        .unwrap_err();
    let IssueError::Ledger(LedgerError::NotWhatWasIssued { place: 3, .. }) = refused else {
        panic!("{refused}");
    };
}

#[tokio::test]
async fn the_same_draft_again_is_given_what_was_issued() {
    let (test, drafts) = fifty().await;
    let first = test.ledger.issue(&series(), &drafts[0], ISSUED).await.unwrap();
    let again = test
        .ledger
        .issue(&"F2027".parse().unwrap(), &drafts[0], date(2027, 1, 4))
        .await
        .unwrap();
    assert_eq!(first, again);
    let closed = closed_statement(&test.ledger, &basis("2026-11"), &tenant(0)).await;
    let otherwise = draft(&closed, &seller(), &company(), &terms(30)).unwrap();
    let refused = test
        .ledger
        .issue(&series(), &otherwise, ISSUED)
        .await
        .unwrap_err();
    assert!(matches!(refused, IssueError::Invoiced { .. }), "{refused}");
    // Numbers follow the days.
    let refused = test
        .ledger
        .issue(&series(), &drafts[1], date(2026, 12, 6))
        .await
        .unwrap_err();
    assert!(matches!(refused, IssueError::OutOfOrder { .. }), "{refused}");
}

#[tokio::test]
async fn an_invoice_is_replaced_once_it_is_credited_whole() {
    let (test, drafts) = fifty().await;
    let first = test.ledger.issue(&series(), &drafts[0], ISSUED).await.unwrap();
    let closed = closed_statement(&test.ledger, &basis("2026-11"), &tenant(0)).await;
    let replacing = Terms {
        replaces: Some(first.number().clone()),
        ..terms(30)
    };
    let second = draft(&closed, &seller(), &company(), &replacing).unwrap();
    let refused = test.ledger.issue(&series(), &second, ISSUED).await.unwrap_err();
    assert!(matches!(refused, IssueError::NotReplaceable { .. }), "{refused}");
    let note = credit(&first, &[], &Credit::Whole, "Mauvais destinataire").unwrap();
    test.ledger.issue(&series(), &note, ISSUED).await.unwrap();
    let second = test.ledger.issue(&series(), &second, ISSUED).await.unwrap();
    assert_eq!(second.number(), &number(3));
    let issued = test
        .ledger
        .invoices_of(&tenant(0), "2026-11".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(issued.len(), 3);
}

#[tokio::test]
async fn what_was_not_closed_so_is_not_invoiced() {
    let (test, _) = fifty().await;
    let mut statement = closed_statement(&test.ledger, &basis("2026-11"), &tenant(0)).await;
    statement.status.ledger.records = 7;
    let drafted = draft(&statement, &seller(), &university(), &terms(30)).unwrap();
    let refused = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap_err();
    assert!(matches!(refused, IssueError::NotTheStatement { .. }), "{refused}");
    statement.status.period.month = "2026-10".to_owned();
    let drafted = draft(&statement, &seller(), &university(), &terms(30)).unwrap();
    let refused = test.ledger.issue(&series(), &drafted, ISSUED).await.unwrap_err();
    assert!(matches!(refused, IssueError::NotClosed { .. }), "{refused}");
}

#[tokio::test]
async fn more_than_the_original_is_not_credited_and_the_whole_nets_to_zero() {
    let (test, drafts) = fifty().await;
    let invoice = test.ledger.issue(&series(), &drafts[0], ISSUED).await.unwrap();
    // 100 hours at 0.0120: 1.20, and 0.24 of VAT.
    let part = |cents| {
        Credit::Lines(vec![CreditedLine {
            line: 1,
            amount: Cents(cents),
        }])
    };
    let faults = credit(&invoice, &[], &part(121), "trop").unwrap_err();
    assert!(matches!(faults[..], [Fault::MoreThanLeft { .. }]), "{faults:?}");
    let third = credit(&invoice, &[], &part(41), "panne").unwrap();
    let beside = credit(&invoice, &[], &part(120), "autre panne").unwrap();
    let third = test.ledger.issue(&series(), &third, ISSUED).await.unwrap();
    // Drafted beside it, it would take back more than is left.
    let refused = test.ledger.issue(&series(), &beside, ISSUED).await.unwrap_err();
    assert!(
        matches!(refused, IssueError::CreditedMeanwhile { .. }),
        "{refused}"
    );
    let notes = test.ledger.credit_notes_on(invoice.number()).await.unwrap();
    assert_eq!(notes, [third]);
    let faults = credit(&invoice, &notes, &part(80), "trop").unwrap_err();
    assert!(matches!(faults[..], [Fault::MoreThanLeft { .. }]), "{faults:?}");

    let payment = Payment {
        reference: "VIR 1".to_owned(),
        amount: Cents(95),
        paid_on: date(2026, 12, 20),
    };
    test.ledger
        .record_payment(invoice.number(), &payment)
        .await
        .unwrap();
    test.ledger
        .record_payment(invoice.number(), &payment)
        .await
        .unwrap();
    let standing = test.ledger.standing(invoice.number()).await.unwrap().unwrap();
    assert_eq!(
        (standing.gross, standing.credited, standing.due()),
        (Cents(144), Cents(49), Cents(0))
    );

    let rest = credit(&invoice, &notes, &Credit::Whole, "solde").unwrap();
    test.ledger.issue(&series(), &rest, ISSUED).await.unwrap();
    let standing = test.ledger.standing(invoice.number()).await.unwrap().unwrap();
    assert_eq!(standing.credited, standing.gross);
    assert_eq!(standing.due(), Cents(-95));
    let note = &test.ledger.credit_notes_on(invoice.number()).await.unwrap()[0];
    let refused = test
        .ledger
        .record_payment(note.number(), &payment)
        .await
        .unwrap_err();
    assert!(matches!(refused, IssueError::NotAnInvoice { .. }), "{refused}");
    assert_eq!(test.ledger.standing(note.number()).await.unwrap(), None);
    let notes = test.ledger.credit_notes_on(invoice.number()).await.unwrap();
    let faults = credit(&invoice, &notes, &Credit::Whole, "encore").unwrap_err();
    assert!(
        matches!(faults[..], [Fault::NothingToCredit { .. }]),
        "{faults:?}"
    );
}
