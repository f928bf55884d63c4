//! Promise: where a tariff says that node failures are free, they stand on the statement with a credit over the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{LineKind, NodeFailure, StatementStatus};
use mesocentre_metering::*;
use proptest::prelude::*;
use rust_decimal::Decimal;
use support::*;

const FROM: &str = "2026-11-10T10:00:00Z";
const TO: &str = "2026-11-10T11:00:00Z";

fn ended(mut record: UsageRecord, state: &str) -> UsageRecord {
    record.evidence.insert("state".to_owned(), state.to_owned());
    record
}

fn free(mut basis: RatingBasis) -> RatingBasis {
    for tariff in &mut basis.tariffs {
        tariff.spec.node_failure = NodeFailure::Free;
    }
    basis
}

fn lines(status: &StatementStatus) -> Vec<(LineKind, Option<i32>, &str, &str)> {
    status
        .lines
        .iter()
        .map(|line| {
            (
                line.kind,
                line.tier,
                line.base_quantity.as_deref().unwrap_or(""),
                line.amount.as_str(),
            )
        })
        .collect()
}

#[test]
fn a_node_failure_is_free_where_the_tariff_says_so_and_seen_as_a_credit() {
    let failed = ended(record("2", "univ-caen", 36_000, FROM, TO), "NODE_FAIL");
    let records = [record("1", "univ-caen", 72_000, FROM, TO), failed];
    let rated = rate(&free(basis_without_pools("2026-11")), &records);
    assert_eq!(rated.faults, []);
    let status = statement(&rated, "univ-caen");
    assert_eq!(
        lines(status),
        [
            (LineKind::Usage, None, "108000", "0.36"),
            (LineKind::Credit, None, "-36000", "-0.12")
        ]
    );
    assert_eq!(status.totals.net, "0.24");
    assert_eq!(
        status.lines[1].description.as_deref(),
        Some("Node failures: free")
    );
    assert_eq!(status.lines[1].records, Some(1));
    // As it is without a word about it, and where something else ended it.
    let charged = rate(&basis_without_pools("2026-11"), &records);
    assert_eq!(statement(&charged, "univ-caen").totals.net, "0.36");
    for (state, net) in [
        ("NodeFailed", "0.00"),
        ("BOOT_FAIL", "0.00"),
        ("FAILED", "0.12"),
        ("TIMEOUT", "0.12"),
    ] {
        let one = [ended(record("1", "univ-caen", 36_000, FROM, TO), state)];
        let rated = rate(&free(basis_without_pools("2026-11")), &one);
        assert_eq!(statement(&rated, "univ-caen").totals.net, net, "{state}");
    }
}

#[test]
fn a_credit_takes_the_highest_tier_first_so_what_is_left_is_billed_as_if_nothing_had_failed() {
    // 10,000 core-hours at 0.0600, the rest at 0.0500.
    let hours = |hours: i128| hours * 3_600;
    let failed = ended(record("2", "nova-motors", hours(3_000), FROM, TO), "NODE_FAIL");
    let records = [record("1", "nova-motors", hours(9_000), FROM, TO), failed];
    let rated = rate(&free(basis_without_pools("2026-11")), &records);
    let status = statement(&rated, "nova-motors");
    assert_eq!(
        lines(status),
        [
            (LineKind::Usage, Some(1), "36000000", "600.00"),
            (LineKind::Usage, Some(2), "7200000", "100.00"),
            (LineKind::Credit, Some(1), "-3600000", "-60.00"),
            (LineKind::Credit, Some(2), "-7200000", "-100.00"),
        ]
    );
    assert_eq!(status.totals.net, "540.00");
    // FOCUS has the credit as one, and its rows sum to the same.
    let rows = focus::rows("nova-motors", status, "Mésocentre").unwrap();
    let credits = rows
        .iter()
        .filter(|row| row.get("ChargeCategory") == Some("Credit"));
    assert_eq!(credits.count(), 2);
    let net: Decimal = rows
        .iter()
        .filter(|row| row.get("ChargeCategory") != Some("Tax"))
        .map(|row| row.get("BilledCost").unwrap().parse::<Decimal>().unwrap())
        .sum();
    assert_eq!(net, Decimal::from(540));
}

