//! Promises: a co-investor's use is free up to its right and billed by the tariff beyond it; unused rights are lent as far as
//! somebody was billed, and what they bring back is shared exactly; use that comes late is covered as if it had come in time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

mod support;

use mesocentre_api::{LineKind, StatementLine};
use mesocentre_metering::rights::{covered, lent, rights_of_month};
use mesocentre_metering::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use support::*;

const HOUR: i128 = 3_600;

/// 1,200,000 core-hours a year, 100,000 a month: 60 to the university, 30 to the hospital, 10 to the company.
fn shared_cluster(lending_price: Option<&str>) -> NamedCoInvestment {
    let mut spec = json!({
        "description": "Nœuds de calcul financés en commun", "decision": "CA du 3 mars 2026, délibération 7",
        "meter": "compute.core-hours", "annualCapacity": "1200000",
        "validFrom": "2026-01-01", "validUntil": "2026-12-31",
        "shares": [{"tenant": "univ-caen", "weight": 60}, {"tenant": "chu-rouen", "weight": 30}, {"tenant": "nova-motors", "weight": 10}],
    });
    if let Some(price) = lending_price {
        spec["lendingPrice"] = json!(price);
    }
    NamedCoInvestment {
        name: "noeuds-2026".to_owned(),
        spec: serde_json::from_value(spec).unwrap(),
    }
}

fn with_rights(month: &str, lending_price: Option<&str>) -> RatingBasis {
    RatingBasis {
        co_investments: vec![shared_cluster(lending_price)],
        ..basis_without_pools(month)
    }
}

fn used(key: &str, tenant: &str, hours: i128) -> UsageRecord {
    record(
        key,
        tenant,
        hours * HOUR,
        "2026-11-10T10:00:00Z",
        "2026-11-10T11:00:00Z",
    )
}

fn lines(rated: &Rated, tenant: &str, kind: LineKind) -> Vec<StatementLine> {
    let lines = statement(rated, tenant).lines.iter();
    lines.filter(|line| line.kind == kind).cloned().collect()
}

fn hours_of(lines: &[StatementLine]) -> i128 {
    let sum: i128 = lines
        .iter()
        .map(|line| line.base_quantity.as_ref().unwrap().parse::<i128>().unwrap())
        .sum();
    assert_eq!(sum % HOUR, 0);
    sum / HOUR
}

#[test]
fn use_within_the_right_is_free_and_what_is_beyond_it_is_billed_by_the_tariff() {
    let rated = rate(
        &with_rights("2026-11", None),
        &[used("1", "univ-caen", 59_000), used("2", "nova-motors", 12_500)],
    );
    assert_eq!(rated.faults, []);
    // 59,000 of 60,000: nothing to pay, and everybody sees what was used.
    let caen = statement(&rated, "univ-caen");
    assert_eq!(hours_of(&lines(&rated, "univ-caen", LineKind::Usage)), 59_000);
    let free = lines(&rated, "univ-caen", LineKind::Credit);
    assert_eq!(hours_of(&free), -59_000);
    assert_eq!(free[0].co_investment.as_deref(), Some("noeuds-2026"));
    assert_eq!(caen.totals.net, "0.00");
    // 12,500 of 10,000: 2,500 at the first tier of the market tariff, 0.06 each, not at the second that 12,500 reach.
    assert_eq!(statement(&rated, "nova-motors").totals.net, "150.00");
    assert_eq!(lines(&rated, "univ-caen", LineKind::Lent), []);
    let told: Vec<(&str, i128, i128)> = rated
        .rights
        .iter()
        .map(|right| (right.tenant.as_str(), right.right / HOUR, right.covered / HOUR))
        .collect();
    assert_eq!(
        told,
        [
            ("chu-rouen", 30_000, 0),
            ("nova-motors", 10_000, 10_000),
            ("univ-caen", 60_000, 59_000)
        ]
    );
}

#[test]
fn unused_rights_bring_back_a_price_for_as_much_as_was_billed() {
    let rated = rate(
        &with_rights("2026-11", Some("0.0100")),
        &[used("1", "univ-caen", 50_000), used("2", "nova-motors", 12_500)],
    );
    // 10,000 and 30,000 are left, 2,500 were billed: lent as 1 to 3.
    let brought = |tenant: &str| {
        let lent = lines(&rated, tenant, LineKind::Lent);
        (hours_of(&lent), lent.first().map(|line| line.amount.clone()))
    };
    assert_eq!(brought("univ-caen"), (-625, Some("-6.25".to_owned())));
    assert_eq!(brought("chu-rouen"), (-1_875, Some("-18.75".to_owned())));
    assert_eq!(brought("nova-motors"), (0, None));
    // Where all is used by its owners, nothing is lent; and where nothing is billed.
    let rated = rate(
        &with_rights("2026-11", Some("0.0100")),
        &[used("1", "univ-caen", 50_000)],
    );
    assert_eq!(lines(&rated, "chu-rouen", LineKind::Lent), []);
}

