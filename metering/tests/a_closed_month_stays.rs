//! A closed month gives the same bytes for ever; what comes late is a correction in the next.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{LineKind, StatementState, Tier};
use mesocentre_metering::*;
use support::*;

const CLOSED_AT: &str = "2026-12-05T08:00:00Z";

fn november(key: &str, tenant: &str, quantity: i128) -> UsageRecord {
    record(
        key,
        tenant,
        quantity,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    )
}

fn december(key: &str, tenant: &str, quantity: i128) -> UsageRecord {
    record(
        key,
        tenant,
        quantity,
        "2026-12-10T10:00:00Z",
        "2026-12-10T11:00:00Z",
    )
}

async fn close(test: &TestLedger, month: &str) -> ledger::ClosedMonth {
    close_month(&test.ledger, &basis_without_pools(month), at(CLOSED_AT))
        .await
        .unwrap()
}

#[tokio::test]
async fn closing_twice_gives_the_same_bytes() {
    let test = TestLedger::new().await;
    test.append(&[november("1", "univ-caen", 72_001), november("2", "chu-rouen", 5)])
        .await;
    let open = rate_month(&test.ledger, &basis("2026-11")).await.unwrap();
    assert_eq!(
        statement(&open.rated, "univ-caen").state,
        StatementState::Provisional
    );
    let first = close_month(&test.ledger, &basis("2026-11"), at(CLOSED_AT))
        .await
        .unwrap();
    // More use, another price, another tenant: the month was closed.
    test.append(&[november("3", "univ-caen", 1_000_000)]).await;
    let mut other = basis("2026-11");
    other.tariffs[0].spec.prices[0].unit_price = Some("9".parse().unwrap());
    other.tenants.remove(0);
    let second = close_month(&test.ledger, &other, at("2027-01-05T08:00:00Z"))
        .await
        .unwrap();
    assert_eq!(first, second);
    let shown = rate_month(&test.ledger, &other).await.unwrap();
    assert_eq!(statement(&shown.rated, "univ-caen").state, StatementState::Final);
    assert_eq!(shown.closed, Some((first.sha256, at(CLOSED_AT))));
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[tokio::test]
async fn a_closed_month_computed_again_gives_the_same_bytes() {
    let test = TestLedger::new().await;
    test.append(&[
        november("1", "univ-caen", 72_001),
        november("2", "chu-rouen", 5),
        december("3", "univ-caen", 9),
    ])
    .await;
    let november_closed = close_month(&test.ledger, &basis("2026-11"), at(CLOSED_AT))
        .await
        .unwrap();
    test.append(&[
        november("late", "univ-caen", 50),
        revised(november("2", "chu-rouen", 5), 1, 7_200),
    ])
    .await;
    let december_closed = close_month(&test.ledger, &basis("2026-12"), at(CLOSED_AT))
        .await
        .unwrap();
    test.append(&[
        november("later", "univ-caen", 99),
        december("later still", "univ-caen", 98),
    ])
    .await;
    // By another process, from nothing but the file.
    let again = Ledger::open(&test.url).await.unwrap();
    for closed in [november_closed, december_closed] {
        let bytes = recompute_closed_month(&again, closed.month).await.unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            String::from_utf8(closed.statements).unwrap()
        );
    }
}