#[test]
fn what_is_free_does_not_count_in_a_pools_part_by_use() {
    let records = [
        record("1", "univ-caen", 36_000, FROM, TO),
        UsageRecord {
            allocation: None,
            ..ended(record("2", "chu-rouen", 36_000, FROM, TO), "NODE_FAIL")
        },
    ];
    let used = |basis: &RatingBasis| {
        let rated = rate(basis, &records);
        let parts = &rated.pools[0].parts;
        parts
            .iter()
            .map(|part| (part.tenant.clone(), part.used))
            .collect::<Vec<_>>()
    };
    let of_rouen = |used: Vec<(String, i128)>| {
        used.into_iter()
            .find(|(tenant, _)| tenant == "chu-rouen")
            .unwrap()
            .1
    };
    assert_eq!(of_rouen(used(&basis("2026-11"))), 36_000);
    assert_eq!(of_rouen(used(&free(basis("2026-11")))), 0);
}

#[tokio::test]
async fn a_failure_that_is_told_after_the_close_is_a_correction_of_nothing() {
    let test = TestLedger::new().await;
    let ledger = &test.ledger;
    let append = async |records: &[UsageRecord]| ledger.append(records, at(TO)).await.unwrap();
    append(&[record("1", "nova-motors", 36_000_000, FROM, TO)]).await;
    let november = free(basis_without_pools("2026-11"));
    close_month(ledger, &november, at("2026-12-01T00:00:00Z"))
        .await
        .unwrap();
    append(&[ended(
        record("2", "nova-motors", 7_200_000, FROM, TO),
        "NODE_FAIL",
    )])
    .await;
    append(&[record("3", "nova-motors", 3_600_000, FROM, TO)]).await;
    let december = rate_month(ledger, &free(basis_without_pools("2026-12")))
        .await
        .unwrap();
    let status = statement(&december.rated, "nova-motors");
    // What was billed filled the first tier: all of this is above it, and only what did not fail is left.
    assert_eq!(
        lines(status),
        [
            (LineKind::Correction, Some(2), "10800000", "150.00"),
            (LineKind::Correction, Some(2), "-7200000", "-100.00"),
        ]
    );
    assert!(
        status.lines[1]
            .description
            .as_deref()
            .unwrap()
            .contains("Node failures from 2026-11-10")
    );
    assert_eq!(status.totals.net, "50.00");
}

proptest! {
    #[test]
    fn what_is_billed_is_what_did_not_fail_and_in_any_order(
        uses in proptest::collection::vec((0_i128..50_000_000, any::<bool>(), 0_usize..3), 1..20),
    ) {
        let of = |(place, (quantity, failed, allocation)): (usize, &(i128, bool, usize))| {
            let mut one = record(&place.to_string(), "nova-motors", *quantity, FROM, TO);
            one.allocation = [None, Some("a".to_owned()), Some("b".to_owned())][*allocation].clone();
            ended(one, if *failed { "NODE_FAIL" } else { "COMPLETED" })
        };
        let records: Vec<UsageRecord> = uses.iter().enumerate().map(of).collect();
        let basis = free(basis_without_pools("2026-11"));
        let rated = rate(&basis, &records);
        let status = statement(&rated, "nova-motors");
        let quantity: i128 = status.lines.iter().map(|line| line.base_quantity.as_deref().unwrap().parse::<i128>().unwrap()).sum();
        let expected: i128 = uses.iter().filter(|(_, failed, _)| !failed).map(|(quantity, ..)| quantity).sum();
        prop_assert_eq!(quantity, expected);
        // By tiers, too: what is left fills them from the first.
        let in_first: i128 = status.lines.iter().filter(|line| line.tier == Some(1)).map(|line| line.base_quantity.as_deref().unwrap().parse::<i128>().unwrap()).sum();
        prop_assert_eq!(in_first, expected.min(36_000_000));
        let mut backwards = records;
        backwards.reverse();
        prop_assert_eq!(rate(&basis, &backwards), rated);
    }
}