#[tokio::test]
async fn late_use_is_covered_as_if_it_had_come_in_time_and_so_is_what_is_taken_back() {
    let test = TestLedger::new().await;
    let first = used("1", "univ-caen", 59_000);
    test.append(&[first.clone(), used("2", "nova-motors", 10_000)])
        .await;
    close_month(
        &test.ledger,
        &with_rights("2026-11", Some("0.0100")),
        at("2026-12-05T08:00:00Z"),
    )
    .await
    .unwrap();
    // 3,000 come late: 1,000 of them are within the right. All 5,000 of the company are beyond it.
    test.append(&[used("3", "univ-caen", 3_000), used("4", "nova-motors", 5_000)])
        .await;
    let december = close_month(
        &test.ledger,
        &with_rights("2026-12", Some("0.0100")),
        at("2027-01-05T08:00:00Z"),
    )
    .await
    .unwrap();
    let document: MonthDocument = serde_json::from_slice(&december.statements).unwrap();
    let net = |document: &MonthDocument, tenant: &str| {
        let of = document
            .statements
            .iter()
            .find(|statement| statement.tenant == tenant);
        of.unwrap().status.totals.net.clone()
    };
    // 2,000 at 0.0120, and 5,000 at 0.06.
    assert_eq!(net(&document, "univ-caen"), "24.00");
    assert_eq!(net(&document, "nova-motors"), "300.00");
    // 59,000 are found to be 20,000: 23,000 in all are within the right again, and what was billed beyond it goes back.
    test.append(&[revised(first, 1, 20_000 * HOUR)]).await;
    let rated = rate_month(&test.ledger, &{
        let mut basis = with_rights("2027-01", None);
        for tariff in &mut basis.tariffs {
            tariff.spec.valid_until = "2027-12-31".parse().unwrap();
        }
        basis
    })
    .await
    .unwrap()
    .rated;
    assert_eq!(statement(&rated, "univ-caen").totals.net, "-24.00");
    let again = recompute_closed_month(&test.ledger, "2026-12".parse().unwrap())
        .await
        .unwrap();
    assert!(again == december.statements, "two documents for one month");
    assert_eq!(verify(&test.url).await.unwrap().faults, []);
}

#[test]
fn what_a_node_failure_made_free_takes_nothing_of_the_right() {
    let mut basis = with_rights("2026-11", None);
    for tariff in &mut basis.tariffs {
        tariff.spec.node_failure = mesocentre_api::NodeFailure::Free;
    }
    let failed = UsageRecord {
        evidence: BTreeMap::from([("state".to_owned(), "NODE_FAIL".to_owned())]),
        ..used("1", "nova-motors", 4_000)
    };
    let rated = rate(&basis, &[failed, used("2", "nova-motors", 10_000)]);
    let of = rated
        .rights
        .iter()
        .find(|right| right.tenant == "nova-motors")
        .unwrap();
    assert_eq!((of.used / HOUR, of.covered / HOUR), (10_000, 10_000));
    assert_eq!(statement(&rated, "nova-motors").totals.net, "0.00");
}

#[test]
fn a_right_of_a_tenant_that_is_not_there_keeps_the_others_from_being_billed_wrongly() {
    let mut basis = with_rights("2026-11", None);
    basis.co_investments[0].spec.shares[0].tenant = "nobody".to_owned();
    let rated = rate(&basis, &[used("1", "nova-motors", 10)]);
    let told: Vec<String> = rated.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the co-investment noeuds-2026 names the tenant nobody, and there is no such tenant: make it, or end the co-investment before this month"
        ]
    );
}

proptest! {
    /// Twelve months' rights are the year's capacity, whatever the weights.
    #[test]
    fn the_rights_of_a_year_sum_to_its_capacity(
        weights in prop::collection::vec(0_i64..1_000, 1..9),
        capacity in 1_u64..10_000_000_000,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let mut of = shared_cluster(None);
        of.spec.annual_capacity = capacity.into();
        of.spec.shares = weights
            .iter()
            .enumerate()
            .map(|(place, weight)| mesocentre_api::Share { tenant: format!("t{place}"), weight: *weight })
            .collect();
        let zone = DatacentreZone::named("Europe/Paris").unwrap();
        let sum: i128 = (1..=12)
            .map(|month| {
                let window = zone.month(format!("2026-{month:02}").parse().unwrap()).unwrap();
                rights_of_month(&of, &window).unwrap().values().sum::<i128>()
            })
            .sum();
        prop_assert_eq!(sum, i128::from(capacity) * HOUR);
    }

    /// No more is lent than is left or was billed, all of the lesser, and nobody lends what it has not.
    #[test]
    fn what_is_lent_is_all_that_can_be_and_no_more(
        left in prop::collection::vec(0_i128..1_000_000, 1..9),
        billed in 0_i128..3_000_000,
    ) {
        let lent = lent(&left, billed);
        prop_assert_eq!(lent.iter().sum::<i128>(), billed.min(left.iter().sum()));
        for (lent, left) in lent.iter().zip(&left) {
            prop_assert!(lent <= left);
        }
    }

    /// In whatever order use comes and is taken back, what is covered in all is what it would be of the sum.
    #[test]
    fn what_is_covered_in_parts_is_what_is_covered_of_the_whole(
        right in 0_i128..1_000,
        changes in prop::collection::vec(-500_i128..800, 0..12),
    ) {
        let (mut used, mut so_far) = (0, 0);
        for change in changes {
            let now = covered(right, used + change) - so_far;
            prop_assert!(now.abs() <= change.abs());
            used += change;
            so_far += now;
            prop_assert_eq!(so_far, covered(right, used));
        }
    }
}
