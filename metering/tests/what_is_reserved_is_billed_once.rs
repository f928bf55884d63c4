//! Promises: what is reserved for an allocation is billed whether it is used or not, and what its jobs use within that is
//! not billed again; what is beyond it is, and so is what other allocations use; whatever comes late.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{LineKind, Meter};
use mesocentre_metering::*;
use support::*;

const HOUR: i128 = 3_600;

/// The examples' tariffs, with a price of 0.01 for a reserved core-hour.
fn with_a_price(month: &str) -> RatingBasis {
    let mut basis = basis_without_pools(month);
    for tariff in &mut basis.tariffs {
        tariff.spec.valid_until = "2027-12-31".parse().unwrap();
        let mut price = tariff.spec.prices[0].clone();
        price.meter = Meter::ComputeReservedCoreHours;
        price.unit_price = Some("0.0100".parse().unwrap());
        price.tiers = None;
        tariff.spec.prices.push(price);
    }
    basis
}

fn of(allocation: &str, meter: Meter, key: &str, hours: i128) -> UsageRecord {
    let used = record(
        key,
        "univ-caen",
        hours * HOUR,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    );
    UsageRecord {
        allocation: Some(allocation.to_owned()),
        ..with_meter(used, meter)
    }
}

fn reserved(key: &str, hours: i128) -> UsageRecord {
    of("climate", Meter::ComputeReservedCoreHours, key, hours)
}

fn used(allocation: &str, key: &str, hours: i128) -> UsageRecord {
    of(allocation, Meter::ComputeCoreHours, key, hours)
}

fn net(rated: &Rated) -> &str {
    &statement(rated, "univ-caen").totals.net
}

#[test]
fn what_is_used_within_what_is_reserved_is_not_billed_again_and_what_is_beyond_it_is() {
    let basis = with_a_price("2026-11");
    // 1,000 hours kept, at 0.01: 10.00, used or not.
    assert_eq!(net(&rate(&basis, &[reserved("r", 1_000)])), "10.00");
    let within = rate(
        &basis,
        &[
            reserved("r", 1_000),
            used("climate", "1", 600),
            used("climate", "2", 400),
        ],
    );
    assert_eq!(net(&within), "10.00");
    let free: Vec<_> = statement(&within, "univ-caen")
        .lines
        .iter()
        .filter(|line| line.kind == LineKind::Credit)
        .collect();
    assert_eq!(free.len(), 1);
    assert!(free[0].reserved && free[0].base_quantity.as_deref() == Some("-3600000"));
    // 500 beyond it at 0.0120, and another allocation's 100.
    let beyond = [
        reserved("r", 1_000),
        used("climate", "1", 1_500),
        used("ocean", "2", 100),
    ];
    assert_eq!(net(&rate(&basis, &beyond)), "17.20");
}

#[test]
fn what_is_reserved_without_a_price_keeps_the_month_open() {
    let rated = rate(&basis_without_pools("2026-11"), &[reserved("r", 1)]);
    assert!(
        matches!(rated.faults[..], [RatingFault::NoPrice { .. }]),
        "{:?}",
        rated.faults
    );
}

#[tokio::test]
async fn what_comes_late_of_use_and_of_what_was_reserved_is_billed_as_if_it_had_come_in_time() {
    let test = TestLedger::new().await;
    let first = used("climate", "1", 900);
    test.append(&[reserved("r", 1_000), first.clone()]).await;
    close_month(&test.ledger, &with_a_price("2026-11"), at("2026-12-05T08:00:00Z"))
        .await
        .unwrap();
    // 300 come late, 100 of them within what was reserved.
    test.append(&[used("climate", "2", 300)]).await;
    let december = close_month(&test.ledger, &with_a_price("2026-12"), at("2027-01-05T08:00:00Z"))
        .await
        .unwrap();
    let document: MonthDocument = serde_json::from_slice(&december.statements).unwrap();
    let of = document
        .statements
        .iter()
        .find(|one| one.tenant == "univ-caen")
        .unwrap();
    assert_eq!(of.status.totals.net, "2.40");
    // 150 more were reserved, which is told late: they cost 1.50, and 150 of the 200 that were billed go back, 1.80.
    test.append(&[reserved("r2", 150)]).await;
    let rated = rate_month(&test.ledger, &with_a_price("2027-01"))
        .await
        .unwrap()
        .rated;
    assert_eq!(net(&rated), "-0.30");
    // And when the first run is taken back, nothing of it was billed: what was within covers the rest.
    test.append(&[revised(first, 1, 0)]).await;
    let rated = rate_month(&test.ledger, &with_a_price("2027-01"))
        .await
        .unwrap()
        .rated;
    assert_eq!(net(&rated), "-0.90");
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}
