//! FOCUS rows say what the statements of a month say, to the cent, and their table is what reviewers read in
//! `tests/golden/`: use, tiers, a correction, credits, shares of a pool, what is given back of one, VAT.
//!
//! After a change that is meant: `UPDATE_GOLDEN=1 cargo test -p mesocentre-metering`, and read the difference.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{Meter, NodeFailure, TrueUp};
use mesocentre_metering::*;
use rust_decimal::Decimal;
use support::*;

/// The examples' month with a pool of October alone, which is made up in November, and node failures that are free.
fn basis_of(month: &str) -> RatingBasis {
    let mut basis = basis(month);
    for tariff in &mut basis.tariffs {
        tariff.spec.node_failure = NodeFailure::Free;
    }
    let mut october = basis.cost_pools[0].clone();
    october.name = "cooling-2026-10".to_owned();
    october.spec.description = "Groupe froid de secours".to_owned();
    october.spec.valid_from = "2026-10-01".parse().unwrap();
    october.spec.valid_until = "2026-10-31".parse().unwrap();
    october.spec.true_up = (month != "2026-10").then(|| TrueUp {
        actual_amount: "31234.56".parse().unwrap(),
        month: "2026-11".to_owned(),
        decision: "Comptes du groupe froid".to_owned(),
    });
    basis.cost_pools.push(october);
    basis
}

fn used(key: &str, tenant: &str, meter: Meter, quantity: i128, month: &str) -> UsageRecord {
    let (from, to) = (format!("{month}-10T10:00:00Z"), format!("{month}-20T11:00:00Z"));
    with_meter(record(key, tenant, quantity, &from, &to), meter)
}

fn failed(mut record: UsageRecord) -> UsageRecord {
    record.evidence.insert("state".to_owned(), "NODE_FAIL".to_owned());
    record
}

#[tokio::test]
async fn the_rows_of_a_month_are_those_that_were_reviewed() {
    use Meter::*;
    let test = TestLedger::new().await;
    let on_time = used("1", "nova-motors", ComputeCoreHours, 30_000_000, "2026-10");
    test.append(&[on_time]).await;
    close_month(&test.ledger, &basis_of("2026-10"), at("2026-11-05T08:00:00Z"))
        .await
        .unwrap();
    let stored = (1 << 30) * 86_400 * 30 * 2_500 + 12_345;
    test.append(&[
        // What reached the ledger after October was closed, the second of it free.
        used("2", "nova-motors", ComputeCoreHours, 7_200_000, "2026-10"),
        failed(used("3", "nova-motors", ComputeCoreHours, 3_600_000, "2026-10")),
        // November.
        used("4", "nova-motors", ComputeCoreHours, 50_000_000, "2026-11"),
        failed(used("5", "nova-motors", ComputeCoreHours, 1_234_567, "2026-11")),
        used("6", "univ-caen", ComputeCoreHours, 1_234_567_890, "2026-11"),
        used("7", "univ-caen", ComputeGpuHours, 7_201, "2026-11"),
        used("8", "univ-caen", StorageGibMonths, stored, "2026-11"),
        UsageRecord {
            allocation: None,
            ..used("9", "univ-caen", ClusterCpuHours, 3_600_000, "2026-11")
        },
    ])
    .await;
    let closed = close_month(&test.ledger, &basis_of("2026-11"), at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    let mut month: MonthDocument = serde_json::from_slice(&closed.statements).unwrap();
    for statement in &mut month.statements {
        // People's pseudonyms are salted: each ledger has another.
        statement.status.ledger.head = "9f2c".to_owned();
    }
    let told = month
        .statements
        .iter()
        .map(|statement| (statement.tenant.as_str(), &statement.status));
    let table = focus::table(told, "Mésocentre de Normandie").unwrap();
    golden("focus.csv", table.as_bytes());

    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let headings = reader.headers().unwrap().clone();
    let at = |column: &str| headings.iter().position(|heading| heading == column).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    for statement in &month.statements {
        let billed = rows
            .iter()
            .filter(|row| row[at("BillingAccountId")] == statement.tenant);
        let sum: Decimal = billed
            .map(|row| row[at("BilledCost")].parse::<Decimal>().unwrap())
            .sum();
        assert_eq!(sum.to_string(), statement.status.totals.gross);
    }
    // The month has a row of each kind, so that who checks the table checks all of them.
    for (category, class, frequency) in [
        ("Usage", "", "Usage-Based"),
        ("Usage", "Correction", "Usage-Based"),
        ("Usage", "", "Recurring"),
        ("Credit", "", "Usage-Based"),
        ("Credit", "", "One-Time"),
        ("Tax", "", "Recurring"),
    ] {
        assert!(
            rows.iter().any(|row| {
                (
                    &row[at("ChargeCategory")],
                    &row[at("ChargeClass")],
                    &row[at("ChargeFrequency")],
                ) == (category, class, frequency)
            }),
            "{category} {class} {frequency}"
        );
    }
}