#[tokio::test]
async fn ten_closes_side_by_side_close_once() {
    let test = TestLedger::new().await;
    test.append(&[november("1", "univ-caen", 72_001)]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..10 {
        let ledger = test.ledger.clone();
        tasks.spawn(async move {
            let late = [november(&format!("side-{i}"), "univ-caen", 3_600)];
            ledger.append(&late, at(CLOSED_AT)).await.unwrap();
            close_month(&ledger, &basis("2026-11"), at(CLOSED_AT))
                .await
                .unwrap()
        });
    }
    let mut closed = tasks.join_all().await;
    closed.dedup();
    assert_eq!(closed.len(), 1, "every close was told the same");
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[tokio::test]
async fn late_use_becomes_a_correction_in_the_next_period() {
    let test = TestLedger::new().await;
    test.append(&[november("1", "univ-caen", 72_001)]).await;
    close(&test, "2026-11").await;
    // Wholly in November; over the end of November; in December.
    test.append(&[
        november("late", "univ-caen", 36_000),
        record(
            "over",
            "univ-caen",
            7_200,
            "2026-11-30T22:00:00Z",
            "2026-12-01T00:00:00Z",
        ),
        december("2", "univ-caen", 3_600),
    ])
    .await;
    let rated = rate_month(&test.ledger, &basis_without_pools("2026-12"))
        .await
        .unwrap()
        .rated;
    let status = statement(&rated, "univ-caen");
    let lines: Vec<_> = status
        .lines
        .iter()
        .map(|line| {
            (
                line.kind,
                line.corrects.as_deref(),
                line.base_quantity.as_deref().unwrap(),
                line.amount.as_str(),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            (LineKind::Usage, None, "7200", "0.02"),
            (LineKind::Correction, Some("2026-11"), "39600", "0.13"),
        ]
    );
    assert_eq!(
        status.lines[1].description.as_deref(),
        Some("Use from 2026-11-10 to 2026-11-30 that reached the ledger after 2026-11 was closed")
    );
    assert_eq!(status.ledger.records, 3);
    // Only there: January has no part in it, and once December is closed it is not billed again.
    close(&test, "2026-12").await;
    let mut january = basis_without_pools("2027-01");
    for tariff in &mut january.tariffs {
        tariff.spec.valid_until = "2027-12-31".parse().unwrap();
    }
    let rated = rate_month(&test.ledger, &january).await.unwrap().rated;
    assert_eq!(statement(&rated, "univ-caen").lines, []);
}

#[tokio::test]
async fn a_record_taken_back_after_the_close_is_a_credit() {
    let test = TestLedger::new().await;
    test.append(&[
        november("1", "univ-caen", 36_000),
        november("2", "univ-caen", 3_600_000),
    ])
    .await;
    close(&test, "2026-11").await;
    test.append(&[revised(november("2", "univ-caen", 0), 1, 0)]).await;
    let rated = rate_month(&test.ledger, &basis_without_pools("2026-12"))
        .await
        .unwrap()
        .rated;
    let status = statement(&rated, "univ-caen");
    assert_eq!(status.lines.len(), 1);
    assert_eq!(status.lines[0].amount, "-12.00");
    assert_eq!(
        (
            status.totals.net.as_str(),
            status.totals.vat[0].amount.as_str(),
            status.totals.gross.as_str()
        ),
        ("-12.00", "-2.40", "-14.40")
    );
    // Corrected twice between two closes: only the difference counts.
    test.append(&[revised(november("2", "univ-caen", 0), 2, 1_800_000)])
        .await;
    let rated = rate_month(&test.ledger, &basis_without_pools("2026-12"))
        .await
        .unwrap()
        .rated;
    assert_eq!(statement(&rated, "univ-caen").lines[0].amount, "-6.00");
}

#[tokio::test]
async fn a_revision_before_the_close_leaves_no_trace_on_the_statement() {
    let test = TestLedger::new().await;
    test.append(&[november("1", "univ-caen", 36_000)]).await;
    test.append(&[revised(november("1", "univ-caen", 0), 1, 72_000)])
        .await;
    let rated = rate_month(&test.ledger, &basis_without_pools("2026-11"))
        .await
        .unwrap()
        .rated;
    let line = &statement(&rated, "univ-caen").lines[0];
    assert_eq!(
        (line.base_quantity.as_deref(), line.records),
        (Some("72000"), Some(1))
    );
}

#[tokio::test]
async fn late_use_takes_up_the_tiers_where_the_closed_month_left_them() {
    let test = TestLedger::new().await;
    let with_tiers = |month: &str| {
        let mut basis = basis_without_pools(month);
        let tariff = basis
            .tariffs
            .iter_mut()
            .find(|tariff| tariff.name == "public-2026")
            .unwrap();
        tariff.spec.prices[0].unit_price = None;
        tariff.spec.prices[0].tiers = Some(vec![
            Tier {
                up_to: Some("100".parse().unwrap()),
                unit_price: "1".parse().unwrap(),
            },
            Tier {
                up_to: None,
                unit_price: "2".parse().unwrap(),
            },
        ]);
        basis
    };
    test.append(&[november("1", "univ-caen", 90 * 3_600)]).await;
    close_month(&test.ledger, &with_tiers("2026-11"), at(CLOSED_AT))
        .await
        .unwrap();
    test.append(&[november("2", "univ-caen", 30 * 3_600)]).await;
    let lines = |rated: &Rated| -> Vec<(i32, String)> {
        let lines = &statement(rated, "univ-caen").lines;
        lines
            .iter()
            .map(|line| (line.tier.unwrap(), line.amount.clone()))
            .collect()
    };
    let rated = rate_month(&test.ledger, &with_tiers("2026-12"))
        .await
        .unwrap()
        .rated;
    assert_eq!(lines(&rated), [(1, "10.00".to_owned()), (2, "40.00".to_owned())]);
    // And a credit goes back down the same way.
    test.append(&[revised(november("1", "univ-caen", 0), 1, 50 * 3_600)])
        .await;
    let rated = rate_month(&test.ledger, &with_tiers("2026-12"))
        .await
        .unwrap()
        .rated;
    assert_eq!(lines(&rated), [(1, "-10.00".to_owned())]);
}

#[tokio::test]
async fn use_is_unbilled_until_its_months_are_closed() {
    let test = TestLedger::new().await;
    let unbilled = async |tenant: &str| unbilled_records(&test.ledger, tenant).await.unwrap();
    assert_eq!(unbilled("univ-caen").await, 0);
    let over = record(
        "over",
        "univ-caen",
        7_200,
        "2026-11-30T22:00:00Z",
        "2026-12-01T00:00:00Z",
    );
    test.append(&[
        november("1", "univ-caen", 1),
        over,
        november("nothing", "chu-rouen", 0),
    ])
    .await;
    assert_eq!((unbilled("univ-caen").await, unbilled("chu-rouen").await), (2, 0));
    close(&test, "2026-11").await;
    assert_eq!(unbilled("univ-caen").await, 1, "an hour of it is December's");
    test.append(&[november("late", "univ-caen", 1)]).await;
    assert_eq!(unbilled("univ-caen").await, 2);
    close(&test, "2026-12").await;
    assert_eq!(unbilled("univ-caen").await, 0);
}

#[test]
fn a_closed_month_has_the_same_bytes_with_any_number_of_threads() {
    let one = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (test, closed) = one.block_on(async {
        let test = TestLedger::new().await;
        let records: Vec<UsageRecord> = (0..500)
            .map(|i| {
                november(
                    &format!("{i}"),
                    ["univ-caen", "chu-rouen"][i % 2],
                    7 * i128::try_from(i).unwrap(),
                )
            })
            .collect();
        test.append(&records).await;
        let closed = close_month(&test.ledger, &basis("2026-11"), at(CLOSED_AT))
            .await
            .unwrap();
        test.ledger.close().await;
        (test, closed)
    });
    for threads in [1, 2, 8] {
        let many = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let url = test.url.clone();
        let bytes = many.block_on(async {
            let ledger = Ledger::open(&url).await.unwrap();
            tokio::spawn(async move {
                recompute_closed_month(&ledger, "2026-11".parse().unwrap())
                    .await
                    .unwrap()
            })
            .await
            .unwrap()
        });
        assert!(bytes == closed.statements, "{threads} threads");
    }
}

#[tokio::test]
async fn months_are_closed_one_after_the_other() {
    let test = TestLedger::new().await;
    test.append(&[
        november("1", "univ-caen", 3_600),
        december("2", "univ-caen", 3_600),
    ])
    .await;
    let refused = |month: &'static str| {
        let ledger = test.ledger.clone();
        async move {
            let refusal = close_month(&ledger, &basis_without_pools(month), at(CLOSED_AT))
                .await
                .unwrap_err();
            refusal.to_string()
        }
    };
    assert!(refused("2026-12").await.contains("Close 2026-11 first"));
    close(&test, "2026-11").await;
    assert!(refused("2026-10").await.contains("2026-11 is closed already"));
    assert!(refused("2027-01").await.contains("Close 2026-12 first"));
    let mut moved = basis_without_pools("2026-12");
    moved.time_zone = "UTC".to_owned();
    let refusal = close_month(&test.ledger, &moved, at(CLOSED_AT))
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("timeZone: Europe/Paris"), "{refusal}");
    close(&test, "2026-12").await;
}

#[tokio::test]
async fn a_month_with_use_that_has_no_price_stays_open() {
    let test = TestLedger::new().await;
    test.append(&[november("1", "lab-closed", 3_600)]).await;
    let refusal = close_month(&test.ledger, &basis("2026-11"), at(CLOSED_AT))
        .await
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("lab-closed"), "{refusal}");
    assert_eq!(test.ledger.last_closed().await.unwrap(), None);
}

#[test]
fn rating_and_closing_can_run_on_any_thread() {
    fn can_be_sent<T: Send>(_: T) {}
    #[allow(dead_code, reason = "it is the types that are asked")]
    fn asked(ledger: &'static Ledger, basis: &'static RatingBasis) {
        can_be_sent(rate_month(ledger, basis));
        can_be_sent(close_month(ledger, basis, at(CLOSED_AT)));
        can_be_sent(ledger.append(&[], at(CLOSED_AT)));
    }
}
